"""Exercises of chapter 2, patches."""

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import unfold

from vitlib.exercises import Exercise


def overlapping(images: Tensor, patch_size: int, stride: int) -> Tensor:
    """Return all patches that start every few pixels: (B, N, C*P*P)."""
    rows = unfold(images, kernel_size=patch_size, stride=stride)
    return rearrange(rows, "b p n -> b n p")


def channels_last(images: Tensor, patch_size: int, stride: int) -> Tensor:
    """Flatten each patch with its channels last."""
    rows = overlapping(images, patch_size, stride)
    pattern = "b n (c ph pw) -> b n (ph pw c)"
    return rearrange(rows, pattern, ph=patch_size, pw=patch_size)


def by_columns(images: Tensor, patch_size: int, stride: int) -> Tensor:
    """Read the grid of patches column by column."""
    rows = overlapping(images, patch_size, stride)
    height = (images.shape[2] - patch_size) // stride + 1
    return rearrange(rows, "b (gh gw) p -> b (gw gh) p", gh=height)


def some_images() -> list[tuple]:
    """Draw images of two sizes, with patches that share pixels."""
    return [
        (torch.randn(2, 3, 12, 16), 4, 2),
        (torch.randn(1, 1, 9, 9), 3, 3),
        (torch.randn(1, 2, 10, 13), 4, 3),
    ]


def cut(pattern: str):
    """Return a function that cuts a clip by a pattern."""

    def tubelets(clip: Tensor, frames: int, patch_size: int) -> Tensor:
        sizes = {"pt": frames, "ph": patch_size, "pw": patch_size}
        return rearrange(clip, pattern, **sizes)

    return tubelets


def some_clips() -> list[tuple]:
    """Draw clips that are not square."""
    return [
        (torch.randn(1, 3, 4, 8, 12), 2, 4),
        (torch.randn(2, 1, 6, 6, 4), 3, 2),
    ]


CLIP = "b c (gt pt) (gh ph) (gw pw) -> "

EXERCISES = {
    "1": Exercise(
        asks="(tokens, numbers in one attention matrix, times the work)",
        hint="The grid has 384 / 16 rows, and one token is no patch. For "
        "the work, put both T into Eq. 2.1: most of it grows with T, not "
        "with T squared.",
        right=(577, 577**2, 3.16),
        wrong={
            "The class token is missing: it is a token, too.": (
                576,
                576**2,
                3.16,
            ),
            "The times of work are those of the attention matrix alone; "
            "most of the work is in linear layers.": (577, 577**2, 8.58),
            "The times of work are those of the pixels; attention adds a "
            "part that grows faster.": (577, 577**2, 2.94),
        },
        tolerance=3e-3,
    ),
    "2": Exercise(
        asks="overlapping(images, patch_size, stride), which returns "
        "(B, N, C*P*P) in the order (c ph pw)",
        hint="With nn.functional.unfold the patches come in the last axis; we "
        "want them in the middle.",
        right=overlapping,
        wrong={
            "The patches stand in the last axis, as unfold leaves them: "
            "(B, N, C*P*P) is asked for.": lambda images, patch_size, stride: (
                unfold(images, patch_size, stride=stride)
            ),
            "Each patch is flattened with its channels last; (c ph pw) is "
            "asked for.": channels_last,
            "The grid is read column by column; reading order goes row by "
            "row.": by_columns,
            "The stride is not used: these patches share no pixels.": (
                lambda images, patch_size, stride: overlapping(
                    images, patch_size, patch_size
                )
            ),
        },
        cases=some_images,
    ),
    "4": Exercise(
        asks="tubelets(clip, frames, patch_size), which returns (B, N, "
        "C*frames*P*P), in the order time, row, column",
        hint="Write all axes of the clip as (grid, within): the blocks are "
        "(gt gh gw), and one block is (c pt ph pw).",
        right=cut(CLIP + "b (gt gh gw) (c pt ph pw)"),
        wrong={
            "The frame comes before the channel within a block; a "
            "convolution's weight has the channel first.": cut(
                CLIP + "b (gt gh gw) (pt c ph pw)"
            ),
            "The channel comes last within a block; a convolution's weight "
            "has it first.": cut(CLIP + "b (gt gh gw) (pt ph pw c)"),
            "Time runs fastest among the blocks; the order is time, row, "
            "column.": cut(CLIP + "b (gh gw gt) (c pt ph pw)"),
            "The blocks are torn: each takes frames or pixels that lie far "
            "apart.": cut(
                "b c (pt gt) (ph gh) (pw gw) -> b (gt gh gw) (c pt ph pw)"
            ),
        },
        cases=some_clips,
    ),
}
