import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vitlib.distributed import (
    collect_gradients,
    in_any_process,
    parallelize,
    process_group,
    total,
    wait_for_all,
)
from vitlib.records import read_log

HERE = Path(__file__).parent
if not torch.distributed.is_available():
    pytest.skip("this PyTorch has no torch.distributed", True)


def load(name):
    """Import a file beside this one."""
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


tiny, two = load("tiny_run"), load("two_processes")


def torchrun(folder, what):
    """Start the script with two processes."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run"),
            *("--standalone", "--nproc_per_node", "2"),
            *(str(HERE / "two_processes.py"), str(folder), what),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ
        | {"PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"},
    )


def stop(done, _):
    """Stop the run after its first epoch."""
    if done == 1:
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What one process computes, then what two find beside it."""
    folder = tmp_path_factory.mktemp("two")
    with two.in_float32():
        two.alone(folder)
        for name in ("average", "muon"):
            if name in two.RECIPES:
                stopped, config = folder / name, two.RECIPES[name]
                tiny.train(stopped, config, 0.0, on_epoch=stop)
                for way in two.WAYS:
                    shutil.copytree(stopped, folder / f"{name} one {way}")
    for attempt in range(2):
        copy = shutil.copytree(folder, folder.with_name(f"two {attempt}"))
        job = torchrun(copy, "check")
        said, _ = job.communicate(timeout=300)
        # A thread of gloo's crashed inside malloc in one of 17 runs of this:
        # PyTorch's fault, and no answer to what is asked here.
        if "SIGSEGV" not in said:
            break
    assert job.returncode == 0, said
    return copy


EXACT = ("shares", "scores", "stopped", "not finite")


@pytest.mark.slow
@pytest.mark.parametrize("check", two.CHECKS)
def test_two_processes_are_one(check, folder):
    for rank in (0, 1):
        results = json.loads((folder / f"results-{rank}.json").read_text())
        found = results[check]
        assert not isinstance(found, str), found
        limit = 0 if check in EXACT else 1e-5
        assert found <= limit


@pytest.mark.slow
@pytest.mark.parametrize("name", ["average ddp fsdp", "average fsdp ddp"])
def test_one_process_reads_what_two_wrote(name, folder):
    one = torch.load(folder / "alone.pt", weights_only=False)
    found = tiny.tensors(tiny.restored(folder / name, two.AVERAGE, 0.0))
    average = {
        key.removeprefix("average."): value
        for key, value in found.items()
        if key.startswith("average.")
    }
    assert two.worst(average, one["trained average"]) <= 1e-5


@pytest.mark.slow
def test_a_killed_process_ends_the_job_and_the_run_resumes(tmp_path):
    job = torchrun(tmp_path, "die")
    said, _ = job.communicate(timeout=300)
    died = float((tmp_path / "died").read_text())
    assert time.time() - died < 60
    assert job.returncode != 0
    assert "Signal 9 (SIGKILL)" in said
    assert "rank      : 1" in said
    config = replace(tiny.PLAIN, epochs=4)
    assert tiny.restored(tmp_path, config, 0.0).step == 4  # two wrote it
    weights, log = tiny.train(tmp_path, config, 0.0)
    assert [r["epoch"] for r in log if r["event"] == "epoch"] == [1, 2, 3, 4]
    whole, _ = tiny.train(None, config, 0.0)
    assert two.worst(weights, whole) <= 1e-5


@pytest.mark.slow
def test_a_terminated_job_saves_and_resumes(tmp_path):
    job = torchrun(tmp_path, "train")
    while job.poll() is None and not list(tmp_path.glob("step-*[0-9]")):
        time.sleep(0.05)
    job.send_signal(signal.SIGTERM)
    said, _ = job.communicate(timeout=300)
    assert job.returncode != 0
    assert said.count("stopped after step ") == 1
    step = int(said.split("stopped after step ")[1].split(";")[0])
    trainer = tiny.restored(tmp_path, replace(tiny.PLAIN, epochs=100), 0.0)
    assert trainer.step == step
    last = read_log(tmp_path)[-1]
    assert last == {"event": "stopped", "step": step, "signal": 15}


# Without torchrun


def test_alone_nothing_is_sent():
    x = torch.ones(3)
    assert total(x) is x
    assert in_any_process(True, tiny.CPU)
    assert not in_any_process(False, tiny.CPU)
    assert wait_for_all() is None
    model = tiny.model()
    assert parallelize(model, tiny.CPU, fsdp=False) is model
    with process_group(tiny.CPU) as found, collect_gradients(model, False):
        assert found == (0, 1)


def test_fsdp_needs_torchrun():
    with pytest.raises(ValueError, match="fsdp=True needs torchrun"):
        tiny.train(None, replace(tiny.PLAIN, fsdp=True))


def test_processes_must_share_a_batch(monkeypatch):
    monkeypatch.setattr("vitlib.trainer.rank_and_world", lambda: (0, 3))
    with pytest.raises(ValueError, match=r"3 \* 1, batch_size=16"):
        tiny.train(None, tiny.PLAIN)
