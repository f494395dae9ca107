"""Labelled images as one pair of tensors, and their normalisation.

Rank 0: imports nothing from the package.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Labelled images, whole in memory.

    Attributes:
        images: uint8 (B, C, H, W), values 0 to 255.
        labels: int64 (B,), values 0 to K - 1.
        classes: the K names.

    Raises:
        ValueError: if shapes, dtypes or labels do not fit together.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check that the three fit together."""
        images, labels = self.images, self.labels
        if images.ndim != 4 or images.dtype != torch.uint8 or not len(images):
            raise ValueError(
                "images must be uint8 (B, C, H, W) with B of at least 1; got "
                f"{images.dtype} {tuple(images.shape)}"
            )
        if labels.shape != images.shape[:1] or labels.dtype != torch.int64:
            raise ValueError(
                f"labels must be int64 ({len(images)},), one an image; got "
                f"{labels.dtype} {tuple(labels.shape)}"
            )
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= len(self.classes):
            raise ValueError(
                f"labels must lie in 0 to {len(self.classes) - 1}, one for "
                f"each class; got {low} to {high}"
            )

    def __len__(self) -> int:
        """The number of images, B."""
        return len(self.images)

    def __repr__(self) -> str:
        """Shape and classes, not values."""
        shape = tuple(self.images.shape)
        return f"ImageDataset(images {shape}, {len(self.classes)} classes)"

    def subset(self, index: Tensor | slice | Sequence[int]) -> "ImageDataset":
        """The images at these places, with their labels.

        Raises:
            ValueError: if there is no image at one of them.
        """
        try:
            if not isinstance(index, slice):
                index = torch.as_tensor(index)
            images, labels = self.images[index], self.labels[index]
        except (IndexError, TypeError, ValueError) as error:
            raise ValueError(
                f"index must choose among {len(self)} images, by place or "
                f"by True and False: {error}"
            ) from error
        return ImageDataset(images, labels, self.classes)

    def fingerprint(self) -> str:
        """First 16 digits of a SHA-256 over images, labels and classes."""
        digest = hashlib.sha256(
            repr((self.images.shape, self.classes)).encode()
        )
        for tensor in (self.images, self.labels):
            digest.update(tensor.cpu().contiguous().numpy())
        return digest.hexdigest()[:16]

    def split(
        self, count: int, seed: int = 0
    ) -> tuple["ImageDataset", "ImageDataset"]:
        """Hold some images out of training, each class by its share.

        Args:
            count: how many to hold out.
            seed: of the draw.

        Returns:
            The others, and those held out. Within a class the order is
            random; in every stretch each class has its share.

        Raises:
            ValueError: unless count is whole and 0 < count < B.
        """
        if type(count) is not int or not 0 < count < len(self):
            raise ValueError(
                f"count must lie between 0 and {len(self)}, the number of "
                f"images, and be whole; got {count}"
            )
        order = torch.from_numpy(
            np.random.default_rng(seed).permutation(len(self))
        )
        # the share that precedes an image within its class; sorted by it,
        # every stretch holds every class by its share
        hot = functional.one_hot(self.labels[order], len(self.classes))
        place = (hot.cumsum(dim=0) * hot).sum(dim=1) - 0.5
        place /= hot.sum(dim=0)[self.labels[order]]
        order = order[place.argsort(stable=True)]
        return self.subset(order[count:]), self.subset(order[:count])

    def to(self, device: torch.device | str) -> "ImageDataset":
        """The same images on another device."""
        images, labels = self.images.to(device), self.labels.to(device)
        return ImageDataset(images, labels, self.classes)


def normalize(
    images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]
) -> Tensor:
    """Turn bytes into floats of about zero mean and unit variance.

    Chapter 8. Works on the device the images are on; a batch at a time
    keeps the data set itself in bytes.

    Args:
        images: uint8 (B, C, H, W), 0 to 255.
        mean: C values for pixels from 0 to 1, as in IMAGENET_STATS.
        std: C positive values, likewise.

    Returns:
        float32 (B, C, H, W): (images / 255 - mean) / std.

    Raises:
        ValueError: if the images are not bytes, or C differs.
    """
    shape = tuple(images.shape)
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise ValueError(
            "images must be uint8 (B, C, H, W), not yet normalised; got "
            f"{images.dtype} {shape}"
        )
    fits = len(mean) == len(std) == shape[1] > 0
    # beyond these float32 would make 0 or infinity of something
    fits = fits and all(abs(value) < 1e15 for value in (*mean, *std))
    if not fits or min(std) < 1e-15:
        raise ValueError(
            f"mean and std must hold one value for each of {shape[1]} "
            "channels, less than 1e15, std at least 1e-15; got "
            f"mean={mean}, std={std}"
        )
    stats = torch.tensor([mean, std], device=images.device)
    centre, scale = rearrange(stats, "two c -> two c 1 1")  # (C, 1, 1) each
    return images.float().div_(255).sub_(centre).div_(scale)
