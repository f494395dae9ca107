import fcntl
import importlib.util
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import types
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vitlib.log import CHECK_EVERY, Log
from vitlib.records import read_log, write_log

SCRIPT = Path(__file__).with_name("tiny_run.py")
spec = importlib.util.spec_from_file_location("tiny_run", SCRIPT)
tiny = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiny)
CODE = """
import sys
sys.path.insert(0, {tests!r})
import tiny_run
tiny_run.train(None, tiny_run.PLAIN, quiet={quiet})
"""
BAR = r"(\d+)%\|.*\| *(\d+)/8 \[.*<(.*), .*(step/s|s/step), (.*)\]"


def command(quiet=False):
    """A run in a process of its own."""
    code = CODE.format(tests=str(SCRIPT.parent), quiet=quiet)
    return [sys.executable, "-c", code]


def surroundings():
    return os.environ | {
        "PYTHONPATH": str(SCRIPT.parents[1]),
        "OMP_NUM_THREADS": "1",
    }


def on_terminal(arguments):
    """What a person sees: the output of a program at a terminal."""
    ours, theirs = pty.openpty()
    size = struct.pack("4H", 30, 100, 0, 0)  # rows and columns
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
    job = subprocess.Popen(
        arguments,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=surroundings(),
        close_fds=True,
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 1024)
        except OSError:  # Linux's end of a terminal
            break
        if not part:
            break
        seen += part
    os.close(ours)
    assert job.wait(timeout=60) == 0, seen
    return seen.decode()


def test_a_person_sees_a_bar():
    pytest.importorskip("tqdm")
    seen = on_terminal(command())
    bars = re.findall(BAR, seen)
    assert bars, seen
    percent, step, left, _, values = bars[-1]
    assert (percent, step, left) == ("100", "8", "00:00")
    assert re.fullmatch(r"loss=\d\.\d+, accuracy=\d+\.\d+%", values)
    assert re.search(r"epoch +2/2  train loss \d\.\d+  accuracy ", seen)
    assert "parameters, 64 images, 8 steps on cpu in float32" in seen


def test_in_a_pipe_a_line_an_epoch_and_no_bar():
    job = subprocess.run(
        command(), capture_output=True, text=True, env=surroundings()
    )
    assert job.returncode == 0, job.stderr
    assert job.stderr == ""
    first, *epochs = job.stdout.splitlines()
    assert "8 steps" in first
    for number, line in enumerate(epochs, start=1):
        assert re.fullmatch(
            rf"epoch +{number}/2  train loss \d\.\d+  accuracy +\d+\.\d+%  "
            r"[\d,]+ images/s  [\d,]+ s left",
            line,
        )
    assert len(epochs) == 2


def test_in_a_notebook_plain_lines(capsys):
    tiny.train(None, tiny.PLAIN, quiet=False)  # pytest's stderr is no terminal
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 3
    assert err == ""


def test_in_colab_a_bar(capsys, monkeypatch):
    pytest.importorskip("tqdm")
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("c"))
    tiny.train(None, tiny.PLAIN, quiet=False)
    assert "8/8" in capsys.readouterr().err


def test_without_tqdm_plain_lines(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("c"))
    monkeypatch.setitem(sys.modules, "tqdm", None)
    tiny.train(None, tiny.PLAIN, quiet=False)
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 3
    assert err == ""


def test_quiet_means_nothing(tmp_path, capfd):
    _, log = tiny.train(tmp_path, tiny.PLAIN)
    assert capfd.readouterr() == ("", "")
    assert read_log(tmp_path) == log  # the file is written all the same


def test_records(tmp_path):
    config = replace(tiny.PLAIN, epochs=3, evaluate_every=2)
    _, log = tiny.train(tmp_path, config)
    start, *epochs, end = log
    assert start["event"] == "start"
    assert start["precision"] == "float32"
    assert start["parameters"] == sum(
        p.numel() for p in tiny.model().parameters()
    )
    assert start["config"]["epochs"] == 3
    assert [e["epoch"] for e in epochs] == [1, 2, 3]
    assert [e["step"] for e in epochs] == [4, 8, 12]
    assert ["accuracy" in e for e in epochs] == [False, True, True]
    assert end == {"event": "end", "step": 12, "seconds": end["seconds"]}
    times = [r["seconds"] for r in (*epochs, end)]
    assert times == sorted(times)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == log


def test_the_training_loss_is_the_mean_of_the_epoch():
    trainer = tiny.Trainer(tiny.model(), tiny.images(), tiny.PLAIN, tiny.CPU)
    with Log(None, trainer, quiet=True) as log:
        for loss in (1.0, 2.0, 3.0, 6.0):
            trainer.step += 1
            log.step(torch.tensor(loss))
        log.epoch(dict)
    assert log.records[-1]["train_loss"] == 3.0


# Not finite


@pytest.mark.parametrize("bad", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("step", [1, 7, CHECK_EVERY, CHECK_EVERY + 3])
def test_a_loss_that_is_not_finite_is_named_by_its_step(step, bad):
    config = replace(tiny.PLAIN, epochs=50)
    trainer = tiny.Trainer(tiny.model(), tiny.images(), config, tiny.CPU)
    log = Log(None, trainer, quiet=True)
    told = rf"the loss is {bad} at step {step} \(learning rate .*the last " + (
        f"finite one was 0.5 at step {step - 1}" if step > 1 else ".* none"
    )

    def train():
        for number in range(1, 100):
            trainer.step = number
            log.step(torch.tensor(float(bad) if number >= step else 0.5))

    with pytest.raises(FloatingPointError, match=told) as error:
        train()
    assert trainer.step < step + CHECK_EVERY
    assert "try a lower lr" in str(error.value)


def test_a_loss_that_is_not_finite_at_the_very_end(monkeypatch):
    update = tiny.Trainer.update

    def spoiled(self, *batch):
        loss = update(self, *batch)
        return loss * float("nan") if self.step == 8 else loss

    monkeypatch.setattr(tiny.Trainer, "update", spoiled)
    with pytest.raises(FloatingPointError, match="nan at step 8 "):
        tiny.train(None, tiny.PLAIN)


def test_a_rate_that_is_far_too_high_leaves_a_good_checkpoint(tmp_path):
    config = replace(
        tiny.PLAIN, lr=1e30, clip_grad=0.0, save_steps=1, warmup_epochs=0
    )
    with pytest.raises(FloatingPointError):
        tiny.train(tmp_path, config)
    for tensor in tiny.tensors(tiny.restored(tmp_path, config)).values():
        assert tensor.isfinite().all()


# The file


def test_a_cut_last_line_is_left_out(tmp_path):
    _, log = tiny.train(tmp_path, tiny.PLAIN)
    file = tmp_path / "log.jsonl"
    whole = file.read_bytes()
    for tail in (b'{"event": "epo', b"\xff\xfe", b"[1]", b'{"event": 3}'):
        file.write_bytes(whole + tail)
        assert read_log(file) == log
    file.write_bytes(whole[:-5])
    assert read_log(file) == log[:-1]


def test_a_line_whose_seconds_are_no_number_is_damaged(tmp_path):
    line = {"event": "epoch", "step": 1, "seconds": "x"}
    path = tmp_path / "log.jsonl"
    path.write_text(2 * (json.dumps(line) + "\n"))
    told = "line 1 is damaged: .*; mend it, or delete the file: the check"
    with pytest.raises(ValueError, match=told):
        read_log(path)


def test_another_damaged_line_is_named(tmp_path):
    _, log = tiny.train(tmp_path, tiny.PLAIN)
    file = tmp_path / "log.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([lines[0], "{cut\n", *lines[1:]]))
    with pytest.raises(ValueError, match=r"log.jsonl, line 2 is dam.*: .cut"):
        read_log(tmp_path)
    assert len(log) == 4


def test_a_log_with_a_cut_line_resumes_whole(tmp_path):
    config = replace(tiny.PLAIN, epochs=3)
    with pytest.raises(KeyboardInterrupt):
        tiny.train(tmp_path, config, on_epoch=die_after(2))
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"event": "epoch", "ep')
    _, log = tiny.train(tmp_path, config)
    assert [(r["event"], r["step"]) for r in log] == [
        ("start", 0),
        ("epoch", 4),
        ("start", 4),
        ("epoch", 8),
        ("epoch", 12),
        ("end", 12),
    ]
    assert read_log(tmp_path) == log


def die_after(epoch):
    """End a run after an epoch, before its checkpoint."""

    def on_epoch(done, _):
        if done == epoch:
            raise KeyboardInterrupt

    return on_epoch


def test_a_run_from_the_start_starts_its_log_anew(tmp_path):
    write_log(tmp_path / "log.jsonl", [{"event": "epoch", "step": 4}])
    with pytest.raises(KeyboardInterrupt):
        tiny.train(tmp_path, tiny.PLAIN, on_epoch=die_after(0))
    assert [r["event"] for r in read_log(tmp_path)] == ["start"]
    assert not list(tmp_path.glob("*.part"))


def test_write_log(tmp_path):
    records = [{"event": "epoch", "step": 1, "name": "é \u2028"}]
    write_log(tmp_path / "log.jsonl", records)
    assert read_log(tmp_path) == records
