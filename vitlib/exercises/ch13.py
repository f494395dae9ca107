"""Exercises of chapter 13, position similarity."""

import torch
from torch import Tensor

from vitlib.exercises import Exercise
from vitlib.inspection import position_similarity


def centred(table: Tensor, size: tuple[int, int]) -> Tensor:
    """Compare positions after their common vector is taken away."""
    return position_similarity(table - table.mean(dim=0), size)


def over_components(table: Tensor, size: tuple[int, int]) -> Tensor:
    """Take each position's own mean away."""
    return position_similarity(table - table.mean(dim=1, keepdim=True), size)


def after(table: Tensor, size: tuple[int, int]) -> Tensor:
    """Take the mean of the similarities away."""
    tiles = position_similarity(table, size)
    return tiles - tiles.mean()


def some_tables() -> list[tuple]:
    """Draw positions that share a vector."""
    return [
        (torch.randn(12, 16) + torch.randn(16), (3, 4)),
        (torch.randn(49, 8) + 1, (7, 7)),
    ]


EXERCISES = {
    "3": Exercise(
        asks="centred(table, size) with table (N, D) and size (gh, gw), "
        "which returns the tiles (gh, gw, gh, gw)",
        hint="The common vector is the mean over places: it has D "
        "components. Then position_similarity.",
        right=centred,
        wrong={
            "It takes each position's own mean over components away; the "
            "common vector is the mean over places.": over_components,
            "It takes the mean of the cosines away, after the comparison; "
            "take the vector away before.": after,
            "The mean is still in it: these are the tiles as they were.": (
                position_similarity
            ),
        },
        cases=some_tables,
    ),
}
