"""How much of the bare training step is left in `fit`, and beside a peer.

    .venv-peers/bin/python experiments/throughput.py

Within each round four ways of training Book/4 in bf16 take turns, in an
order that rotates: `fit` with crops, flips, averaged weights, log and
evaluation of ten images; the bare step on a batch that never changes; and
what many scripts do: timm's model fed by torchvision's FashionMNIST through
a DataLoader with per-image transforms, without and with worker processes.
Also the peak memory of an epoch on all of Fashion-MNIST, in a fresh process.
Writes results/throughput.json.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from time import perf_counter

import torch
from machine import compare, describe, keep_memory, peak, save
from torch.nn.functional import cross_entropy

from vitlib import create_model
from vitlib.data import FASHION_MNIST_STATS, load_fashion_mnist, normalize
from vitlib.train import TrainConfig, fit

BATCH_SIZE = 128
STEPS = 160  # of the book's ways; a run starts and saves once in as many
PEER_STEPS = 40
RECIPE = TrainConfig(
    epochs=1,
    batch_size=BATCH_SIZE,
    warmup_epochs=0.1,
    flip=True,
    crop=1,
    ema=0.999,
    precision="bf16",
)
MEAN, STD = FASHION_MNIST_STATS


def with_fit() -> Callable[[], None]:
    """The book's engine, everything that it does for a run included."""
    train, test = load_fashion_mnist()
    data = (
        train.subset(slice(0, STEPS * BATCH_SIZE)),
        test.subset(slice(0, 10)),
    )
    model = create_model("Book/4")

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            fit(model, data, RECIPE, folder, quiet=True)

    return run


def bare_step() -> Callable[[], None]:
    """Forward, backward, update; the batch lies ready."""
    train, _ = load_fashion_mnist()
    images = normalize(train.images[:BATCH_SIZE], MEAN, STD)
    labels = train.labels[:BATCH_SIZE]
    model = create_model("Book/4").train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def run() -> None:
        for _ in range(STEPS):
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(images)
            cross_entropy(logits.float(), labels).backward()
            optimizer.step()
            optimizer.zero_grad()

    return run


def usual_script(workers: int) -> Callable[[], None]:
    """Timm's ViT and torchvision's data, an image at a time."""
    from peers import PEERS
    from PIL import Image
    from torchvision import transforms as T

    from vitlib import VARIANTS

    train, _ = load_fashion_mnist()

    class PerImage(torch.utils.data.Dataset):
        """What torchvision.datasets.FashionMNIST does for an image."""

        def __init__(self) -> None:
            self.images, self.labels = train.images[:, 0], train.labels
            self.transform = T.Compose(
                [
                    T.RandomCrop(28, padding=1),
                    T.RandomHorizontalFlip(),
                    T.ToTensor(),
                    T.Normalize(MEAN, STD),
                ]
            )

        def __len__(self) -> int:
            return PEER_STEPS * BATCH_SIZE

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            image = Image.fromarray(self.images[index].numpy())
            return self.transform(image), int(self.labels[index])

    loader = torch.utils.data.DataLoader(
        PerImage(),
        BATCH_SIZE,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    model = PEERS["timm"](VARIANTS["Book/4"]).train()
    optimizer = torch.optim.AdamW(model.parameters())

    def run() -> None:
        for images, labels in loader:
            with torch.autocast("cpu", torch.bfloat16):
                loss = cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


WAYS: dict[str, Callable[[], Callable[[], None]]] = {
    "fit": with_fit,
    "bare step": bare_step,
    "timm, DataLoader": lambda: usual_script(workers=0),
    "timm, DataLoader, 2 workers": lambda: usual_script(workers=2),
}


def print_peak_memory() -> None:
    """Train an epoch on all images; run in a fresh process (Linux)."""
    fit(create_model("Book/4"), load_fashion_mnist(), RECIPE, quiet=True)
    print(peak() // 1024)


def main() -> None:
    """Take turns, then measure memory, then write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", action="store_true", help="only MB")
    args = parser.parse_args()
    if args.memory:
        print_peak_memory()
        return
    keep_memory()
    print(f"about {args.rounds * len(WAYS) * 20 / 60 + 3:.0f} minutes")
    ways = {name: make() for name, make in WAYS.items()}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for turn in range(args.rounds + 1):  # the first warms up
        for name in names[turn % 4 :] + names[: turn % 4]:
            start = perf_counter()
            ways[name]()
            steps = PEER_STEPS if "timm" in name else STEPS
            rate = steps * BATCH_SIZE / (perf_counter() - start)
            rates[name] += [rate] if turn else []
    rows = compare(rates, "fit")
    for name, row in rows.items():
        print(name, row, flush=True)
    command = [sys.executable, __file__, "--memory"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    results = {
        "about": "training images per second of Book/4 in bf16, batch 128; "
        "fit_to_this: median ratio of rounds; MB: peak of an epoch on all "
        "60,000 images in a fresh process",
        "machine": describe(),
        "rounds": args.rounds,
        "ways": rows,
        "peak_MB": int(done.stdout.split()[-1]),
    }
    print(save("throughput", results))


if __name__ == "__main__":
    main()
