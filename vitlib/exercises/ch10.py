"""Exercises of chapter 10, on a GPU, and on many."""

import torch
from torch import Tensor

from vitlib.config import VARIANTS, ViTConfig
from vitlib.exercises import Exercise


def weigh(gradients: list[Tensor], sizes: list[int]) -> Tensor:
    """Weigh each rank's gradient by its share of the images."""
    parts = zip(gradients, sizes, strict=True)
    return sum(g * n for g, n in parts) / sum(sizes)


def plain(gradients: list[Tensor], sizes: list[int]) -> Tensor:
    """Take the mean, whatever the sizes."""
    return sum(gradients) / len(gradients)


def some_ranks() -> list[tuple]:
    """Draw gradients of ranks with unequal batches."""
    return [
        ([*torch.randn(2, 4)], [6, 10]),
        ([*torch.randn(3, 2, 3)], [1, 8, 3]),
    ]


def weights_bytes(config: ViTConfig) -> int:
    """Count the bytes of all attention weights of one image, float32."""
    return 4 * config.depth * config.num_heads * config.num_tokens**2


EXERCISES = {
    "1": Exercise(
        asks="(hole of float32, of bf16, of fp16): the smallest positive "
        "whole numbers that they cannot hold",
        hint="A number has a leading bit that is not stored, and 23, 7 or 10 "
        "bits of fraction. What is the first that needs one bit more?",
        right=(2**24 + 1, 257, 2049),
        wrong={
            "These are the largest before the hole: add 1.": (
                2**24,
                256,
                2048,
            ),
            "The leading bit is not stored, but it counts: one bit more.": (
                2**23 + 1,
                129,
                1025,
            ),
            "The order is float32, bf16, fp16, and bf16 has fewer bits of "
            "fraction than fp16.": (2**24 + 1, 2049, 257),
        },
        tolerance=0,
    ),
    "3": Exercise(
        asks="weigh(gradients, sizes): the gradient of the whole batch, "
        "from a list of each rank's and how many images it had",
        hint="Each rank's gradient is a mean over its own images. Turn it "
        "into a sum first.",
        right=weigh,
        wrong={
            "That is the plain mean: an image of a small rank counts too "
            "much.": plain,
            "It sums where a mean is asked for.": (
                lambda gradients, sizes: sum(gradients)
            ),
            "It sums over images and never divides by their number.": (
                lambda gradients, sizes: weigh(gradients, sizes) * sum(sizes)
            ),
        },
        cases=some_ranks,
    ),
    "5": Exercise(
        asks="weights_bytes(config): bytes of all attention weights of one "
        "image in float32",
        hint="Each head of each layer has T x T weights, and float32 takes "
        "4 bytes.",
        right=weights_bytes,
        wrong={
            "It counts numbers; float32 takes 4 bytes each.": (
                lambda config: weights_bytes(config) // 4
            ),
            "It counts one layer.": (
                lambda config: weights_bytes(config) // config.depth
            ),
            "It counts one head a layer.": (
                lambda config: weights_bytes(config) // config.num_heads
            ),
            "The class token is missing: T = N + 1.": lambda config: (
                4 * config.depth * config.num_heads * config.num_patches**2
            ),
        },
        cases=lambda: [(VARIANTS["Book/4"],), (VARIANTS["B/16"],)],
        tolerance=0,
    ),
}
