"""Chapter 15: attention rollout, the weights of all layers multiplied.

Abnar & Zuidema 2020 (arXiv:2005.00928), section 3; Dosovitskiy et al. 2021
(arXiv:2010.11929), Appendix D.8 and Figure 6.
"""

import functools
from collections.abc import Iterable

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from vitlib._checks import check_choice, check_tensor, check_type, pair
from vitlib.inspection._weights import check_weights

FUSIONS = {"mean": torch.add, "max": torch.maximum, "min": torch.minimum}
UPSAMPLING = ("nearest", "bilinear", "bicubic")


def layer_matrix(
    weights: Tensor,
    residual: float = 0.5,
    fuse: str = "mean",
    like: Tensor | None = None,
) -> Tensor:
    """Join a layer's heads, and add the branch that goes past them.

    Chapter 15. A = 0.5 W + 0.5 I for the mean W over heads: the residual
    connection hands each token on beside what attention adds.

    Args:
        weights: (B, h, T, T) of one layer.
        residual: share of the identity, 0 to 1.
        fuse: how heads are joined. "mean" is the papers'; "max" and "min"
            are not, and their rows are scaled to sum to 1 (where the least
            of all heads is 0 in a whole row, the token keeps itself).
        like: another layer's matrix, whose B, T and device it must share.

    Returns:
        (B, T, T), rows summing to 1.

    Raises:
        ValueError: if these are no weights, or an option is unknown.
    """
    check_choice("fuse", fuse, FUSIONS)
    if not 0 <= residual <= 1:
        raise ValueError(f"residual must lie in [0, 1]; got {residual!r}")
    heads = check_weights(weights, like).unbind(dim=1)
    matrix = functools.reduce(FUSIONS[fuse], heads)  # (B, T, T)
    sums = matrix.sum(dim=-1, keepdim=True)
    # scaled to sum to 1 the sum over heads is their mean
    matrix = matrix * torch.where(sums > 0, (1 - residual) / sums, 0)
    own = torch.where(sums > 0, residual, torch.ones_like(sums))
    matrix.diagonal(dim1=-2, dim2=-1).add_(own[..., 0])
    return matrix


class Rollout:
    """Multiplies layers as they come: give it to stream.

    Chapter 15.

    Args:
        residual: see layer_matrix.
        fuse: see layer_matrix.
        skip: first layers to leave out. With one or more the result is no
            longer the papers' rollout.

    Attributes:
        result: (B, T, T), None before the first layer. Row i says how much
            of token i comes from each input token; rows sum to 1.
    """

    def __init__(
        self, residual: float = 0.5, fuse: str = "mean", skip: int = 0
    ) -> None:
        if type(skip) is not int or skip < 0:
            raise ValueError(f"skip must be 0 or more; got {skip!r}")
        check_type("residual", residual, float)
        self.how, self.skip = (residual, fuse), skip
        self.layers, self.result = 0, None

    def __call__(self, weights: Tensor) -> None:
        """Multiply the next layer's weights (B, h, T, T) from the left."""
        self.layers += 1
        if self.layers <= self.skip:
            return
        below = self.result
        matrix = layer_matrix(weights, *self.how, like=below)
        with torch.autocast(matrix.device.type, enabled=False):
            self.result = matrix if below is None else matrix @ below


def rollout(
    weights: Iterable[Tensor],
    residual: float = 0.5,
    fuse: str = "mean",
    skip: int = 0,
) -> Tensor:
    """Follow attention from the last layer down to the input tokens.

    Chapter 15. Abnar & Zuidema 2020: A_L ... A_1, with A of layer_matrix.
    It assumes that a layer hands on half of itself, and that values do not
    matter; with the residual added elsewhere (post-norm) or weighted
    otherwise it is as rough.

    Args:
        weights: of each layer from the first on, (B, h, T, T).
        residual: see layer_matrix.
        fuse: see layer_matrix.
        skip: see Rollout.

    Returns:
        (B, T, T): row i says how much of token i comes from each input
        token; rows sum to 1. vitlib.inspection.class_map reads it.

    Raises:
        ValueError: if a layer is missing or does not fit the others, or
            none is left.
    """
    rolled = Rollout(residual, fuse, skip)
    for layer in weights:
        rolled(layer)
    if rolled.result is None:
        raise ValueError(
            "rollout needs a layer that is not left out; got "
            f"{rolled.layers} layers, skip={skip}"
        )
    return rolled.result


def upsample(
    maps: Tensor, size: tuple[int, int], mode: str = "nearest"
) -> Tensor:
    """Stretch maps of patches to pixels.

    Chapter 15. "nearest" shows what was measured, one value a patch. The
    others look finer than the measurement is.

    Args:
        maps: (B, gh, gw), floating point.
        size: (H, W), in pixels.
        mode: "nearest", "bilinear" or "bicubic", the last two with
            half-pixel centres.

    Returns:
        (B, H, W).

    Raises:
        ValueError: if the maps are no batch of grids, or the mode is
            unknown.
    """
    check_choice("mode", mode, UPSAMPLING)
    size = pair(size, "size")
    check_tensor(maps=maps)
    if maps.ndim != 3 or not maps.is_floating_point() or not maps.numel():
        raise ValueError(
            "maps must be (B, gh, gw), floating point; got shape "
            f"{tuple(maps.shape)}, {maps.dtype}"
        )
    maps = rearrange(maps, "b gh gw -> b 1 gh gw")
    return functional.interpolate(maps, size=size, mode=mode)[:, 0]
