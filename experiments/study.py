"""What all studies share: arms, seeds, tuned learning rates, resumption.

A study compares arms. Every arm gets the same number of updates, and its
own learning rate, chosen with seed 0 by accuracy on images held out of the
training set; the other seeds run at that one. The test set is looked at by
finished runs only, and chooses nothing.

Every run is written to results/<study>.json when it ends, and a study that
was stopped goes on with the runs it lacks.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from time import process_time

import torch
from machine import RESULTS, describe, keep_memory, save
from torch import nn

from vitlib import VARIANTS, VisionTransformer
from vitlib.baselines import SmallCNN
from vitlib.data import ImageDataset, load_fashion_mnist
from vitlib.train import TrainConfig, evaluate, fit

# Half the width and two thirds of the depth of the book's model:
# a run takes about a minute on one core.
SMALL = replace(VARIANTS["Book/4"], embed_dim=64, depth=4)
SEEDS = (0, 1, 2)
HELD_OUT = 5000


@cache
def load() -> tuple[ImageDataset, ImageDataset, ImageDataset]:
    """Fashion-MNIST: 55,000 images to train on, 5,000 held out, the test."""
    train, test = load_fashion_mnist()
    train, held_out = train.split(HELD_OUT)
    return train, held_out, test


@dataclass(frozen=True)
class Arm:
    """One thing to compare.

    Attributes:
        model: makes it, freshly drawn.
        config: its recipe; lr and seed are set by the study.
        lrs: learning rates to choose from.
        images: training images it gets, the first of the 55,000.
        constant: whether the rate stays at its peak.
    """

    model: Callable[[], nn.Module]
    config: TrainConfig
    lrs: tuple[float, ...]
    images: int = 55_000
    constant: bool = False


def vit(**overrides: object) -> Callable[[], nn.Module]:
    """The studies' ViT, with some fields changed."""
    return lambda: VisionTransformer(replace(SMALL, **overrides))


def cnn() -> nn.Module:
    """The studies' CNN."""
    return SmallCNN(width=16)


def recipe(steps: int, images: int = 55_000, **fields: object) -> TrainConfig:
    """A plain recipe of about so many updates, a twentieth of it warm-up."""
    batch_size = int(fields.pop("batch_size", 128))
    epochs = max(1, round(steps / (images // batch_size)))
    plain = {"warmup_epochs": epochs / 20, "label_smoothing": 0.0}
    return TrainConfig(
        epochs=epochs,
        batch_size=batch_size,
        evaluate_every=epochs,
        **(plain | fields),
    )


def test_accuracy(model: nn.Module, config: TrainConfig) -> dict[str, float]:
    """Accuracy on the 10,000 test images."""
    scores = evaluate(model, load()[2], config.mean, config.std)
    return {"test": round(scores["accuracy"], 5)}


Measure = Callable[[nn.Module, TrainConfig], dict]


def train_once(arm: Arm, lr: float, seed: int, measure: Measure) -> dict:
    """One run, from drawing the weights to its numbers."""
    start = process_time()
    torch.manual_seed(seed)
    model = arm.model()
    floor = lr if arm.constant else lr / 100
    config = replace(arm.config, lr=lr, seed=seed, min_lr=floor)
    train, held_out, _ = load()
    train = train.subset(slice(0, arm.images))
    try:
        end = fit(model, (train, held_out), config, quiet=True)[-2]
    except FloatingPointError as error:
        return {"lr": lr, "seed": seed, "held_out": 0.0, "error": str(error)}
    return {
        "lr": lr,
        "seed": seed,
        "held_out": end["accuracy"],
        "train_loss": end["train_loss"],
        **measure(model, config),
        "cpu_minutes": round((process_time() - start) / 60, 2),
    }


def best_lr(runs: list[dict], lrs: tuple[float, ...]) -> float | None:
    """The rate with the best held-out accuracy at seed 0, if all have run."""
    first = {run["lr"]: run["held_out"] for run in runs if run["seed"] == 0}
    if not set(lrs) <= set(first):
        return None
    return max(lrs, key=lambda lr: first[lr])


def pending(runs: list[dict], arm: Arm, seeds: tuple, full: bool) -> list:
    """The (lr, seed) that an arm still lacks, as far as is known."""
    done = {(run["lr"], run["seed"]) for run in runs}
    if full:
        wanted = [(lr, seed) for seed in seeds for lr in arm.lrs]
    else:
        best = best_lr(runs, arm.lrs)
        wanted = [(lr, 0) for lr in arm.lrs]
        wanted += [(best, seed) for seed in seeds[1:] if best is not None]
    return [pair for pair in wanted if pair not in done]


def announce(
    arms: dict[str, Arm], runs: dict, seeds: tuple, full: bool
) -> None:
    """Print what the study will cost before it starts."""
    seconds, count = 0.0, 0
    train, held_out, _ = load()
    for name, arm in arms.items():
        choices = len(arm.lrs)
        each = choices * len(seeds) if full else choices + len(seeds) - 1
        size = arm.config.batch_size
        trial = replace(arm.config, epochs=1, warmup_epochs=0)
        few = train.subset(slice(0, 8 * size)), held_out.subset(slice(0, 10))
        start = process_time()
        fit(arm.model(), few, trial, quiet=True)
        step = (process_time() - start) / 8
        left = each - len(runs[name])
        seconds += left * step * arm.config.epochs * (arm.images // size)
        count += left
    print(f"{count} runs to go, about {seconds / 60:.0f} minutes of one core")


def run_study(
    name: str,
    arms: dict[str, Arm],
    seeds: tuple[int, ...] = SEEDS,
    full: bool = False,
    measure: Measure = test_accuracy,
    about: str = "",
) -> None:
    """Run what is missing and write it.

    Args:
        name: of the study, and of its file.
        arms: what is compared.
        seeds: the first of them chooses the learning rates.
        full: whether every learning rate gets every seed.
        measure: what to note of a trained model.
        about: what the numbers are.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--cost", action="store_true", help="print it only")
    only_cost = parser.parse_args().cost
    keep_memory()
    torch.set_num_threads(1)
    path = RESULTS / f"{name}.json"
    old = json.loads(path.read_text("utf-8")) if path.exists() else {}
    configs = {key: asdict(arm.config) for key, arm in arms.items()}
    configs = json.loads(json.dumps(configs))
    before = old.get("arms", {})
    runs = {
        key: before[key]["runs"]
        if before.get(key, {}).get("config") == configs[key]
        else []
        for key in arms
    }
    announce(arms, runs, seeds, full)
    if only_cost:
        return
    while True:
        todo = [
            (key, *pair)
            for key, arm in arms.items()
            for pair in pending(runs[key], arm, seeds, full)
        ]
        if not todo:
            break
        # seed by seed, so that a stopped study compares what it has
        key, lr, seed = min(todo, key=lambda item: item[2])
        run = train_once(arms[key], lr, seed, measure)
        runs[key].append(run)
        print(key, run, f"({len(todo) - 1} known to go)", flush=True)
        results = {
            "about": about,
            "machine": describe(),
            "seeds": list(seeds),
            "arms": {
                key: {
                    "images": arm.images,
                    "lrs": list(arm.lrs),
                    "best_lr": best_lr(runs[key], arm.lrs),
                    "config": configs[key],
                    "runs": runs[key],
                }
                for key, arm in arms.items()
            },
        }
        save(name, results)
