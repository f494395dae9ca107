"""The book's model on Fashion-MNIST, from scratch: reference results.

    .venv/bin/python experiments/reference.py --seed 0
    .venv/bin/python experiments/reference.py --long

Trains Book/4 on 55,000 images and looks at 5,000 others after every epoch;
the 10,000 test images are looked at once, at the end. Can be stopped and
started again. Every finished run goes into results/reference.json; the one
with the best held-out accuracy gives the weights that the package carries,
and the snapshots of results/snapshots.safetensors. The long run is three
times as long as a seed's and has what keeps it from learning by heart:
boxes of noise, mixed images, more stochastic depth.
"""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from time import process_time

import torch
from machine import RESULTS, describe, keep_memory, save
from model_card import model_card
from safetensors.torch import save_file
from study import HELD_OUT, load
from torch import Tensor, nn

from vitlib import VARIANTS, VisionTransformer, ViTConfig
from vitlib.data import normalize
from vitlib.inspection import attention_distance, stream
from vitlib.metrics import accuracy, calibration, confusion, wilson_interval
from vitlib.train import TrainConfig, fit, predict
from vitlib.weights import BOOK_WEIGHTS, load_model, save_model

MODEL = replace(VARIANTS["Book/4"], drop_path=0.05)
RECIPE = TrainConfig(
    epochs=20,
    optimizer="muon",
    lr=2e-3,
    weight_decay=0.05,
    ema=0.999,
    flip=True,
    crop=1,
)
LONG_MODEL = replace(MODEL, drop_path=0.1)
LONG = replace(RECIPE, epochs=60, crop=2, erasing=0.25, mixup=0.2, cutmix=0.5)
SNAPSHOTS = (0, 1, 3, 10)  # epochs, and the last
RUNS = Path(__file__).parents[1] / "runs" / "reference"


def attention_distances(model: VisionTransformer, images: Tensor) -> Tensor:
    """Mean distance in pixels that a patch looks, by layer and head: (L, h).

    Averaged over images; class token and self pair as the package does.
    """
    shape, found = (model.config.grid_size, model.config.patch_size), []
    stream(
        model, images, lambda w: found.append(attention_distance(w, *shape))
    )
    return torch.stack(found).mean(dim=1)


class Notes:
    """What is noted after each epoch, kept in a file of the run's folder."""

    def __init__(self, folder: Path, images: Tensor, last: int) -> None:
        self.path, self.images = folder / "notes.pt", images
        self.epochs = (*SNAPSHOTS, last)
        self.minutes: dict[int, float] = {}
        self.snapshots: dict[str, Tensor] = {}
        if self.path.exists():
            kept = torch.load(self.path, weights_only=True)
            self.minutes, self.snapshots = kept["minutes"], kept["snapshots"]
        self.before = max(self.minutes.values(), default=0.0)
        self.start = process_time()

    def __call__(self, epoch: int, model: nn.Module) -> None:
        """Note the time, and at some epochs what Part IV will look at."""
        minutes = self.before + (process_time() - self.start) / 60
        self.minutes[epoch] = round(minutes, 3)
        if epoch in self.epochs:
            kept = {
                "pos_embed": model.pos_embed,
                "filters": model.patch_embed.proj.weight,
            }
            kept["distances"] = attention_distances(model, self.images)
            for name, value in kept.items():
                copy = value.detach().half().clone()
                self.snapshots[f"epoch{epoch}.{name}"] = copy
        torch.save(
            {"minutes": self.minutes, "snapshots": self.snapshots}, self.path
        )


def train(folder: Path, shape: ViTConfig, config: TrainConfig) -> None:
    """One run, from where it stopped."""
    folder.mkdir(parents=True, exist_ok=True)
    images, held_out, test = load()
    look = held_out.subset(slice(0, 128))
    pixels = normalize(look.images, config.mean, config.std)
    notes = Notes(folder, pixels, config.epochs)
    torch.manual_seed(config.seed)
    model = VisionTransformer(shape)
    log = fit(model, (images, held_out), config, folder, on_epoch=notes)
    epochs = [r for r in log if r["event"] == "epoch"]
    if len(epochs) < config.epochs:  # stopped: the same call goes on
        return
    stats = {"mean": config.mean, "std": config.std}
    save_model(model, folder / "model.safetensors", **stats)
    logits = predict(model, test, **stats)
    share = accuracy(logits, test.labels)
    error, table = calibration(logits, test.labels)
    result = {
        "seed": config.seed,
        "held_out": epochs[-1]["accuracy"],
        "test": share,
        "interval": wilson_interval(share, len(test)),
        "calibration_error": error,
        "calibration": table.tolist(),
        "confusion": confusion(logits, test.labels).tolist(),
        "cpu_minutes": notes.minutes[config.epochs],
        "curve": [
            {
                "epoch": r["epoch"],
                "cpu_minutes": notes.minutes[r["epoch"]],
                "train_loss": r["train_loss"],
                "held_out": r["accuracy"],
                "held_out_loss": r["loss"],
            }
            for r in epochs
        ],
    }
    (folder / "result.json").write_text(json.dumps(result))


def collect() -> None:
    """Join the finished runs; ship the best by held-out accuracy.

    Runs of this recipe that results/reference.json holds already stay.
    """
    as_json = json.loads(
        json.dumps([asdict(c) for c in (MODEL, RECIPE, LONG_MODEL, LONG)])
    )
    path = RESULTS / "reference.json"
    old = json.loads(path.read_text("utf-8")) if path.exists() else {}
    same = [old.get("model"), old.get("config")] == as_json[:2]
    by_seed = {s["seed"]: s for s in (old["seeds"] if same else [])}
    for file in RUNS.glob("seed*/result.json"):
        found = json.loads(file.read_text())
        by_seed[found["seed"]] = found
    if not by_seed:
        return
    recipe = {"model": as_json[0], "config": as_json[1]}
    runs = {f"seed{seed}": by_seed[seed] | recipe for seed in sorted(by_seed)}
    long = old.get("long")
    if long and [long["model"], long["config"]] != as_json[2:]:
        long = None
    if (file := RUNS / "long" / "result.json").exists():
        more = {"model": as_json[2], "config": as_json[3]}
        long = json.loads(file.read_text()) | more
    if long:
        runs["long"] = long
    best = max(runs, key=lambda name: runs[name]["held_out"])
    train, _, test = load()
    if (RUNS / best / "result.json").exists():  # else it is shipped already
        ship(RUNS / best, runs[best], train.classes)
    half, stats = load_model(BOOK_WEIGHTS)
    logits = predict(half, test, stats["mean"], stats["std"])
    results = {
        "about": "Book/4 trained from scratch on Fashion-MNIST; shares "
        "of 1, minutes of one core",
        "machine": describe(),
        **recipe,
        "held_out_images": HELD_OUT,
        "seeds": [by_seed[seed] for seed in sorted(by_seed)],
        "long": long,
        "shipped": {"run": best, **runs[best]},
        "shipped_test_in_float16": accuracy(logits, test.labels),
    }
    save("reference", results)
    card = model_card(results, train.classes)
    BOOK_WEIGHTS.with_suffix(".md").write_text(card, encoding="utf-8")


def ship(folder: Path, run: dict, classes: tuple[str, ...]) -> None:
    """Put a run's weights into the package, its snapshots into results/."""
    model, stats = load_model(folder / "model.safetensors")
    about = {
        "mean": stats["mean"],
        "std": stats["std"],
        "classes": classes,
        "test_accuracy": run["test"],
        "seed": run["seed"],
        "data": "Fashion-MNIST (Zalando SE, MIT licence)",
    }
    save_model(model, BOOK_WEIGHTS, torch.float16, **about)
    notes = torch.load(folder / "notes.pt", weights_only=True)
    save_file(notes["snapshots"], RESULTS / "snapshots.safetensors")


def main() -> None:
    """Train one seed or the long run, then join what is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, help="without it: only join")
    parser.add_argument("--long", action="store_true", help="the long run")
    asked = parser.parse_args()
    keep_memory()
    torch.set_num_threads(1)
    run = None
    if asked.long:
        run = RUNS / "long", LONG_MODEL, LONG
    elif asked.seed is not None:
        config = replace(RECIPE, seed=asked.seed)
        run = RUNS / f"seed{asked.seed}", MODEL, config
    if run:
        steps = run[2].epochs * (55_000 // run[2].batch_size)
        print(f"{steps:,} steps, about {steps / 220:.0f} minutes of one core")
        train(*run)
    collect()


if __name__ == "__main__":
    main()
