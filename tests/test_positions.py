"""vitlib.positions: tables, offsets and other grids."""

import math

import pytest
import torch
from torch.testing import assert_close

from vitlib.positions import (
    RESIZE_MODES,
    combine_2d,
    relative_positions,
    resize_positions,
    sincos_2d,
)


def test_combine_puts_the_rows_half_first():
    """Appendix D.4, the second kind of Table 8."""
    rows, columns = torch.randn(2, 3), torch.randn(4, 3)
    table = combine_2d(rows, columns)
    assert table.shape == (8, 6)
    for row in range(2):
        for column in range(4):
            place = table[row * 4 + column]
            assert torch.equal(place[:3], rows[row])
            assert torch.equal(place[3:], columns[column])


@pytest.mark.parametrize(("grid", "width"), [((7, 7), 16), ((3, 5), 8)])
def test_sincos_holds_sines_and_cosines_of_row_and_column(grid, width):
    table = sincos_2d(grid, width)
    quarter = width // 4
    assert table.shape == (grid[0] * grid[1], width)
    for row in range(grid[0]):
        for column in range(grid[1]):
            place = table[row * grid[1] + column]
            for k in range(quarter):
                angle = 10_000 ** (-k / quarter)
                expected = [
                    math.sin(row * angle),
                    math.cos(row * angle),
                    math.sin(column * angle),
                    math.cos(column * angle),
                ]
                assert_close(place[k::quarter], torch.tensor(expected))


def test_products_of_sincos_depend_on_the_offset_alone():
    table = sincos_2d((5, 5), 32).reshape(5, 5, 32)
    products = torch.einsum("ijd,kld->ijkl", table, table)
    assert_close(products[0, 0, 1, 2], products[2, 1, 3, 3])
    assert_close(products[4, 4, 4, 4], torch.tensor(16.0))


def test_sincos_of_a_width_that_four_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="multiple of 4; got embed_dim=6"):
        sincos_2d((2, 2), 6)


def test_relative_looks_up_query_minus_key():
    """Appendix D.4, the third kind of Table 8."""
    table = torch.arange(7.0)[:, None]  # offsets -3..3 of T = 4
    out = relative_positions(table)
    assert out.shape == (4, 4, 1)
    for i in range(4):
        for j in range(4):
            assert out[i, j].item() == i - j + 3


@pytest.mark.parametrize("prefix", [0, 1])
@pytest.mark.parametrize("mode", RESIZE_MODES)
@pytest.mark.parametrize("new", [(6, 8), (2, 2), (9, 4)])
def test_resizing_keeps_the_class_token_and_a_constant(prefix, mode, new):
    pos_embed = torch.full((1, 12 + prefix, 5), 2.0)
    pos_embed[:, :prefix] = 7.0
    out = resize_positions(pos_embed, (3, 4), new, mode)
    assert out.shape == (1, new[0] * new[1] + prefix, 5)
    assert torch.equal(out[:, :prefix], pos_embed[:, :prefix])
    assert_close(out[:, prefix:], torch.full_like(out[:, prefix:], 2.0))


def test_resizing_keeps_rows_and_columns_apart():
    rows = torch.linspace(0, 1, 3)[:, None].expand(3, 4)
    columns = torch.linspace(0, 1, 4)[None, :].expand(3, 4)
    table = torch.stack([rows, columns], dim=-1).reshape(1, 12, 2)
    out = resize_positions(table, (3, 4), (5, 9), "bilinear")
    out = out.reshape(5, 9, 2)
    assert_close(out[:, 0, 0], torch.linspace(0, 1, 5))
    assert_close(out[0, :, 1], torch.linspace(0, 1, 9))


def test_bilinear_equals_the_released_codes_zoom():
    ndimage = pytest.importorskip("scipy.ndimage")
    torch.manual_seed(0)
    table = torch.randn(1, 49, 4, dtype=torch.float64)
    grid = table.reshape(7, 7, 4).numpy()
    zoomed = ndimage.zoom(grid, (12 / 7, 10 / 7, 1), order=1)
    out = resize_positions(table, (7, 7), (12, 10), "bilinear")
    expected = torch.from_numpy(zoomed).reshape(1, 120, 4)
    assert_close(out, expected, rtol=0, atol=1e-12)


def test_bicubic_to_a_smaller_grid_averages():
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(1, 256, 64, generator=generator)
    out = resize_positions(table, (16, 16), (4, 4))
    assert out.std() < 0.4  # 0.22; 0.72 if values between are left out


def cubic_weights(old, new):
    """Keys' cubic curve, a = -0.75, at half-pixel centres, edges repeated."""
    table = torch.zeros(new, old, dtype=torch.float64)
    for i in range(new):
        place = (i + 0.5) * old / new - 0.5
        for j in range(math.floor(place) - 1, math.floor(place) + 3):
            x, a = abs(place - j), -0.75
            if x <= 1:
                weight = (a + 2) * x**3 - (a + 3) * x**2 + 1
            else:
                weight = a * (x**3 - 5 * x**2 + 8 * x - 4)
            table[i, min(max(j, 0), old - 1)] += weight
    return table


@pytest.mark.parametrize("new", [(16, 16), (50, 40)])
def test_bicubic_plain_is_the_cubic_curve_at_exact_places(new):
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(37, 37, 3, generator=generator, dtype=torch.float64)
    down, across = cubic_weights(37, new[0]), cubic_weights(37, new[1])
    expected = torch.einsum("ij, kl, jld -> ikd", down, across, table)
    out = resize_positions(
        table.reshape(1, 1369, 3), (37, 37), new, "bicubic-plain"
    )
    assert_close(out.reshape(*new, 3), expected, rtol=0, atol=1e-12)


def test_the_same_grid_changes_nothing():
    table = torch.randn(1, 13, 4)
    assert torch.equal(resize_positions(table, (3, 4), (3, 4)), table)


def test_positions_that_fit_no_grid_are_refused():
    with pytest.raises(ValueError, match=r"3x4 has 12 positions.*got 14"):
        resize_positions(torch.zeros(1, 14, 2), (3, 4), (6, 8))


def test_an_unknown_mode_is_refused_with_the_known():
    with pytest.raises(ValueError, match="'area'; known: bilinear, bicubic"):
        resize_positions(torch.zeros(1, 4, 2), (2, 2), (4, 4), "area")


@pytest.mark.parametrize("mode", ["bicubic", "bicubic-plain", "bilinear"])
def test_one_column_is_one_row_turned(mode):
    table = torch.rand(1, 12, 8, generator=torch.Generator().manual_seed(0))
    turned = table.unflatten(1, (3, 4)).transpose(1, 2).flatten(1, 2)
    column = resize_positions(table, (3, 4), (5, 1), mode)
    row = resize_positions(turned, (4, 3), (1, 5), mode)
    assert_close(column, row)
    assert not column[:, :1].allclose(column[:, -1:])


def test_relative_positions_want_two_dimensions_and_an_odd_number():
    for shape in [(4, 8), (5,), (5, 8, 1)]:
        with pytest.raises(ValueError, match="2T-1"):
            relative_positions(torch.zeros(shape))
    assert relative_positions(torch.rand(9, 2)).shape == (5, 5, 2)
