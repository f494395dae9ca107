"""Metrics, augmentation and evaluation for any input; see tests/drawn.py."""

import math

import numpy as np
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix
from torch import nn

from tests.drawn import (
    DTYPES,
    FLOATS,
    TAME,
    WILD,
    around,
    close,
    covers,
    outcome,
    refuses,
    shapes,
    tensors,
)
from vitlib.augment import (
    cutmix,
    mixup,
    one_hot,
    random_boxes,
    random_crop,
    random_erasing,
    random_flip,
)
from vitlib.baselines import SmallCNN, conv_layer
from vitlib.data import ImageDataset, normalize
from vitlib.evaluate import evaluate, predict
from vitlib.metrics import accuracy, calibration, confusion, wilson_interval
from vitlib.optim import learning_rate
from vitlib.recipe import TrainConfig, prepare

SEEDS = st.integers(0, 2**32)
SIDES = st.integers(1, 4)
ODD = st.sampled_from([-1.0, 0.0, 0.3, 1.0, 2.5, math.nan, math.inf])


def exactly(one, other):
    return torch.equal(one.nan_to_num(7), other.nan_to_num(7))


@covers(accuracy, confusion, calibration)
@given(
    tensors(around(2), DTYPES, TAME + WILD),
    tensors(around(1), (torch.int64, torch.int32, torch.float32)),
    st.sampled_from([5, 1, 15, 0, 2.0]),
    st.booleans(),
)
def test_metrics_refuse_what_is_no_logits_or_labels(
    logits, labels, bins, fitting
):
    if fitting and logits.ndim:
        labels = torch.zeros(len(logits), dtype=torch.int64)
    fits = logits.ndim == 2 and logits.is_floating_point()
    fits = fits and bool(logits.numel()) and bool(logits.isfinite().all())
    fits = fits and labels.dtype == torch.int64
    fits = fits and labels.shape == logits.shape[:1]
    fits = fits and 0 <= labels.min() <= labels.max() < logits.shape[1]
    assert refuses(accuracy, logits, labels) == (not fits)
    assert refuses(confusion, logits, labels) == (not fits)
    fits = fits and type(bins) is int and bins > 0
    assert refuses(calibration, logits, labels, bins) == (not fits)


@covers(accuracy, confusion, calibration)
@given(st.data(), SEEDS, st.integers(1, 30), st.integers(1, 5), SIDES)
def test_metrics_are_counts(data, seed, B, K, bins):
    logits = data.draw(tensors((B, K), FLOATS))
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(K, (B,), generator=rng)
    rows = logits.detach().double().numpy()
    guesses = [row.index(max(row)) for row in rows.tolist()]
    table = confusion(logits, labels)
    wanted = confusion_matrix(labels, guesses, labels=range(K))
    assert table.tolist() == wanted.tolist()
    right = [g == t for g, t in zip(guesses, labels.tolist(), strict=True)]
    assert accuracy(logits, labels) == np.mean(right)
    odds = np.exp(rows - rows.max(axis=1, keepdims=True))
    sure = (odds / odds.sum(axis=1, keepdims=True)).max(axis=1)
    # on an edge, rounding decides
    assume(np.abs(sure * bins - np.round(sure * bins)).min() > 1e-9 or K == 1)
    places = np.minimum(np.floor(sure * bins), bins - 1)
    error, found = calibration(logits, labels, bins)
    gaps = []
    for place, row in enumerate(found.tolist()):
        inside = places == place
        count = inside.sum()
        means = [sure[inside].mean(), np.mean(right, where=inside)]
        np.testing.assert_allclose(
            row, [count, *(means if count else [0, 0])], rtol=1e-9
        )
        gaps.append(abs(row[1] - row[2]) * count / B)
    assert math.isclose(error, sum(gaps), rel_tol=1e-9, abs_tol=1e-12)


@covers(wilson_interval)
@given(
    st.floats(0, 1) | st.sampled_from([-0.1, 1.1, math.nan, math.inf]),
    st.integers(-1, 10**9) | st.sampled_from([math.nan, math.inf]),
)
def test_the_ends_of_the_interval_solve_wilsons_equation(share, count):
    found = outcome(wilson_interval, share, count)
    assert (found is not None) == (0 <= share <= 1 and 1 <= count < math.inf)
    if found is None:
        return
    low, high = found
    assert 0 <= low <= share <= high <= 1
    for end in found:
        gap, chance = (share - end) ** 2, 1.959964**2 * end * (1 - end) / count
        assert math.isclose(gap, chance, rel_tol=1e-5, abs_tol=1e-14)


@covers(random_flip)
@given(tensors(around(4), DTYPES, TAME + WILD), SEEDS)
def test_a_flip_keeps_or_mirrors(images, seed):
    torch.manual_seed(seed)
    found = outcome(random_flip, images)
    assert (found is None) == (images.ndim != 4)
    if found is None:
        return
    assert (found.shape, found.dtype) == (images.shape, images.dtype)
    for one, other in zip(found, images, strict=True):
        mirrored = other[..., list(range(other.shape[-1]))[::-1]]
        assert exactly(one, other) or exactly(one, mirrored)


@covers(random_crop)
@given(
    tensors(around(4), DTYPES, TAME + WILD),
    st.sampled_from([-1, 0, 1, 2, 6, 1.0, True]),
    SEEDS,
)
def test_a_crop_is_a_shift(images, padding, seed):
    torch.manual_seed(seed)
    found = outcome(random_crop, images, padding)
    fits = images.ndim == 4 and type(padding) is int and padding >= 0
    assert (found is not None) == fits
    if not fits:
        return
    assert (found.shape, found.dtype) == (images.shape, images.dtype)
    C, H, W = images.shape[1:]
    for one, other in zip(found, images, strict=True):
        wide = other.new_zeros(C, H + 2 * padding, W + 2 * padding)
        wide[:, padding : padding + H, padding : padding + W] = other
        steps = range(2 * padding + 1)
        assert any(
            exactly(one, wide[:, y : y + H, x : x + W])
            for y in steps
            for x in steps
        )


@covers(random_boxes)
@given(SEEDS, *[st.integers(0, 6)] * 3, st.floats(0, 1))
def test_boxes_are_boxes_of_at_most_their_area(seed, B, H, W, share):
    torch.manual_seed(seed)
    boxes = random_boxes(B, H, W, torch.full((B,), share))
    assert (boxes.shape, boxes.dtype) == ((B, 1, H, W), torch.bool)
    for box in boxes[:, 0]:
        rows, columns = box.any(dim=1), box.any(dim=0)
        assert torch.equal(box, rows[:, None] & columns)
        for line in (rows, columns):
            places = line.nonzero()[:, 0].tolist()
            length = len(places)
            assert not places or places[-1] - places[0] == length - 1
            assert length <= math.ceil(share**0.5 * len(line) + 1e-4)
        assert not share or share < 1 or box.sum() * 4 + 2 * (H + W) >= H * W


@covers(random_boxes)
@given(tensors(shapes(0, 2), DTYPES, TAME))
def test_boxes_need_an_area_an_image(area):
    fits = area.ndim == 1 and len(area) == 2 and area.is_floating_point()
    assert refuses(random_boxes, 2, 3, 3, area) == (not fits)


@covers(random_erasing)
@given(tensors(around(4), DTYPES), ODD, SEEDS)
def test_erasing_changes_a_box_of_bytes(images, probability, seed):
    torch.manual_seed(seed)
    found = outcome(random_erasing, images, probability)
    fits = images.ndim == 4 and images.dtype == torch.uint8
    assert (found is not None) == (fits and 0 <= probability < 1)
    if found is not None:
        assert (found.shape, found.dtype) == (images.shape, images.dtype)
        if probability == 0:
            assert torch.equal(found, images)


@covers(one_hot)
@given(
    tensors(shapes(0, 2), (torch.int64, torch.int32, torch.float32)),
    st.sampled_from([-1, 0, 1, 3, 101, 2.0]),
    ODD,
)
def test_labels_as_probabilities(labels, K, smoothing):
    found = outcome(one_hot, labels, K, smoothing)
    fits = labels.ndim == 1 and labels.dtype == torch.int64
    fits = fits and type(K) is int and K > 0 and 0 <= smoothing < 1
    fits = fits and all(0 <= label < K for label in labels.tolist())
    assert (found is not None) == fits
    if not fits:
        return
    assert (found.shape, found.dtype) == ((len(labels), K), torch.float32)
    for row, label in zip(found.tolist(), labels.tolist(), strict=True):
        wanted = [smoothing / K] * K
        wanted[label] += 1 - smoothing
        np.testing.assert_allclose(row, wanted, rtol=1e-6)


@covers(mixup)
@given(
    tensors(shapes(4, 4), FLOATS, TAME + WILD),
    st.sampled_from([1e-3, 0.2, 1.0, 50.0, 0.0, -1.0, math.nan, math.inf]),
    SEEDS,
)
def test_mixup_blends_images_and_targets_alike(images, alpha, seed):
    torch.manual_seed(seed)
    flat = images.flatten(1)  # as its own targets
    found = outcome(mixup, images, flat, alpha)
    assert (found is not None) == (0 < alpha < math.inf)
    if found is None:
        return
    blended, targets = found
    assert blended.shape == images.shape
    assert exactly(blended.flatten(1), targets)
    low, high = images.minimum(images.flip(0)), images.maximum(images.flip(0))
    low, high, blended = low.double(), high.double(), blended.double()
    room = (high.abs() + low.abs()) * 1e-5 + torch.finfo().tiny
    inside = (blended >= low - room) & (blended <= high + room)
    finite = low.isfinite() & high.isfinite()
    assert inside[finite].all()
    assert not blended[~finite].isfinite().any()


@covers(mixup, cutmix)
@given(tensors(around(4), DTYPES), tensors(shapes(1, 2), DTYPES))
def test_blends_refuse_what_does_not_fit(images, targets):
    fits = images.ndim == 4 and targets.ndim == 2
    fits = fits and len(targets) == len(images)
    fits = fits and targets.is_floating_point()
    assert refuses(cutmix, images, targets, 1.0) == (not fits)
    fits = fits and images.is_floating_point()
    assert refuses(mixup, images, targets, 1.0) == (not fits)


@covers(cutmix)
@given(
    st.integers(0, 4),
    *[SIDES] * 2,
    st.sampled_from([0.01, 1.0, 9.0, 0.0, -1.0, math.nan, math.inf]),
    SEEDS,
)
def test_cutmix_counts_the_pixels_it_pastes(B, H, W, alpha, seed):
    torch.manual_seed(seed)
    numbers = torch.arange(float(B))  # each image is its number
    images = numbers[:, None, None, None].expand(B, 2, H, W)
    found = outcome(cutmix, images, torch.eye(B), alpha)
    assert (found is not None) == (0 < alpha < math.inf)
    if found is None:
        return
    mixed, targets = found
    for i, (one, target) in enumerate(zip(mixed, targets, strict=True)):
        assert torch.equal(one[0], one[1])
        wanted = torch.zeros(B)
        for value in one[0].flatten().tolist():
            assert value in (i, B - 1 - i)
            wanted[int(value)] += 1 / (H * W)
        torch.testing.assert_close(target, wanted)


STATS = st.lists(ODD, min_size=0, max_size=3).map(tuple)


@covers(normalize)
@given(tensors(around(4), DTYPES), STATS, STATS)
def test_normalised_bytes(images, mean, std):
    found = outcome(normalize, images, mean, std)
    fits = images.ndim == 4 and images.dtype == torch.uint8
    fits = fits and len(mean) == len(std) == images.shape[1] > 0
    fits = fits and all(map(math.isfinite, mean))
    fits = fits and all(0 < s < math.inf for s in std)
    assert (found is not None) == fits
    if not fits:
        return
    wanted = torch.stack(
        [
            (channel.double() / 255 - m) / s
            for channel, m, s in zip(images.unbind(1), mean, std, strict=True)
        ],
        dim=1,
    )
    close(found, wanted)


@covers(ImageDataset)
@given(
    tensors(shapes(3, 4, 3), (torch.uint8, torch.float32, torch.int64)),
    tensors(shapes(0, 2, 3), (torch.int64, torch.float32, torch.int32)),
    st.sampled_from([1, 2, 101]),
    st.integers(-1, 4),
)
def test_a_data_set_is_whole(images, labels, K, count):
    names = tuple(map(str, range(K)))
    data = outcome(ImageDataset, images, labels, names)
    fits = images.ndim == 4 and images.dtype == torch.uint8
    fits = fits and bool(images.numel()) and labels.dtype == torch.int64
    fits = fits and labels.shape == images.shape[:1]
    fits = fits and all(0 <= label < K for label in labels.tolist())
    assert (data is not None) == fits
    if not fits:
        return
    copy = ImageDataset(images.clone(), labels.clone(), names)
    assert data.fingerprint() == copy.fingerprint()
    parts = outcome(data.split, count)
    assert (parts is not None) == (0 < count < len(data))
    if parts:
        assert [len(part) for part in parts] == [len(data) - count, count]
        pixels = [
            (label, *image.flatten().tolist())
            for part in parts
            for image, label in zip(
                part.images, part.labels.tolist(), strict=True
            )
        ]
        everything = zip(labels.tolist(), images.flatten(1), strict=True)
        assert sorted(pixels) == sorted(
            (label, *row.tolist()) for label, row in everything
        )


class Linear(nn.Module):
    """Pixels to logits, in one product."""

    def __init__(self, size, K):
        super().__init__()
        self.layer = nn.Linear(size, K)

    def forward(self, x):
        return self.layer(x.flatten(1))


@covers(evaluate, predict)
@given(
    SEEDS,
    st.integers(1, 12),
    SIDES,
    st.sampled_from([1, 2, 5, 500, 0, -1, 2.0]),
)
def test_evaluation_does_not_depend_on_the_batch(seed, B, K, batch_size):
    torch.manual_seed(seed)
    model = Linear(12, K)
    images = torch.randint(256, (B, 3, 2, 2)).to(torch.uint8)
    data = ImageDataset(images, torch.randint(K, (B,)), tuple("abcd"[:K]))
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    found = outcome(evaluate, model, data, mean, std, batch_size=batch_size)
    assert (found is not None) == (type(batch_size) is int and batch_size > 0)
    logits = predict(model, data, mean, std)
    x = (images.double() / 255).unflatten(1, (3, 1)).squeeze(2)
    x = (x - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[
        :, None, None
    ]
    wanted = x.flatten(1) @ model.layer.weight.double().T + model.layer.bias
    close(logits, wanted, 10)
    if found is None:
        return
    chances = wanted.softmax(dim=1)[range(B), data.labels]
    assert found["images"] == B
    assert math.isclose(found["loss"], -chances.log().mean(), rel_tol=1e-4)
    assert found["accuracy"] == accuracy(logits, data.labels)


@covers(SmallCNN, conv_layer)
@given(st.data(), *[st.sampled_from([1, 2, 3, 0, -1, 2.0])] * 3)
def test_the_small_cnn(data, C, K, width):
    model = outcome(SmallCNN, C, K, width)
    fits = all(type(n) is int and n > 0 for n in (C, K, width))
    assert (model is not None) == fits
    assert refuses(conv_layer, C, width, 1) == (
        not all(type(n) is int and n > 0 for n in (C, width))
    )
    if not fits:
        return
    images = data.draw(tensors(shapes(3, 4), (torch.float32, torch.uint8)))
    logits = outcome(model.eval(), images)
    fits = images.ndim == 4 and images.is_floating_point()
    fits = fits and images.shape[1] == C and bool(images.numel())
    assert (logits is not None) == fits
    if fits:
        assert logits.shape == (len(images), K)
        for image, row in zip(images, logits, strict=True):
            close(model(image[None])[0], row.double(), 10)


@covers(learning_rate)
@given(*[st.integers(-1, 30)] * 3, ODD, ODD)
def test_the_rate_rises_to_its_peak_and_falls(step, total, warmup, peak, low):
    found = outcome(learning_rate, step, total, warmup, peak, low)
    fits = 0 <= step < total and 0 <= warmup <= total
    assert (found is not None) == fits
    if fits and 0 <= low <= peak < math.inf:
        assert found <= peak + 1e-12
        assert found >= (low if step >= warmup else peak / warmup) - 1e-12
        if step == warmup - 1:
            assert found == peak


@covers(prepare)
@given(SEEDS, st.integers(0, 4), st.booleans(), st.floats(0, 1))
def test_what_a_model_is_trained_on(seed, B, blend, dice):
    torch.manual_seed(seed)
    images = torch.randint(256, (B, 1, 5, 4)).to(torch.uint8)
    labels = torch.randint(3, (B,))
    both = {"mixup": 0.2, "cutmix": 1.0} if blend else {}
    config = TrainConfig(flip=True, crop=1, erasing=0.2, **both)
    x, targets = prepare(images, labels, 3, config, dice)
    assert (x.shape, x.dtype) == (images.shape, torch.float32)
    assert x.isfinite().all()
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(B))
    again = prepare(images, labels, 3, TrainConfig(), dice)
    assert torch.equal(again[0], normalize(images, *stats(TrainConfig())))


def stats(config):
    return config.mean, config.std
