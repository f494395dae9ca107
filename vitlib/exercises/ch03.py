"""Exercises of chapter 3, the class token."""

import torch
from torch import Tensor

from vitlib.exercises import Exercise


def attention_pool(z: Tensor, query: Tensor) -> Tensor:
    """Weigh patches (B, N, D) by a query (D,): (B, D)."""
    weights = (z @ query / len(query) ** 0.5).softmax(dim=-1)  # (B, N)
    return (weights[:, None] @ z)[:, 0]


def unscaled(z: Tensor, query: Tensor) -> Tensor:
    """Leave the scale out."""
    return attention_pool(z, query * len(query) ** 0.5)


def over_the_batch(z: Tensor, query: Tensor) -> Tensor:
    """Take the softmax over the images."""
    weights = (z @ query / len(query) ** 0.5).softmax(dim=0)
    return (weights[:, None] @ z)[:, 0]


def not_normalised(z: Tensor, query: Tensor) -> Tensor:
    """Weigh by the products themselves."""
    weights = z @ query / len(query) ** 0.5
    return (weights[:, None] @ z)[:, 0]


def by_patches(z: Tensor, query: Tensor) -> Tensor:
    """Scale by the number of patches."""
    return attention_pool(z, query * (len(query) / z.shape[1]) ** 0.5)


def some_tokens() -> list[tuple]:
    """Draw tokens and a query, twice."""
    return [
        (torch.randn(2, 49, 32), torch.randn(32)),
        (torch.randn(3, 4, 8), torch.randn(8)),
    ]


EXERCISES = {
    "3": Exercise(
        asks="attention_pool(z, query) with z (B, N, D) and query (D,), "
        "which returns (B, D)",
        hint="First one number a patch, z @ query; then weights that sum to "
        "1 over the patches; then the weighted sum.",
        right=attention_pool,
        wrong={
            "The scale is missing: divide by the square root of D.": unscaled,
            "It scales by the number of patches N; the formula has the "
            "width D.": by_patches,
            "Its softmax runs over the images of the batch; the weights of "
            "one image's patches must sum to 1.": over_the_batch,
            "The softmax is missing: the weights do not sum to 1.": (
                not_normalised
            ),
        },
        cases=some_tokens,
    ),
    "5": Exercise(
        asks='(heard with "token", heard with "avg"): how many of the last '
        "block's 50 outputs reach y",
        hint="LayerNorm works on each token alone. Which rows of z does the "
        "read-out take, and is the class token among them?",
        right=(1, 49),
        wrong={
            "The mean is over the patches: it leaves the class token out.": (
                1,
                50,
            ),
            "The head reads one token; LayerNorm does not mix tokens.": (
                50,
                49,
            ),
            "Neither read-out takes all tokens.": (50, 50),
        },
        tolerance=0,
    ),
}
