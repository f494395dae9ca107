"""Exercises of chapter 16, which map can you trust?."""

import torch
from torch import Tensor

from vitlib.exercises import Exercise

Z = 1.96


def curve(parts: Tensor, order: Tensor) -> Tensor:
    """Return the score while parts go, from all to none: (N + 1,)."""
    gone = parts[order].cumsum(dim=0)
    return parts.sum() - torch.cat([torch.zeros(1), gone])


def sum_area(parts: Tensor, order: Tensor) -> Tensor:
    """Return the area under the curve, by trapezoids over 0 to 1."""
    left = curve(parts, order)
    return ((left[1:] + left[:-1]) / 2).mean()


def some_parts() -> list[tuple]:
    """Draw what patches add, and an order in which they go."""
    return [
        (torch.randn(49), torch.randperm(49)),
        (torch.rand(9), torch.arange(9)),
    ]


def needed(spread: float, gap: float) -> float:
    """Return how many images tell methods apart."""
    return (Z * spread / gap) ** 2


EXERCISES = {
    "1": Exercise(
        asks="sum_area(parts, order): the deletion area, by trapezoids over "
        "0 to 1, of a model that sums parts (N,)",
        hint="First the score after 0, 1, ... N patches are gone; then the "
        "mean of neighbours, and the mean of those.",
        right=sum_area,
        wrong={
            "It leaves out the intact image: the curve has N + 1 points.": (
                lambda parts, order: curve(parts, order)[1:].mean()
            ),
            "It leaves out the empty image: the curve has N + 1 points.": (
                lambda parts, order: curve(parts, order)[:-1].mean()
            ),
            "It sums the trapezoids over the number of patches; the axis "
            "goes from 0 to 1.": lambda parts, order: (
                sum_area(parts, order) * len(parts)
            ),
            "That is the insertion area: patches come instead of going.": (
                lambda parts, order: parts.sum() - sum_area(parts, order)
            ),
        },
        cases=some_parts,
    ),
    "4": Exercise(
        asks="needed(spread, gap): how many images bring half of a 95 % "
        "interval down to gap, if differences spread by spread",
        hint="Half of the interval is 1.96 * spread / sqrt(n). Solve for n.",
        right=needed,
        wrong={
            "The square is missing: the interval falls with the root of "
            "n.": lambda spread, gap: Z * spread / gap,
            "It takes one standard error for the interval; 95 % reach 1.96 "
            "of them.": lambda spread, gap: (spread / gap) ** 2,
            "It takes gap for the whole width of the interval.": (
                lambda spread, gap: needed(spread, gap / 2)
            ),
        },
        cases=lambda: [(0.2, 0.02), (0.1, 0.05)],
        tolerance=0.01,
    ),
}
