"""Positions: similarity, its structure, its waves; numpy and properties."""

import math

import numpy as np
import pytest
import torch

import vitlib
from vitlib.inspection import (
    distance_r2,
    grid_positions,
    position_similarity,
    row_column_share,
    similarity_by_distance,
    similarity_groups,
    spectrum,
    strongest_waves,
)

GRIDS = [(7, 7), (4, 6), (5, 3)]


def noise(grid, D=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(grid[0] * grid[1], D, generator=generator)


def plant(grid, row=0.0, column=0.0, seed=0):
    """Noise, and vectors that a row or a column shares."""
    generator = torch.Generator().manual_seed(seed + 100)
    rows = torch.randn(grid[0], 1, 32, generator=generator)
    columns = torch.randn(1, grid[1], 32, generator=generator)
    shared = (row * rows + column * columns).flatten(0, 1)
    return shared + noise(grid, seed=seed)


def places(grid):
    return [(r, c) for r in range(grid[0]) for c in range(grid[1])]


def similarity_by_loops(table, grid):
    table = table.double().numpy()
    out = np.empty((*grid, *grid))
    for i, (r, c) in enumerate(places(grid)):
        for j, (y, x) in enumerate(places(grid)):
            a, b = table[i], table[j]
            out[r, c, y, x] = a @ b / math.sqrt((a @ a) * (b @ b))
    return out


def name_of(r, c, y, x):
    if (r, c) == (y, x):
        return "self"
    if abs(r - y) + abs(c - x) == 1:
        return "neighbours"
    if r == y:
        return "same row"
    return "same column" if c == x else "elsewhere"


@pytest.mark.parametrize("grid", GRIDS)
def test_similarity_equals_loops(grid):
    """Figure 7, centre."""
    table = noise(grid)
    tiles = position_similarity(table, grid)
    assert np.allclose(tiles, similarity_by_loops(table, grid), atol=1e-12)


@pytest.mark.parametrize("grid", GRIDS)
def test_similarity_has_the_properties_of_a_cosine(grid):
    table = noise(grid)
    tiles = position_similarity(table, grid)
    matrix = tiles.flatten(2).flatten(0, 1)
    assert torch.allclose(matrix.diagonal(), torch.ones(len(table)).double())
    assert torch.allclose(matrix, matrix.T)
    assert tiles.abs().max() <= 1 + 1e-12
    # lengths, and turning the D dimensions, do not matter
    turn, _ = torch.linalg.qr(noise((32, 1)).double())
    length = torch.rand(len(table), 1) + 0.1
    other = position_similarity(length * table.double() @ turn, grid)
    assert torch.allclose(tiles, other)
    # turning every position round changes nothing; one of them, its signs
    assert torch.equal(position_similarity(-table, grid), tiles)


@pytest.mark.parametrize("grid", GRIDS)
def test_groups_equal_loops(grid):
    tiles = position_similarity(plant(grid, 1, 0.5), grid)
    sums = {}
    for r, c in places(grid):
        for y, x in places(grid):
            value = tiles[r, c, y, x].item()
            sums.setdefault(name_of(r, c, y, x), []).append(value)
    groups = similarity_groups(tiles, permutations=9)
    assert set(groups) == set(sums)
    for name, group in groups.items():
        assert group.mean == pytest.approx(np.mean(sums[name]), abs=1e-10)
        assert group.low <= group.high
    assert groups["self"] == pytest.approx((1, 1, 1, 1))


def test_planted_rows_are_found_and_columns_are_not():
    grid = (7, 7)
    tiles = position_similarity(plant(grid, row=0.7), grid)
    groups = similarity_groups(tiles)
    assert groups["same row"].p_value == 1 / 200
    assert groups["same row"].mean > groups["same row"].high + 0.1
    assert groups["same column"].p_value > 0.5
    turned = similarity_groups(tiles.mT.transpose(0, 1))
    assert turned["same column"].mean == pytest.approx(groups["same row"].mean)


def test_noise_is_found_at_the_stated_rate():
    grid, counts = (5, 5), {}
    for seed in range(100):
        tiles = position_similarity(noise(grid, 16, seed), grid)
        groups = similarity_groups(tiles, permutations=39, seed=seed)
        for name in ("neighbours", "same row", "same column"):
            hit = groups[name].p_value <= 0.05
            counts[name] = counts.get(name, 0) + hit
    # 5 % of 100: more than 13 has a chance of 0.0005
    assert all(1 <= count <= 13 for count in counts.values()), counts


def test_groups_do_not_depend_on_the_call_but_on_the_seed():
    tiles = position_similarity(plant((4, 6), 1), (4, 6))
    first = similarity_groups(tiles, 19, seed=3)
    assert first == similarity_groups(tiles, 19, seed=3)
    assert first != similarity_groups(tiles, 19, seed=4)


@pytest.mark.parametrize("grid", GRIDS)
def test_by_distance_equals_loops(grid):
    tiles = position_similarity(plant(grid, 1), grid)
    sums = {}
    for r, c in places(grid):
        for y, x in places(grid):
            step = round(math.hypot(r - y, c - x))
            for name, fits in (
                ("same row", r == y),
                ("same column", c == x),
                ("elsewhere", r != y and c != x),
            ):
                if fits:
                    key = (name, step)
                    sums.setdefault(key, []).append(tiles[r, c, y, x].item())
    found = similarity_by_distance(tiles)
    for name, values in found.items():
        for step, value in enumerate(values.tolist()):
            if (name, step) in sums:
                assert value == pytest.approx(np.mean(sums[name, step]))
            else:
                assert math.isnan(value)


def test_r2_equals_least_squares_by_numpy():
    grid = (4, 6)
    tiles = position_similarity(plant(grid, 1, 0.5), grid)
    design, y = [], []
    for r, c in places(grid):
        for row, column in places(grid):
            if (r, c) != (row, column):
                line = np.zeros(10)
                line[abs(r - row)] = line[4 + abs(c - column)] = 1
                design.append(line)
                y.append(tiles[r, c, row, column].item())
    design, y = np.array(design), np.array(y)
    left = y - design @ np.linalg.pinv(design) @ y
    expected = 1 - left.var() / y.var()
    assert distance_r2(tiles) == pytest.approx(expected, abs=1e-9)


def test_r2_of_sines_is_one_and_of_noise_is_small():
    fixed = position_similarity(vitlib.sincos_2d((7, 7), 64), (7, 7))
    assert distance_r2(fixed) == pytest.approx(1, abs=1e-6)
    tiles = position_similarity(noise((7, 7), 64), (7, 7))
    assert 0 <= distance_r2(tiles) < 0.05


@pytest.mark.parametrize("grid", GRIDS)
def test_share_equals_the_power_on_the_axes(grid):
    table = plant(grid, 1, 0.5)
    power = spectrum(table, grid)
    on_axes = (power[0].sum() + power[:, 0].sum()).item()
    assert row_column_share(table, grid) == pytest.approx(on_axes)
    rows, columns = noise((grid[0], 1)), noise((grid[1], 1), seed=1)
    exact = vitlib.combine_2d(rows, columns)
    assert row_column_share(exact, grid) == pytest.approx(1)


def test_share_of_noise_is_what_chance_gives():
    for grid in GRIDS:
        expected = (sum(grid) - 2) / (grid[0] * grid[1] - 1)
        found = [
            row_column_share(noise(grid, seed=s), grid) for s in range(50)
        ]
        assert np.mean(found) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("grid", GRIDS)
def test_spectrum_equals_the_sum_written_out(grid):
    table = noise(grid, 4).double()
    values = (table - table.mean(0)).unflatten(0, grid).numpy()
    power = np.zeros(grid)
    y, x = np.mgrid[: grid[0], : grid[1]]
    for i in range(grid[0]):
        for j in range(grid[1]):
            wave = np.exp(-2j * np.pi * (i * y / grid[0] + j * x / grid[1]))
            sums = (wave[..., None] * values).sum(axis=(0, 1))
            power[i, j] = (np.abs(sums) ** 2).sum()
    found = spectrum(table, grid)
    assert np.allclose(found, power / power.sum(), atol=1e-12)
    assert found.sum().item() == pytest.approx(1)
    assert found[0, 0] < 1e-20
    turn, _ = torch.linalg.qr(noise((4, 1), 4).double())
    assert torch.allclose(spectrum(table @ turn, grid), found)


@pytest.mark.parametrize("grid", [(12, 12), (9, 12)])
@pytest.mark.parametrize("cycles", [(0, 3), (2, 0), (2, 3), (4, 6), (0, 6)])
def test_a_planted_sinusoid_is_found_at_its_frequency(grid, cycles):
    """Appendix D.4 sees sinusoids; would we?"""
    y, x = torch.meshgrid(
        *(torch.arange(float(n)) for n in grid), indexing="ij"
    )
    angle = cycles[0] * y / grid[0] + cycles[1] * x / grid[1]
    wave = torch.cos(2 * math.pi * angle + 0.4).flatten()
    pure = strongest_waves(wave[:, None], grid, 19)
    assert pure.cycles.tolist() == [list(cycles)]
    assert pure.share.item() == pytest.approx(1)
    table = wave[:, None] + 0.7 * noise(grid)
    found = strongest_waves(table, grid, 19)
    assert (found.cycles == torch.tensor(cycles)).all()
    assert (found.share > found.noise).all()
    assert found.p_value == 1 / 20


def test_sines_pass_in_every_component():
    table = vitlib.sincos_2d((20, 20), 64)
    found = strongest_waves(table, (20, 20))
    assert (found.share > found.noise).all()
    assert found.p_value == 0.01
    assert (found.cycles.min(dim=1).values == 0).all()  # along one axis
    # the fastest turns by 1 radian a patch: 20 / 2 pi = 3.2 cycles
    assert found.cycles[0].tolist() == [3, 0]
    assert found.cycles[32].tolist() == [0, 3]


def test_white_noise_is_found_at_the_stated_rates():
    components, tables = [], []
    for seed in range(100):
        found = strongest_waves(noise((6, 6), 16, seed), (6, 6), 39, seed)
        components.append((found.share > found.noise).double().mean().item())
        tables.append(found.p_value <= 0.05)
    assert 0.005 < np.mean(components) < 0.016  # 1 % of 1600
    assert 1 <= sum(tables) <= 13  # 5 % of 100, see above


def test_noise_is_the_same_table_with_its_rows_shuffled():
    """On a grid that is not square, where a turned one has other waves."""
    table = noise((3, 5), 3).double()
    found = strongest_waves(table, (3, 5), permutations=4, seed=7)
    generator = torch.Generator().manual_seed(7)
    centred, shares = table - table.mean(dim=0), []
    for _ in range(4):
        order = torch.randperm(15, generator=generator)
        grid = centred[order].reshape(3, 5, 3).numpy()
        power = np.abs(np.fft.fft2(grid, axes=(0, 1))) ** 2
        # on odd sizes the other half of each wave is at another frequency
        shares.append(2 * power.max((0, 1)) / power.sum((0, 1)))
    shares = np.sort(np.concatenate(shares))
    assert found.noise == pytest.approx(shares[11])  # 99 % of 12, rounded down


def test_one_component_repeated_is_no_more_evidence():
    # 16 copies of one noise map: each table counts once, at 5 %
    tables = []
    for seed in range(100):
        table = noise((6, 6), 1, seed).repeat(1, 16)
        found = strongest_waves(table, (6, 6), 39, seed)
        tables.append(found.p_value <= 0.05)
    assert sum(tables) <= 13


def test_constant_components_have_no_waves():
    table = noise((6, 6), 4).double()
    table[:, 1] = 0.7  # 36 of them, less their mean, leave 1e-16
    assert (table[:, 1] - table[:, 1].mean()).any()
    found = strongest_waves(table, (6, 6), 9)
    assert found.share[1].item() == 0
    assert (found.share[[0, 2, 3]] > 0).all()


@pytest.mark.parametrize("kind", ["1d", "2d", "sincos"])
@pytest.mark.parametrize("class_token", [True, False])
def test_grid_positions_are_what_the_model_adds(kind, class_token):
    torch.manual_seed(0)
    pool = "token" if class_token else "avg"
    config = {"pos_embed": kind, "class_token": class_token}
    model = vitlib.create_model("Book/4", depth=1, global_pool=pool, **config)
    images = torch.randn(1, 1, 28, 28)
    added = model.embed(images)[:, -49:] - model.patch_embed(images)
    positions = grid_positions(model)
    assert positions.shape == (49, 128)
    assert not positions.requires_grad
    assert torch.allclose(positions, added[0], atol=1e-5)


@pytest.mark.parametrize("kind", ["none", "relative"])
def test_models_without_added_positions_are_refused(kind):
    model = vitlib.create_model("Book/4", pos_embed=kind, depth=1)
    with pytest.raises(ValueError, match=f'pos_embed="{kind}" adds no pos'):
        grid_positions(model)


def nan_table():
    table = noise((4, 6))
    table[3, 2] = math.nan
    return table


def zero_table():
    table = noise((4, 6))
    table[3] = 0
    return table


FUNCTIONS = [position_similarity, row_column_share, spectrum, strongest_waves]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_bad_tables_are_refused(function):
    for table, grid, message in (
        (nan_table(), (4, 6), "1 of 768 values are NaN"),
        (noise((4, 6)), (5, 5), r"5x5 has 25 positions.*\(24, 32\)"),
        (noise((5, 5)), (4, 6), r"4x6 has 24 positions.*\(25, 32\)"),
        (noise((4, 6))[None], (4, 6), r"\(1, 24, 32\)"),
        (noise((4, 6)), (4, 0), "grid_size must be a positive integer"),
    ):
        with pytest.raises(ValueError, match=message):
            function(table, grid)


def test_positions_without_direction_or_difference_are_refused():
    with pytest.raises(ValueError, match="1 of 24 positions are zero"):
        position_similarity(zero_table(), (4, 6))
    for function in FUNCTIONS[1:]:
        with pytest.raises(ValueError, match="all positions are alike"):
            function(torch.full((36, 8), 0.7).double(), (6, 6))


@pytest.mark.parametrize(
    "function", [similarity_groups, similarity_by_distance, distance_r2]
)
def test_bad_tiles_are_refused(function):
    with pytest.raises(ValueError, match=r"got shape \(24, 24\)"):
        function(torch.ones(24, 24))
    with pytest.raises(ValueError, match=r"got shape \(4, 6, 6, 4\)"):
        function(torch.ones(4, 6, 6, 4))


def test_no_shuffles_are_refused():
    tiles = position_similarity(noise((4, 6)), (4, 6))
    with pytest.raises(ValueError, match="permutations must be a positive"):
        similarity_groups(tiles, 0)
    with pytest.raises(ValueError, match="permutations must be a positive"):
        strongest_waves(noise((4, 6)), (4, 6), 0)


@pytest.mark.parametrize("scale", [1e-310, 1e-170, 1e154, 1e200, 1e300])
def test_the_scale_of_positions_changes_nothing(scale):
    grid = (3, 4)
    table = plant(grid, row=1.0).double().clamp(-9, 9)
    for measure in (position_similarity, row_column_share, spectrum):
        found, wanted = measure(table * scale, grid), measure(table, grid)
        torch.testing.assert_close(found, wanted)
    found, wanted = (
        strongest_waves(x, grid, 9) for x in (table * scale, table)
    )
    torch.testing.assert_close(found.share, wanted.share)
    assert torch.equal(found.cycles, wanted.cycles)
    assert found.p_value == wanted.p_value
    tiles = position_similarity(table, grid)
    found = distance_r2(tiles * scale)
    assert found == pytest.approx(distance_r2(tiles))
