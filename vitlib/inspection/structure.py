"""Chapter 13: is there an order in the similarity of positions?

Dosovitskiy et al. 2021 (arXiv:2010.11929), section 4.5: near places are
alike, and so are places of one row or one column.
"""

from typing import NamedTuple

import torch
from einops import rearrange, reduce
from torch import Tensor
from torch.nn.functional import one_hot

from vitlib._checks import check_positive
from vitlib.inspection.similarity import centred_grid, offsets

GROUPS = ("self", "neighbours", "same row", "same column", "elsewhere")


class Group(NamedTuple):
    """The mean similarity of some pairs of places, and what chance gives.

    Attributes:
        mean: over the pairs.
        low: 2.5 % of the tables with shuffled places lie below this.
        high: 2.5 % of them lie above this.
        p_value: share of shuffled tables, this one counted among them, with
            at least this mean.
    """

    mean: float
    low: float
    high: float
    p_value: float


def similarity_groups(
    tiles: Tensor, permutations: int = 199, seed: int = 0
) -> dict[str, Group]:
    """Average the similarity over pairs of places, by how they lie.

    Chapter 13. Each pair is in one group: a place with itself, the four
    neighbours, the rest of the row, the rest of the column, all others.
    Chance is measured on the same positions with their places shuffled.

    Args:
        tiles: (gh, gw, gh, gw), of position_similarity.
        permutations: how many shuffles.
        seed: of the shuffles.

    Returns:
        The Group of each name in GROUPS; NaN where the grid has no pairs.
    """
    check_positive(permutations=permutations)
    down, across = offsets(tiles)
    group = torch.full_like(down, 4)
    group[across == 0] = 3
    group[down == 0] = 2
    group[down + across == 1] = 1
    group[down + across == 0] = 0
    flat = rearrange(tiles, "r c gh gw -> (r c) (gh gw)")
    index, size = group.flatten(), group.flatten().bincount(minlength=5)

    def means(matrix: Tensor) -> Tensor:
        return index.bincount(matrix.flatten(), minlength=5) / size

    generator = torch.Generator().manual_seed(seed)
    found, shuffled = means(flat), []
    there = (size / size).tolist()  # NaN for a group without pairs
    for _ in range(permutations):
        order = torch.randperm(len(flat), generator=generator)
        shuffled.append(means(flat[order][:, order]))
    chance = torch.stack(shuffled)  # (permutations, 5)
    ends = chance.quantile(chance.new_tensor([0.025, 0.975]), dim=0)
    above = (chance >= found - 1e-12).sum(dim=0).double() + 1
    rows = torch.stack([found, *ends, above / (permutations + 1)], dim=1)
    return {
        name: Group(*row[:3], row[3] * one)
        for name, row, one in zip(GROUPS, rows.tolist(), there, strict=True)
    }


def similarity_by_distance(tiles: Tensor) -> dict[str, Tensor]:
    """Average the similarity at each distance: along a row, a column, else.

    Chapter 13. Places in a row are near one another; to compare at the same
    distance tells a row's own share from that of nearness.

    Args:
        tiles: (gh, gw, gh, gw), of position_similarity.

    Returns:
        For "same row", "same column" and "elsewhere", the mean over pairs
        whose distance in patches, rounded, is 0, 1, 2, ...; NaN where there
        are none.
    """
    down, across = offsets(tiles)
    distance = (down.square() + across.square()).double().sqrt().round()
    kinds = {
        "same row": down == 0,
        "same column": across == 0,
        "elsewhere": (down > 0) & (across > 0),
    }
    length = int(distance.max()) + 1
    flat = rearrange(tiles, "r c gh gw -> (r c) (gh gw)")
    found = {}
    for name, mask in kinds.items():
        steps = distance[mask].long()
        total = steps.bincount(flat[mask], minlength=length)
        found[name] = total / steps.bincount(minlength=length)
    return found


def distance_r2(tiles: Tensor) -> float:
    """Say how well distances in row and column explain the similarity.

    Chapter 13. The similarity of all pairs but self is regressed on one
    value for each vertical and one for each horizontal distance.

    Args:
        tiles: (gh, gw, gh, gw), of position_similarity.

    Returns:
        R^2, from 0 to 1; near 0 for random positions.

    Raises:
        ValueError: if all places are equally alike, as two always are.
    """
    down, across = offsets(tiles)
    other = down + across > 0
    y = rearrange(tiles, "r c gh gw -> (r c) (gh gw)")[other]
    check_positive(pairs=len(y))
    y = y / y.abs().max().clamp(min=torch.finfo(y.dtype).tiny)
    if (y - y.mean()).abs().max() <= 1e-12 * y.abs().max():
        raise ValueError(
            f"all {len(y)} pairs are equally alike: nothing is to be explained"
        )
    design = torch.cat([one_hot(down[other]), one_hot(across[other])], dim=1)
    design = design.to(y.dtype)
    fit = torch.linalg.lstsq(design, y[:, None], driver="gelsd").solution
    left_over = (y - (design @ fit)[:, 0]).square().sum()
    return float(1 - left_over / (y - y.mean()).square().sum())


def row_column_share(table: Tensor, grid_size: tuple[int, int]) -> float:
    """Say how much of the positions is a row vector plus a column vector.

    Chapter 13. The share of the table's variance that the means of rows and
    of columns hold: 1 for learned 2-D positions, and (gh + gw - 2) / (N - 1)
    on average for random ones.

    Args:
        table: (N, D), in reading order.
        grid_size: (gh, gw).
    """
    grid = centred_grid(table, grid_size)
    rows = reduce(grid, "gh gw d -> gh 1 d", "mean")
    columns = reduce(grid, "gh gw d -> 1 gw d", "mean")
    return float((rows + columns).square().sum() / grid.square().sum())
