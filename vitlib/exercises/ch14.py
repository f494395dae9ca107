"""Exercises of chapter 14, attention distance."""

from math import log, sqrt

import torch
from torch import Tensor

from vitlib.exercises import Exercise

# of two random points in a square of side 1
SHARE = (2 + sqrt(2) + 5 * log(1 + sqrt(2))) / 15


def share(weights: Tensor, close: Tensor) -> Tensor:
    """Return what patches pay to near patches, (h,), class token apart."""
    return of_patches(weights[..., 1:, 1:], close)


def of_patches(rows: Tensor, close: Tensor) -> Tensor:
    """Return the share of each row that is near, mean of a head."""
    inside = (rows * close).sum(dim=-1) / rows.sum(dim=-1)
    return inside.mean(dim=(0, 2))


def token_counts(weights: Tensor, close: Tensor) -> Tensor:
    """Leave the class token's column in the sum."""
    rows = weights[..., 1:, 1:]
    return (rows * close).sum(dim=-1).mean(dim=(0, 2))


def last_dropped(weights: Tensor, close: Tensor) -> Tensor:
    """Take the last token for the class token."""
    return of_patches(weights[..., :-1, :-1], close)


def some_weights() -> list[tuple]:
    """Draw weights of a class token and a 3x3 or 2x4 grid."""
    made = []
    for rows, columns in ((3, 3), (2, 4)):
        place = torch.cartesian_prod(
            torch.arange(float(rows)), torch.arange(float(columns))
        )
        T = rows * columns + 1
        weights = torch.randn(2, 3, T, T).softmax(dim=-1)
        made.append((weights, (torch.cdist(place, place) < 1.5).float()))
    return made


EXERCISES = {
    "2": Exercise(
        asks="limit(side): the uniform distance in pixels of an image of so "
        "many pixels a side, as patches shrink",
        hint="The formula is for a square of side 1; distances grow with "
        "the side.",
        right=lambda side: SHARE * side,
        wrong={
            "That is the distance in a square of side 1: multiply by the "
            "side.": lambda side: SHARE,
            "That is half the side; the mean distance is a little more.": (
                lambda side: side / 2
            ),
            "It grows with the area; a distance grows with the side.": (
                lambda side: SHARE * side**2
            ),
        },
        cases=lambda: [(224,), (28,)],
        tolerance=1e-3,
    ),
    "4": Exercise(
        asks="share(weights, close) with weights (B, h, T, T), class token "
        "first, and close (N, N) of 0 and 1, which returns (h,)",
        hint="Drop the class token's row and column, then divide by what is "
        "left of each row.",
        right=share,
        wrong={
            "The rows do not sum to 1 once the class token is dropped: "
            "divide by what is left.": token_counts,
            "It drops the last token; the class token is the first.": (
                last_dropped
            ),
            "It sums over queries; take the mean over images and queries.": (
                lambda weights, close: (
                    share(weights, close) * len(weights) * len(close)
                )
            ),
        },
        cases=some_weights,
    ),
}
