"""vitlib.metrics: counted over every image."""

import pytest
import torch
from torch.testing import assert_close

from vitlib.metrics import accuracy, calibration, confusion, wilson_interval


def logits_of(probabilities):
    """Logits whose softmax gives these rows."""
    return torch.tensor(probabilities, dtype=torch.float64).log()


def test_accuracy_counts_images():
    logits = torch.tensor([[2.0, 1.0], [0.0, 3.0], [5.0, 4.0]])
    assert accuracy(logits, torch.tensor([0, 1, 1])) == 2 / 3


# R's binom.confint(x, n, methods="wilson") and Wilson's formula by hand
@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [
        (0, 10, 0.0, 0.2775328),
        (10, 10, 0.7224672, 1.0),
        (5, 10, 0.2365931, 0.7634069),
        (1, 1, 0.2065493, 1.0),
    ],
)
def test_wilson_interval_at_known_values(right, count, low, high):
    found = wilson_interval(right / count, count)
    assert_close(found, (low, high), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("right", "count"), [(7, 9), (925, 1000), (1, 500)])
def test_wilson_interval_equals_scipys(right, count):
    stats = pytest.importorskip("scipy.stats")
    theirs = stats.binomtest(right, count).proportion_ci(method="wilson")
    ours = wilson_interval(right / count, count)
    assert_close(ours, (theirs.low, theirs.high), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("share", "count"), [(-0.1, 5), (1.1, 5), (0.5, 0), (float("nan"), 5)]
)
def test_wilson_interval_refuses(share, count):
    message = f"at least 1; got share={share}, count={count}"
    with pytest.raises(ValueError, match=message):
        wilson_interval(share, count)


def test_confusion_has_labels_in_rows():
    logits = torch.eye(3)[[0, 1, 1, 2, 2, 2]]
    labels = torch.tensor([0, 0, 1, 0, 2, 2])
    table = confusion(logits, labels)
    assert table.tolist() == [[1, 1, 1], [0, 1, 0], [0, 0, 2]]
    assert torch.equal(table.sum(1), torch.bincount(labels))
    assert table.sum() == 6
    assert table.trace() / 6 == pytest.approx(accuracy(logits, labels))


def test_perfectly_calibrated_has_no_error():
    # of ten images at 70 % seven are right, of four at 75 % three
    logits = logits_of([[0.7, 0.3]] * 10 + [[0.25, 0.75]] * 4)
    labels = torch.tensor([0] * 7 + [1] * 3 + [1] * 3 + [0])
    error, table = calibration(logits, labels, bins=20)
    assert error == pytest.approx(0.0, abs=1e-12)
    assert table.shape == (20, 3)
    assert table[:, 0].sum() == 14
    full = table[table[:, 0] > 0]
    assert_close(full[:, 1], full[:, 2])


def test_error_is_the_weighted_gap():
    # three images at 90 %, one right; one at 60 %, right
    logits = logits_of([[0.9, 0.1]] * 3 + [[0.6, 0.4]])
    error, table = calibration(logits, torch.tensor([0, 1, 1, 0]), bins=5)
    gap = 3 * (0.9 - 1 / 3) + 1 * (1 - 0.6)
    assert error == pytest.approx(gap / 4)
    assert_close(table[4], torch.tensor([3, 0.9, 1 / 3]).double())
    assert_close(table[3], torch.tensor([1, 0.6, 1.0]).double())
    assert not table[:3].any()


def test_full_confidence_lies_in_the_last_bin():
    error, table = calibration(
        torch.tensor([[1000.0, 0.0]]), torch.tensor([0])
    )
    assert table.shape == (15, 3)
    assert table[-1].tolist() == [1.0, 1.0, 1.0]
    assert error == 0.0


def test_the_interval_holds_the_share_for_all_counts():
    for count in range(1, 200):
        for share in (0.0, 1.0, 1 / count):
            low, high = wilson_interval(share, count)
            assert 0 <= low <= share <= high <= 1
