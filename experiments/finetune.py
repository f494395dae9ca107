"""Chapter 11: the book's model on digits, from few images.

    .venv/bin/python experiments/finetune.py

It knows ten kinds of clothing. scikit-learn's 1,797 digits (UCI, 8x8 pixels,
here 28x28) are new classes. Three arms: all weights trained from those of
the book, from a fresh start with as many steps, and with four times as many;
beside them a linear probe on frozen features, fresh ones too, and the nearest
neighbour in pixels. The rate of each arm is chosen on 200 digits that no arm
sees, with the first seed. Writes results/finetune.json.
"""

import machine
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from vitlib import VisionTransformer
from vitlib.data import normalize
from vitlib.pretrained import load

SIZES, SEEDS, RATES = (50, 200), (0, 1, 2), (3e-4, 1e-3, 3e-3)
STEPS, BATCH = 120, 50


def digits() -> tuple[Tensor, Tensor, list[Tensor]]:
    """Images (B, 1, 28, 28), labels, indices to choose from, held, test."""
    bunch = load_digits()
    images = torch.tensor(bunch.images)[:, None].float() * (255 / 16)
    images = functional.interpolate(images, size=28, mode="bilinear")
    labels = torch.tensor(bunch.target)
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(labels), generator=generator)
    return images.round().byte(), labels, list(order.split([1097, 200, 500]))


def balanced(labels: Tensor, pool: Tensor, size: int, seed: int) -> Tensor:
    """Draw as many images of each class."""
    generator = torch.Generator().manual_seed(seed)
    pool = pool[torch.randperm(len(pool), generator=generator)]
    parts = [pool[labels[pool] == k][: size // 10] for k in range(10)]
    return torch.cat(parts)


def make(arm: str, seed: int) -> VisionTransformer:
    """The model before the first step."""
    torch.manual_seed(seed)
    model, _ = load("book", num_classes=0)
    if arm != "fine-tuned":
        model = VisionTransformer(model.config)
    model.head = nn.Linear(model.config.embed_dim, 10)
    nn.init.zeros_(model.head.weight)
    nn.init.zeros_(model.head.bias)
    return model


def train(
    model: nn.Module, x: Tensor, y: Tensor, lr: float, steps: int, seed: int
) -> None:
    """AdamW with warm-up and cosine; batches drawn with replacement."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, steps, pct_start=0.1
    )
    model.train()
    for _ in range(steps):
        pick = torch.randint(len(x), (BATCH,), generator=generator)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(x[pick])
        loss = functional.cross_entropy(logits.float(), y[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of images classified rightly."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = model.eval()(x)
    return (logits.argmax(dim=1) == y).float().mean().item()


def probe(model: nn.Module, x: Tensor, y: Tensor, test: tuple) -> float:
    """Ridge regression from features to classes; the ridge is fixed."""
    model.head = nn.Identity()
    with torch.no_grad():
        features, others = model.eval()(x), model(test[0])
    mean, std = features.mean(0), features.std(0) + 1e-6
    a, b = ((f - mean) / std for f in (features, others))
    gram = a @ a.T + len(a) * torch.eye(len(a))
    target = functional.one_hot(y, 10).float() - 0.1
    scores = b @ (a.T @ torch.linalg.solve(gram, target))
    return (scores.argmax(dim=1) == test[1]).float().mean().item()


def main() -> None:
    """Run all arms and write after each."""
    torch.set_num_threads(1)
    images, labels, (pool, held, test) = digits()
    x = normalize(images, [images.float().mean() / 255], [0.353])
    held, test = ((x[i], labels[i]) for i in (held, test))
    arms = {"fine-tuned": 1, "from scratch": 1, "from scratch, 4x steps": 4}
    results: dict = {
        "about": "Share of 500 digits classified rightly, after training on "
        "few; 1,797 digits of scikit-learn, 28x28.",
        "machine": machine.describe(),
        "sizes": SIZES,
        "seeds": SEEDS,
        "rates": RATES,
        "steps": STEPS,
        "batch": BATCH,
        "arms": {},
        "frozen": {},
    }
    for size in SIZES:
        for seed in SEEDS:
            pick = balanced(labels, pool, size, seed)
            few = x[pick], labels[pick]
            found = {
                name: probe(make(arm, seed), *few, test)
                for name, arm in (
                    ("linear probe, the book's features", "fine-tuned"),
                    ("linear probe, fresh features", "from scratch"),
                )
            }
            near = torch.cdist(test[0].flatten(1), few[0].flatten(1))
            guess = few[1][near.argmin(dim=1)]
            hit = (guess == test[1]).float().mean().item()
            for name, value in (found | {"nearest pixels": hit}).items():
                rows = results["frozen"].setdefault(name, {})
                rows.setdefault(str(size), []).append(value)
    for arm, factor in arms.items():
        for size in SIZES if factor == 1 else SIZES[-1:]:
            row = {"held_out": {}, "test": [], "best_lr": None}
            results["arms"].setdefault(arm, {})[str(size)] = row
            for seed in SEEDS:
                pick = balanced(labels, pool, size, seed)
                few, scores = (x[pick], labels[pick]), {}
                for lr in RATES if row["best_lr"] is None else row["tried"]:
                    model = make(arm, seed)
                    train(model, *few, lr, STEPS * factor, seed)
                    scores[lr] = accuracy(model, *held), accuracy(model, *test)
                if row["best_lr"] is None:
                    row["held_out"] = {str(k): v[0] for k, v in scores.items()}
                    row["best_lr"] = max(scores, key=lambda lr: scores[lr][0])
                    row["tried"] = [row["best_lr"]]
                row["test"].append(scores[row["best_lr"]][1])
                machine.save("finetune", results)
                print(arm, size, seed, scores, flush=True)


if __name__ == "__main__":
    main()
