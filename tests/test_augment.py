"""vitlib.augment: batched, on the images' device, one draw an image."""

import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

from vitlib.augment import (
    cutmix,
    mixup,
    one_hot,
    random_boxes,
    random_crop,
    random_erasing,
    random_flip,
)

SHAPES = [(1, 1, 4, 4), (6, 1, 28, 28), (5, 3, 8, 12)]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def pictures(*shape):
    """Random bytes, none of them zero."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, shape, generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("shape", SHAPES)
def test_shape_and_type_stay(shape):
    images = pictures(*shape)
    for new in (
        random_flip(images),
        random_crop(images, 2),
        random_erasing(images, 0.5),
    ):
        assert new.shape == images.shape
        assert new.dtype == torch.uint8
    targets = one_hot(torch.zeros(len(images), dtype=torch.int64), 3, 0.1)
    for blend in (mixup, cutmix):
        x, blended = blend(images.float(), targets, 1.0)
        assert x.shape == images.shape
        assert blended.shape == targets.shape
        assert x.dtype == blended.dtype == torch.float32


def test_flip_twice_is_nothing():
    images = pictures(64, 2, 3, 5)
    torch.manual_seed(1)
    once = random_flip(images)
    torch.manual_seed(1)
    assert torch.equal(random_flip(once), images)


def test_flip_mirrors_about_half_left_to_right():
    images = pictures(400, 1, 2, 5)
    flipped = random_flip(images)
    same = (flipped == images).flatten(1).all(1)
    mirrored = (flipped == images.flip(3)).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 150 < mirrored.sum() < 250  # five standard deviations


def test_crop_without_padding_is_nothing():
    images = pictures(4, 3, 6, 8)
    assert torch.equal(random_crop(images, 0), images)


def test_crop_shifts_each_image_and_fills_with_zero():
    images = pictures(300, 2, 6, 9)
    padded = functional.pad(images, [2] * 4)
    shifts = set()
    for old, new in zip(padded, random_crop(images, 2), strict=True):
        found = [
            (down, right)
            for down in range(5)
            for right in range(5)
            if torch.equal(old[:, down : down + 6, right : right + 9], new)
        ]
        assert len(found) == 1
        shifts.update(found)
    assert len(shifts) == 25  # every shift comes up among 300


def test_erasing_touches_the_asked_share_of_images():
    images = torch.zeros(500, 1, 20, 20, dtype=torch.uint8)
    touched = random_erasing(images, 0.3).flatten(1).any(1).sum()
    assert 95 < touched < 205  # 150, five standard deviations
    assert not random_erasing(images, 0.0).any()


def test_erasing_fills_a_box_with_noise_and_leaves_the_rest():
    images = torch.zeros(300, 1, 20, 20, dtype=torch.uint8)
    new = random_erasing(images, 0.999)
    boxes = (new > 0).squeeze(1)
    black = pixels = 0
    for box in boxes[boxes.any(2).any(1)]:
        rows, columns = box.any(1).nonzero(), box.any(0).nonzero()
        inside = box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        black += int((~inside).sum())
        pixels += inside.numel()
    assert 0 < black / pixels < 0.01  # one byte in 256 is black by chance
    assert new[new > 0].float().std() > 60  # 74 for even bytes
    share = boxes.float().mean((1, 2))
    assert share.max() <= 0.45  # 0.4, and whole pixels
    assert 0.1 < share.mean() < 0.25


def test_boxes_have_their_area_where_the_rim_cuts_nothing():
    area = torch.full((2000,), 0.09)
    boxes = random_boxes(2000, 40, 60, area)
    assert boxes.shape == (2000, 1, 40, 60)
    rows = boxes.any(3).sum(2).squeeze(1)
    columns = boxes.any(2).sum(2).squeeze(1)
    assert torch.equal(rows * columns, boxes.sum((1, 2, 3)))
    # 0.3 of 40 rows and of 60 columns, less where the rim cuts
    assert rows.max() == 12
    assert columns.max() == 18
    assert (rows == 12).float().mean() > 0.6
    centre = boxes.float().mean((0, 1))
    assert centre[20, 30] > 2 * centre[0, 0]


def test_boxes_of_no_area_are_empty():
    assert not random_boxes(50, 8, 8, torch.zeros(50)).any()


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_one_hot_rows_sum_to_one(smoothing):
    targets = one_hot(torch.tensor([2, 0]), 4, smoothing)
    assert_close(targets.sum(1), torch.ones(2))
    assert_close(targets[0, 2].item(), 1 - smoothing * 3 / 4)
    assert_close(targets[0, 1].item(), smoothing / 4)
    assert targets.argmax(1).tolist() == [2, 0]


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_label_smoothing_equals_torchs(smoothing):
    logits, labels = torch.randn(7, 5), torch.randint(5, (7,))
    ours = functional.cross_entropy(logits, one_hot(labels, 5, smoothing))
    theirs = functional.cross_entropy(
        logits, labels, label_smoothing=smoothing
    )
    assert_close(ours, theirs)


def test_mixup_blends_pictures_and_targets_alike():
    x = torch.eye(6)[:, None, None]  # image i is white at pixel i
    mixed, targets = mixup(x, torch.eye(6), 1.0)
    assert_close(mixed.squeeze((1, 2)), targets)
    assert_close(targets.sum(1), torch.ones(6))
    pairs = targets + targets.flip(1)  # class i only with class 5 - i
    assert_close(pairs.diagonal(), torch.ones(6))
    shares = targets.diagonal()
    assert len(set(shares.tolist())) == 6  # each image its own draw


@pytest.mark.parametrize(
    ("alpha", "spread"), [(0.1, 0.456), (1.0, 0.289), (50.0, 0.0498)]
)
def test_mixup_draws_from_beta(alpha, spread):
    x = torch.zeros(4000, 1, 1, 1)
    targets = torch.zeros(4000, 2)
    targets[:2000, 0] = targets[2000:, 1] = 1.0
    shares = mixup(x, targets, alpha)[1][:2000, 0]
    # the deviation of Beta(a, a) is 1 / (2 sqrt(2 a + 1))
    assert_close(shares.std().item(), spread, rtol=0.05, atol=0.0)
    assert_close(shares.mean().item(), 0.5, rtol=0, atol=0.05)


def test_cutmix_blends_targets_by_the_pixels_really_pasted():
    x = torch.zeros(8, 1, 9, 11)
    x[:4] = 1.0  # the first half white, their mirrors black
    targets = torch.stack([x.mean((1, 2, 3)), 1 - x.mean((1, 2, 3))], 1)
    new, blended = cutmix(x, targets, 1.0)
    assert_close(blended[:, 0], new.mean((1, 2, 3)))
    assert_close(blended.sum(1), torch.ones(8))
    assert set(new.unique().tolist()) == {0.0, 1.0}  # pasted, not blended
    assert len(blended[:, 0].unique()) > 4


def test_cutmix_pastes_the_mirror_at_the_same_place():
    x = torch.randn(6, 2, 8, 8)
    new, _ = cutmix(x, torch.eye(6), 1.0)
    pasted = new != x
    assert pasted.any()
    assert torch.equal(new[pasted], x.flip(0)[pasted])
    assert torch.equal(pasted[:, 0], pasted[:, 1])


@pytest.mark.parametrize("augment", [random_flip, random_crop, mixup, cutmix])
def test_same_seed_same_pictures(augment):
    images = pictures(16, 1, 8, 8)
    extra = {random_flip: (), random_crop: (3,)}.get(
        augment, (torch.eye(16), 0.5)
    )
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        new = augment(images.float(), *extra)
        results.append(new[0] if isinstance(new, tuple) else new)
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: random_crop(x, -1), "padding must be 0 or more; got -1"),
        (
            lambda x: random_erasing(x, 1.0),
            r"probability must lie in \[0, 1\); got 1.0",
        ),
        (
            lambda x: one_hot(torch.tensor([0]), 2, 1.0),
            r"smoothing must lie in \[0, 1\); got 1.0",
        ),
        (lambda x: mixup(x, x, 0.0), "between 0 and 1e38; got 0.0"),
        (lambda x: mixup(x, x, 1e39), "between 0 and 1e38; got 1e\\+39"),
        (lambda x: cutmix(x, x, float("nan")), "0 and 1e38; got nan"),
        (
            lambda x: cutmix(x[:, :, :0].float(), torch.eye(2), 1.0),
            "H must be a positive integer; got 0",
        ),
        (
            lambda x: random_boxes(2, 3, -1, torch.ones(2)),
            "H and W must be 0 or more; got 3 and -1",
        ),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call(pictures(2, 1, 4, 4))
