"""Chapter 8: how good a classifier is, counted over every image.

Guo et al. 2017 (arXiv:1706.04599) for calibration; Wilson 1927 for the
interval of a share.
"""

import math

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from vitlib._checks import check_finite, check_positive
from vitlib._shapes import check_floating, check_labels, check_shape

Z95 = 1.959964  # 97.5th percentile of the standard normal


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of images (B, K) whose largest logit is the label's, 0 to 1."""
    _check(logits, labels)
    return float((logits.argmax(dim=1) == labels).double().mean())


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """95 % interval of a share that was counted over some images.

    Chapter 8. It says how far the share would move with other test images;
    it knows nothing of other seeds.

    Args:
        share: 0 to 1.
        count: number of images.

    Returns:
        Lower and upper end, 0 to 1.
    """
    if not (0 <= share <= 1 and 1 <= count < math.inf):
        raise ValueError(
            "share must lie in [0, 1] and count be at least 1; got "
            f"share={share}, count={count}"
        )
    scale = 1 / (1 + Z95**2 / count)
    centre = scale * (share + Z95**2 / (2 * count))
    spread = share * (1 - share) / count + (Z95 / (2 * count)) ** 2
    half = scale * Z95 * math.sqrt(spread)
    # rounding must not leave the share itself outside
    low, high = min(share, centre - half), max(share, centre + half)
    return max(0.0, low), min(1.0, high)


def confusion(logits: Tensor, labels: Tensor) -> Tensor:
    """Count the pairs of label and prediction.

    Chapter 8.

    Args:
        logits: (B, K).
        labels: int64 (B,).

    Returns:
        int64 (K, K): row is the label, column the prediction.
    """
    _check(logits, labels)
    K = logits.shape[1]
    pairs = torch.bincount(labels * K + logits.argmax(1), minlength=K * K)
    return rearrange(pairs, "(label guess) -> label guess", label=K)


def calibration(
    logits: Tensor, labels: Tensor, bins: int = 15
) -> tuple[float, Tensor]:
    """Compare how sure the model is with how often it is right.

    Chapter 8. Guo et al. 2017, Eq. 3.

    Args:
        logits: (B, K).
        labels: int64 (B,).
        bins: number of equal steps of confidence from 0 to 1.

    Returns:
        The expected calibration error, 0 to 1, and a table (bins, 3):
        images in the bin, their mean confidence, their accuracy; 0 where a
        bin is empty.
    """
    _check(logits, labels)
    check_positive(bins=bins)
    confidence = functional.softmax(logits.double(), dim=1).amax(dim=1)
    right = (logits.argmax(dim=1) == labels).double()
    index = (confidence * bins).long().clamp(max=bins - 1)
    ones = torch.ones_like(right)
    sums = torch.stack(
        [
            torch.bincount(index, weights, minlength=bins)
            for weights in (ones, confidence, right)
        ],
        dim=1,
    )  # (bins, 3)
    table = sums / sums[:, :1].clamp(min=1)
    table[:, 0] = sums[:, 0]
    gaps = (table[:, 2] - table[:, 1]).abs() * sums[:, 0]
    return float(gaps.sum() / len(labels)), table


def _check(logits: Tensor, labels: Tensor) -> None:
    """Refuse what are no scores of images and their classes.

    Raises:
        ValueError: states the rule that was broken, and the values.
    """
    check_shape("logits", logits, "B K")
    check_floating(logits=logits)
    check_finite(logits, "logits")
    B, K = logits.shape
    check_positive(images=B, classes=K)
    check_labels(labels, B, K)
