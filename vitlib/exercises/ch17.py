"""Exercises of chapter 17, your turn."""

import torch
from torch import Tensor

from vitlib.exercises import Exercise

Z = 1.96


def needed(share: float, half: float) -> float:
    """Return how many images give an interval of so much either way."""
    return Z**2 * share * (1 - share) / half**2


def some_shares() -> list[tuple]:
    """List shares, and half widths of the interval."""
    return [(0.65, 0.05), (0.9, 0.01), (0.5, 0.1)]


def by_group(groups: Tensor, share: float) -> Tensor:
    """Mark whole groups for the test, until the share is reached."""
    names = groups.unique()
    names = names[torch.randperm(len(names))]
    count = max(1, round(share * len(names)))
    return torch.isin(groups, names[:count])


def by_image(groups: Tensor, share: float) -> Tensor:
    """Mark images for the test, whatever their group."""
    order = torch.randperm(len(groups))
    return order < share * len(groups)


def all_at_once(groups: Tensor, share: float) -> Tensor:
    """Mark every group."""
    return torch.ones_like(groups).bool()


def judged(split, groups: Tensor, share: float) -> dict[str, bool]:
    """Say what a split keeps to."""
    test = torch.as_tensor(split(groups, share)).bool()
    if test.shape != groups.shape:
        return {"one mark for each image": False}
    both = set(groups[test].tolist()) & set(groups[~test].tolist())
    near = abs(test.double().mean().item() - share) < 0.15
    return {"groups on one side": not both, "about the share": near}


def some_groups() -> list[tuple]:
    """Draw groups of unlike sizes, in no order."""
    return [
        (torch.arange(20).repeat(10), 0.25),
        (torch.randint(40, (400,)), 0.2),
        (torch.arange(12).repeat_interleave(5), 0.5),
    ]


def balanced(table: Tensor) -> float:
    """Return the mean over labels of the share that is found."""
    return (table.diag() / table.sum(dim=1)).mean().item()


def some_tables() -> list[tuple]:
    """List confusions with one class far larger than the others."""
    return [
        (torch.tensor([[90, 0, 0], [5, 4, 1], [2, 0, 3]]),),
        (torch.tensor([[8, 2], [10, 30]]),),
    ]


EXERCISES = {
    "1": Exercise(
        asks="needed(share, half): how many test images make the 95 % "
        "interval of an accuracy reach half up and half down",
        hint="One image is right or wrong: its variance is share * (1 - "
        "share). The interval reaches 1.96 standard errors.",
        right=needed,
        wrong={
            "That is a standard error; the 95 % interval reaches 1.96 of "
            "them.": lambda share, half: share * (1 - share) / half**2,
            "The square is missing: the interval falls with the root of the "
            "number of images.": lambda share, half: (
                Z * (share * (1 - share)) ** 0.5 / half
            ),
            "It takes half for the whole width: a quarter of what is "
            "needed.": lambda share, half: needed(share, 2 * half),
            "It is right for an accuracy of one half only; use share * (1 - "
            "share).": lambda share, half: needed(0.5, half),
        },
        cases=some_shares,
        tolerance=0.02,
    ),
    "2": Exercise(
        asks="by_group(groups, share), which marks (B,) images for the "
        "test: about that share, and no group on both sides",
        hint="Draw among the groups, not among the images: groups.unique() "
        "and torch.isin do most of the work.",
        right=by_group,
        wrong={
            "Images of one group are on both sides: draw groups, not "
            "images.": by_image,
            "Every image is marked: nothing is left to learn from.": (
                all_at_once
            ),
        },
        cases=some_groups,
        call=judged,
    ),
    "3": Exercise(
        asks="balanced(table): the mean over classes of the share found, "
        "from a confusion (K, K) with a row for each label",
        hint="The diagonal is what is right. Divide it by the images of each "
        "label before you take the mean.",
        right=balanced,
        wrong={
            "That is the accuracy: the largest class decides it.": (
                lambda table: (table.diag().sum() / table.sum()).item()
            ),
            "It divides by the columns, the guesses; a row is a label.": (
                lambda table: balanced(table.T)
            ),
            "These are the shares of the classes; take their mean.": (
                lambda table: table.diag() / table.sum(dim=1)
            ),
        },
        cases=some_tables,
    ),
}
