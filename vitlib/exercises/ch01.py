"""Exercises of chapter 1, the end of the CNN?."""

from vitlib.exercises import Exercise

SIDE = 28  # pixels


def blind(patch_size: int, grid: int) -> bool:
    """Whether pieces are made of whole patches."""
    return (SIDE // grid) % patch_size == 0


def some_cuts() -> list[tuple]:
    """List patch sizes, and pieces a side of an image of 28 pixels."""
    return [(4, 7), (4, 2), (7, 2), (7, 4), (2, 7), (2, 4), (14, 4)]


EXERCISES = {
    "2": Exercise(
        asks="blind(patch_size, grid): True where a ViT without positions "
        "cannot see that grid x grid pieces of a 28-pixel image are shuffled",
        hint="A piece has 28 / grid pixels a side. When does shuffling the "
        "pieces only shuffle whole patches?",
        right=blind,
        wrong={
            "It asks for pieces of exactly one patch; pieces of several "
            "whole patches go unseen, too.": (
                lambda patch_size, grid: SIDE // grid == patch_size
            ),
            "It is the wrong way round: the piece must hold whole patches, "
            "not the patch whole pieces.": (
                lambda patch_size, grid: patch_size % (SIDE // grid) == 0
            ),
            "It says yes to all: a patch that is torn apart is seen.": (
                lambda patch_size, grid: True
            ),
            "It says the opposite: True is for what the ViT cannot see.": (
                lambda patch_size, grid: not blind(patch_size, grid)
            ),
        },
        cases=some_cuts,
    ),
}
