"""Exercises of chapter 8, training from scratch."""

import torch
from torch import Tensor

from vitlib.exercises import Exercise


def average(means: Tensor, sizes: Tensor) -> Tensor:
    """Weigh each batch by its images."""
    return (means * sizes).sum() / sizes.sum()


def some_batches() -> list[tuple]:
    """List accuracies of batches, and how many images each had."""
    return [
        (torch.tensor([1.0, 1.0, 0.5]), torch.tensor([300, 300, 20])),
        (torch.tensor([0.2, 0.9]), torch.tensor([128, 72])),
        (torch.tensor([0.7]), torch.tensor([5])),
    ]


EXERCISES = {
    "1": Exercise(
        asks="how many test images halve the interval that 10,000 give",
        hint="The width falls with the square root of the number of images.",
        right=40_000,
        wrong={
            "Twice the images make the interval 1.4 times narrower.": 20_000,
            "The root goes the other way: it needs more images, not "
            "fewer.": 2_500,
            "That is the root of two; you need the square of two.": 14_142,
        },
        tolerance=0.02,
    ),
    "2": Exercise(
        asks="average(means, sizes): the accuracy over all images, from "
        "those of batches (S,) and their sizes (S,)",
        hint="How many images of each batch were right?",
        right=average,
        wrong={
            "It counts each batch alike: a small last batch counts too "
            "much.": lambda means, sizes: means.mean(),
            "It counts the images that were right; divide by how many there "
            "are.": lambda means, sizes: (means * sizes).sum(),
            "It divides by the number of batches, not of images.": (
                lambda means, sizes: (means * sizes).sum() / len(sizes)
            ),
        },
        cases=some_batches,
    ),
}
