"""Compare two results, and say in words how they differ."""

import math
from typing import Any

import torch
from torch import Tensor

MOST = 100  # letters of an error message that are shown


def as_tensor(value: Any) -> Tensor | None:
    """Return real numbers as one float64 tensor; None for anything else."""
    if isinstance(value, Exception | str | dict) or value is None:
        return None
    try:
        x = torch.as_tensor(value).detach()
        plain = x.layout == torch.strided and not x.is_nested
        if not plain or x.is_complex():
            return None
        return x.to("cpu", torch.float64)
    except Exception:  # the reader's value: it may hold anything
        return None


def equal(found: Any, expected: Any, tolerance: float) -> bool:
    """Whether two results are the same, up to rounding."""
    if isinstance(expected, Exception) or isinstance(found, Exception):
        return False
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and found.keys() == expected.keys()
            and all(equal(found[k], expected[k], tolerance) for k in expected)
        )
    a, b = as_tensor(found), as_tensor(expected)
    if (a is None) != (b is None):
        return False
    if a is None:
        try:
            return bool(found == expected)
        except Exception:  # the reader's value: it may do anything
            return False
    if a.shape != b.shape:
        return False
    return torch.allclose(a, b, rtol=tolerance, atol=tolerance / 10)


def shapes_of(case: tuple) -> str:
    """Describe the arguments of a case in a few words."""
    words = []
    for value in case:
        if isinstance(value, Tensor):
            words.append(f"a tensor {tuple(value.shape)}")
        elif isinstance(value, int | float | str | tuple):
            words.append(repr(value))
        else:
            words.append(f"a {type(value).__name__}")
    return ", ".join(words)


def text_of(value: Any) -> str:
    """Return the start of what a value says of itself, if it does."""
    try:
        lines = str(value).strip().splitlines()
    except Exception:  # the reader's value: it may do anything
        lines = []
    text = lines[0] if lines else "no message"
    return text if len(text) <= MOST else text[: MOST - 3] + "..."


def differences(found: Any, expected: Any, tolerance: float) -> str:
    """Say how a wrong result differs from the right one."""
    if isinstance(found, Exception):
        return f"It ends with {type(found).__name__}: {text_of(found)}."
    if found is None:
        return "It returns None: is a return missing?"
    if isinstance(expected, dict):
        return _of_dicts(found, expected, tolerance)
    if isinstance(expected, bool):
        return f"It gives {text_of(found)}, where {expected} is right."
    a, b = as_tensor(found), as_tensor(expected)
    if a is None or b is None:
        kinds = [type(value).__name__ for value in (found, expected)]
        if kinds[0] != kinds[1]:
            return f"It gives a {kinds[0]}, where a {kinds[1]} is asked for."
        if b is not None:
            return "It is no real number, and no plain tensor of them."
        return "It gives another answer."
    if a.shape != b.shape:
        return _of_shapes(a, b, tolerance)
    return _of_numbers(a, b, tolerance)


def _of_dicts(found: Any, expected: dict, tolerance: float) -> str:
    """Name the first entry that is missing or wrong."""
    if not isinstance(found, dict) or found.keys() != expected.keys():
        return f"A dict with the keys {list(expected)} is asked for."
    key = next(
        k for k in expected if not equal(found[k], expected[k], tolerance)
    )
    words = differences(found[key], expected[key], tolerance)
    return f"Under {key!r}: {words}"


def _of_shapes(a: Tensor, b: Tensor, tolerance: float) -> str:
    """Say which shape is wrong, and whether the numbers are there."""
    words = f"Its shape is {tuple(a.shape)}, not {tuple(b.shape)}"
    if a.ndim > 1 and equal(a.mT, b, tolerance):
        return words + ": it is transposed."
    if a.squeeze().shape == b.squeeze().shape:
        return words + ": an axis of size 1 is too many or missing."
    if sorted(a.shape) == sorted(b.shape):
        return words + ": the axes stand in another order."
    return words + "."


def _of_numbers(a: Tensor, b: Tensor, tolerance: float) -> str:
    """Find what was done to the right numbers, of the same shape."""
    if b.numel() == 1:
        return f"It is too {'large' if a > b else 'small'}."
    if b.ndim == 1 and b.numel() < 6:  # a few numbers, each an answer
        bad = ~torch.isclose(a, b, rtol=tolerance, atol=tolerance / 10)
        places = ", ".join(str(i + 1) for i in range(len(b)) if bad[i])
        return f"Wrong at place {places} of {b.numel()}."
    if not a.isfinite().all() and b.isfinite().all():
        return "It holds NaN or infinity: is something divided by zero?"
    if equal(-a, b, tolerance):
        return "Its sign is wrong."
    if b.ndim > 1 and b.shape[-1] == b.shape[-2] and equal(a.mT, b, tolerance):
        return "It is transposed: rows and columns are swapped."
    factor = ((a * b).sum() / (b * b).sum()).item()
    if math.isfinite(factor) and equal(a, factor * b, tolerance):
        words = f"It is right but for a factor of {factor:.4g}"
        return f"{words}: look for a scale."
    if equal(a - (a - b).mean(), b, tolerance):
        return "It is right but for a constant that is added."
    for axis in range(b.ndim):
        ones = torch.ones_like(a.sum(axis))
        if equal(a.sum(axis), ones, tolerance) and not equal(
            b.sum(axis), torch.ones_like(b.sum(axis)), tolerance
        ):
            return f"It sums to 1 over axis {axis}: look at the axis you use."
    if equal(a.flatten().sort().values, b.flatten().sort().values, tolerance):
        return "The numbers are right, in another order: look at the axes."
    return f"It is off by up to {(a - b).abs().max().item():.3g}."
