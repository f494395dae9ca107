"""Exercises of chapter 12, embedding filters."""

import torch
from torch import Tensor

from vitlib.exercises import Exercise


def white(variance: Tensor, power: float = -0.5) -> Tensor:
    """Return the gains that make variances equal, of mean 1."""
    gain = variance**power
    return gain / gain.mean()


EXERCISES = {
    "3": Exercise(
        asks="white(variance): the gain of perfect whitening for each "
        "direction, scaled to a mean of 1",
        hint="After a gain g, a direction of variance v has g squared times "
        "v. This must be the same for all.",
        right=white,
        wrong={
            "A gain acts on the standard deviation: the root is missing.": (
                lambda variance: white(variance, -1.0)
            ),
            "It strengthens the strong directions: take the inverse.": (
                lambda variance: white(variance, 0.5)
            ),
            "The gains are not scaled to a mean of 1.": (
                lambda variance: variance**-0.5
            ),
        },
        cases=lambda: [
            (torch.tensor([4.0, 1.0, 0.25]),),
            (torch.rand(16) + 0.01,),
        ],
    ),
}
