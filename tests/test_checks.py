"""vitlib._checks: rules and values in every message."""

import pytest
import torch

from vitlib._checks import check_finite, pair


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
