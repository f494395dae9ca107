"""Chapter 16: in which order the patches of an image go."""

import torch
from einops import rearrange
from torch import Tensor

from vitlib._checks import check_finite, check_images
from vitlib._shapes import check_shape
from vitlib.inspection.fills import replace_patches
from vitlib.inspection.targets import Target, scores
from vitlib.model import VisionTransformer


def patch_order(maps: Tensor, seed: int = 0) -> Tensor:
    """Rank patches, the most important first.

    Chapter 16. Equal values come in random order: in reading order, the
    upper left corner of a flat background would go first.

    Args:
        maps: (B, gh, gw), larger is more important.
        seed: of the order among equal values.

    Returns:
        int64 (B, N), each row a permutation of 0 to N - 1.

    Raises:
        ValueError: if a value is NaN or infinite.
    """
    check_shape("maps", maps, "B gh gw")
    check_finite(maps, "maps")
    values = rearrange(maps, "b gh gw -> b (gh gw)")
    shuffle = random_order(*values.shape, seed).to(maps.device)
    shuffled = values.gather(1, shuffle)
    ranks = shuffled.argsort(dim=1, descending=True, stable=True)
    return shuffle.gather(1, ranks)


def random_order(batch: int, patches: int, seed: int = 0) -> Tensor:
    """Draw one random order (B, N) an image: what any map has to beat."""
    if min(batch, patches) < 0:
        raise ValueError(
            f"batch and patches must be 0 or more; got {batch} and {patches}"
        )
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, patches, generator=generator).argsort(dim=1)


@torch.no_grad()
def greedy_order(
    model: VisionTransformer,
    images: Tensor,
    target: Target,
    fill: float | Tensor,
) -> Tensor:
    """Delete, again and again, the patch whose loss lowers the score most.

    Chapter 16. A control that asks the model itself, N (N + 1) / 2 passes
    over the batch: no map can be expected to do much better.

    Returns:
        (B, N), as patch_order does.

    Raises:
        ValueError: if a score is NaN or infinite.
    """
    check_images(images)
    B, (gh, gw) = len(images), model.config.grid_size
    N = gh * gw
    gone = torch.zeros(B, N, dtype=torch.bool, device=images.device)
    order, rows = [], torch.arange(B, device=images.device)
    for _ in range(N):
        # the patches that are left, (B, N - step)
        left = rearrange((~gone).nonzero()[:, 1], "(b n) -> b n", b=B)
        tried = []
        for patch in left.unbind(dim=1):
            mask = gone.clone()
            mask[rows, patch] = True
            mask = rearrange(mask, "b (gh gw) -> b gh gw", gh=gh)
            without = replace_patches(images, fill, mask)
            tried.append(scores(model, without, target))
        found = torch.stack(tried, dim=1)
        check_finite(found, "scores")
        best = left[rows, found.argmin(dim=1)]
        gone[rows, best] = True
        order.append(best)
    return torch.stack(order, dim=1)
