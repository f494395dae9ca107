"""Chapter 16: does a map rank the patches as the model does?

Deletion and insertion: Petsiuk, Das, Saenko 2018 (arXiv:1806.07421).
"""

from collections.abc import Sequence
from itertools import pairwise
from operator import index

import torch
from einops import rearrange, repeat
from torch import Tensor

from vitlib._checks import (
    check_finite,
    check_images,
    check_positive,
    check_tensor,
)
from vitlib.inspection.fills import replace_patches
from vitlib.inspection.targets import Target, scores
from vitlib.model import VisionTransformer


@torch.no_grad()
def deletion(
    model: VisionTransformer,
    images: Tensor,
    order: Tensor,
    target: Target,
    fill: float | Tensor,
    counts: Sequence[int],
) -> Tensor:
    """Follow the score while patches are replaced, the first ones first.

    Chapter 16. Petsiuk et al. 2018, section 3.2. One pass over the batch
    for each count.

    Differs: whole patches in place of pixels.

    Args:
        model: its mode is restored.
        images: (B, C, H, W), normalised.
        order: (B, N), see patch_order.
        target: see scores; Petsiuk et al. take the probability of the class
            predicted for the intact image.
        fill: what replaces a patch, broadcast to the images.
        counts: how many patches are gone, from 0 to N.

    Returns:
        (B, S), one score a count. A map that finds what the score rests on
        makes it fall early.

    Raises:
        ValueError: if order or counts do not fit the images.
    """
    gh, gw = model.config.grid_size
    counts = _check(order, images, gh * gw, counts)
    places = torch.arange(gh * gw, device=order.device).expand_as(order)
    rank = torch.empty_like(order).scatter_(1, order, places)
    rank = rearrange(rank, "b (gh gw) -> b gh gw", gh=gh)
    steps = [
        scores(model, replace_patches(images, fill, rank < count), target)
        for count in counts
    ]
    return torch.stack(steps, dim=1)  # (B, S)


def insertion(
    model: VisionTransformer,
    images: Tensor,
    order: Tensor,
    target: Target,
    fill: float | Tensor,
    counts: Sequence[int],
) -> Tensor:
    """Follow the score while patches come back, the first ones first.

    Chapter 16. The image with k patches back is the image with the other
    N - k gone: insertion is the deletion of the reverse order, read from
    its end. Arguments as in deletion; counts say how many are back.

    Differs: Petsiuk et al. delete to grey and insert into a blurred image;
    here the fill is named, so that the two can be compared.

    Returns:
        (B, S), one score a count. A good map makes it rise early.
    """
    counts = _check(order, images, model.config.num_patches, counts)
    gone = [order.shape[1] - count for count in counts]
    return deletion(model, images, order.flip(1), target, fill, gone)


def area(curves: Tensor, counts: Sequence[int]) -> Tensor:
    """Area under curves (B, S) over the share of patches: (B,).

    Chapter 16. Trapezoids; counts must rise from 0 to N.
    """
    check_tensor(curves=curves)
    rising = all(a < b for a, b in pairwise(counts))
    fits = curves.ndim == 2 and curves.shape[1] == len(counts) > 1
    if not (fits and rising and counts[0] == 0):
        raise ValueError(
            f"curves of shape {tuple(curves.shape)} need as many counts, "
            f"rising from 0 to N; got {list(counts)}"
        )
    x = torch.tensor(counts, dtype=torch.float64, device=curves.device)
    return torch.trapezoid(curves.double(), x / x[-1], dim=1)


def bootstrap(
    values: Tensor, draws: int = 10_000, seed: int = 0
) -> tuple[float, float, float]:
    """Give a mean and its 95 % interval over images.

    Chapter 16. Efron 1979: percentiles of the means of samples drawn with
    replacement. For two methods on the same images, pass the differences.
    With a handful of images it is too narrow.

    Args:
        values: (B,), one an image.
        draws: samples.
        seed: of the samples.

    Returns:
        Mean, lower and upper end.
    """
    check_positive(draws=draws)
    check_tensor(values=values)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(
            "the bootstrap needs one value for each of 2 or more images; "
            f"got shape {tuple(values.shape)}"
        )
    check_finite(values, "values")
    values = values.double().cpu()
    generator = torch.Generator().manual_seed(seed)
    size = (draws, len(values))
    drawn = torch.randint(len(values), size, generator=generator)
    ends = torch.tensor([0.025, 0.975], dtype=torch.float64)
    low, high = values[drawn].mean(dim=1).quantile(ends)
    return float(values.mean()), float(low), float(high)


def _check(
    order: Tensor, images: Tensor, patches: int, counts: Sequence[int]
) -> list[int]:
    """Refuse an order that is no permutation; list counts in range."""
    check_images(images)
    check_tensor(order=order)
    full = repeat(torch.arange(patches), "n -> b n", b=len(images))
    fits = order.shape == full.shape and order.dtype == full.dtype
    if not fits or not order.sort()[0].cpu().equal(full):
        raise ValueError(
            f"order must hold a permutation of {patches} patches for each of "
            f"{len(images)} images, in int64; got shape {tuple(order.shape)}, "
            f"{order.dtype}"
        )
    try:
        found = [index(count) for count in counts]
    except TypeError:
        found = []
    if not found or min(found) < 0 or max(found) > patches:
        raise ValueError(
            f"counts must be whole and lie between 0 and {patches}, the "
            f"number of patches; got {found or counts}"
        )
    return found
