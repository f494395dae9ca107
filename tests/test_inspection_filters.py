"""vitlib.inspection.filters: against numpy, by properties, bad input."""

import numpy as np
import pytest
import torch

import vitlib
from vitlib.inspection import (
    component_pictures,
    principal_components,
    shuffled_filters,
    subspace_overlap,
)

SHAPES = [(64, 1, 4), (128, 1, 4), (40, 3, 5), (5, 1, 4), (2, 3, 2)]


def draw(D, C, P, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(C * P * P, C * P * P, generator=generator)
    return torch.randn(D, C * P * P, generator=generator) @ mix + 0.3


def flat(pictures):
    return pictures.flatten(1).numpy()


def by_numpy(rows):
    """Variances and directions from the covariance's eigenvectors."""
    rows = rows.double().numpy()
    covariance = np.cov(rows, rowvar=False)
    values, vectors = np.linalg.eigh(covariance)
    order = np.argsort(-values)
    return values[order], vectors[:, order].T


@pytest.mark.parametrize(("D", "C", "P"), SHAPES)
def test_equals_eigenvectors_of_the_covariance(D, C, P):
    """Figure 7, left."""
    rows = draw(D, C, P)
    pictures, explained = principal_components(rows, C)
    K = min(D - 1, C * P * P)
    assert pictures.shape == (K, C, P, P)
    assert explained.shape == (K,)
    values, vectors = by_numpy(rows)
    assert np.allclose(explained, values[:K] / values.sum(), atol=1e-10)
    cosines = np.abs((flat(pictures) * vectors[:K]).sum(axis=1))
    assert np.allclose(cosines, 1, atol=1e-6)


@pytest.mark.parametrize(("D", "C", "P"), SHAPES)
def test_orthonormal_ordered_and_shares_sum_to_one(D, C, P):
    pictures, explained = principal_components(draw(D, C, P), C)
    basis = flat(pictures)
    assert np.allclose(basis @ basis.T, np.eye(len(basis)), atol=1e-10)
    assert (explained.diff() <= 0).all()
    assert explained.sum().item() == pytest.approx(1)


def test_pixels_keep_their_places():
    # the filters differ in one pixel of one channel only
    rows = torch.ones(6, 3 * 4 * 4)
    rows[:, 2 * 16 + 1 * 4 + 3] = torch.arange(6.0)
    pictures, explained = principal_components(rows, 3)
    assert explained[0].item() == pytest.approx(1)
    expected = torch.zeros(3, 4, 4, dtype=torch.float64)
    expected[2, 1, 3] = 1
    assert torch.allclose(pictures[0], expected, atol=1e-10)


def test_sign_is_that_of_the_largest_value():
    rows = draw(50, 1, 4)
    pictures, _ = principal_components(rows, 1)
    for picture in flat(pictures):
        assert picture[np.abs(picture).argmax()] > 0
    turned, _ = principal_components(-rows, 1)
    assert torch.allclose(pictures, turned, atol=1e-8)


def test_order_of_filters_and_their_mean_do_not_matter():
    rows = draw(50, 1, 4)
    before = principal_components(rows, 1)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    for other in (rows[order], rows + torch.arange(16.0)):
        after = principal_components(other, 1)
        assert torch.allclose(before.pictures, after.pictures, atol=1e-4)
        assert torch.allclose(before.explained, after.explained, atol=1e-5)


def test_turning_the_pixels_turns_the_components():
    rows = draw(80, 1, 4).double()
    turn, _ = torch.linalg.qr(draw(16, 1, 4, seed=1).double())
    before, explained = principal_components(rows, 1)
    after, same = principal_components(rows @ turn, 1)
    assert torch.allclose(explained, same)
    cosines = (before.flatten(1) @ turn * after.flatten(1)).sum(dim=1).abs()
    assert torch.allclose(cosines, torch.ones_like(cosines), atol=1e-6)


def test_the_model_does_not_see_the_mean_filter():
    torch.manual_seed(0)
    model = vitlib.create_model("Book/4", depth=2).double().eval()
    torch.nn.init.normal_(model.head.weight)
    images = torch.randn(2, 1, 28, 28, dtype=torch.float64)
    with torch.no_grad():
        before = model(images)
        weight = model.patch_embed.proj.weight
        weight += torch.randn(16, dtype=torch.float64)
        assert torch.allclose(model(images), before, atol=1e-4)
        weight[0] += 1  # one filter alone does matter
        assert not torch.allclose(model(images), before, atol=1e-2)


def test_planted_patterns_are_found():
    generator = torch.Generator().manual_seed(0)
    waves = [
        torch.cos(np.pi * k * (torch.arange(8.0) + 0.5) / 8) for k in (1, 2)
    ]
    plane = torch.stack([w.repeat(8) for w in waves])  # (2, 64)
    plane /= plane.norm(dim=1, keepdim=True)
    rows = 3 * torch.randn(200, 2, generator=generator) @ plane
    rows = rows + 0.1 * torch.randn(200, 64, generator=generator)
    pictures, explained = principal_components(rows, 1)
    planted = plane.unflatten(1, (1, 8, 8)).double()
    assert subspace_overlap(pictures[:2], planted) > 0.99
    assert explained[:2].sum() > 0.9


def test_shuffling_keeps_each_filters_values_only():
    rows = draw(30, 1, 4)
    shuffled = shuffled_filters(rows)
    assert not torch.equal(shuffled, rows)
    assert torch.equal(shuffled.sort(dim=1)[0], rows.sort(dim=1)[0])
    assert torch.equal(shuffled, shuffled_filters(rows, seed=0))
    assert not torch.equal(shuffled, shuffled_filters(rows, seed=1))
    # another order in each filter
    rows = torch.arange(16.0).repeat(30, 1)
    assert len(shuffled_filters(rows).unique(dim=0)) == 30


def test_pictures_share_one_scale():
    picture = torch.tensor([[[[0.5, -0.5], [0.5, 0.5]]]])
    shown = component_pictures(picture)
    expected = torch.tensor([[[[4 / 6, 2 / 6], [4 / 6, 4 / 6]]]])
    assert torch.allclose(shown, expected)
    assert torch.equal(
        component_pictures(-9 * picture)[0, 0, 0, 1], shown[0, 0, 0, 0] * 0 + 1
    )
    assert component_pictures(torch.zeros(2, 3, 4, 4)).unique().item() == 0.5


def test_overlap_equals_principal_angles():
    linalg = pytest.importorskip("scipy.linalg")
    first, _ = principal_components(draw(60, 1, 4), 1)
    second, _ = principal_components(draw(60, 1, 4, seed=1), 1)
    for k, j in ((1, 1), (3, 3), (3, 7), (16, 16)):
        a, b = first[:k], second[:j]
        angles = linalg.subspace_angles(flat(a).T, flat(b).T)
        expected = (np.cos(angles) ** 2).mean()
        assert subspace_overlap(a, b) == pytest.approx(expected, abs=1e-9)
    assert subspace_overlap(first, second) == pytest.approx(1)
    assert subspace_overlap(first[:4], first[4:8]) == pytest.approx(
        0, abs=1e-12
    )


def test_overlap_of_random_subspaces_is_by_chance():
    found = [
        subspace_overlap(
            principal_components(torch.randn(60, 16), 1).pictures[:4],
            principal_components(torch.randn(60, 16), 1).pictures[:8],
        )
        for _ in range(200)
    ]
    assert np.mean(found) == pytest.approx(8 / 16, abs=0.03)


@pytest.mark.parametrize(
    ("rows", "in_chans", "message"),
    [
        (torch.ones(5, 15), 1, r"\(5, 15\) with C=1"),
        (torch.ones(5, 16), 3, r"\(5, 16\) with C=3"),
        (torch.ones(5, 3, 4, 4), 3, r"\(5, 3, 4, 4\)"),
        (torch.ones(1, 16), 1, "D of at least 2"),
        (torch.ones(5, 16), 1, "all alike"),
        (torch.full((5, 16), float("nan")), 1, "80 of 80 values are NaN"),
        (torch.ones(5, 16), 0, "in_chans must be a positive integer"),
    ],
)
def test_bad_filters_are_refused(rows, in_chans, message):
    with pytest.raises(ValueError, match=message):
        principal_components(rows, in_chans)


def test_bad_subspaces_are_refused():
    a, _ = principal_components(draw(60, 1, 4), 1)
    b, _ = principal_components(draw(60, 1, 3), 1)
    with pytest.raises(ValueError, match="orthonormal"):
        subspace_overlap(2 * a, a)
    with pytest.raises(ValueError, match="j >= k"):
        subspace_overlap(a[:4], a[:3])
    with pytest.raises(ValueError, match="same size"):
        subspace_overlap(a[:4], b[:4])


def test_components_that_are_nearly_orthonormal_are_told_apart():
    exact = torch.eye(4).reshape(4, 1, 2, 2)[:2]
    assert subspace_overlap(exact + 1e-5, exact) == pytest.approx(1, abs=1e-4)
    with pytest.raises(ValueError, match="orthonormal"):
        subspace_overlap(1.01 * exact, exact)


@pytest.mark.parametrize("scale", [1e-310, 1e-170, 1e154, 1e200, 1e300])
def test_the_scale_of_filters_changes_nothing(scale):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(6, 12, generator=generator, dtype=torch.float64)
    found = principal_components(rows * scale, 3)
    wanted = principal_components(rows, 3)
    torch.testing.assert_close(found.explained, wanted.explained)
    torch.testing.assert_close(found.pictures, wanted.pictures)
