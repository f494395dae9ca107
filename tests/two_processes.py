"""What two processes of torchrun do, beside what one process did.

    torchrun --nproc_per_node 2 tests/two_processes.py FOLDER check
    torchrun --nproc_per_node 2 tests/two_processes.py FOLDER train
    torchrun --nproc_per_node 2 tests/two_processes.py FOLDER die

"check" leaves in FOLDER/results.json a number or an error for each check;
"train" takes long; in "die" the second process kills itself.
"""

import json
import os
import signal
import sys
import time
import traceback
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path
from unittest.mock import patch

import torch
from tiny_run import CPU, FULL, PLAIN, images, model, restored, tensors, train
from torch import distributed

from vitlib.distributed import process_group
from vitlib.log import Log
from vitlib.train import evaluate
from vitlib.trainer import Trainer

AVERAGE = replace(PLAIN, ema=0.9)
RECIPES = {
    "adamw": PLAIN,
    "parts": replace(PLAIN, accumulate=2, clip_grad=0.0),
    "clip": replace(PLAIN, clip_grad=0.01),
    "average": AVERAGE,
    "muon": replace(PLAIN, optimizer="muon", ema=0.9),
}
PARTS = ("adamw", "parts")  # an update in one part, and in two
COUNTS = (33, 1, 501)  # odd; fewer than processes; one beyond a full batch
WAYS = {"ddp": False, "fsdp": True}


@contextmanager
def in_float32():
    """Muon multiplies in bfloat16, which rounds by the order of products."""
    to = torch.Tensor.to

    def wide(tensor, *args, **named):
        if named.get("dtype") is torch.bfloat16:  # Muon of PyTorch 2.15
            named["dtype"] = torch.float32
        return to(tensor, *args, **named)

    with (
        patch.object(torch.Tensor, "bfloat16", torch.Tensor.float),
        patch.object(torch.Tensor, "to", wide),
    ):
        yield


def whole(value):
    """A tensor, with all its parts."""
    return getattr(value, "full_tensor", value.detach)().clone()


def gradients(config):
    """Gradients of the first update, before they are clipped or used."""
    config = replace(config, clip_grad=0.0)
    trainer = Trainer(model(0.0), images(), config, CPU)
    for optimizer in trainer.optimizers:
        optimizer.step = optimizer.zero_grad = lambda *_: None
    trainer.update(*trainer.batch())
    return {k: whole(p.grad) for k, p in trainer.model.named_parameters()}


def few_steps(config):
    """All tensors after three updates."""
    trainer = Trainer(model(0.0), images(), config, CPU)
    for _ in range(3):
        trainer.update(*trainer.batch())
    return tensors(trainer)


def scores(count):
    """What the untrained model scores on so many images."""
    return evaluate(model(), images(count), PLAIN.mean, PLAIN.std)


def alone(folder):
    """What one process computes, for the others to compare with."""
    result = {"scores": {count: scores(count) for count in COUNTS}}
    for name, config in RECIPES.items():
        if name in PARTS:
            result[f"gradients {name}"] = gradients(config)
        result[f"steps {name}"] = few_steps(config)
        weights, log = train(folder / "one" / name, config, 0.0)
        result[f"trained {name}"] = weights
        result[f"log {name}"] = log
    torch.save(result, folder / "alone.pt")
    return result


def worst(found, expected):
    """Largest difference between tensors of the same names."""
    assert found.keys() == expected.keys()
    gaps = [float((found[k] - expected[k]).abs().max()) for k in found]
    return max(gaps)


def stop_second(done, _):
    """The second process gets SIGTERM after the first epoch."""
    if done == 1 and distributed.get_rank() == 1:
        os.kill(os.getpid(), signal.SIGTERM)


def shares(_, __):
    """Images that are seen twice in an epoch, or never."""
    data = images()
    data.images[:, 0, 0, 0] = torch.arange(len(data), dtype=torch.uint8)
    trainer = Trainer(model(), data, PLAIN, CPU)
    wrong = 0
    for step in range(trainer.total_steps):
        trainer.step = step
        mine = trainer.batch()[0][:, 0, 0, 0].tolist()
        every = [None, None]
        distributed.all_gather_object(every, mine)
        seen = every[0] + every[1]
        wrong += len(every[0]) != len(every[1])
        if step % trainer.steps_per_epoch == 0:
            epoch = []
        epoch += seen
        if step % trainer.steps_per_epoch == trainer.steps_per_epoch - 1:
            wrong += sorted(epoch) != list(range(64))
        trainer.rank, trainer.world = 0, 1
        batch = trainer.batch()[0][:, 0, 0, 0].tolist()
        wrong += sorted(seen) != sorted(batch)
        trainer.rank, trainer.world = distributed.get_rank(), 2
    return wrong


def counted(one, _):
    """Evaluations that differ from those of one process."""
    wrong = 0
    for count, expected in one["scores"].items():
        found = scores(count)
        wrong += found["accuracy"] != expected["accuracy"]
        wrong += found["images"] != count
        wrong += abs(found["loss"] - expected["loss"]) > 1e-6
    return wrong


def logged(one, folder):
    """Losses of the log beside those of one process."""
    _, log = train(folder / "log", PLAIN, 0.0)
    pairs = zip(log, one["log adamw"], strict=True)
    return max(
        abs(mine[key] - other[key])
        for mine, other in pairs
        for key in ("train_loss", "loss", "accuracy")
        if key in other
    )


def stopped(_, folder):
    """A signal to one stops both; resumed, nothing differs by a bit."""
    unbroken, log = train(folder / "a", FULL)
    assert [r["event"] for r in log] == ["start", "epoch", "epoch", "end"]
    _, log = train(folder / "b", FULL, on_epoch=stop_second)
    assert (log[-1]["event"], log[-1]["step"]) == ("stopped", 4)
    again, log = train(folder / "b", FULL)
    assert sum(r["event"] == "epoch" for r in log) == 2
    first = tensors(restored(folder / "a"))
    second = tensors(restored(folder / "b"))
    return max(worst(again, unbroken), worst(first, second))


def not_finite(_, __):
    """A loss that is infinite in one process ends both at its step."""
    trainer = Trainer(model(), images(), PLAIN, CPU)
    bad = float("inf") if distributed.get_rank() == 1 else 1.0
    log = Log(None, trainer, quiet=True)
    for loss in (1.0, bad, 1.0):
        trainer.step += 1
        log.step(torch.tensor(loss))
    try:
        log.check_finite()
    except FloatingPointError as error:
        return 0 if "at step 2 " in str(error) else str(error)
    return "not noticed"


def gradients_of(name, fsdp):
    """Gradients beside those of one process."""
    config = replace(RECIPES[name], fsdp=fsdp)
    return lambda one, _: worst(gradients(config), one[f"gradients {name}"])


def steps_of(name, fsdp):
    """Tensors after a few updates beside those of one process."""
    config = replace(RECIPES[name], fsdp=fsdp)
    return lambda one, _: worst(few_steps(config), one[f"steps {name}"])


def moved(name, first, second):
    """A run that stops under one engine and goes on under another."""

    def check(one, folder):
        start = replace(RECIPES[name], fsdp=WAYS.get(first, False))
        then = replace(RECIPES[name], fsdp=WAYS[second])
        if first != "one":
            train(folder, start, 0.0, on_epoch=stop_second)
        before = restored(folder, start, 0.0)
        after = restored(folder, then, 0.0)
        assert before.step == after.step == 4
        assert worst(tensors(before), tensors(after)) == 0
        weights, _ = train(folder, then, 0.0)
        assert all(type(value) is torch.Tensor for value in weights.values())
        return worst(weights, one[f"trained {name}"])

    return check


CHECKS = {
    "shares": shares,
    "scores": counted,
    "log": logged,
    "stopped": stopped,
    "not finite": not_finite,
}
for recipe, way in product(PARTS, WAYS):
    CHECKS[f"gradients {recipe} {way}"] = gradients_of(recipe, WAYS[way])
for recipe, way in product(RECIPES, WAYS):
    CHECKS[f"steps {recipe} {way}"] = steps_of(recipe, WAYS[way])
for recipe, way in product(("average", "muon"), WAYS):
    if recipe in RECIPES:
        other = "fsdp" if way == "ddp" else "ddp"
        CHECKS[f"{recipe} {way} {other}"] = moved(recipe, way, other)
        CHECKS[f"{recipe} one {way}"] = moved(recipe, "one", way)


def main(folder, what):
    """Do what is asked."""
    torch.set_num_threads(1)
    if what == "check":
        one = torch.load(folder / "alone.pt", weights_only=False)
        results = {}
        with process_group(CPU) as (rank, _), in_float32():
            for name, check in CHECKS.items():
                try:
                    results[name] = check(one, folder / name)
                except Exception:
                    results[name] = traceback.format_exc()
                distributed.barrier()
            (folder / f"results-{rank}.json").write_text(json.dumps(results))
        return

    def on_epoch(done, _):
        if what == "train":
            time.sleep(0.3)
        elif done == 2 and os.environ["RANK"] == "1":
            (folder / "died").write_text(str(time.time()))
            os.kill(os.getpid(), signal.SIGKILL)

    config = replace(PLAIN, epochs=100 if what == "train" else 4)
    train(folder, config, 0.0, on_epoch=on_epoch, quiet=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
