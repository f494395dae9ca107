"""Chapters 8 and 10: data, model and file that a command line names."""

import os
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from vitlib._checks import pair
from vitlib._options import given
from vitlib._sources import CIFAR10, FASHION_MNIST
from vitlib.checkpoint import DamagedError
from vitlib.config import VARIANTS, ViTConfig
from vitlib.data import (
    CIFAR10_STATS,
    FASHION_MNIST_STATS,
    ImageDataset,
    Statistics,
    load_cifar10,
    load_fashion_mnist,
    load_sample,
)
from vitlib.distributed import wait_for_all
from vitlib.model import VisionTransformer
from vitlib.weights import BOOK_WEIGHTS, load_model

Pair = tuple[ImageDataset, ImageDataset]


class Known(NamedTuple):
    """A data set: how it is loaded, normalised and shaped."""

    load: Callable[..., Pair]
    stats: Statistics
    classes: tuple[str, ...]
    shape: dict[str, int]


GREY = {"img_size": 28, "in_chans": 1, "num_classes": 10}
COLOUR = {"img_size": 32, "in_chans": 3, "num_classes": 10}
CLOTHES = FASHION_MNIST.classes
KNOWN = {
    "sample": Known(
        lambda root, **_: load_sample(), FASHION_MNIST_STATS, CLOTHES, GREY
    ),
    "fashion-mnist": Known(
        load_fashion_mnist, FASHION_MNIST_STATS, CLOTHES, GREY
    ),
    "cifar10": Known(load_cifar10, CIFAR10_STATS, CIFAR10.classes, COLOUR),
}


@contextmanager
def reading() -> Iterator[None]:
    """Tell files that are not there, bad input, from damaged ones."""
    try:
        yield
    except FileNotFoundError as error:
        raise ValueError(str(error)) from error
    except ValueError as error:
        raise DamagedError(str(error)) from error


def load(args: Namespace, download: bool) -> Pair:
    """Load a data set; one process of a machine fetches, the others wait.

    Raises:
        ValueError: if its files are not there, or the sample's place is
            named, which is the package.
        DamagedError: if they are not what their authors published.
        OSError: if a download fails.
    """
    if args.data == "sample" and (args.root or args.mirror or download):
        raise ValueError(
            "--data sample lies in the package; --root, --download and "
            "--mirror are for fashion-mnist and cifar10"
        )
    first = os.environ.get("LOCAL_RANK", "0") == "0"
    if not first:
        wait_for_all()
    with reading():
        found = KNOWN[args.data].load(
            args.root, download=download, mirror=args.mirror
        )
    if first:
        wait_for_all()
    return found


def model_config(args: Namespace) -> tuple[ViTConfig, str]:
    """The model that is asked for, in the shape of the data.

    Returns:
        The configuration, and what of it the data decided, in words.

    Raises:
        ValueError: if a size is asked for that the images don't have.
    """
    shape, asked = KNOWN[args.data].shape, given(args, ViTConfig)
    for name, value in shape.items():
        if pair(asked.get(name, value), name) != pair(value, name):
            raise ValueError(
                f"{name} must be that of {args.data}, {value}; got "
                f"{asked[name]}"
            )
    variant = VARIANTS[args.model]
    try:
        config = replace(variant, **(asked | shape))
    except ValueError as error:
        raise ValueError(f"{args.model} on {args.data}: {error}") from error
    changed = {k: v for k, v in shape.items() if getattr(variant, k) != v}
    words = ", ".join(f"{name}={value}" for name, value in changed.items())
    return config, f"; from the data: {words}" if words else ""


def split(args: Namespace, train: ImageDataset, test: ImageDataset) -> Pair:
    """The images to train on, and those to look at after an epoch."""
    if args.images is not None and args.images != len(train):
        train = checked_split(train, args.images, "--images")[1]
    held_out = args.held_out
    if held_out is None:
        held_out = max(1, min(5000, len(train) // 10))
    if held_out == 0:
        return train, test
    return checked_split(train, held_out, "--held-out")


def checked_split(data: ImageDataset, count: int, flag: str) -> Pair:
    """Split, and name the flag where that cannot be done."""
    try:
        return data.split(count)
    except ValueError as error:
        raise ValueError(f"{flag}: {error}") from error


def read_model(
    file: str, data: str
) -> tuple[VisionTransformer, dict[str, Any]]:
    """Read the weights that a person names, and check that the data fit.

    Args:
        file: safetensors, the folder of a run, or "book".
        data: name of the data set.

    Returns:
        The model, and the notes of its file; mean and std are the data
        set's where it has none.

    Raises:
        ValueError: if there is no such file, or the data are of another
            shape or other classes.
    """
    path = BOOK_WEIGHTS if file == "book" else Path(file)
    if file == "book" and not path.is_file():
        raise ValueError(f"this vitlib carries no weights: no {path}")
    if path.is_dir():
        path /= "model.safetensors"
        if not path.is_file():
            raise ValueError(f"no {path}: train writes it when a run ends")
    with reading():
        model, notes = load_model(path)
    known, config = KNOWN[data], model.config
    for name, value in known.shape.items():
        own = getattr(config, name)
        if pair(own, name) != pair(value, name):
            raise ValueError(
                f"{file} and {data} do not fit: {name} is {own} in the "
                f"model, {value} in the data"
            )
    own, others = notes.get("classes"), list(known.classes)
    if own and own != others:
        raise ValueError(
            f"{file} and {data} do not fit: the model knows {', '.join(own)}"
        )
    return model, known.stats._asdict() | notes
