"""Chapter 8: the images, as tensors of bytes in memory.

Fashion-MNIST: Xiao, Rasul, Vollgraf 2017 (arXiv:1708.07747). CIFAR-10:
Krizhevsky 2009, "Learning multiple layers of features from tiny images".
"""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from vitlib._checks import check_choice, pair
from vitlib._dataset import ImageDataset, normalize
from vitlib._download import Unpack, cache_folder, obtain
from vitlib._folder import image_folder
from vitlib._formats import read_cifar, read_idx, unpack
from vitlib._photographs import PHOTOGRAPHS, read_photograph
from vitlib._sources import (
    CIFAR10,
    CIFAR10_STATS,
    FASHION_MNIST,
    FASHION_MNIST_STATS,
    IMAGENET_STATS,
    Source,
    Statistics,
)

__all__ = [
    "CIFAR10_STATS",
    "FASHION_MNIST_STATS",
    "IMAGENET_STATS",
    "PHOTOGRAPHS",
    "ImageDataset",
    "Statistics",
    "image_folder",
    "load_cifar10",
    "load_fashion_mnist",
    "load_sample",
    "normalize",
    "photograph",
]

SAMPLE_FOLDER = Path(__file__).parent / "_data"
# Where Debian's package dataset-fashion-mnist puts its files.
SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")


def load_sample() -> tuple[ImageDataset, ImageDataset]:
    """Load the part of Fashion-MNIST that the package carries.

    Chapter 8. MIT licence, Zalando SE; `vitlib/_data/sample.json` says how
    `tools/make_sample.py` drew it.

    Returns:
        10,000 training and 2,000 test images, (B, 1, 28, 28), each class
        equally often, from the training and the test file respectively.
    """
    return _load_idx(SAMPLE_FOLDER, {})


def load_fashion_mnist(
    root: str | Path | None = None,
    *,
    download: bool = False,
    mirror: str | None = None,
) -> tuple[ImageDataset, ImageDataset]:
    """Load all of Fashion-MNIST, its content checked by SHA-256.

    Chapter 8.

    Args:
        root: folder with the four .gz files. None looks where Debian's
            dataset-fashion-mnist puts them, then in the cache.
        download: fetch missing files (30 MB) into root or the cache.
        mirror: base address of a server to use in place of the authors'.

    Returns:
        60,000 training and 10,000 test images, (B, 1, 28, 28).

    Raises:
        FileNotFoundError: names the folders and the files they lack.
        ValueError: names a damaged file.
        OSError: if a download fails, or the disk is full.
    """
    if root:
        folders = [Path(root)]
    else:
        folders = [SYSTEM_FOLDER, cache_folder() / "fashion-mnist"]
    folder = _obtain(FASHION_MNIST, folders, download, mirror)
    return _load_idx(folder, FASHION_MNIST.files)


def load_cifar10(
    root: str | Path | None = None,
    *,
    download: bool = False,
    mirror: str | None = None,
) -> tuple[ImageDataset, ImageDataset]:
    """Load CIFAR-10, its content checked by SHA-256.

    Chapter 10. The binary version: it holds no pickle, which could run code.

    Args:
        root: folder with the six .bin files, or with the folder
            cifar-10-batches-bin that holds them. None looks in the cache.
        download: fetch the archive (170 MB) and unpack the six files.
        mirror: base address of a server to use in place of the authors'.

    Returns:
        50,000 training and 10,000 test images, (B, 3, 32, 32).

    Raises:
        FileNotFoundError: names the folders and the files they lack.
        ValueError: names a damaged file.
        OSError: if a download fails, or the disk is full.
    """
    own = Path(root) if root else cache_folder()
    folders = [own, own / "cifar-10-batches-bin"]
    take = partial(unpack, names=CIFAR10.files)
    folder = _obtain(CIFAR10, folders, download, mirror, take)
    parts = {
        name: read_cifar(folder / name, len(CIFAR10.classes), sha256)
        for name, sha256 in CIFAR10.files.items()
    }
    test = _dataset([parts.pop("test_batch.bin")], CIFAR10)
    return _dataset(parts.values(), CIFAR10), test


def photograph(name: str, size: int | tuple[int, int] = 224) -> Tensor:
    """Read a photograph that scikit-image or scikit-learn carries.

    Chapter 2. Resized with antialiasing to cover the size, the middle cut
    out. `PHOTOGRAPHS[name].credit` names author and licence for the page.

    Args:
        name: a key of PHOTOGRAPHS.
        size: H = W in pixels, or (H, W).

    Returns:
        uint8 (3, H, W).

    Raises:
        ValueError: if the name is unknown; lists the known ones.
        ImportError: if the package that carries it is not installed.
    """
    check_choice("photograph", name, PHOTOGRAPHS)
    return read_photograph(PHOTOGRAPHS[name], pair(size, "size"))


def _obtain(
    source: Source,
    folders: list[Path],
    download: bool,
    mirror: str | None,
    take: Unpack | None = None,
) -> Path:
    """The folder that holds the source's files, fetched if wanted."""
    urls = (mirror.rstrip("/") + "/",) if mirror else source.urls
    return obtain(
        source.title,
        source.hint,
        source.files,
        source.downloads,
        urls if download else (),
        [folder.expanduser() for folder in folders],
        take,
    )


def _load_idx(
    folder: Path, sums: dict[str, str]
) -> tuple[ImageDataset, ImageDataset]:
    """Read training and test split of Fashion-MNIST or its sample."""
    classes = len(FASHION_MNIST.classes)
    train, test = (
        _dataset([read_idx(folder, split, classes, sums)], FASHION_MNIST)
        for split in ("train", "t10k")
    )
    return train, test


def _dataset(
    parts: Iterable[tuple[Tensor, Tensor]], source: Source
) -> ImageDataset:
    """Join files of one split."""
    images, labels = zip(*parts, strict=True)
    return ImageDataset(
        torch.cat(images), torch.cat(labels).long(), source.classes
    )
