"""Chapter 16: does a map depend on what the model has learned?

Adebayo et al. 2018 (arXiv:1810.03292), section 3: the test by randomised
weights.
"""

from collections.abc import Iterator
from copy import deepcopy

import torch
from einops import rearrange, reduce
from torch import Tensor

from vitlib._checks import check_finite, check_tensor
from vitlib.model import VisionTransformer


@torch.no_grad()
def cascade(
    model: VisionTransformer, seed: int = 0
) -> Iterator[tuple[str, VisionTransformer]]:
    """Destroy a model's weights from the top down, one step at a time.

    Chapter 16. Adebayo et al. 2018, "cascading randomization".

    Differs: the values of each tensor are shuffled in place of drawn anew,
    so that their scale stays. (This book's heads start at zero, and then
    nothing would have a gradient.)

    Args:
        model: stays as it is.
        seed: of the shuffles.

    Yields:
        What was destroyed last, "head", then "layer L" down to "layer 1",
        then "embedding"; and a copy of the model with all of that and what
        came before destroyed.
    """
    generator = torch.Generator().manual_seed(seed)
    depth = len(model.blocks)
    steps = {"head": ("head.", "pre_logits.", "norm.")}
    for i in reversed(range(depth)):
        steps[f"layer {i + 1}"] = (f"blocks.{i}.",)
    steps["embedding"] = ("patch_embed.", "cls_token", "pos_embed")
    for name, prefixes in steps.items():
        model = deepcopy(model)
        for key, parameter in model.named_parameters():
            if key.startswith(prefixes):
                order = torch.randperm(parameter.numel(), generator=generator)
                flat = parameter.flatten()[order.to(parameter.device)]
                parameter.copy_(flat.unflatten(0, parameter.shape))
        yield name, model


def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Compare how two maps of an image rank its patches: Spearman's rho.

    Chapter 16. Equal values share the mean of their ranks; a map without
    any differences ranks nothing, and its correlation is 0.

    Args:
        first: (B, gh, gw).
        second: (B, gh, gw).

    Returns:
        (B,), from -1 to 1, in float64.

    Raises:
        ValueError: if a value is NaN or infinite, or the shapes differ.
    """
    check_tensor(first=first, second=second)
    if first.shape != second.shape or first.ndim != 3:
        raise ValueError(
            "maps must both be (B, gh, gw); got shapes "
            f"{tuple(first.shape)} and {tuple(second.shape)}"
        )
    check_finite(first, "maps")
    check_finite(second, "maps")
    a, b = _centred_ranks(first), _centred_ranks(second)
    length = a.norm(dim=1) * b.norm(dim=1)
    return (a * b).sum(dim=1) / length.clamp(min=1e-12)


def _centred_ranks(maps: Tensor) -> Tensor:
    """The number of smaller less larger values, (B, N): twice the rank."""
    flat = rearrange(maps, "b gh gw -> b (gh gw)").double()
    difference = flat[:, :, None] - flat[:, None]
    return reduce(difference.sign(), "b i j -> b i", "sum")
