"""vitlib._checks: rules and values in every message."""

import numpy as np
import pytest
import torch

from vitlib._checks import (
    check_choice,
    check_deviation,
    check_finite,
    check_images,
    check_probability,
    check_tensor,
    pair,
)


@pytest.mark.parametrize(
    ("value", "sides"), [(4, (4, 4)), ((2, 3), (2, 3)), ([5, 6], (5, 6))]
)
def test_pair_reads_a_side_or_two(value, sides):
    assert pair(value, "img_size") == sides


@pytest.mark.parametrize(
    "value", [0, -1, 2.5, True, "8", (4,), (1, 2, 3), (4, 0), (4.0, 4), None]
)
def test_pair_refuses_what_is_no_size(value):
    with pytest.raises(ValueError, match="img_size must be a positive int"):
        pair(value, "img_size")


def test_finite_values_pass():
    check_finite(torch.tensor([1.0, -2.0]), "images")


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ([1.0, float("nan")], 1),
        ([float("inf"), float("-inf"), 0.0], 2),
    ],
)
def test_nan_and_infinities_are_counted(values, count):
    match = f"images must be finite; {count} of {len(values)} values"
    with pytest.raises(ValueError, match=match):
        check_finite(torch.tensor(values), "images")


@pytest.mark.parametrize("value", ["0.5", None, [0.5], 1j])
def test_what_is_no_number_is_neither_rate_nor_deviation(value):
    with pytest.raises(ValueError, match=r"rate must lie in \[0, 1\); got"):
        check_probability(rate=value)
    with pytest.raises(ValueError, match="std must be >= 0 and finite; got"):
        check_deviation(std=value)


def test_numpys_numbers_are_numbers():
    check_probability(rate=np.float32(0.5))
    check_deviation(std=np.float64(0.02))


@pytest.mark.parametrize("name", [["b"], None, {}, 1])
def test_what_is_no_string_is_no_known_name(name):
    with pytest.raises(ValueError, match=r"unknown way .*; known: a, b"):
        check_choice("way", name, {"a": 1, "b": 2})


@pytest.mark.parametrize("value", [[1.0], None, "image", np.zeros(4)])
def test_what_is_no_tensor_is_told(value):
    kind = type(value).__name__
    with pytest.raises(ValueError, match=f"x must be a tensor; got {kind}"):
        check_tensor(y=torch.zeros(1), x=value)
    with pytest.raises(ValueError, match="images must be a tensor; got"):
        check_images(value)
