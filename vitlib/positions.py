"""Chapter 4: telling the encoder where a patch is.

Dosovitskiy et al. 2021 (arXiv:2010.11929), Eq. 1 and Appendix D.4, which
compares none, 1-D, 2-D and relative positions. The sine-cosine kind is
Vaswani et al. 2017 (arXiv:1706.03762), once for rows and once for columns.
"""

import torch
from einops import rearrange, repeat
from torch import Tensor
from torch.nn import functional

from vitlib._checks import check_choice, check_positive, pair
from vitlib._shapes import (
    check_alike,
    check_floating,
    check_shape,
    check_tensor,
)

KINDS = ("none", "1d", "2d", "relative", "sincos")
RESIZE_MODES = ("bilinear", "bicubic", "bicubic-plain")


def combine_2d(rows: Tensor, columns: Tensor) -> Tensor:
    """Join a table of rows and one of columns into positions of a grid.

    Chapter 4. Dosovitskiy et al. 2021, Appendix D.4 ("2-dimensional").

    Args:
        rows: (gh, D/2), one vector a row of patches.
        columns: (gw, D/2), one vector a column.

    Returns:
        (N, D) with N = gh * gw, in reading order: the row's half first.

    Raises:
        ValueError: if the halves are not of one width.
    """
    check_shape("rows", rows, "gh half")
    check_shape("columns", columns, "gw half", half=rows.shape[1])
    check_alike(dtypes=False, rows=rows, columns=columns)
    height, width = len(rows), len(columns)
    down = repeat(rows, "gh half -> (gh gw) half", gw=width)
    across = repeat(columns, "gw half -> (gh gw) half", gh=height)
    return torch.cat([down, across], dim=1)  # (N, D)


def sincos_2d(grid_size: tuple[int, int], embed_dim: int) -> Tensor:
    """Fixed sines and cosines of the row and the column.

    Chapter 4. Not in the paper's Table 8. Vaswani et al. 2017, section 3.5,
    for each axis; wavelengths from 2 pi to 10,000 * 2 pi patches.

    Args:
        grid_size: (gh, gw), in patches.
        embed_dim: D; must be a multiple of 4 (two axes, sine and cosine).

    Returns:
        (N, D), not learned.

    Raises:
        ValueError: if 4 does not divide D.
    """
    grid_size = pair(grid_size, "grid_size")
    check_positive(embed_dim=embed_dim)
    if embed_dim % 4:
        raise ValueError(
            "sin-cos positions need embed_dim to be a multiple of 4; got "
            f"embed_dim={embed_dim}"
        )
    quarter = embed_dim // 4
    steps = torch.arange(quarter, dtype=torch.float64) / quarter
    frequency = 10_000.0**-steps  # radians a patch

    def wave(size: int) -> Tensor:
        angle = torch.arange(size, dtype=torch.float64)[:, None] * frequency
        return torch.cat([angle.sin(), angle.cos()], dim=1)  # (size, D/2)

    return combine_2d(*map(wave, grid_size)).float()  # (N, D)


def relative_positions(table: Tensor) -> Tensor:
    """Look up a vector for each pair of tokens by their offset.

    Chapter 4. Dosovitskiy et al. 2021, Appendix D.4 ("relative"), after
    Shaw et al. 2018 (arXiv:1803.02155): attention adds the product of the
    query with this vector to its logits.

    Args:
        table: (2T-1, d), one vector an offset, from -(T-1) to T-1.

    Returns:
        (T, T, d): entry (i, j) is the vector of the offset i - j.

    Raises:
        ValueError: if the table has an even number of offsets.
    """
    check_tensor(table=table)
    if table.ndim != 2 or len(table) % 2 == 0:
        raise ValueError(
            f"table must be (2T-1, d); got shape {tuple(table.shape)}"
        )
    size = (len(table) + 1) // 2
    place = torch.arange(size, device=table.device)
    offset = place[:, None] - place[None, :] + size - 1  # (T, T), 0..2T-2
    return table[offset]  # (T, T, d)


def resize_positions(
    pos_embed: Tensor,
    old_grid: tuple[int, int],
    new_grid: tuple[int, int],
    mode: str = "bicubic",
) -> Tensor:
    """Stretch learned positions to another grid of patches.

    Chapter 4. Dosovitskiy et al. 2021, section 3.2. "bicubic" is timm's
    choice; "bicubic-plain", without antialiasing, is Hugging Face's;
    "bilinear" with aligned corners equals the released code's.

    Args:
        pos_embed: (1, T, D), where T is N of the old grid, or N + 1 with the
            class token's position first, which is kept as it is.
        old_grid: (gh, gw) the positions were made for.
        new_grid: (gh, gw) wanted.
        mode: "bicubic", "bicubic-plain" or "bilinear".

    Returns:
        (1, T', D) for the new grid.

    Raises:
        ValueError: if T fits neither, or the mode is unknown.
    """
    check_choice("mode", mode, RESIZE_MODES)
    old_grid, new_grid = pair(old_grid, "old_grid"), pair(new_grid, "new_grid")
    prefix = _prefix(pos_embed, *old_grid)
    if old_grid == new_grid:
        return pos_embed
    first, grid = pos_embed[:, :prefix], pos_embed[:, prefix:]
    grid = rearrange(grid, "1 (gh gw) d -> 1 d gh gw", gh=old_grid[0])
    # PyTorch's CPU kernels take no 16 bits
    grid = grid.to(torch.promote_types(grid.dtype, torch.float32))
    turn = new_grid[1] == 1  # there PyTorch 2.13 would repeat the first row
    grid = functional.interpolate(
        grid.mT if turn else grid,
        size=new_grid[::-1] if turn else new_grid,
        mode=mode.removesuffix("-plain"),
        align_corners=mode == "bilinear",
        antialias=mode == "bicubic",
    )
    grid = grid.mT if turn else grid
    grid = rearrange(grid, "1 d gh gw -> 1 (gh gw) d").to(first.dtype)
    return torch.cat([first, grid], dim=1)  # (1, T', D)


def _prefix(pos_embed: Tensor, rows: int, columns: int) -> int:
    """Count the positions before those of the grid, 0 or 1."""
    check_shape("pos_embed", pos_embed, "1 T D")
    check_floating(pos_embed=pos_embed)
    if pos_embed.element_size() < 2:  # PyTorch cannot compute with float8
        raise ValueError(
            "pos_embed must be floating point, of 16 to 64 bits; got "
            f"{pos_embed.dtype}"
        )
    check_positive(D=pos_embed.shape[2])
    prefix = pos_embed.shape[1] - rows * columns
    if prefix not in (0, 1):
        raise ValueError(
            f"a grid of {rows}x{columns} has {rows * columns} positions, or "
            f"one more with a class token; got {pos_embed.shape[1]}"
        )
    return prefix
