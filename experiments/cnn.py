"""The small CNN on all of Fashion-MNIST, by the clock of the book's model.

    .venv/bin/python experiments/cnn.py

Data, augmentation, epochs and looks at the 5,000 held-out images as in
experiments/reference.py; only the optimizer is the one that suits it, AdamW.
A finished seed is written at once and not run again. Chapter 8. Writes
results/cnn.json.
"""

import json
from dataclasses import asdict, replace
from time import process_time

import torch
from machine import RESULTS, describe, keep_memory, save
from reference import RECIPE as BOOK
from study import SEEDS, load, test_accuracy

from vitlib.baselines import SmallCNN
from vitlib.train import fit

RECIPE = replace(BOOK, optimizer="adamw", lr=3e-3)
MINUTES = 13  # of one core, a seed


def train(seed: int) -> dict:
    """One seed: accuracy at the end, and after each epoch with its time."""
    config = replace(RECIPE, seed=seed)
    images, held_out, _ = load()
    minutes, start = {}, process_time()

    def note(epoch: int, _: torch.nn.Module) -> None:
        minutes[epoch] = round((process_time() - start) / 60, 3)

    torch.manual_seed(seed)
    model = SmallCNN()
    log = fit(model, (images, held_out), config, on_epoch=note)
    epochs = [record for record in log if record["event"] == "epoch"]
    return {
        "seed": seed,
        "held_out": epochs[-1]["accuracy"],
        **test_accuracy(model, config),
        "cpu_minutes": minutes[config.epochs],
        "curve": [
            {
                "epoch": r["epoch"],
                "cpu_minutes": minutes[r["epoch"]],
                "held_out": r["accuracy"],
            }
            for r in epochs
        ],
    }


def main() -> None:
    """Train the seeds that are missing."""
    keep_memory()
    torch.set_num_threads(1)
    config = json.loads(json.dumps(asdict(RECIPE)))
    path = RESULTS / "cnn.json"
    old = json.loads(path.read_text("utf-8")) if path.exists() else {}
    runs = old["seeds"] if old.get("config") == config else []
    left = [seed for seed in SEEDS if seed not in [r["seed"] for r in runs]]
    print(f"about {MINUTES * len(left)} minutes of one core")
    for seed in left:
        runs.append(train(seed))
        save(
            "cnn",
            {
                "about": "SmallCNN trained from scratch on Fashion-MNIST; "
                "shares of 1, minutes of one core",
                "machine": describe(),
                "parameters": sum(p.numel() for p in SmallCNN().parameters()),
                "config": config,
                "seeds": runs,
            },
        )


if __name__ == "__main__":
    main()
