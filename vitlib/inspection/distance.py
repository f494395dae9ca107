"""Chapter 14: how far a head looks, in pixels.

Dosovitskiy et al. 2021 (arXiv:2010.11929), section 4.5, Figure 7 (right) and
Figure 11: the distance between a query's pixel and all others, averaged with
the attention weights. What happens to the class token and to a patch's
attention to itself the paper does not say; here both are arguments.
"""

import torch
from torch import Tensor

from vitlib._checks import check_choice, check_positive, pair
from vitlib.inspection._weights import check_weights, prefix_of

CLASS_TOKEN = ("renormalise", "ignore")


def grid_gaps(
    grid_size: tuple[int, int], device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Count the rows and columns between all patches, (N, N) each."""
    rows, columns = (torch.arange(n, device=device) for n in grid_size)
    places = torch.cartesian_prod(rows, columns)  # (N, 2)
    down, across = (
        (place[:, None] - place[None]).abs() for place in places.unbind(dim=1)
    )
    return down, across


def pixel_distances(grid_size: tuple[int, int], patch_size: int) -> Tensor:
    """Measure the distances between the centres of all patches.

    Chapter 14.

    Args:
        grid_size: (gh, gw), in patches.
        patch_size: P, in pixels.

    Returns:
        (N, N) in pixels, float64.
    """
    check_positive(patch_size=patch_size)
    down, across = grid_gaps(pair(grid_size, "grid_size"))
    return torch.hypot(down.double(), across.double()) * patch_size


def uniform_distance(
    grid_size: tuple[int, int], patch_size: int, include_self: bool = True
) -> float:
    """Give the mean attention distance of a head that looks everywhere alike.

    Chapter 14. What every map of distances is to be compared with: 116.49
    pixels for patches of 16 on an image of 224.

    Args:
        grid_size: (gh, gw), in patches.
        patch_size: P, in pixels.
        include_self: whether a patch counts among those it looks at.

    Returns:
        Pixels.
    """
    pixels = pixel_distances(grid_size, patch_size)
    N = len(pixels)
    return float(pixels.sum() / (N * (N if include_self else max(N - 1, 1))))


def attention_distance(
    weights: Tensor,
    grid_size: tuple[int, int],
    patch_size: int,
    class_token: str = "renormalise",
    include_self: bool = True,
) -> Tensor:
    """Average the distance that patches look, by image and head.

    Chapter 14. Dosovitskiy et al. 2021, section 4.5, Figures 7 and 11. The
    class token has no place in the image: as a query it is left out.

    Args:
        weights: (B, h, T, T) of one layer.
        grid_size: (gh, gw), in patches.
        patch_size: P, in pixels.
        class_token: what becomes of the attention that patches pay to it:
            "renormalise" drops it and scales the rest of each row to sum to
            1; "ignore" counts it as a distance of 0, which understates.
            class_token_share gives its size.
        include_self: whether a patch's attention to itself counts, as a
            distance of 0; without it the rest is scaled to sum to 1.

    Returns:
        (B, h), in pixels, the mean over the query patches. A row that looks
        at the class token or itself alone has no distance and counts as 0.

    Raises:
        ValueError: if these are no weights, or the grid does not fit them.
    """
    check_choice("class_token", class_token, CLASS_TOKEN)
    weights = check_weights(weights)
    prefix = prefix_of(weights.shape[-1], pair(grid_size, "grid_size"))
    pixels = pixel_distances(grid_size, patch_size).to(weights)
    rows = weights[:, :, prefix:, prefix:]  # (B, h, N, N)
    # image by image: no second tensor of the weights' size
    reach = torch.stack([(image * pixels).sum(dim=-1) for image in rows])
    mass = torch.ones_like(reach)
    if prefix and class_token == "renormalise":
        mass = rows.sum(dim=-1)
    if not include_self:
        mass = mass - rows.diagonal(dim1=-2, dim2=-1)
    reach = torch.where(mass > 1e-6, reach / mass.clamp(min=1e-6), 0)
    return reach.mean(dim=-1)


def class_token_share(weights: Tensor, grid_size: tuple[int, int]) -> Tensor:
    """Share of their attention that patches pay to the class token.

    Chapter 14.

    Args:
        weights: (B, h, T, T) of one layer.
        grid_size: (gh, gw), in patches.

    Returns:
        (B, h), 0 to 1, the mean over the query patches; 0 without a class
        token.

    Raises:
        ValueError: if these are no weights, or the grid does not fit them.
    """
    weights = check_weights(weights)
    prefix = prefix_of(weights.shape[-1], pair(grid_size, "grid_size"))
    return weights[:, :, prefix:, :prefix].sum(dim=-1).mean(dim=-1)
