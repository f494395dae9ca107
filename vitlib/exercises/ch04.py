"""Exercises of chapter 4, position embeddings."""

import torch
from torch import Tensor

from vitlib.exercises import Exercise


def frequencies(count: int) -> Tensor:
    """Return the sine-cosine table's frequencies, from 1 downwards."""
    return 10_000.0 ** (-torch.arange(count, dtype=torch.float64) / count)


def product(down: int, across: int, embed_dim: int) -> Tensor:
    """Multiply two positions that lie so many patches apart."""
    omega = frequencies(embed_dim // 4)
    return (down * omega).cos().sum() + (across * omega).cos().sum()


def half_as_many(down: int, across: int, embed_dim: int) -> Tensor:
    """Take twice the frequencies there are."""
    return product(down, across, 2 * embed_dim)


def one_axis(down: int, across: int, embed_dim: int) -> Tensor:
    """Forget the columns."""
    return (down * frequencies(embed_dim // 4)).cos().sum()


def multiplied(down: int, across: int, embed_dim: int) -> Tensor:
    """Multiply the axes in place of adding them."""
    omega = frequencies(embed_dim // 4)
    return ((down * omega).cos() * (across * omega).cos()).sum()


def places() -> Tensor:
    """Return row and column of the patches of a 7x7 grid, (49, 2)."""
    return torch.cartesian_prod(torch.arange(7.0), torch.arange(7.0))


def biased(q: Tensor, k: Tensor, slope: float, p: float = 2.0) -> Tensor:
    """Return attention weights that fall with distance."""
    distance = torch.cdist(places(), places(), p=p)
    return (q @ k.T / q.shape[-1] ** 0.5 - slope * distance).softmax(dim=-1)


def scaled_bias(q: Tensor, k: Tensor, slope: float) -> Tensor:
    """Scale the bias as well."""
    return biased(q, k, slope / q.shape[-1] ** 0.5)


def some_heads() -> list[tuple]:
    """Draw queries and keys of 49 patches, with a slope."""
    return [
        (*torch.randn(2, 49, 16), 0.5),
        (*torch.randn(2, 49, 4), 2.0),
    ]


EXERCISES = {
    "2": Exercise(
        asks="product(down, across, embed_dim): the product of two "
        "sine-cosine positions that lie down rows and across columns apart",
        hint="For one frequency: sin a sin b + cos a cos b = cos(a - b). "
        "There are D / 4 frequencies for each axis.",
        right=product,
        wrong={
            "It takes too many frequencies: two axes, sine and cosine leave "
            "D / 4.": half_as_many,
            "One axis is missing: rows and columns both count.": one_axis,
            "It multiplies the axes: they lie in different components, so "
            "their parts add.": multiplied,
        },
        cases=lambda: [(1, 2, 128), (0, 0, 64), (3, -2, 32)],
    ),
    "3": Exercise(
        asks="biased(q, k, slope) with q and k (49, d) of a 7x7 grid, which "
        "returns the weights (49, 49)",
        hint="With torch.cartesian_prod you get each patch's place, with "
        "torch.cdist all distances. The bias joins the scaled logits.",
        right=biased,
        wrong={
            "The sign is wrong: far patches get the largest weights.": (
                lambda q, k, slope: biased(q, k, -slope)
            ),
            "The scale is missing: divide q @ k.T by the square root of d.": (
                lambda q, k, slope: biased(q * q.shape[-1] ** 0.5, k, slope)
            ),
            "The bias is scaled, too: only the products are divided by the "
            "square root of d.": scaled_bias,
            "It counts steps along rows and columns; the distance is the "
            "straight line.": lambda q, k, slope: biased(q, k, slope, 1.0),
        },
        cases=some_heads,
    ),
}
