"""Checks of input, rank 0: each message states the rule and the values."""

from collections.abc import Collection
from numbers import Real

import torch
from torch import Tensor

from vitlib._shapes import check_tensor


def pair(value: int | tuple[int, int], name: str) -> tuple[int, int]:
    """Read a side, or (height, width), as two positive integers.

    Raises:
        ValueError: if either side is not a positive integer.
    """
    sides = value if isinstance(value, tuple | list) else (value, value)
    whole = all(type(side) is int and side > 0 for side in sides)
    if len(sides) != 2 or not whole:
        raise ValueError(
            f"{name} must be a positive integer or a pair of them "
            f"(height, width); got {value!r}"
        )
    return sides[0], sides[1]


def check_positive(**values: int) -> None:
    """Refuse anything but whole numbers of at least one.

    Raises:
        ValueError: names the first offender and its value.
    """
    for name, value in values.items():
        if type(value) is not int or value < 1:
            raise ValueError(
                f"{name} must be a positive integer; got {value!r}"
            )


def check_probability(**values: float) -> None:
    """Refuse a rate outside 0 <= rate < 1.

    Raises:
        ValueError: names the first offender and its value.
    """
    for name, value in values.items():
        if not (isinstance(value, Real) and 0 <= value < 1):
            raise ValueError(f"{name} must lie in [0, 1); got {value!r}")


def check_type(name: str, value: object, kind: type) -> None:
    """Refuse a value of another type than the field's default has.

    A whole number will do for a float; True and False are no numbers.

    Raises:
        ValueError: says what it must be.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is tuple:
        fine = isinstance(value, tuple | list) and bool(value)
        for item in value if fine else ():
            check_type(f"each value of {name}", item, float)
    else:
        fine = number if kind is float else type(value) is kind
    if not fine:
        words = {
            bool: "True or False",
            float: "a number",
            int: "an integer",
            str: "a string",
            tuple: "a tuple of numbers",
        }
        raise ValueError(f"{name} must be {words[kind]}; got {value!r}")


def check_choice(name: str, value: str, known: Collection[str]) -> None:
    """Refuse a name that is not among the known ones.

    Raises:
        ValueError: lists the known names.
    """
    if not isinstance(value, str) or value not in known:
        raise ValueError(
            f"unknown {name} {value!r}; known: {', '.join(known)}"
        )


def check_heads(embed_dim: int, num_heads: int) -> None:
    """Refuse a width that does not split into equal heads.

    Raises:
        ValueError: gives both numbers.
    """
    check_positive(embed_dim=embed_dim, num_heads=num_heads)
    if embed_dim % num_heads:
        raise ValueError(
            "num_heads must divide embed_dim; got "
            f"embed_dim={embed_dim}, num_heads={num_heads}"
        )


def hidden_width(embed_dim: int, mlp_ratio: float) -> int:
    """Width of an MLP's hidden layer, in whole components.

    Raises:
        ValueError: if there is not one, or no end of them.
    """
    if not 1 <= embed_dim * mlp_ratio < float("inf"):
        raise ValueError(
            "mlp_ratio * embed_dim must be at least 1; got "
            f"{mlp_ratio} * {embed_dim}"
        )
    return int(embed_dim * mlp_ratio)


def check_deviation(**values: float) -> None:
    """Refuse what is no standard deviation.

    Raises:
        ValueError: names the first offender and its value.
    """
    for name, value in values.items():
        if not (isinstance(value, Real) and 0 <= value < 1e30):
            raise ValueError(f"{name} must be >= 0 and finite; got {value!r}")


def check_patches(height: int, width: int, patch_size: int) -> None:
    """Refuse a patch size that leaves part of the image uncovered.

    Raises:
        ValueError: gives H, W and P.
    """
    check_positive(H=height, W=width, patch_size=patch_size)
    if height % patch_size or width % patch_size:
        raise ValueError(
            "patch_size must divide the image's height and width; got "
            f"H={height}, W={width}, P={patch_size}"
        )


def check_images(
    images: Tensor,
    in_chans: int | None = None,
    img_size: tuple[int, int] | None = None,
) -> None:
    """Refuse what is not a non-empty batch of float images.

    Args:
        images: what should be (B, C, H, W).
        in_chans: C the model was built for, or None for any.
        img_size: (H, W) the model was built for, or None for any.

    Raises:
        ValueError: gives the shape or dtype found and the one expected.
    """
    check_tensor(images=images)
    shape = tuple(images.shape)
    if images.ndim != 4:
        raise ValueError(f"images must be (B, C, H, W); got shape {shape}")
    if not images.is_floating_point():
        raise ValueError(
            f"images must be floating point; got {images.dtype}: convert "
            "and normalise them first (vitlib.data.normalize)"
        )
    if images.numel() == 0:
        raise ValueError(f"images must not be empty; got shape {shape}")
    if in_chans is not None and shape[1] != in_chans:
        raise ValueError(
            f"the model takes {in_chans} channels; got images with "
            f"{shape[1]}, shape {shape}"
        )
    if img_size is not None and shape[2:] != img_size:
        raise ValueError(
            f"the model takes images of {img_size[0]}x{img_size[1]} pixels; "
            f"got {shape[2]}x{shape[3]}: resize the images, or take "
            f"model.resized(({shape[2]}, {shape[3]}))"
        )


def check_finite(x: Tensor, name: str) -> None:
    """Refuse NaN and infinities.

    Raises:
        ValueError: counts them.
    """
    bad = int((~torch.isfinite(x)).sum())
    if bad:
        raise ValueError(
            f"{name} must be finite; {bad} of {x.numel()} values are NaN "
            "or infinite"
        )
