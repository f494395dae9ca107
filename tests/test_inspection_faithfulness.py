"""Deletion, insertion, fills and sanity, against numpy and closed forms."""

from itertools import permutations

import numpy as np
import pytest
import torch

from vitlib import VisionTransformer, ViTConfig
from vitlib.data import normalize
from vitlib.inspection import (
    area,
    bootstrap,
    cascade,
    cosine_to,
    deletion,
    greedy_order,
    input_gradient,
    insertion,
    make_fills,
    patch_order,
    probability,
    random_order,
    rank_correlation,
    replace_patches,
    scores,
)
from vitlib.inspection.fills import blur

TINY = ViTConfig(
    img_size=(4, 6),
    patch_size=2,
    in_chans=1,
    num_classes=3,
    embed_dim=8,
    depth=2,
    num_heads=2,
    mlp_ratio=2.0,
)
N = 6
ALL = range(N + 1)
CLASSES = torch.tensor([2, 0, 1, 1])


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = VisionTransformer(TINY).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model.eval()


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(4, 1, 4, 6, generator=generator, dtype=torch.float64)


class Linear(torch.nn.Module):
    """A model whose score is a sum over patches: everything is known."""

    config = TINY

    def __init__(self):
        super().__init__()
        self.parts = torch.tensor([[5.0, 1, 3], [0, -2, 4]]).double()

    def forward(self, images):
        sums = images.unfold(2, 2, 2).unfold(3, 2, 2).mean((1, 4, 5))
        score = (sums * self.parts).sum((1, 2))
        return torch.stack([score, -score, 0 * score], dim=1)


# --- curves ---------------------------------------------------------------


def test_curves_of_a_linear_model_in_closed_form():
    """With k of the best patches gone, their parts are missing."""
    model, images = Linear(), torch.ones(2, 1, 4, 6).double()
    order = patch_order(model.parts.expand(2, 2, 3))
    assert order[0].tolist() == [0, 5, 2, 1, 3, 4]
    gone = deletion(model, images, order, 0, 0.0, ALL)
    assert gone[1].tolist() == [11, 6, 2, -1, -2, -2, 0]
    back = insertion(model, images, order, 0, 0.0, ALL)
    assert back[0].tolist() == [0, 5, 9, 12, 13, 13, 11]
    # trapezoids of width 1/6
    assert area(gone, ALL).tolist() == pytest.approx([8.5 / 6] * 2)
    assert area(back, ALL).tolist() == pytest.approx([57.5 / 6] * 2)
    some = [0, 2, 6]
    assert deletion(model, images, order, 0, 0.0, some)[0].tolist() == [
        11,
        2,
        0,
    ]
    expected = (11 + 2) / 2 / 3 + (2 + 0) / 2 * 2 / 3
    assert area(gone[:, some], some)[0] == pytest.approx(expected)


def test_the_best_order_is_the_linear_models_own():
    """No order of the 720 has a smaller area; the reverse has the largest."""
    model, images = Linear(), torch.ones(1, 1, 4, 6).double()
    every = torch.tensor(list(permutations(range(N))))
    many = images.expand(len(every), 1, 4, 6)
    areas = area(deletion(model, many, every, 0, 0.0, ALL), ALL)
    order = patch_order(model.parts[None])
    own = area(deletion(model, images, order, 0, 0.0, ALL), ALL)
    reverse = area(deletion(model, images, order.flip(1), 0, 0.0, ALL), ALL)
    assert own[0] == pytest.approx(float(areas.min()))
    assert reverse[0] == pytest.approx(float(areas.max()))
    # a random order: half of the sum is gone at half of the way
    assert float(areas.mean()) == pytest.approx(11 / 2)
    greedy = greedy_order(model, images, 0, 0.0)
    assert greedy.tolist() == order.tolist()


def test_a_random_order_gives_the_mean_over_all_orders():
    model, images = Linear(), torch.ones(3000, 1, 4, 6).double()
    orders = random_order(3000, N, seed=0)
    gone = area(deletion(model, images, orders, 0, 0.0, ALL), ALL)
    back = area(insertion(model, images, orders, 0, 0.0, ALL), ALL)
    for found in (gone, back):
        spread = float(found.std()) / 3000**0.5
        assert abs(float(found.mean()) - 5.5) < 4 * spread < 0.2
    # every patch stands at every place equally often: 500 +- 20 times
    for place in orders.unbind(dim=1):
        counts = place.bincount(minlength=N)
        assert (counts - 500).abs().max() < 90


def test_curves_against_numpy(model, images):
    fill = torch.linspace(-1, 1, 24).double().unflatten(0, (1, 4, 6))
    order = random_order(4, N, seed=3)
    target = probability(CLASSES)
    gone = deletion(model, images, order, target, fill, ALL)
    back = insertion(model, images, order, target, fill, [0, 2, 6])
    for index in range(4):
        image, filler = images[index].numpy(), fill.numpy()
        for count in ALL:
            hole, other = image.copy(), np.array(filler)
            for patch in order[index, :count].tolist():
                row, column = 2 * (patch // 3), 2 * (patch % 3)
                cut = np.s_[:, row : row + 2, column : column + 2]
                hole[cut], other[cut] = filler[cut], image[cut]
            for curve, where, picture in (
                (gone, count, hole),
                (back, {0: 0, 2: 1, 6: 2}.get(count), other),
            ):
                if where is None:
                    continue
                logits = model(torch.from_numpy(picture)[None])
                chance = logits.softmax(1)[0, CLASSES[index]]
                torch.testing.assert_close(curve[index, where], chance)


def test_insertion_is_the_reverse_orders_deletion(model, images):
    order = random_order(4, N, seed=3)
    target = probability(CLASSES)
    back = insertion(model, images, order, target, 0.5, ALL)
    gone = deletion(model, images, order.flip(1), target, 0.5, ALL)
    assert back.equal(gone.flip(1))
    torch.testing.assert_close(area(back, ALL), area(gone, ALL))


def test_curves_start_and_end_where_they_must(model, images):
    target = cosine_to(model(images).detach())
    order, ends = random_order(4, N), [0, N]
    gone = deletion(model, images, order, target, 0.5, ends)
    torch.testing.assert_close(gone[:, 0], torch.ones(4).double())
    blank = scores(model, torch.full_like(images, 0.5), target).detach()
    torch.testing.assert_close(gone[:, 1], blank)


def test_curves_do_not_depend_on_the_batch(model, images):
    order, flip = random_order(4, N), torch.tensor([3, 1, 0, 2])
    args = (probability(CLASSES), 0.5, ALL)
    together = deletion(model, images, order, *args)
    alone = deletion(
        model, images[flip], order[flip], probability(CLASSES[flip]), 0.5, ALL
    )
    torch.testing.assert_close(alone, together[flip])


def test_greedy_takes_the_best_at_each_step(model, images):
    target = probability(CLASSES)
    order = greedy_order(model, images, target, 0.5)
    assert order.sort()[0].tolist() == [list(range(N))] * 4
    for taken in range(N):
        tried = []
        for patch in order[0, taken:].tolist():
            mask = torch.zeros(1, N, dtype=torch.bool)
            mask[0, [*order[0, :taken].tolist(), patch]] = True
            hole = replace_patches(images[:1], 0.5, mask.unflatten(1, (2, 3)))
            logits = model(hole).detach()
            tried.append(float(logits.softmax(1)[0, CLASSES[0]]))
        assert tried[0] == min(tried)


def test_equal_values_come_in_random_order():
    maps = torch.zeros(2000, 2, 3)
    maps[:, 1, 1] = 1
    order = patch_order(maps, seed=0)
    assert order[:, 0].tolist() == [4] * 2000
    last = order[:, -1].bincount(minlength=N)
    assert last[4] == 0
    assert (last[[0, 1, 2, 3, 5]] - 400).abs().max() < 90
    assert patch_order(maps, seed=0).equal(order)
    assert not patch_order(maps, seed=1).equal(order)


# --- fills ----------------------------------------------------------------


def test_fills_are_what_they_say():
    raw = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    images = normalize(raw, mean, std)
    fills = make_fills(images, mean, std, patch_size=4, seed=0)
    assert {fill.shape for fill in fills.values()} == {raw.shape}
    black = normalize(torch.zeros_like(raw), mean, std)
    torch.testing.assert_close(fills["black"], black)
    average = images.numpy().mean((2, 3))
    np.testing.assert_allclose(fills["mean"][:, :, 3, 5], average, atol=1e-6)
    found = [
        [index for index in range(5) if images[index].equal(other)]
        for other in fills["other image"]
    ]
    assert sorted(found) == [[0], [1], [2], [3], [4]]
    assert all(index != [own] for own, index in enumerate(found))


def test_blur_against_numpy():
    image = np.random.default_rng(0).normal(size=(9, 12))
    fills = make_fills(
        torch.from_numpy(np.stack([image, image]))[:, None],
        (0.5,),
        (1.0,),
        patch_size=3,
    )
    sigma, radius = 1.5, 5
    x = np.arange(-radius, radius + 1)
    bell = np.exp(-(x**2) / 2 / sigma**2)
    kernel = np.outer(bell, bell) / bell.sum() ** 2
    padded = np.pad(image, radius, mode="reflect")
    for row, column in ((0, 0), (4, 7), (8, 11)):
        window = padded[row:, column:][: 2 * radius + 1, : 2 * radius + 1]
        found = float(fills["blurred"][0, 0, row, column])
        assert found == pytest.approx((window * kernel).sum())


def test_replace_patches_keeps_the_rest(images):
    mask = torch.tensor([[[True, False, False], [False, False, True]]])
    found = replace_patches(images, 9.0, mask)
    assert (found[:, :, :2, :2] == 9).all()
    assert (found[:, :, 2:, 4:] == 9).all()
    assert found[:, :, :2, 2:].equal(images[:, :, :2, 2:])
    assert found[:, :, 2:, :4].equal(images[:, :, 2:, :4])


# --- intervals ------------------------------------------------------------


def test_the_bootstrap_covers():
    """Of 400 intervals of known means, about 95 % hold the mean."""
    rng = np.random.default_rng(0)
    samples = torch.from_numpy(rng.exponential(1.0, (400, 80)))
    held = 0
    for index, sample in enumerate(samples):
        mean, low, high = bootstrap(sample, draws=400, seed=index)
        assert low < mean < high
        held += low <= 1 <= high
    assert 0.90 <= held / 400 <= 0.97


def test_the_bootstrap_has_the_width_of_theory():
    sample = torch.from_numpy(np.random.default_rng(1).normal(3, 2, 1000))
    mean, low, high = bootstrap(sample, seed=0)
    assert mean == pytest.approx(float(sample.mean()))
    half = 1.96 * float(sample.std()) / 1000**0.5
    assert high - mean == pytest.approx(half, rel=0.05)
    assert mean - low == pytest.approx(half, rel=0.05)
    assert bootstrap(sample, seed=0) == (mean, low, high)


# --- sanity ---------------------------------------------------------------


def test_rank_correlation_is_scipys():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    a = rng.integers(0, 9, (6, 5, 4)).astype(float)  # with ties
    b = rng.normal(size=(6, 5, 4))
    found = rank_correlation(torch.from_numpy(a), torch.from_numpy(b))
    for index in range(6):
        rho = stats.spearmanr(a[index].ravel(), b[index].ravel())[0]
        assert float(found[index]) == pytest.approx(rho)


def test_rank_correlation_at_its_ends():
    maps = torch.randn(3, 2, 3, generator=torch.Generator().manual_seed(0))
    ones = torch.ones(3).double()
    torch.testing.assert_close(rank_correlation(maps, maps.exp()), ones)
    torch.testing.assert_close(rank_correlation(maps, -maps), -ones)
    flat = torch.zeros(3, 2, 3)
    assert rank_correlation(maps, flat).tolist() == [0, 0, 0]


def test_the_cascade_destroys_from_the_top(model, images):
    before = {k: v.clone() for k, v in model.state_dict().items()}
    steps = {name: copy.state_dict() for name, copy in cascade(model, seed=0)}
    assert list(steps) == ["head", "layer 2", "layer 1", "embedding"]
    groups = [
        ("head.", "norm."),
        ("blocks.1.",),
        ("blocks.0.",),
        ("patch_embed.", "cls_token", "pos_embed"),
    ]
    destroyed = ()
    for state, group in zip(steps.values(), groups, strict=True):
        destroyed += group
        for key, value in state.items():
            changed = not value.equal(before[key])
            assert changed == key.startswith(destroyed), key
            assert (
                value.flatten()
                .sort()[0]
                .equal(before[key].flatten().sort()[0])
            )
    assert all(before[k].equal(v) for k, v in model.state_dict().items())


def test_a_gradient_forgets_with_the_weights(model, images):
    intact = input_gradient(model, images, 0)
    copies = [
        input_gradient(copy, images, 0) for _, copy in cascade(model, seed=0)
    ]
    assert (rank_correlation(intact, copies[0]) < 1).any()
    assert not torch.allclose(copies[0], copies[-1])


# --- refusals -------------------------------------------------------------


def test_bad_orders_and_counts_are_refused(model, images):
    order = random_order(4, N)
    doubled = order.clone()
    doubled[2, 0] = doubled[2, 1]
    for bad in (doubled, order[:3], order[:, :5], order + 1):
        with pytest.raises(ValueError, match="a permutation of 6 patches"):
            deletion(model, images, bad, 0, 0.0, ALL)
    for counts in ([], [0, 7], [-1, 6]):
        with pytest.raises(ValueError, match="between 0 and 6"):
            deletion(model, images, order, 0, 0.0, counts)
    with pytest.raises(ValueError, match="between 0 and 6"):
        insertion(model, images, order, 0, 0.0, [0, 7])


def test_bad_values_are_refused():
    with pytest.raises(ValueError, match="maps must be finite; 1 of 6"):
        patch_order(torch.tensor([[[0, 1, 2], [3, torch.nan, 5]]]))
    with pytest.raises(ValueError, match="a batch of 2 or more; got 1"):
        make_fills(torch.zeros(1, 1, 4, 4), (0.5,), (0.5,), 2)
    with pytest.raises(ValueError, match=r"maps must both be \(B, gh, gw\)"):
        rank_correlation(torch.zeros(2, 2, 3), torch.zeros(2, 6))
    for values in (torch.zeros(1), torch.zeros(3, 3)):
        with pytest.raises(ValueError, match="2 or more images"):
            bootstrap(values)
    with pytest.raises(ValueError, match="values must be finite"):
        bootstrap(torch.tensor([0.0, torch.inf]))
    with pytest.raises(ValueError, match="draws must be a positive integer"):
        bootstrap(torch.zeros(3), draws=0)
    for counts in ([0, 1], [1, 2, 3], [0, 2, 2]):
        with pytest.raises(ValueError, match="rising from 0 to N"):
            area(torch.zeros(2, 3), counts)


def test_of_two_images_each_is_the_others_fill():
    images = torch.rand(2, 1, 4, 4)
    for seed in range(4):
        fills = make_fills(images, (0.5,), (0.5,), 2, seed)
        assert fills["other image"].equal(images.flip(0))
    many = torch.rand(9, 1, 4, 4)
    orders = [make_fills(many, (0.5,), (0.5,), 2, s)["other image"] for s in
              (0, 0, 1)]  # fmt: skip
    assert orders[0].equal(orders[1])
    assert not orders[0].equal(orders[2])


@pytest.mark.parametrize("size", [(3, 9), (9, 3)])
def test_blur_of_a_narrow_image_stays_in_it(size):
    """A bell wider than the image is cut to what the image can mirror."""
    images = torch.ones(1, 2, *size, dtype=torch.float64)
    torch.testing.assert_close(blur(images, 2.0), images)
    turned = torch.rand(1, 1, *size, dtype=torch.float64)
    torch.testing.assert_close(blur(turned.mT, 2.0), blur(turned, 2.0).mT)


def test_area_is_exact_and_of_each_curve():
    curves = torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, 1.0]])
    found = area(curves, [0, 1, 4])
    expected = torch.tensor([0.1875 + 0.1875, 0.125 + 0.75]).double()
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, expected, rtol=1e-15, atol=0)
    assert area(curves[:, :2], [0, 7]).tolist() == [0.75, 0.5]


def test_no_images_have_no_orders():
    assert random_order(0, 3).shape == (0, 3)
    assert random_order(2, 0).shape == (2, 0)


def test_equal_values_keep_the_drawn_order():
    maps = torch.zeros(3, 40, 40)
    assert patch_order(maps, 5).equal(random_order(3, 1600, 5))


@pytest.mark.parametrize("make", [np.array, torch.tensor, tuple, iter])
def test_counts_may_be_of_any_kind(make, model, images):
    order = random_order(4, N)
    for curve in (deletion, insertion):
        found = curve(model, images, order, 0, 0.0, make([0, 2, 6]))
        wanted = curve(model, images, order, 0, 0.0, [0, 2, 6])
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("sigma", [1e-23, 1e-5, 0.01])
def test_the_narrowest_blur_blurs_nothing(sigma, images):
    for dtype in (torch.float32, torch.float64):
        x = images.to(dtype)
        assert torch.equal(blur(x, sigma), x)


def test_the_widest_blur_is_finite(images):
    assert blur(images.float(), 1e29).isfinite().all()
