"""Chapter 13: are there waves in the position embeddings?

Dosovitskiy et al. 2021 (arXiv:2010.11929), section 4.5, which sees
waves on larger grids, sometimes.
"""

from typing import NamedTuple

import torch
from einops import rearrange, reduce
from torch import Tensor

from vitlib._checks import check_positive
from vitlib.inspection.similarity import centred_grid


class Waves(NamedTuple):
    """The strongest wave of each component, and what chance gives.

    Attributes:
        cycles: (D, 2), whole waves over the grid's height and its width.
        share: (D,), of the component's power, 0 to 1.
        noise: the share that 1 % of components with shuffled places exceed.
        p_value: share of shuffled tables, this one counted among them, with
            at least this mean share.
    """

    cycles: Tensor
    share: Tensor
    noise: float
    p_value: float


def spectrum(table: Tensor, grid_size: tuple[int, int]) -> Tensor:
    """Split the variance of positions into waves over the grid.

    Chapter 13. The power of the two-dimensional Fourier transform, summed
    over the D components, the mean left out: turning the table in its D
    dimensions changes nothing. A row vector plus a column vector has power
    on the two axes only, [:, 0] and [0, :].

    Args:
        table: (N, D), in reading order.
        grid_size: (gh, gw).

    Returns:
        (gh, gw), each wave's share; entry [i, j] has i cycles over the
        grid's height and j over its width, counted modulo gh and gw. The
        shares sum to 1, half of a wave's share being at [-i, -j].
    """
    power = _power(centred_grid(table, grid_size)).sum(dim=-1)
    return power / power.sum()


def strongest_waves(
    table: Tensor,
    grid_size: tuple[int, int],
    permutations: int = 99,
    seed: int = 0,
) -> Waves:
    """Find the strongest wave of each component, and test it against noise.

    Chapter 13. Noise gives each wave a little of the power; a sinusoid puts
    most of it into one. The share of the strongest (Fisher 1929's g) is
    compared with the same positions, their places shuffled.

    It tells order from noise, not a wave from a slope: any smooth component
    has its strongest wave at 1 cycle. Ask for 2 cycles or more.

    Args:
        table: (N, D), in reading order.
        grid_size: (gh, gw).
        permutations: how many shuffles.
        seed: of the shuffles.

    Returns:
        See Waves. Constant components have share 0.
    """
    check_positive(permutations=permutations)
    grid = centred_grid(table, grid_size)
    cycles, share = _strongest(grid)
    generator = torch.Generator().manual_seed(seed)
    rows = rearrange(grid, "gh gw d -> (gh gw) d")
    shuffled = []
    for _ in range(permutations):
        order = torch.randperm(len(rows), generator=generator)
        other = rearrange(rows[order], "(gh gw) d -> gh gw d", gh=grid_size[0])
        shuffled.append(_strongest(other)[1])
    shuffled = torch.stack(shuffled)  # (permutations, D)
    means = shuffled.mean(dim=1)
    above = (means >= share.mean() - 1e-12).sum().item() + 1
    noise = shuffled.flatten().sort().values
    level = float(noise[int(0.99 * len(noise))])
    return Waves(cycles, share, level, above / (permutations + 1))


def _power(grid: Tensor) -> Tensor:
    """Power (gh, gw, D) at each frequency of a grid (gh, gw, D)."""
    return torch.fft.fft2(grid, dim=(0, 1)).abs().square()


def _strongest(grid: Tensor) -> tuple[Tensor, Tensor]:
    """Cycles (D, 2) and share (D,) of each component's strongest wave."""
    rows, columns = grid.shape[:2]
    power = _power(grid)
    power = power + power.flip(0, 1).roll((1, 1), (0, 1))  # and at [-i, -j]
    place = torch.arange(rows * columns, device=grid.device)
    i, j = place // columns, place % columns
    flat = rearrange(power, "gh gw d -> (gh gw) d")
    # a frequency that is its own mirror image was counted twice
    flat[(2 * i % rows == 0) & (2 * j % columns == 0)] /= 2
    peak, where = flat.max(dim=0)
    i, j = i[where], j[where]
    cycles = torch.stack([i.minimum(rows - i), j.minimum(columns - j)], dim=1)
    # the sum of squares over places is that over frequencies, by Parseval
    total = len(flat) * reduce(grid.square(), "gh gw d -> d", "sum")
    return cycles, torch.where(total > 0, peak / total, 0)
