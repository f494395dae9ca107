"""The command line: its flags, numbers, exit codes, signals and processes."""

import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

import pytest
import torch

from vitlib import VARIANTS, ViTConfig, __version__, _commands, _inputs
from vitlib.__main__ import COMMANDS, main
from vitlib._cli import EPILOG, parse
from vitlib._options import attribute_texts, given, option
from vitlib.data import CIFAR10_STATS, FASHION_MNIST_STATS, load_sample
from vitlib.metrics import wilson_interval
from vitlib.train import TrainConfig, evaluate
from vitlib.weights import load_model, save_model

# The small data sets and the server that the tests of vitlib.data use.
spec = importlib.util.spec_from_file_location(
    "data_fixtures", Path(__file__).with_name("test_data.py")
)
data_fixtures = importlib.util.module_from_spec(spec)
spec.loader.exec_module(data_fixtures)
own_places = data_fixtures._own_places
fashion, cifar = data_fixtures.fashion, data_fixtures.cifar
server = data_fixtures.server

CONFIGS = (TrainConfig, ViTConfig)
MODEL = ["--depth", "1", "--embed-dim", "16", "--num-heads", "2"]
# 384 images to train on, 6 steps an epoch
TINY = [
    *("--images", "512", "--held-out", "128", "--batch-size", "64"),
    *("--epochs", "2", "--precision", "float32", *MODEL),
]
COMMAND = [sys.executable, "-m", "vitlib"]
SIGNALLED = 128  # added to the signal's number


@pytest.fixture(autouse=True)
def _here(monkeypatch, tmp_path):
    """Folders lie in the test's own; lines are long; one thread is enough."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "2000")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def run(capsys):
    """Run a command in this process: its exit code, stdout and stderr."""

    def run(*argv):
        capsys.readouterr()
        try:
            code = main(list(map(str, argv)))
        except SystemExit as left:
            code = left.code
        return code, *capsys.readouterr()

    return run


def words(value):
    """Write a field's value as one would type it."""
    many = value if isinstance(value, tuple | list) else [value]
    return [str(part) for part in many]


def flags(cls, values):
    """Write fields of a config as a command line."""
    argv = []
    for name, value in values.items():
        flag = name.replace("_", "-")
        if get_type_hints(cls)[name] is bool:
            argv += [f"--{flag}" if value else f"--no-{flag}"]
        else:
            argv += [f"--{flag}", *words(value)]
    return argv


def assert_same_weights(first, second):
    """Compare what two runs have written, bit for bit."""
    states = [
        load_model(f"{folder}/model.safetensors")[0].state_dict()
        for folder in (first, second)
    ]
    for name, value in states[0].items():
        assert torch.equal(states[1][name], value), name


# --- help ------------------------------------------------------------------


@pytest.mark.parametrize("cls", CONFIGS)
def test_every_field_has_a_text(cls):
    assert list(attribute_texts(cls)) == [item.name for item in fields(cls)]
    assert all(attribute_texts(cls).values())


@pytest.mark.parametrize("cls", CONFIGS)
def test_help_holds_every_field_with_its_text_and_default(cls, run):
    code, out, err = run("train", "--help")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    for name, text in attribute_texts(cls).items():
        flag = "--" + name.replace("_", "-")
        at = next(i for i, x in enumerate(lines) if x.strip().startswith(flag))
        entry = " ".join(" ".join(lines[at : at + 2]).split())
        assert f"{text} (default: " in entry, flag


def test_help_gives_defaults_and_exit_codes(run):
    _, out, _ = run("train", "--help")
    assert "all processes together (default: 128)" in out
    assert "two averages (default: 0.9 0.999)" in out
    assert "mirror half of the images (default: no)" in out
    assert "a channel, likewise (default: the data set's)" in out
    for command in ("train", "evaluate", "download", "inspect"):
        _, out, _ = run(command, "--help")
        codes = re.findall(r"^  (\d+)  +\w", out, flags=re.MULTILINE)
        assert codes == ["0", "1", "2", "130", "143"]
        assert "(default: None" not in out


def test_without_arguments_it_explains_itself(run):
    code, out, err = run()
    assert (code, err) == (0, "")
    assert out == run("--help")[1]
    assert run("--version") == (0, f"vitlib {__version__}\n", "")


def test_help_of_a_real_process():
    done = subprocess.run(COMMAND, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: python -m vitlib")
    assert done.stderr == ""


# --- options ---------------------------------------------------------------


@pytest.mark.parametrize("cls", CONFIGS)
def test_only_what_is_given_is_set(cls):
    assert given(parse(["train"], ""), cls) == {}


@pytest.mark.parametrize(
    ("cls", "values"),
    [
        (TrainConfig, asdict(TrainConfig())),
        (ViTConfig, asdict(VARIANTS["Book/4"])),
        (ViTConfig, {"img_size": (28, 32), "class_token": False}),
        (TrainConfig, {"flip": True, "mean": (0.1, 0.2, 0.3), "lr": 1e-05}),
    ],
)
def test_fields_pass_through_unchanged(cls, values):
    args = parse(["train", *flags(cls, values)], "")
    found = given(args, cls)
    assert found == values
    for name, value in values.items():
        assert type(found[name]) is type(value), name


def test_every_type_of_field_can_be_read():
    for cls in CONFIGS:
        for kind in get_type_hints(cls).values():
            assert option(kind)
            if get_origin(kind) is tuple and Ellipsis not in get_args(kind):
                assert option(kind)["nargs"] == len(get_args(kind))


def commands_of(text):
    """Return the arguments of every `-m vitlib` in a text."""
    lines = text.replace("\\\n", " ").splitlines()
    calls = [line for line in lines if " -m vitlib " in line]
    return [shlex.split(c, True)[c.split().index("-m") + 2 :] for c in calls]


def test_commands_that_people_copy_are_right(root):
    shown = commands_of((root / "README.md").read_text("utf-8"))
    helped = commands_of(EPILOG)
    assert min(len(shown), len(helped)) >= 5
    for argv in shown + helped:
        args = parse(argv, "")
        if args.command == "train":
            TrainConfig(**given(args, TrainConfig))
            assert _inputs.model_config(args)


# --- train -----------------------------------------------------------------


def test_train_from_start_to_weights(run, tmp_path):
    code, out, err = run("train", *TINY)
    assert (code, err) == (0, "")
    folder = Path("runs/sample-Book-4")
    assert f"Book/4 on sample, run in {folder}\n" in out
    assert "384 images, 12 steps" in out
    assert out.count("epoch ") == 2
    assert (folder / "log.jsonl").is_file()
    model, notes = load_model(folder / "model.safetensors")
    train, test = load_sample()
    stats = notes["mean"], notes["std"]
    assert stats == tuple(map(list, FASHION_MNIST_STATS))
    assert notes["classes"] == list(train.classes)
    assert (notes["data"], notes["seed"]) == ("sample", 0)
    share = evaluate(model, test, *stats)["accuracy"]
    assert notes["test_accuracy"] == share
    low, high = wilson_interval(share, 2000)
    said = f"test accuracy {share:.2%} (95 % interval {low:.2%} to {high:.2%})"
    assert said in out
    assert share > 0.15  # guessing gets 0.1


def test_train_learns_from_and_looks_at_the_training_set(monkeypatch):
    seen = {}

    def fit(model, data, config, folder):
        seen.update(data=data, config=config)
        raise KeyboardInterrupt(2)

    monkeypatch.setattr(_commands, "fit", fit)
    train, test = load_sample()
    everything = {image.tobytes() for image in train.images.numpy()}

    def images_of(*argv):
        main(["train", *argv])
        learn, look = seen["data"]
        parts = [{i.tobytes() for i in x.images.numpy()} for x in seen["data"]]
        assert not parts[0] & parts[1]
        return len(learn), len(look), parts

    count, held_out, parts = images_of()
    assert (count, held_out) == (9000, 1000)
    assert parts[0] | parts[1] == everything
    assert set(seen["data"][1].labels.bincount().tolist()) == {100}
    count, held_out, parts = images_of("--images", "500", "--held-out", "50")
    assert (count, held_out) == (450, 50)
    assert parts[0] | parts[1] < everything
    count, held_out, _ = images_of("--held-out", "0", "--epochs", "3")
    assert (count, held_out) == (10000, 2000)
    assert seen["data"][1].fingerprint() == test.fingerprint()
    assert seen["config"].evaluate_every == 3  # at the end alone


def test_json_is_one_object_and_nothing_else(run):
    code, out, err = run("train", *TINY, "--json")
    found = json.loads(out)
    assert code == 0
    assert "epoch   2/2" in err
    assert found["command"] == "train"
    assert [epoch["epoch"] for epoch in found["epochs"]] == [1, 2]
    assert Path(found["weights"]).is_file()
    test = found["test"]
    assert test["images"] == 2000
    shares = list(test["classes"].values())
    assert len(shares) == 10  # each equally often, so their mean is the whole
    assert sum(shares) / 10 == pytest.approx(test["accuracy"])
    assert test["interval"][0] < test["accuracy"] < test["interval"][1]
    assert 0 < test["calibration_error"] < 1


def test_a_complete_run_is_only_evaluated(run):
    before = json.loads(run("train", *TINY, "--json")[1])
    shutil.copytree(before["folder"], "before")
    code, out, err = run("train", *TINY)
    assert (code, err) == (0, "")
    assert "this run was complete; nothing is left to train" in out
    assert "epoch " not in out
    after = json.loads(run("train", *TINY, "--json")[1])
    assert after == before
    assert_same_weights("before", after["folder"])


def test_a_run_of_another_recipe_is_refused(run):
    run("train", *TINY)
    code, _, err = run("train", *TINY, "--lr", "0.002", "--flip")
    assert code == 2
    assert "flip: False in the checkpoint, True now" in err
    assert "lr: 0.001 in the checkpoint, 0.002 now" in err
    assert "take another folder, or remove it" in err


def test_the_seed_decides_the_weights(run):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run("train", *TINY, "--folder", name, "--seed", seed)
    assert_same_weights("a", "b")
    with pytest.raises(AssertionError):
        assert_same_weights("a", "c")


def test_a_variant_takes_the_shape_of_the_data(run):
    argv = ("--model", "Ti/16", "--patch-size", "7", "--epochs", "1")
    code, out, _ = run("train", *TINY, *argv, "--no-class-token",
                       "--global-pool", "avg", "--folder", "ti")  # fmt: skip
    assert code == 0
    assert "; from the data: img_size=28, in_chans=1, num_classes=10\n" in out
    config = load_model("ti/model.safetensors")[0].config
    assert (config.img_size, config.in_chans, config.num_classes) == (
        28,
        1,
        10,
    )
    assert (config.patch_size, config.class_token) == (7, False)
    assert config.mlp_ratio == VARIANTS["Ti/16"].mlp_ratio


def test_cifar10_from_download_to_evaluation(cifar, server, run):
    server.files[data_fixtures.ARCHIVE] = data_fixtures.tar(cifar)
    argv = ("--root", "cifar", "--mirror", server.url)
    code, out, err = run("download", "cifar10", *argv)
    assert (code, err) == (0, "")
    assert "cifar10 is there and sound: 20 training and 4 test images" in out
    code, out, err = run(
        *("train", "--data", "cifar10", "--root", "cifar", *MODEL),
        *("--epochs", "1", "--batch-size", "6", "--held-out", "2"),
        *("--folder", "c"),
    )
    assert (code, err) == (0, "")
    _, notes = load_model("c/model.safetensors")
    assert (notes["mean"], notes["std"]) == tuple(map(list, CIFAR10_STATS))
    code, out, err = run(
        *("evaluate", "c", "--data", "cifar10", "--root", "cifar", "--json")
    )
    found = json.loads(out)["test"]
    assert (code, found["images"]) == (0, 4)
    assert None in found["classes"].values()  # of a class without an image


def test_download_and_train_in_one(fashion, server, run):
    server.files = fashion
    code, out, _ = run(
        *("train", "--data", "fashion-mnist", "--download", *MODEL),
        *("--mirror", server.url, "--epochs", "1", "--batch-size", "6"),
    )
    assert code == 0
    assert "on 10 images; wrote runs/fashion-mnist-Book-4/model" in out
    code, out, _ = run("download", "fashion-mnist", "--json")
    assert (code, json.loads(out)["train"]) == (0, 20)
    assert len(server.asked) == 4  # each file once


# --- evaluate --------------------------------------------------------------


@pytest.fixture
def weights(tmp_path):
    """A model that knows nothing, and where it lies."""
    torch.manual_seed(0)
    config = given(parse(["train", *MODEL], ""), ViTConfig)
    model = _commands.VisionTransformer(replace(VARIANTS["Book/4"], **config))
    save_model(model, tmp_path / "model.safetensors")
    return model, tmp_path / "model.safetensors"


def test_evaluate_counts_what_vitlib_counts(weights, run):
    model, path = weights
    code, out, err = run("evaluate", path)
    assert (code, err) == (0, "")
    test = load_sample()[1]
    wanted = evaluate(model, test, *FASHION_MNIST_STATS)
    assert f"test accuracy {wanted['accuracy']:.2%} (95 % interval" in out
    assert f"loss {wanted['loss']:.4f} nats, calibration error" in out
    assert re.search(r"^  Ankle boot +\d+\.\d%$", out, flags=re.MULTILINE)
    folder = json.loads(run("evaluate", path.parent, "--json")[1])
    assert folder["test"]["accuracy"] == pytest.approx(wanted["accuracy"])
    assert folder["test"]["loss"] == pytest.approx(wanted["loss"], rel=1e-5)


def test_evaluate_the_books_own(weights, run, monkeypatch):
    monkeypatch.setattr(_inputs, "BOOK_WEIGHTS", weights[1])
    code, out, _ = run("evaluate", "book")
    assert code == 0
    assert out.startswith("book on sample: test accuracy")
    monkeypatch.setattr(_inputs, "BOOK_WEIGHTS", Path("book.safetensors"))
    code, _, err = run("evaluate", "book")
    assert code == 2
    assert "this vitlib carries no weights" in err


def test_evaluate_refuses_what_does_not_fit(weights, run):
    model, path = weights
    code, _, err = run("evaluate", path, "--data", "cifar10")
    assert code == 2
    assert "img_size is 28 in the model, 32 in the data" in err
    save_model(model, path, classes=["cat", "dog"])
    code, _, err = run("evaluate", path)
    assert code == 2
    assert "the model knows cat, dog" in err


# --- exit codes ------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["trian"], "invalid choice: 'trian'"),
        (["train", "--epoch", "3"], "unrecognized arguments: --epoch 3"),
        (["train", "--epochs", "0"], "epochs must be a positive integer"),
        (["train", "--epochs", "1.5"], "argument --epochs: invalid int"),
        (["train", "--lr", "nan"], "lr must be 0 or more; got nan"),
        (["train", "--optimizer", "sgd"], "known: adamw, muon, adam"),
        (["train", "--betas", "0.9"], "argument --betas: expected 2"),
        (["train", "--model", "B/17"], "invalid choice: 'B/17'"),
        (["train", "--model", "B/16"], "B/16 on sample: patch_size must div"),
        (["train", "--num-heads", "3"], "num_heads must divide embed_dim"),
        (["train", "--img-size", "32"], "img_size must be that of sample, 28"),
        (["train", "--mean", "0.1", "0.2"], "mean and std must hold 1 values"),
        (["train", "--batch-size", "99999"], "batch_size must not exceed"),
        (["train", "--images", "0"], "--images: count must lie between"),
        (["train", "--held-out", "10000"], "--held-out: count must lie betw"),
        (["train", "--root", "x"], "--data sample lies in the package"),
        (["train", "--device", "cuda:77"], "no device 'cuda:77' here"),
        (["train", "--fsdp"], "needs torchrun"),
        (["train", "--data", "cifar10"], "Call again with --download, or wi"),
        (["evaluate"], "required: FILE"),
        (["evaluate", "nothing"], "no weights at nothing"),
        (["evaluate", "."], "no model.safetensors: train writes it when"),
        (["download", "sample"], "invalid choice: 'sample'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_2_and_one_message(argv, message, run):
    code, out, err = run(*argv, "--json")
    assert code == 2
    assert out == ""
    assert message in err
    assert "Traceback" not in err
    assert len(re.findall("^vitlib: error: ", err, flags=re.MULTILINE)) == 1
    assert "usage:" not in err
    assert list(Path().iterdir()) == []


def test_a_loss_that_is_not_finite_is_1(run):
    code, out, err = run(
        *("train", *TINY, "--lr", "1e30", "--clip-grad", "0"),
        *("--warmup-epochs", "0", "--json"),
    )
    assert (code, out) == (1, "")
    assert "vitlib: error: the loss is" in err
    assert "try a lower lr" in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError("batch_size=8 fits"), 1),
        (torch.cuda.OutOfMemoryError("CUDA out of memory"), 1),
        (OSError(28, "No space left on device"), 1),
        (RuntimeError("Read error: Connection reset by peer"), 1),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 1),
        (KeyboardInterrupt(), 130),
        (KeyboardInterrupt(signal.SIGTERM), 143),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_stops_a_run_decides_the_code(error, code, run, monkeypatch):
    def fit(*_):
        raise error

    monkeypatch.setattr(_commands, "fit", fit)
    found, out, err = run("train", *TINY, "--json")
    assert (found, out) == (code, "")
    assert "vitlib: " in err
    assert "Traceback" not in err


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_first_step(kind, run, monkeypatch):
    def load(*_):
        signal.raise_signal(kind)

    monkeypatch.setattr(_commands, "load", load)
    again = "the same command takes it up again"
    message = f"vitlib: stopped by {kind.name}; {again}\n"
    assert run("train", "--json") == (SIGNALLED + kind, "", message)


def test_a_fault_of_the_program_is_not_hidden(monkeypatch):
    def fit(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(_commands, "fit", fit)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["train", *TINY])


def test_damaged_checkpoints_are_1_and_one_is_a_note(run):
    assert run("train", *TINY, "--folder", "a")[0] == 0
    shutil.copytree("a", "whole")
    first, last = sorted(Path("a").glob("step-*"))
    (last / "state.json").write_text("{")
    code, _, err = run("train", *TINY, "--folder", "a")
    assert code == 0
    assert err.startswith("vitlib: note: a/step-00000012/state.json is")
    assert err.count("\n") == 1
    assert_same_weights("a", "whole")
    for folder in (first, last):
        (folder / "state.json").write_text("{")
    code, _, err = run("train", *TINY, "--folder", "a")
    assert code == 1
    assert "no whole checkpoint in a: 2 damaged" in err


def test_damaged_files_are_1(fashion, run):
    folder = data_fixtures.write(Path("mine"), fashion)
    (folder / data_fixtures.TRAIN_LABELS).write_bytes(b"?")
    argv = ("--data", "fashion-mnist", "--root", folder)
    code, _, err = run("train", *argv)
    assert code == 1
    assert data_fixtures.TRAIN_LABELS in err
    assert "load again with --download" in err
    Path("model.safetensors").write_bytes(b"?")
    code, _, err = run("evaluate", "model.safetensors")
    assert code == 1
    assert "holds no model of this book" in err


def test_a_download_that_fails_is_1(fashion, server, run):
    argv = ("download", "fashion-mnist", "--mirror", server.url)
    code, _, err = run(*argv)
    assert code == 1
    assert "404" in err
    assert "name another server by --mirror" in err


def test_warnings_and_signals_are_as_before(run):
    before = [signal.getsignal(k) for k in (signal.SIGINT, signal.SIGTERM)]
    show = warnings.showwarning
    run("train", *TINY)
    run("train", "--root", "x")
    after = [signal.getsignal(k) for k in (signal.SIGINT, signal.SIGTERM)]
    assert after == before
    assert warnings.showwarning is show


def test_closed_streams_are_put_up_with(run, monkeypatch):
    """As after `2>&-`: Python then has no sys.stderr."""
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert main(["evaluate", "nothing.safetensors"]) == 2


def test_a_name_that_is_no_text_is_spelt(run):
    code, _, err = run("evaluate", "caf\udce9.safetensors")
    assert code == 2
    assert "caf\\udce9" in err


def test_a_result_that_cannot_be_written_is_1(run, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(COMMANDS, "evaluate", lambda _: {"accuracy": 1})
    monkeypatch.setattr("builtins.print", full)
    monkeypatch.setattr("vitlib.__main__.say", lambda _: None)
    assert main(["evaluate", "book", "--json"]) == 1


# --- real processes --------------------------------------------------------


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_resumes(kind, run, monkeypatch):
    def stop(epoch, _):
        if epoch == 1:
            os.kill(os.getpid(), kind)

    argv = ["train", *TINY, "--folder"]
    with monkeypatch.context() as patch:
        fit = partial(_commands.fit, on_epoch=stop)
        patch.setattr(_commands, "fit", fit)
        code, out, err = run(*argv, "a")
    assert code == SIGNALLED + kind
    assert "stopped after step 6; the same call resumes" in out
    again = "the same command takes it up again"
    assert err == f"vitlib: stopped by {kind.name}; {again}\n"
    assert not Path("a/model.safetensors").exists()
    code, out, _ = run(*argv, "a")
    assert code == 0
    assert "resuming after step 6\n" in out
    run(*argv, "whole")
    assert_same_weights("a", "whole")


def test_a_real_process_stops_at_a_signal():
    argv = [*COMMAND, "train", *TINY, "--epochs", "2000", "--folder", "a"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(argv, **pipes, text=True)
    log = Path("a/log.jsonl")
    while not (log.is_file() and '"epoch"' in log.read_text("utf-8")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.startswith("vitlib: stopped by SIGINT; ")
    step = int(re.search(r"stopped after step (\d+)", out)[1])
    assert Path(f"a/step-{step:08}/state.json").is_file()


@pytest.mark.parametrize("json_asked", [False, True])
def test_what_a_library_prints_is_no_part_of_the_json(
    json_asked, monkeypatch, capfd
):
    def noisy(args):
        os.write(1, b"[Gloo] Rank 0 is connected to 1 peer ranks.\n")
        return {"name": "noisy"}

    monkeypatch.setitem(COMMANDS, "evaluate", noisy)
    asked = ["--json"] if json_asked else []
    assert main(["evaluate", "book", "--data", "sample", *asked]) == 0
    said = capfd.readouterr()
    if json_asked:
        assert json.loads(said.out)["name"] == "noisy"
    assert ("Gloo" in said.err, "Gloo" in said.out) == (
        json_asked,
        not json_asked,
    )


@pytest.mark.parametrize("extra", [[], ["--fsdp", "--ema", "0.9"]])
def test_two_processes_are_one_command(extra, run):
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    argv = ["train", *TINY, *extra, "--json", "--folder"]
    done = subprocess.run(
        [*launch, "--nproc_per_node", "2", "-m", "vitlib", *argv, "two"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    two = json.loads(done.stdout)  # the first process alone prints
    assert done.stderr.count("12 steps on cpu in float32 (as asked), 2 p") == 1
    argv.remove("--fsdp") if extra else None
    one = json.loads(run(*argv, "one")[1])
    assert two["parameters"] == one["parameters"]
    assert two["test"]["loss"] == pytest.approx(one["test"]["loss"], rel=1e-4)
    states = [
        load_model(f"{name}/model.safetensors")[0].state_dict()
        for name in ("one", "two")
    ]
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=0, atol=1e-3)
    # and what the two have written is complete for one
    code, out, _ = run(*argv[:-2], "--folder", "two")
    assert code == 0
    assert "nothing is left to train" in out
