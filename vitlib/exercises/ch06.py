"""Exercises of chapter 6, the encoder."""

import torch
from einops import reduce
from torch import Tensor

from vitlib.encoder import Block
from vitlib.exercises import Exercise

EPS = 1e-6


def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    """Divide each token by its root mean square."""
    mean = reduce(x**2, "b t d -> b t 1", "mean")
    return weight * x / (mean + EPS).sqrt()


def centred(x: Tensor, weight: Tensor) -> Tensor:
    """Take the mean away first, as LayerNorm does."""
    return rms_norm(x - reduce(x, "b t d -> b t 1", "mean"), weight)


def by_sum(x: Tensor, weight: Tensor) -> Tensor:
    """Divide by the length of the token."""
    total = reduce(x**2, "b t d -> b t 1", "sum")
    return weight * x / (total + EPS).sqrt()


def no_root(x: Tensor, weight: Tensor) -> Tensor:
    """Divide by the mean square."""
    return weight * x / (reduce(x**2, "b t d -> b t 1", "mean") + EPS)


def over_all(x: Tensor, weight: Tensor) -> Tensor:
    """Take one mean for all tokens of an image."""
    mean = reduce(x**2, "b t d -> b 1 1", "mean")
    return weight * x / (mean + EPS).sqrt()


def some_tokens() -> list[tuple]:
    """Draw tokens that are not centred, and weights."""
    return [
        (torch.randn(2, 5, 8) + 1, torch.randn(8)),
        (3 * torch.randn(1, 7, 4) - 2, torch.randn(4)),
    ]


def parallel(block: Block, x: Tensor) -> Tensor:
    """Run both branches on the same normalised input."""
    return x + block.attn(block.norm1(x))[0] + block.mlp(block.norm2(x))


def in_turn(block: Block, x: Tensor) -> Tensor:
    """Run the block as it is."""
    return block(x)[0]


def no_residual(block: Block, x: Tensor) -> Tensor:
    """Leave out what goes past the branches."""
    return parallel(block, x) - x


def no_norm(block: Block, x: Tensor) -> Tensor:
    """Leave out LayerNorm."""
    return x + block.attn(x)[0] + block.mlp(x)


def some_blocks() -> list[tuple]:
    """Draw blocks and tokens."""
    return [
        (Block(8, num_heads=2).eval(), 2 * torch.randn(2, 5, 8)),
        (Block(12, num_heads=3).eval(), torch.randn(1, 4, 12) + 1),
    ]


EXERCISES = {
    "1": Exercise(
        asks="parameters(embed_dim): how many numbers a block with biases "
        "and an MLP ratio of 4 holds",
        hint="Matrices first: 3 and 1 squares in attention, 4 and 4 in the "
        "MLP. Then every bias, and two vectors for each LayerNorm.",
        right=lambda D: 12 * D**2 + 13 * D,
        wrong={
            "The vectors are missing: biases and LayerNorms.": (
                lambda D: 12 * D**2
            ),
            "The two LayerNorms are missing: 4D.": (
                lambda D: 12 * D**2 + 9 * D
            ),
            "The biases are missing: 9D.": lambda D: 12 * D**2 + 4 * D,
            "The bias of the MLP's wide layer has 4D numbers.": (
                lambda D: 12 * D**2 + 10 * D
            ),
        },
        cases=lambda: [(192,), (384,), (1280,)],
        tolerance=0,
    ),
    "3": Exercise(
        asks="rms_norm(x, weight) with x (B, T, D) and weight (D,), with an "
        "epsilon of 1e-6",
        hint="It is layer_norm without two of its steps; the mean that is "
        "left is one of squares.",
        right=rms_norm,
        wrong={
            "It takes the mean away first: that is LayerNorm.": centred,
            "It divides by the token's length: the mean of the squares is "
            "asked for, not their sum.": by_sum,
            "The root is missing: divide by the root of the mean square.": (
                no_root
            ),
            "It takes one mean for all tokens; each token has its own.": (
                over_all
            ),
        },
        cases=some_tokens,
    ),
    "5": Exercise(
        asks="parallel(block, x), which returns the tokens (B, T, D)",
        hint="Use block.norm1, block.attn (its first result) and block.mlp; "
        "both branches read the same tokens.",
        right=parallel,
        wrong={
            "That is the block as it was: its MLP reads what attention "
            "wrote.": in_turn,
            "The input is missing in the sum.": no_residual,
            "LayerNorm is missing: both branches read normalised tokens.": (
                no_norm
            ),
        },
        cases=some_blocks,
    ),
}
