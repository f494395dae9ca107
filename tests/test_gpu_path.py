"""The training step on a GPU, traced without one.

PyTorch's fake tensors have shape, type and device, but no values. An
operation on tensors of two devices fails on them as it would on a GPU, so a
tensor left behind on the CPU fails these tests. So does a step that waits
for the GPU, since a value that the host asks for is not there.
"""

import json
import re
import sys
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from matplotlib import pyplot as plt
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn import functional
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

from vitlib import VARIANTS, VisionTransformer, ViTConfig, train
from vitlib import trainer as trainer_module
from vitlib.baselines import SmallCNN
from vitlib.checkpoint import Checkpoints
from vitlib.data import ImageDataset
from vitlib.evaluate import predict
from vitlib.train import TrainConfig
from vitlib.trainer import Trainer

if not hasattr(fake_tensor, "_DISPATCH_META_HANDLERS"):
    pytest.skip("PyTorch's fake tensors changed", allow_module_level=True)
try:
    with FakeTensorMode():
        torch.ones(1).to("cuda")
except RuntimeError as error:
    if "driver" in str(error):  # the CUDA build of 2.9 asks even here
        pytest.skip(str(error), allow_module_level=True)
# deepcopy of a fake tensor asks for its address
pytestmark = pytest.mark.filterwarnings("ignore:Accessing the data pointer")

GPU, META = torch.device("cuda", 0), torch.device("meta")
AMPERE, TURING = (8, 0), (7, 5)
EVERYTHING = {
    "epochs": 2,
    "batch_size": 8,
    "flip": True,
    "crop": 2,
    "erasing": 0.25,
    "mixup": 0.2,
    "cutmix": 1.0,
    "ema": 0.99,
    "accumulate": 2,
    "channels_last": True,
}
# As in PyTorch's "CUDA Ops that can autocast", as far as they occur here.
LOW = {
    functional.linear,
    functional.conv2d,
    functional.scaled_dot_product_attention,
    torch.Tensor.matmul,
    torch.Tensor.__matmul__,
    torch.matmul,
    torch.einsum,
}
HIGH = {functional.layer_norm, functional.softmax, torch.Tensor.softmax}


class FakeGpu(FakeTensorMode):
    """Fake tensors that the compiled half of PyTorch takes for "meta".

    It would ask for the stream of a GPU's tensor, and a PyTorch that was
    built for CPUs has no place to ask. Devices are checked in Python, and
    there every tensor has its own.
    """

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if kwargs.get("device") == META:  # made by compiled code
            kwargs["device"] = GPU
        return super().__torch_dispatch__(function, types, args, kwargs)


class Autocast(TorchFunctionMode):
    """The casts of torch.autocast, which compiled code skips for "meta"."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        known = function in LOW | HIGH
        if known and torch.is_autocast_enabled("cuda"):
            dtype = torch.float32
            if function in LOW:
                dtype = torch.get_autocast_dtype("cuda")
            args = [
                value.to(dtype)
                if isinstance(value, torch.Tensor)
                and value.is_floating_point()
                else value
                for value in args
            ]
        return function(*args, **(kwargs or {}))


@contextmanager
def fake_gpu(capability=AMPERE, values=False):
    """Stand in for what asks the driver, or a tensor for its values."""

    def fill(old, new):
        assert old.device == new.device
        old.data = new.data

    with pytest.MonkeyPatch.context() as monkeypatch:
        patch = monkeypatch.setattr
        monkeypatch.setitem(
            fake_tensor._DISPATCH_META_HANDLERS,
            torch.ops.prim.device.default,
            lambda _: META,
        )
        # questions to the driver; fake tensors ask, too
        patch(torch.cuda, "is_available", bool)
        patch(torch.cuda.amp.common, "amp_definitely_not_available", bool)
        patch(torch.cuda, "is_bf16_supported", lambda *_: True)
        patch(torch.cuda, "get_rng_state", lambda _: torch.empty(0))
        patch(torch.cuda, "set_rng_state", lambda *_: None)
        patch(torch.cuda, "get_device_capability", lambda _: capability)
        # checks of values; they run on the CPU, before the first step
        patch(ImageDataset, "__post_init__", lambda _: None)
        patch(ImageDataset, "fingerprint", lambda _: "fake")
        patch(trainer_module, "check_run", lambda *_: None)
        # has no implementation for fake tensors
        patch(torch, "_sample_dirichlet", torch.rand_like)
        # Module.to swaps fake tensors, to which others refer: fill them
        patch(torch.utils, "swap_tensors", fill)
        if values:
            patch(FakeTensor, "item", lambda _: 0.0)
            patch(FakeTensor, "__bool__", lambda _: True)
            patch(FakeTensor, "__float__", lambda _: 0.0)
        with FakeGpu(allow_non_fake_inputs=True), Autocast():
            yield


def images(C=1):
    """Random images of ten classes."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(
        256, (20, C, 8, 8), generator=generator, dtype=torch.uint8
    )
    return ImageDataset(pixels, torch.arange(20) % 10, tuple("abcdefghij"))


def vit(**fields):
    """A ViT of 8x8 images."""
    sizes = {"img_size": 8, "patch_size": 4, "in_chans": 1, "embed_dim": 16}
    sizes |= {"num_classes": 10, "depth": 2, "num_heads": 2, "drop_path": 0.1}
    return VisionTransformer(ViTConfig(**(sizes | fields)))


def trace(model, data, config):
    """Take two steps, and return the trainer and the last loss."""
    trainer = Trainer(model, data, config, GPU)
    for _ in range(2):
        loss = trainer.update(*trainer.batch())
    return trainer, loss


def two_steps(model, data, **fields):
    """Trace everything that a recipe can ask for, but for these fields."""
    return trace(model, data, TrainConfig(**(EVERYTHING | fields)))


def all_tensors(trainer):
    """Whatever a step reads or writes."""
    yield from trainer.model.state_dict().values()
    if trainer.average is not None:
        yield from trainer.average.state_dict().values()
    for optimizer in trainer.optimizers:
        for state in optimizer.state.values():
            yield from (v for v in state.values() if torch.is_tensor(v))


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "adam"])
@pytest.mark.parametrize(
    ("capability", "precision", "dtype"),
    [
        (AMPERE, "auto", torch.bfloat16),
        (TURING, "auto", torch.float16),
        (AMPERE, "float32", torch.float32),
    ],
)
def test_a_step_stays_on_the_gpu(capability, precision, dtype, optimizer):
    data, model = images(), vit()
    seen = []
    model.blocks[0].mlp.fc1.register_forward_hook(
        lambda *call: seen.append(call[2].dtype)
    )
    half = dtype == torch.float16
    # with fp16 the host has to know whether a gradient overflowed
    with fake_gpu(capability, values=half):
        trainer, loss = two_steps(
            model, data, optimizer=optimizer, precision=precision
        )
        assert trainer.dtype == dtype
        assert trainer.scaler.is_enabled() == half
        # in each step, each of the two parts of the batch
        assert seen == [dtype] * 4
        assert loss.device == GPU
        assert loss.dtype == torch.float32
        found = list(all_tensors(trainer))
        assert len(found) > 3 * len(list(model.parameters()))
        # AdamW counts its steps on the CPU unless it is fused
        assert {tensor.device for tensor in found} == {GPU}
        assert {tensor.dtype for tensor in found} == {torch.float32}


@pytest.mark.parametrize("kind", ["none", "2d", "relative", "sincos"])
def test_every_kind_of_position_follows(kind):
    data, model = images(), vit(pos_embed=kind)
    with fake_gpu():
        assert two_steps(model, data)[1].device == GPU


def test_a_cnn_follows_with_channels_last():
    data, model = images(C=3), SmallCNN(in_chans=3, width=4)
    layouts = []
    model[0][0].register_forward_hook(
        lambda *call: layouts.append(
            call[1][0].is_contiguous(memory_format=torch.channels_last)
        )
    )
    with fake_gpu():
        stats = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
        trainer, loss = two_steps(model, data, crop=0, **stats)
        kernel = trainer.model[0][0].weight
        assert kernel.is_contiguous(memory_format=torch.channels_last)
    assert layouts == [True] * 4
    assert loss.device == GPU


def test_evaluation_follows():
    data, model = images(), vit()
    with fake_gpu(values=True):
        trainer, _ = two_steps(model, data)
        assert trainer.evaluate(data)["images"] == 20
        config = trainer.config
        logits = predict(trainer.average, data, config.mean, config.std)
        assert logits.device.type == "cpu"
        assert logits.shape == (20, 10)
        trainer.finish()


def test_a_tensor_left_on_the_cpu_is_found():
    data, model = images(), vit(pos_embed="none")
    table = torch.zeros(1, 5, 16)
    model.pos_drop.register_forward_hook(lambda *call: call[2] + table)
    with fake_gpu(), pytest.raises(RuntimeError, match="cuda:0 and cpu"):
        two_steps(model, data)


def test_a_step_that_waits_for_the_gpu_is_found():
    data, model = images(), vit()
    model.head.register_forward_hook(
        lambda *call: call[2] * call[2].max().item()
    )
    with fake_gpu(), pytest.raises(RuntimeError, match="_local_scalar_dense"):
        two_steps(model, data)


# --- the chapters that train, as in Colab on a GPU --------------------------

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
# What to run of a chapter: up to the cell with these words, or all.
TRAINING = {
    "01_end_of_cnn": None,
    "08_training": "same bits:",
    "10_scaling": "records = fit(",
    "17_your_turn": "rolled.result.shape",
}
ON_CPU = {"09_clinic"}  # asks for it


@pytest.fixture
def lend(monkeypatch):
    """Put a fit that trains nothing in place of the real one.

    It traces the recipe on a fake GPU, then says that the model lies there.
    Only evaluate and predict bring images to a model; whatever else calls
    it with images on the CPU fails, as in Colab.
    """
    patch, traced, inside = monkeypatch.setattr, [], []

    def fit(model, data, config=None, folder=None, quiet=0, on_epoch=None):
        config = config or TrainConfig()
        if config.device == "auto":
            copy = deepcopy(model)
            with fake_gpu():
                traced.append(trace(copy, data[0], config)[1].device)
            for module in model.modules():
                module.__dict__["lies_on"] = GPU
        epochs = range(config.epochs + 1)
        for epoch in epochs if on_epoch else ():
            on_epoch(epoch, model)
        return [
            {"event": "epoch", "epoch": epoch, "step": epoch}
            | {"train_loss": 2 - epoch / 100, "accuracy": 0.9, "loss": 1.0}
            for epoch in epochs[1:]
        ] + [{"event": "end", "step": len(epochs)}]

    def ask(module, args):
        if module.__dict__.get("lies_on") and not inside:
            raise RuntimeError("images on the CPU, a model on the GPU")

    def bringing(function):
        def bring(*args, **kwargs):
            inside.append(function)
            try:
                return function(*args, **kwargs)
            finally:
                inside.pop()

        return bring

    def available():  # not for PyTorch, which would ask the driver next
        asker = sys._getframe(1).f_globals.get("__name__", "")
        return not asker.startswith("torch.")

    def home(model):
        for module in model.modules():
            module.__dict__.pop("lies_on", None)
        return model

    patch(train, "fit", fit)
    patch(train, "evaluate", bringing(train.evaluate))
    patch(train, "predict", bringing(train.predict))
    patch(torch.nn.Module, "cpu", home)
    patch(torch.cuda, "is_available", available)
    hook = register_module_forward_pre_hook(ask)
    yield traced
    hook.remove()


def run_cells(cells, last):
    """Run code cells in one namespace; skip what only training makes true."""
    space = {}
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code" or "%pip" in source:
            continue
        try:
            exec(source, space)
        except AssertionError:
            pass
        except Exception:
            if "raises-exception" not in cell["metadata"].get("tags", ()):
                raise
        if last and last in source:
            return
    assert not last


def test_every_chapter_that_trains_is_named():
    found = {
        path.stem
        for path in NOTEBOOKS.glob("*.ipynb")
        if re.search(r"[= .]fit\(", path.read_text("utf-8"))
    }
    assert found == set(TRAINING) | ON_CPU


@pytest.mark.parametrize("name", TRAINING)
def test_a_chapter_that_trains_runs_on_a_gpu(name, lend, monkeypatch):
    path = NOTEBOOKS / f"{name}.ipynb"
    monkeypatch.chdir(NOTEBOOKS)
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    with plt.rc_context({"backend": "agg"}):  # a chapter sets its own style
        run_cells(json.loads(path.read_text("utf-8"))["cells"], TRAINING[name])
    assert lend
    assert set(lend) == {GPU}


@pytest.fixture
def check(monkeypatch, tmp_path):
    """tools/gpu_check.py, which stores into a folder of its own."""
    module = pytest.importorskip("gpu_check")
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    small = replace(VARIANTS["Book/4"], embed_dim=32, depth=2)
    monkeypatch.setattr(
        module, "create_model", lambda _: VisionTransformer(small)
    )
    return module


def test_the_check_for_people_runs_on_a_cpu(check, capsys):
    assert check.main(["--device", "cpu", "--quick"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("this is a CPU: its numbers say nothing of a GPU")
    assert said.endswith("all checks passed\n")
    assert said.count("pass  ") >= 6
    assert "FAIL" not in said


def test_the_check_for_people_can_fail(check, capsys):
    checks = check.Checks()
    checks.at_most("small", 0.5, 1.0)
    assert checks.passed
    checks.at_most("not a number", float("nan"), 1.0)
    assert not checks.passed
    said = capsys.readouterr().out
    assert said == (
        "pass  small: 0.5 (at most 1)\nFAIL  not a number: nan (at most 1)\n"
    )


def test_the_check_sees_a_wrong_attention(check, monkeypatch):
    cpu = torch.device("cpu")
    assert check.attention_gap(cpu, torch.float32) < 1e-6
    monkeypatch.setattr(check, "fused_attention", lambda q, k, v: v)
    assert check.attention_gap(cpu, torch.float32) > 0.1


def test_the_check_sees_a_run_that_does_not_resume(check, monkeypatch):
    data = check.load_sample()[0].subset(slice(0, 48))
    config = replace(check.FLOAT32, batch_size=16)
    cpu = torch.device("cpu")
    assert check.resume_gap(cpu, data, config) == 0.0
    monkeypatch.setattr(Checkpoints, "restore", lambda _: None)
    assert check.resume_gap(cpu, data, config) > 0.01


def test_the_check_stores_what_a_gpu_gave(check, monkeypatch, tmp_path):
    about = {"device": "NVIDIA H100 80GB HBM3 (x)", "kind": "cuda"}
    results = {"passed": False, "checks": []}
    monkeypatch.setattr(check, "choose_device", lambda _: torch.device("mps"))
    monkeypatch.setattr(check, "describe", lambda _: about)
    monkeypatch.setattr(check, "run_checks", lambda *_: results)
    assert check.main(["--json"]) == 1
    [path] = tmp_path.iterdir()
    assert path.name == "gpu_nvidia_h100_80gb_hbm3_x.json"
    assert json.loads(path.read_text()) == about | results


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device", "gpu"], "unknown device 'gpu'"),
        (["--device", "cpu", "--json"], "--json keeps results of GPUs"),
    ],
)
def test_the_check_refuses(options, message, check, capsys):
    with pytest.raises(SystemExit) as caught:
        check.main(options)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
