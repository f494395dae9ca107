"""Chapter 12: what the patch projection reads from a patch.

Dosovitskiy et al. 2021 (arXiv:2010.11929), section 4.5 and Figure 7, left.
"""

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from vitlib._checks import check_finite, check_positive
from vitlib._shapes import check_floating, check_shape


class Components(NamedTuple):
    """Principal components, the one with the largest variance first.

    Attributes:
        pictures: (K, C, P, P), orthonormal as rows of C*P*P values.
        explained: (K,), each one's share of the variance; they sum to 1.
    """

    pictures: Tensor
    explained: Tensor


def principal_components(rows: Tensor, in_chans: int) -> Components:
    """Find the directions in which filters differ most from one another.

    Chapter 12. Dosovitskiy et al. 2021, Figure 7, left. The mean filter is
    taken away first, as PCA does (and as every LayerNorm of the encoder
    does, which takes away a token's mean over its D values). The sign of a
    component means nothing: here its largest value is positive.

    Args:
        rows: (D, C*P*P), the filters, patch_embed.proj.weight; or patches
            of images, as patchify flattens them, for comparison.
        in_chans: C.

    Returns:
        K = min(D - 1, C*P*P) components, in float64.

    Raises:
        ValueError: if rows are not of that shape, not finite or all alike.
    """
    size = _patch_size(rows, in_chans)
    check_finite(rows, "filters")
    rows = rows.double()
    rows = rows / rows.abs().max().clamp(min=1e-300)  # their squares fit
    centred = rows - rows.mean(dim=0)
    _, values, basis = torch.linalg.svd(centred, full_matrices=False)
    keep = min(len(rows) - 1, rows.shape[1])
    variance, basis = values[:keep].square(), basis[:keep]  # (K, C*P*P)
    if variance.sum() <= 1e-24 * rows.square().sum():
        raise ValueError("the filters are all alike: nothing varies")
    peak = basis.gather(1, basis.abs().argmax(dim=1, keepdim=True))
    basis = basis * peak.sign()
    pictures = rearrange(
        basis, "k (c ph pw) -> k c ph pw", ph=size, pw=size
    )  # (K, C, P, P)
    return Components(pictures, variance / variance.sum())


def shuffled_filters(weight: Tensor, seed: int = 0) -> Tensor:
    """Shuffle the values of each filter: the control of Figure 7, left.

    Chapter 12. Each filter keeps its values and loses their arrangement.

    Args:
        weight: (D, C*P*P).
        seed: of the shuffle.

    Returns:
        (D, C*P*P).
    """
    check_shape("weight", weight, "D values")
    generator = torch.Generator().manual_seed(seed)
    keys = torch.rand(weight.shape, generator=generator).to(weight.device)
    return weight.gather(1, keys.argsort(dim=1))


def component_pictures(pictures: Tensor) -> Tensor:
    """Bring components to the values of a picture, 0 to 1.

    Chapter 12. Zero is mid-grey; three times the root mean square of a
    component, 3 / sqrt(C*P*P), is full colour, and more is cut off. The
    scale is the same for every component, so that none looks louder.

    Args:
        pictures: (K, C, P, P), of unit length each.

    Returns:
        (K, C, P, P), from 0 to 1.
    """
    check_shape("pictures", pictures, "K C P P")
    size = pictures.shape[1:].numel()
    return (0.5 + pictures * size**0.5 / 6).clamp(0, 1)


def subspace_overlap(first: Tensor, second: Tensor) -> float:
    """Say how much of one subspace lies in another, 0 to 1.

    Chapter 12. The mean squared cosine of the principal angles; for a
    random first subspace it is j / (C*P*P) on average.

    Args:
        first: (k, C, P, P), orthonormal components.
        second: (j, C, P, P), orthonormal components, j >= k.

    Raises:
        ValueError: if j < k, the sizes differ, or either is not orthonormal.
    """
    bases = []
    for pictures in (first, second):
        check_shape("components", pictures, "k C P P")
        check_floating(components=pictures)
        check_positive(components=len(pictures))
        flat = rearrange(pictures, "k c ph pw -> k (c ph pw)").double()
        identity = torch.eye(len(flat), dtype=flat.dtype, device=flat.device)
        if not torch.allclose(flat @ flat.mT, identity, atol=1e-4):
            raise ValueError("components must be orthonormal; these are not")
        bases.append(flat)
    if first.shape[1:] != second.shape[1:] or len(first) > len(second):
        raise ValueError(
            "need k components, and j >= k of the same size; got "
            f"{tuple(first.shape)} and {tuple(second.shape)}"
        )
    return float((bases[0] @ bases[1].mT).square().sum() / len(first))


def _patch_size(rows: Tensor, in_chans: int) -> int:
    """The side P of square patches, from rows of C*P*P values."""
    check_positive(in_chans=in_chans)
    check_floating(filters=rows)
    size = 0
    if rows.ndim == 2:
        size = round((rows.shape[1] / in_chans) ** 0.5)
    if not size or in_chans * size**2 != rows.shape[1] or len(rows) < 2:
        raise ValueError(
            "filters must be (D, C*P*P) with D of at least 2; got shape "
            f"{tuple(rows.shape)} with C={in_chans}"
        )
    return size
