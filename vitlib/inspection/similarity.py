"""Chapter 13: what the position embeddings have learned.

Dosovitskiy et al. 2021 (arXiv:2010.11929), section 4.5, Figure 7, centre,
and Appendix D.4.
"""

from einops import rearrange
from torch import Tensor

from vitlib._checks import check_finite, check_positive, check_tensor, pair
from vitlib._shapes import check_floating
from vitlib.inspection.distance import grid_gaps
from vitlib.model import VisionTransformer
from vitlib.positions import combine_2d


def grid_positions(model: VisionTransformer) -> Tensor:
    """Get the positions that a model adds to its patches.

    Chapter 13. The class token's position has no place and is left out.

    Args:
        model: with positions of the kind "1d", "2d" or "sincos".

    Returns:
        (N, D), in reading order, without gradient.

    Raises:
        ValueError: if the model adds none: kinds "none" and "relative".
    """
    kind, table = model.config.pos_embed, model.pos_embed
    if kind in ("none", "relative"):
        raise ValueError(
            f'a model with pos_embed="{kind}" adds no positions to its '
            'patches; use one with "1d", "2d" or "sincos"'
        )
    table = table.detach()
    if kind == "2d":
        return combine_2d(*table.split(model.config.grid_size))
    if kind == "sincos":
        return table
    return table[0, int(model.config.class_token) :]


def position_similarity(table: Tensor, grid_size: tuple[int, int]) -> Tensor:
    """Compare every position with every other by cosine.

    Chapter 13. Dosovitskiy et al. 2021, Figure 7, centre: entry [r, c] is
    the tile at row r and column c of the mosaic.

    Args:
        table: (N, D), in reading order, without the class token's.
        grid_size: (gh, gw).

    Returns:
        (gh, gw, gh, gw), from -1 to 1, in float64.

    Raises:
        ValueError: if the grid does not fit, or a position is not finite or
            has no direction, being zero.
    """
    table = check_table(table, grid_size)
    length = table.norm(dim=1, keepdim=True)
    zero = (length == 0).sum().item()
    if zero:
        raise ValueError(
            f"{zero} of {len(table)} positions are zero and have no direction"
        )
    unit = table / length
    return rearrange(
        unit @ unit.mT,
        "(r c) (gh gw) -> r c gh gw",
        r=grid_size[0],
        gh=grid_size[0],
    )  # (gh, gw, gh, gw)


def offsets(tiles: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns between all pairs of places, (N, N) each.

    Raises:
        ValueError: if tiles are not (gh, gw, gh, gw).
    """
    check_tensor(tiles=tiles)
    shape = tuple(tiles.shape)
    if len(shape) != 4 or shape[:2] != shape[2:]:
        raise ValueError(f"tiles must be (gh, gw, gh, gw); got shape {shape}")
    check_floating(tiles=tiles)
    check_finite(tiles, "tiles")
    check_positive(gh=shape[0], gw=shape[1])
    return grid_gaps(shape[:2], tiles.device)


def check_table(table: Tensor, grid_size: tuple[int, int]) -> Tensor:
    """Refuse what is not a finite table of the grid.

    Returns:
        (N, D) in float64, the largest magnitude scaled to 1, so that
        squares fit: nothing here depends on the scale.

    Raises:
        ValueError: gives the shape and the grid.
    """
    rows, columns = pair(grid_size, "grid_size")
    check_tensor(positions=table)
    fits = table.ndim == 2 and len(table) == rows * columns
    if not fits or not table.numel():
        raise ValueError(
            f"a grid of {rows}x{columns} has {rows * columns} positions, "
            "(N, D), the class token's left out; got shape "
            f"{tuple(table.shape)}"
        )
    check_finite(table, "positions")
    table = table.double()
    return table / table.abs().max().clamp(min=1e-300)


def centred_grid(table: Tensor, grid_size: tuple[int, int]) -> Tensor:
    """Take the mean position away: (gh, gw, D), in float64.

    Raises:
        ValueError: if the table does not fit, or all places are alike.
    """
    table = check_table(table, grid_size)
    grid = table - table.mean(dim=0)
    # what a constant component leaves is rounding
    grid[:, grid.norm(dim=0) <= 1e-12 * table.norm(dim=0)] = 0
    if not grid.any():
        raise ValueError("all positions are alike: there is no structure")
    return rearrange(grid, "(gh gw) d -> gh gw d", gh=grid_size[0])
