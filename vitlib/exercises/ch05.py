"""Exercises of chapter 5, attention."""

import torch
from einops import einsum, rearrange
from torch import Tensor

from vitlib.exercises import Exercise
from vitlib.positions import relative_positions


def scores(q: Tensor, k: Tensor) -> Tensor:
    """Return scaled products of queries and keys, (B, h, T, T)."""
    products = einsum(q, k, "b h i d, b h j d -> b h i j")
    return products / q.shape[-1] ** 0.5


def past(logits: Tensor) -> Tensor:
    """Mark what row i may see: columns 0 to i."""
    return torch.ones(logits.shape[-2:], dtype=torch.bool).tril()


def causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention in which token i sees tokens 0 to i."""
    logits = scores(q, k)
    logits = logits.masked_fill(~past(logits), -torch.inf)
    return logits.softmax(dim=-1) @ v


def causal_to_future(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Let token i see the tokens from i on."""
    logits = scores(q, k)
    logits = logits.masked_fill(~past(logits).mT, -torch.inf)
    return logits.softmax(dim=-1) @ v


def causal_over_queries(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Take the softmax over the queries."""
    logits = scores(q, k)
    logits = logits.masked_fill(~past(logits), -torch.inf)
    return logits.softmax(dim=-2) @ v


def causal_after_softmax(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Set weights to zero after the softmax."""
    weights = scores(q, k).softmax(dim=-1)
    return (weights * past(weights)) @ v


def causal_unscaled(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Leave out the scale."""
    return causal(q * q.shape[-1] ** 0.5, k, v)


def causal_by_zeros(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Set logits to zero in place of minus infinity."""
    logits = scores(q, k)
    return (logits * past(logits)).softmax(dim=-1) @ v


def some_heads() -> list[tuple]:
    """Draw queries, keys and values of two widths."""
    return [
        tuple(torch.randn(3, 1, 2, 5, 4)),
        tuple(torch.randn(3, 2, 1, 7, 16)),
        tuple(torch.randn(3, 1, 1, 1, 3)),
    ]


def relative_logits(q: Tensor, k: Tensor, r: Tensor) -> Tensor:
    """Let the keys know where they stand to the query."""
    extra = einsum(q, r, "b h i d, i j d -> b h i j")
    return scores(q, k) + extra / q.shape[-1] ** 0.5


def relative(q: Tensor, k: Tensor, r: Tensor) -> Tensor:
    """Return the weights of these logits."""
    return relative_logits(q, k, r).softmax(dim=-1)


def relative_unscaled(q: Tensor, k: Tensor, r: Tensor) -> Tensor:
    """Add the part of the positions without the scale."""
    extra = einsum(q, r, "b h i d, i j d -> b h i j")
    return (scores(q, k) + extra).softmax(dim=-1)


def relative_by_keys(q: Tensor, k: Tensor, r: Tensor) -> Tensor:
    """Multiply the positions with the keys."""
    extra = einsum(k, r, "b h j d, i j d -> b h i j")
    return (scores(q, k) + extra / q.shape[-1] ** 0.5).softmax(dim=-1)


def some_relations() -> list[tuple]:
    """Draw queries, keys, and one vector for each pair of tokens."""
    made = []
    for width, tokens in ((4, 5), (8, 6)):
        q, k = torch.randn(2, 2, 2, tokens, width)
        table = torch.randn(2 * tokens - 1, width)
        made.append((q, k, relative_positions(table)))
    return made


EXERCISES = {
    "2": Exercise(
        asks="causal(q, k, v), all (B, h, T, d), which returns the outputs",
        hint="With torch.ones(T, T).tril() you get 1 where the column (the "
        "key) is not after the row (the query). Minus infinity becomes "
        "weight 0.",
        right=causal,
        wrong={
            "Its mask is transposed: token i sees the tokens from i on.": (
                causal_to_future
            ),
            "Its softmax runs over the queries; each row of weights must "
            "sum to 1: dim=-1.": causal_over_queries,
            "Its mask comes after the softmax, so the rows of weights do "
            "not sum to 1.": causal_after_softmax,
            "The scale is missing: divide by the square root of d.": (
                causal_unscaled
            ),
            "It sets logits to 0, and exp(0) is 1: a masked logit is minus "
            "infinity.": causal_by_zeros,
            "It has no mask: each token sees all.": lambda q, k, v: (
                scores(q, k).softmax(dim=-1) @ v
            ),
        },
        cases=some_heads,
    ),
    "3": Exercise(
        asks="(rank of the logits, rank of the weights)",
        hint="A product of matrices has at most the smallest of their ranks; "
        "exp works on each number alone.",
        right=(8, 50),
        wrong={
            "The logits' rank is that of a product of 50x8 and 8x50.": (
                50,
                50,
            ),
            "The softmax is no linear map: it need not keep the rank.": (
                8,
                8,
            ),
        },
    ),
    "5": Exercise(
        asks="relative(q, k, r) with q and k (B, h, T, d) and r (T, T, d), "
        "which returns the weights (B, h, T, T)",
        hint="The bracket has two terms: the usual logits, and one einsum "
        "of q with r. One scale holds for both.",
        right=relative,
        wrong={
            "The part with r is not scaled: the division is outside the "
            "bracket.": relative_unscaled,
            "It takes r_ji for r_ij: rows of r belong to queries.": (
                lambda q, k, r: relative(q, k, rearrange(r, "i j d -> j i d"))
            ),
            "It multiplies r with the keys; the formula has q with r.": (
                relative_by_keys
            ),
            "These are the logits; take the softmax over the keys.": (
                relative_logits
            ),
        },
        cases=some_relations,
    ),
}
