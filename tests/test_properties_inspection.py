"""Looking inside, for any input; see tests/drawn.py."""

import math
from itertools import product

import numpy as np
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import ndimage, optimize, stats

from tests.drawn import (
    DTYPES,
    FLOATS,
    TAME,
    WILD,
    close,
    covers,
    outcome,
    refuses,
    shapes,
    tensors,
    values,
)
from vitlib import inspection as ins
from vitlib.inspection import distance, fills, filters, similarity

SEEDS = st.integers(0, 2**32)
SIDES = st.integers(1, 3)
GRIDS = st.tuples(SIDES, SIDES)


@st.composite
def weights(draw, B, h, T, dtypes=FLOATS, layers=None):
    """Attention weights (B, h, T, T), some rows on one token alone."""
    found = []
    if layers and draw(st.booleans()):
        dtypes = (draw(st.sampled_from(dtypes)),)
    for _ in range(layers or 1):
        x = values((B, h, T, T), "normal", draw(SEEDS))
        sharp = draw(st.sampled_from([0, 1, 1000]))
        x = (x * sharp).softmax(dim=-1).to(draw(st.sampled_from(dtypes)))
        if draw(st.booleans()):
            x = x.transpose(0, 1).contiguous().transpose(0, 1)
        found.append(x)
    return found if layers else found[0]


def centres(grid):
    return list(product(range(grid[0]), range(grid[1])))


@covers(ins.pixel_distances, ins.uniform_distance, distance.grid_gaps)
@given(GRIDS, st.sampled_from([1, 4, 16, 0, -1, 2.0]), st.booleans())
def test_distances_of_centres(grid, P, own):
    found = outcome(ins.pixel_distances, grid, P)
    fits = type(P) is int and P > 0
    assert (found is not None) == fits
    assert refuses(ins.uniform_distance, grid, P, own) == (not fits)
    if not fits:
        return
    places = centres(grid)
    wanted = [[P * math.dist(a, b) for b in places] for a in places]
    close(found, torch.tensor(wanted, dtype=torch.float64))
    down, across = distance.grid_gaps(grid)
    for i, j in product(range(len(places)), repeat=2):
        (a, b), (c, d) = places[i], places[j]
        assert (down[i, j], across[i, j]) == (abs(a - c), abs(b - d))
    N = len(places)
    pairs = [n for i, r in enumerate(wanted) for j, n in enumerate(r)
             if own or i != j]  # fmt: skip
    mean = np.mean(pairs) if pairs else 0
    assert (
        math.isclose(
            ins.uniform_distance(grid, P, own),
            mean,
            rel_tol=1e-9,
            abs_tol=1e-12,
        )
        or N == 1
    )


@covers(ins.attention_distance, ins.class_token_share)
@given(
    st.data(),
    GRIDS,
    st.integers(0, 1),
    st.sampled_from(["renormalise", "ignore"]),
    st.booleans(),
)
def test_attention_distance_is_a_weighted_mean(data, grid, prefix, how, own):
    places = centres(grid)
    N = len(places)
    w = data.draw(weights(*data.draw(GRIDS), N + prefix))
    found = ins.attention_distance(w, grid, 4, how, own)
    share = ins.class_token_share(w, grid)
    wide = w.double()
    for b, h in product(range(len(w)), range(w.shape[1])):
        rows, shares = [], []
        for i, a in enumerate(places):
            row = wide[b, h, i + prefix].tolist()
            shares.append(row[0] if prefix else 0)
            kept = row[prefix:]
            if not own:
                kept[i] = 0
            mass = sum(kept)
            if own and (how == "ignore" or not prefix):
                mass = 1
            elif not own and (how == "ignore" or not prefix):
                mass = 1 - row[prefix + i]
            reach = sum(
                p * 4 * math.dist(a, c)
                for p, c in zip(kept, places, strict=True)
            )
            if 1e-8 < mass < 1e-4:
                assume(False)  # rounding decides
            rows.append(reach / mass if mass > 1e-6 else 0)
        assert math.isclose(
            found[b, h], np.mean(rows), rel_tol=1e-3, abs_tol=1e-3
        )
        assert math.isclose(share[b, h], np.mean(shares), abs_tol=1e-5)


@covers(ins.attention_distance, ins.class_token_share, ins.layer_matrix)
@given(tensors(shapes(0, 5), DTYPES, TAME + WILD), GRIDS)
def test_what_are_no_weights_is_refused(x, grid):
    assume(x.shape[-2:] != (1, 1))
    square = x.ndim == 4 and x.shape[2] == x.shape[3] and x.numel() > 0
    sums = x.double().sum(-1) if square else torch.zeros(1)
    assume(not ((sums - 1).abs() < 0.01).all())
    assert refuses(ins.attention_distance, x, grid, 4)
    assert refuses(ins.class_token_share, x, grid)
    assert refuses(ins.layer_matrix, x)
    assert refuses(ins.rollout, [x])
    assert refuses(ins.flow, [x])


def joined(w, residual, fuse):
    """A layer's matrix by loops, in float64."""
    B, _, T, _ = w.shape
    w = w.double()
    out = torch.zeros(B, T, T, dtype=torch.float64)
    how = {"mean": np.mean, "max": max, "min": min}[fuse]
    for b, i in product(range(B), range(T)):
        row = [float(how(w[b, :, i, j].tolist())) for j in range(T)]
        total = sum(row)
        for j in range(T):
            share = row[j] / total if total else float(i == j)
            out[b, i, j] = (1 - residual) * share + residual * (i == j)
    return out


@covers(ins.layer_matrix, ins.rollout, ins.Rollout)
@given(
    st.data(),
    st.tuples(SIDES, SIDES, st.integers(1, 5)),
    st.sampled_from([2, 3, 1]),
    st.sampled_from([0.5, 0.0, 1.0, 0.3]),
    st.sampled_from(["mean", "max", "min"]),
    st.sampled_from([0, 1, 3]),
)
def test_rollout_is_the_product_of_the_layers(
    data, shape, L, residual, fuse, skip
):
    layers = data.draw(weights(*shape, layers=L))
    found = outcome(ins.rollout, layers, residual, fuse, skip)
    wide = {w.dtype == torch.float64 for w in layers[skip:]}  # 16 bits to 32
    assert (found is None) == (len(wide) != 1)
    if found is None:
        return
    matrices = [joined(w, residual, fuse) for w in layers]
    close(
        ins.layer_matrix(layers[0], residual, fuse),
        matrices[0],
        1 if layers[0].dtype == torch.float64 else 10,
        1,
    )
    total = matrices[skip]
    for matrix in matrices[skip + 1 :]:
        total = matrix @ total
    assert (found.double() - total).abs().max() < 1e-4
    ones = torch.ones_like(total[..., 0])
    assert (found.double().sum(-1) - ones).abs().max() < 1e-4
    stepwise = ins.Rollout(residual, fuse, skip)
    for layer in layers:
        stepwise(layer)
    assert torch.equal(stepwise.result, found)
    for bad in (-0.1, 1.1, math.nan):
        assert refuses(ins.rollout, layers, bad)
        assert refuses(ins.flow, layers, (0,), bad)


@covers(ins.rollout, ins.flow)
@given(st.data(), SIDES, SIDES, st.integers(1, 4))
def test_layers_that_do_not_fit_each_other_are_refused(data, B, h, T):
    one = data.draw(weights(B, h, T))
    for shape in ((B + 1, h, T), (B, h, T + 1)):
        other = data.draw(weights(*shape))
        assert refuses(ins.rollout, [one, other])
        assert refuses(ins.flow, [one, other])
    for sources in ((), (T,), (-1,), (0.0,), (True,)):
        assert refuses(ins.flow, [one], sources)
    assert refuses(ins.rollout, [])
    assert refuses(ins.flow, [])


@covers(ins.flow)
@given(st.data(), st.integers(1, 2), st.integers(1, 3), st.integers(1, 3))
def test_flow_is_a_linear_programmes_maximum(data, B, T, L):
    layers = data.draw(weights(B, 1, T, FLOATS[:1], layers=L))
    found = ins.flow(layers, range(T))
    matrices = [joined(w, 0.5, "mean") for w in layers][::-1]
    for b, source, sink in product(range(B), range(T), range(T)):
        # one variable a pipe; what enters a token of a middle layer leaves
        pipes = list(product(range(L), range(T), range(T)))
        top = [float(matrices[k][b, i, j]) for k, i, j in pipes]
        top = [
            0 if (k == 0 and i != source) or (k == L - 1 and j != sink) else n
            for (k, i, j), n in zip(pipes, top, strict=True)
        ]
        keep = [
            [
                (k == m and j == t) - (k == m + 1 and i == t)
                for k, i, j in pipes
            ]
            for m, t in product(range(L - 1), range(T))
        ]
        gain = [-float(k == 0 and i == source) for k, i, _ in pipes]
        best = optimize.linprog(
            gain,
            A_eq=np.array(keep, float) if keep else None,
            b_eq=np.zeros(len(keep)) if keep else None,
            bounds=[(0, n) for n in top],
        )
        assert math.isclose(found[b, source, sink], -best.fun, abs_tol=1e-4)


@covers(ins.upsample)
@given(
    tensors(shapes(2, 4), DTYPES, TAME + WILD),
    st.tuples(st.integers(0, 6), st.integers(1, 6)),
    st.sampled_from(["nearest", "bilinear", "bicubic", "area"]),
)
def test_stretched_maps(maps, size, mode):
    found = outcome(ins.upsample, maps, size, mode)
    fits = maps.ndim == 3 and maps.is_floating_point() and maps.numel() > 0
    fits = fits and mode != "area" and size[0] > 0
    assert (found is not None) == fits
    if not fits:
        return
    assert found.shape == (len(maps), *size)
    assert found.dtype == maps.dtype
    if mode == "nearest":
        for y, x in product(range(size[0]), range(size[1])):
            r, c = (
                k * n // m
                for k, n, m in zip((y, x), maps.shape[1:], size, strict=True)
            )
            one, other = found[:, y, x], maps[:, r, c]
            assert torch.equal(one.nan_to_num(7), other.nan_to_num(7))
    flat = torch.ones_like(maps)
    close(ins.upsample(flat, size, mode), torch.ones(found.shape), 2)


@covers(
    ins.position_similarity,
    similarity.offsets,
    similarity.check_table,
    similarity.centred_grid,
)
@given(st.data(), GRIDS, st.integers(1, 4))
def test_similarity_is_the_cosine_and_symmetric(data, grid, D):
    N = grid[0] * grid[1]
    rows = data.draw(st.sampled_from([N, N, N + 1]))
    table = data.draw(tensors((rows, D), FLOATS, TAME + WILD))
    found = outcome(ins.position_similarity, table, grid)
    wide = table.detach().double()
    fits = rows == N and bool(wide.isfinite().all())
    fits = fits and bool(wide.any(dim=1).all())
    assert (found is not None) == fits
    if not fits:
        return
    wide = wide / wide.abs().amax(dim=1, keepdim=True)
    flat = found.flatten(2).flatten(0, 1)
    for i, j in product(range(N), repeat=2):
        a, b = wide[i], wide[j]
        cosine = float((a * b).sum() / ((a * a).sum() * (b * b).sum()) ** 0.5)
        assert math.isclose(flat[i, j], cosine, abs_tol=1e-9)
        assert math.isclose(flat[i, j], flat[j, i], abs_tol=1e-14)
    down, across = similarity.offsets(found)
    gaps = distance.grid_gaps(grid)
    assert torch.equal(down, gaps[0])
    assert torch.equal(across, gaps[1])


@st.composite
def tile_sets(draw):
    """Similarities of random positions, and their grid."""
    grid = draw(GRIDS)
    table = values((grid[0] * grid[1], 5), "normal", draw(SEEDS))
    return ins.position_similarity(table, grid), grid


@covers(ins.similarity_groups, ins.similarity_by_distance, ins.distance_r2)
@given(tile_sets(), SEEDS)
def test_means_over_pairs_of_places(drawn, seed):
    tiles, grid = drawn
    places = centres(grid)
    flat = tiles.flatten(2).flatten(0, 1)
    groups = ins.similarity_groups(tiles, permutations=9, seed=seed)
    lines = ins.similarity_by_distance(tiles)
    pairs, steps = {name: [] for name in groups}, {}
    for (i, a), (j, b) in product(enumerate(places), repeat=2):
        down, across = abs(a[0] - b[0]), abs(a[1] - b[1])
        name = "elsewhere"
        if down + across < 2:
            name = "neighbours" if down + across else "self"
        elif 0 in (down, across):
            name = "same column" if down else "same row"
        pairs[name].append(float(flat[i, j]))
        step = round(math.hypot(down, across))
        for key, holds in {
            "same row": down == 0,
            "same column": across == 0,
            "elsewhere": down > 0 and across > 0,
        }.items():
            if holds:
                steps.setdefault((key, step), []).append(float(flat[i, j]))
    for name, found in groups.items():
        if pairs[name]:
            assert math.isclose(found.mean, np.mean(pairs[name]), abs_tol=1e-9)
            assert found.low <= found.high
            assert 0.1 <= found.p_value <= 1
        else:
            assert all(map(math.isnan, found))
    for key, line in lines.items():
        for step, value in enumerate(line.tolist()):
            wanted = np.mean(steps.get((key, step), [math.nan]))
            assert math.isclose(value, wanted, abs_tol=1e-9) or (
                math.isnan(value) and math.isnan(wanted)
            )
    r2 = outcome(ins.distance_r2, tiles)
    other = [v for name in list(groups)[1:] for v in pairs[name]]
    varied = len(other) > 2 and np.ptp(other) > 1e-9
    assert (r2 is not None) == varied
    if varied:
        assert -1e-9 <= r2 <= 1 + 1e-9


@covers(ins.similarity_groups, ins.similarity_by_distance, ins.distance_r2)
@given(tensors(shapes(0, 5, 3), DTYPES, TAME + WILD))
def test_tiles_that_are_none(x):
    fits = x.ndim == 4 and x.shape[:2] == x.shape[2:] and x.numel() > 0
    fits = fits and x.is_floating_point() and bool(x.isfinite().all())
    assert refuses(ins.similarity_groups, x, 3) == (not fits)
    assert refuses(ins.similarity_by_distance, x) == (not fits)
    assert fits or refuses(ins.distance_r2, x)


@covers(ins.row_column_share, ins.spectrum, ins.strongest_waves)
@given(st.data(), GRIDS, st.integers(1, 3))
def test_structure_of_positions(data, grid, D):
    table = data.draw(tensors((grid[0] * grid[1], D), FLOATS, TAME + WILD))
    wide = table.detach().double()
    fits = bool(wide.isfinite().all())
    moved = wide - wide.mean(0)
    fits = fits and bool((moved.norm(dim=0) > 1e-10 * wide.norm(dim=0)).any())
    if moved.abs().max() < 1e-30:
        fits = False
    share = outcome(ins.row_column_share, table, grid)
    power = outcome(ins.spectrum, table, grid)
    waves = outcome(ins.strongest_waves, table, grid, permutations=3)
    assert (share is None) == (power is None) == (waves is None)
    assert (share is not None) == fits or wide.abs().max() < 1e-30
    if share is None:
        return
    field = moved.numpy().reshape(*grid, D)
    rows, columns = field.mean(1, keepdims=True), field.mean(0, keepdims=True)
    wanted = ((rows + columns) ** 2).sum() / (field**2).sum()
    assert math.isclose(share, wanted, rel_tol=1e-6, abs_tol=1e-9)
    for i, j in product(range(grid[0]), range(grid[1])):
        turns = [
            np.exp(-2j * np.pi * (i * y / grid[0] + j * x / grid[1]))
            for y, x in centres(grid)
        ]
        sums = np.array(turns) @ field.reshape(-1, D)
        part = (abs(sums) ** 2).sum() / (field**2).sum() / len(turns)
        assert math.isclose(power[i, j], part, rel_tol=1e-6, abs_tol=1e-9)
    assert ((waves.share >= 0) & (waves.share <= 1 + 1e-9)).all()
    assert 0.25 <= waves.p_value <= 1


@covers(ins.principal_components, filters.principal_components)
@given(st.data(), st.integers(0, 6), SIDES, SIDES)
def test_principal_components_are_numpys(data, D, C, P):
    rows = data.draw(tensors((D, C * P * P), FLOATS, TAME + WILD))
    found = outcome(ins.principal_components, rows, C)
    wide = rows.detach().double().numpy()
    fits = D > 1 and bool(np.isfinite(wide).all())
    if fits:
        moved = wide - wide.mean(0)
        fits = (moved**2).sum() > 1e-24 * (wide**2).sum()
    assert (found is not None) == bool(fits)
    if not fits:
        return
    scale = np.abs(moved).max()
    spread = np.linalg.eigvalsh((moved / scale).T @ (moved / scale))[::-1]
    keep = len(found.explained)
    assert keep == min(D - 1, C * P * P)
    wanted = spread[:keep] / spread.sum()
    np.testing.assert_allclose(found.explained.detach(), wanted, atol=1e-9)
    flat = found.pictures.flatten(1)
    assert torch.allclose(flat @ flat.mT, torch.eye(keep).double())
    assert found.pictures.shape[1:] == (C, P, P)
    assert math.isclose(
        ins.subspace_overlap(found.pictures, found.pictures), 1, rel_tol=1e-9
    )
    shown = ins.component_pictures(found.pictures)
    close(shown, (0.5 + found.pictures * (C * P * P) ** 0.5 / 6).clamp(0, 1))


@covers(ins.shuffled_filters, ins.component_pictures, ins.subspace_overlap)
@given(tensors(shapes(0, 4), DTYPES, TAME + WILD), SEEDS)
def test_filters_of_any_kind(x, seed):
    found = outcome(ins.shuffled_filters, x, seed)
    assert (found is None) == (x.ndim != 2)
    if found is not None:
        for one, other in zip(found, x, strict=True):
            assert torch.equal(
                one.nan_to_num(7).sort()[0], other.nan_to_num(7).sort()[0]
            )
    shown = outcome(ins.component_pictures, x)
    square = x.ndim == 4 and x.shape[2] == x.shape[3]
    assert (shown is not None) == square
    if shown is not None:
        assert torch.equal(shown.isnan(), x.isnan())
        known = shown[~shown.isnan()]
        assert ((known >= 0) & (known <= 1)).all()
    unit = square and x.is_floating_point() and bool(len(x))
    unit = unit and bool(x.isfinite().all())
    if unit:
        flat = x.detach().double().flatten(1)
        gap = flat @ flat.mT - torch.eye(len(flat)).double()
        unit = bool(gap.abs().max() < 5e-5)
    assert refuses(ins.subspace_overlap, x, x) == (not unit)


@covers(ins.rank_correlation)
@given(st.data(), tensors(shapes(2, 4), FLOATS, TAME + WILD))
def test_rank_correlation_is_spearmans(data, first):
    second = data.draw(tensors(tuple(first.shape), FLOATS, TAME + WILD))
    found = outcome(ins.rank_correlation, first, second)
    fits = first.ndim == 3
    fits = fits and bool(first.isfinite().all() & second.isfinite().all())
    assert (found is not None) == fits
    if not fits:
        return
    assert found.shape == (len(first),)
    for rho, a, b in zip(found.tolist(), first, second, strict=True):
        a, b = a.detach().double().flatten(), b.detach().double().flatten()
        wanted = 0
        if len(a) > 1 and a.unique().numel() > 1 and b.unique().numel() > 1:
            wanted = stats.spearmanr(a, b).statistic
        assert math.isclose(rho, wanted, abs_tol=1e-9)


@covers(ins.area)
@given(
    tensors(shapes(0, 3), FLOATS, TAME + WILD),
    st.lists(st.integers(-1, 5), max_size=5),
)
def test_area_by_trapezoids(curves, counts):
    found = outcome(ins.area, curves, counts)
    fits = curves.ndim == 2 and curves.shape[1] == len(counts) > 1
    fits = fits and counts == sorted(set(counts)) and counts[0] == 0
    assert (found is not None) == fits
    if fits:
        wide = curves.detach().double().numpy()
        x = np.array(counts) / counts[-1]
        with np.errstate(all="ignore"):
            wanted = ((wide[:, 1:] + wide[:, :-1]) / 2 * np.diff(x)).sum(1)
        close(found, torch.tensor(wanted), 10)


@covers(ins.bootstrap)
@given(
    tensors(shapes(0, 2, 6), DTYPES, TAME + WILD),
    st.sampled_from([50, 1, 0, -1, 2.0]),
    SEEDS,
)
def test_bootstrapped_means(x, draws, seed):
    found = outcome(ins.bootstrap, x, draws, seed)
    fits = x.ndim == 1 and len(x) > 1 and bool(x.isfinite().all())
    fits = fits and type(draws) is int and draws > 0
    assert (found is not None) == fits
    if fits:
        mean, low, high = found
        wide = x.detach().double()
        room = 1e-9 * wide.abs().max().item()
        assert math.isclose(mean, wide.mean(), rel_tol=1e-9, abs_tol=room)
        assert wide.min() - room <= low <= high <= wide.max() + room


@covers(ins.patch_order, ins.random_order)
@given(tensors(shapes(2, 4), DTYPES, TAME + WILD), SEEDS)
def test_patches_in_falling_order(maps, seed):
    order = outcome(ins.patch_order, maps, seed)
    fits = maps.ndim == 3 and bool(maps.isfinite().all())
    assert (order is not None) == fits
    if fits:
        flat = maps.flatten(1)
        everything = list(range(flat.shape[1]))
        drawn = ins.random_order(*flat.shape, seed)
        for row, places, other in zip(flat, order, drawn, strict=True):
            assert sorted(places.tolist()) == everything
            assert sorted(other.tolist()) == everything
            falling = row[places].tolist()
            assert falling == sorted(falling, reverse=True)


@covers(ins.replace_patches, fills.fill_for)
@given(
    tensors(shapes(3, 4, 4), DTYPES, TAME + WILD),
    tensors(shapes(2, 3, 2), (torch.bool, torch.bool, torch.float32)),
    st.sampled_from([0.0, 1.0]),
)
def test_replaced_patches(images, mask, fill):
    found = outcome(ins.replace_patches, images, fill, mask)
    fits = images.ndim == 4 and mask.ndim == 3 and mask.dtype == torch.bool
    fits = fits and len(mask) in (1, len(images))
    fits = fits and all(
        m > 0 and n % m == 0
        for n, m in zip(images.shape[2:], mask.shape[1:], strict=False)
    )
    assert (found is not None) == fits
    if not fits:
        return
    assert (found.shape, found.dtype) == (images.shape, images.dtype)
    ph, pw = (
        n // m for n, m in zip(images.shape[2:], mask.shape[1:], strict=True)
    )
    for b, y, x in product(range(len(images)), *map(range, images.shape[2:])):
        gone = mask[b if len(mask) > 1 else 0, y // ph, x // pw]
        one, other = found[b, :, y, x], images[b, :, y, x]
        other = torch.full_like(other, fill) if gone else other
        assert torch.equal(one.nan_to_num(7), other.nan_to_num(7))


@covers(ins.make_fills)
@given(
    tensors(
        st.sampled_from(
            [(2, 3, 4, 4), (3, 1, 5, 2), (1, 1, 4, 4), (2, 0, 3, 3)]
        ),
        (torch.float32, torch.float64, torch.uint8),
    ),
    SEEDS,
    st.sampled_from([2, 1, 4, 0, -1, 2.0]),
)
def test_fills(images, seed, P):
    C = images.shape[1]
    mean, std = (0.5,) * C, (0.2,) * C
    found = outcome(ins.make_fills, images, mean, std, P, seed)
    fits = len(images) > 1 and images.numel() > 0
    fits = fits and images.is_floating_point() and type(P) is int and P > 0
    assert (found is not None) == fits
    if not fits:
        return
    assert all(f.shape == images.shape for f in found.values())
    close(found["black"], torch.full(images.shape, -2.5).double())
    scale = images.abs().max().item()
    for fill, image in zip(found["mean"], images, strict=True):
        close(fill.mean((1, 2)), image.double().mean((1, 2)), 5, scale)
        assert (fill == fill[:, :1, :1]).all()
    for fill in found["other image"]:
        assert any(torch.equal(fill, other) for other in images)
    low, high = images.amin((2, 3)), images.amax((2, 3))
    blurred = found["blurred"].flatten(2)
    assert (blurred >= low[..., None] - 1e-5 * scale - 1e-37).all()
    assert (blurred <= high[..., None] + 1e-5 * scale + 1e-37).all()


@covers(fills.blur)
@given(
    tensors(shapes(4, 4, 6), (torch.float32, torch.float64)),
    st.sampled_from([0.5, 1.0, 2.0, 0.0, -1.0, math.nan, math.inf]),
)
def test_blurred_as_scipy_does(images, sigma):
    found = outcome(fills.blur, images, sigma)
    fits = images.numel() > 0 and 0 < sigma < math.inf
    assert (found is not None) == fits
    if not fits:
        return
    radius = min(math.ceil(3 * sigma), *(n - 1 for n in images.shape[2:]))
    wanted = images.detach().double().numpy()
    for axis in (2, 3):
        wanted = ndimage.gaussian_filter1d(
            wanted, sigma, axis, mode="mirror", radius=radius
        )
    close(found, torch.tensor(wanted), 5)
