"""vitlib.plot: what the figures hold, not how they look."""

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

from vitlib import plot


@pytest.fixture(autouse=True)
def _close_figures():
    mpl.use("agg")
    yield
    plt.close("all")


def pictures(fig):
    """The arrays drawn, panel by panel."""
    return [ax.images[0].get_array() for ax in fig.axes if ax.images]


def test_images_show_pixels_and_labels():
    batch = torch.randint(256, (3, 3, 4, 6), dtype=torch.uint8)
    fig = plot.images(batch, ["a", "b", "c"], ncols=2)
    for shown, image in zip(pictures(fig), batch, strict=True):
        assert np.array_equal(shown, image.permute(1, 2, 0))
    labels = [ax.get_xlabel() for ax in fig.axes if ax.images]
    assert labels == ["a", "b", "c"]


def test_grey_images_share_the_whole_range():
    fig = plot.images([torch.full((1, 4, 4), 0.5)])
    assert fig.axes[0].images[0].get_clim() == (0, 1)
    fig = plot.images([torch.full((1, 4, 4), 9, dtype=torch.uint8)])
    assert fig.axes[0].images[0].get_clim() == (0, 255)


def test_patches_stand_apart_in_reading_order():
    image = torch.arange(64, dtype=torch.uint8).reshape(1, 8, 8)
    _, apart = pictures(plot.patches(image, 4, gap=1))
    assert apart.shape == (9, 9)
    assert np.array_equal(apart[:4, 5:], image[0, :4, 4:])
    assert (apart[4] == 255).all()
    assert (apart[:, 4] == 255).all()


def test_heatmaps_share_one_scale():
    maps = torch.stack([torch.zeros(2, 2), torch.full((2, 2), 3.0)])
    fig = plot.heatmaps(maps, colorbar="weight")
    scales = [ax.images[0].get_clim() for ax in fig.axes if ax.images]
    assert scales == [(0, 3), (0, 3)]
    assert fig.axes[-1].get_ylabel() == "weight"
    fig = plot.heatmaps(maps, vmin=-1, vmax=1)
    assert fig.axes[0].images[0].get_clim() == (-1, 1)


def test_overlay_lays_the_grid_over_the_whole_image():
    image = torch.rand(3, 8, 12)
    maps = torch.rand(2, 2, 3)
    fig = plot.overlay(image, maps, ["a", "b"], colorbar="weight")
    ax = fig.axes[0]
    assert ax.images[1].get_extent() == [-0.5, 11.5, 7.5, -0.5]
    assert np.allclose(ax.images[1].get_array(), maps[0])
    scale = (maps.min().item(), maps.max().item())
    assert np.allclose(fig.axes[1].images[1].get_clim(), scale)


def test_curves_draw_each_series_and_reference():
    series = {"a": ([1, 2], torch.tensor([3.0, 4.0])), "b": ([1, 2], [5, 6])}
    fig = plot.curves(series, "x (px)", "y", "xy", reference={"chance": 4})
    ax = fig.axes[0]
    assert [line.get_label() for line in ax.lines] == ["a", "b", "chance"]
    assert ax.lines[0].get_ydata().tolist() == [3, 4]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.get_xlabel() == "x (px)"


def test_curves_show_the_mean_and_every_seed():
    rows = [[1.0, 3.0], [2.0, float("nan")]]  # a seed each
    fig = plot.curves({"a": ([4, 14], rows)}, "P", "y")
    mean, *dots = fig.axes[0].lines
    assert mean.get_ydata().tolist() == [1.5, 3]
    assert [line.get_ydata()[0] for line in dots] == [1, 2]
    assert {line.get_color() for line in dots} == {mean.get_color()}


def test_curves_tell_references_apart_and_write_chosen_ticks():
    levels = {"chance": 4, "floor": 1}
    series = {"a": ([4, 14], [5, 6])}
    fig = plot.curves(series, "P", "y", "x", levels, xticks=[4, 14])
    ax = fig.axes[0]
    assert len({line.get_linestyle() for line in ax.lines[1:]}) == 2
    assert [text.get_text() for text in ax.get_xticklabels()] == ["4", "14"]
    assert ax.get_xticks(minor=True).size == 0


@pytest.mark.parametrize(
    ("values", "wanted"),
    [([0.02, 50], "0.1"), ([900, 60_000], "10,000"), ([1e-9, 1], "10^{-4}")],
)
def test_a_short_log_axis_has_plain_numbers(values, wanted):
    fig = plot.curves({"a": ([1, 2], values)}, "x", "y", log="y")
    fig.canvas.draw()
    labels = [tick.get_text() for tick in fig.axes[0].get_yticklabels()]
    assert any(wanted in label for label in labels)
    short = not any("10^" in label for label in labels)
    assert short == (values[0] > 1e-4)


def test_bars_write_means_and_show_every_seed():
    fig = plot.bars({"one": 2.0, "seeds": [1.0, 3.5]}, "accuracy (%)")
    ax = fig.axes[0]
    assert [bar.get_width() for bar in ax.patches] == [2.0, 2.25]
    assert [text.get_text() for text in ax.texts] == ["2.00", "2.25"]
    assert ax.lines[0].get_xdata().tolist() == [1.0, 3.5]
    assert ax.get_xlim()[0] <= 0


def test_close_values_are_strokes_on_an_axis_that_fits_them():
    near = {"one": 84.2, "seeds": [84.5, 85.5]}
    ax = plot.bars(near, "accuracy (%)", from_zero=False).axes[0]
    assert not ax.patches
    assert 80 < ax.get_xlim()[0] < 84.2
    strokes = [line for line in ax.lines if line.get_marker() == "|"]
    assert [line.get_xdata().item() for line in strokes] == [84.2, 85.0]


def test_stack_can_show_shares():
    parts = {"a": [1, 3], "b": [3, 1]}
    fig = plot.stack([0, 1], parts, "x", "share", share=True)
    tops = [shape.get_paths()[0].vertices for shape in fig.axes[0].collections]
    assert max(tops[0][:, 1]) == 0.75
    assert max(tops[1][:, 1]) == 1.0


def test_histograms_share_their_bins():
    samples = {"a": torch.zeros(10), "b": torch.ones(2, 5)}
    fig = plot.histograms(samples, "logit", bins=4)
    edges = {round(bar.get_x(), 6) for bar in fig.axes[0].patches}
    assert edges == {0, 0.25, 0.5, 0.75}


def test_saved_figures_are_let_go(tmp_path):
    before = plt.get_fignums()
    plot.save(plot.images([torch.zeros(1, 4, 4)]), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert plt.get_fignums() == before


def test_no_function_calls_show(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: pytest.fail("show was called"))
    plot.use_style()
    assert mpl.rcParams["image.cmap"] == "viridis"
    plot.images([torch.rand(1, 4, 4)])


def test_history_draws_loss_and_accuracy_of_each_run():
    records = [
        {"event": "start", "step": 0},
        {"event": "epoch", "epoch": 1, "train_loss": 2.0, "accuracy": 0.5},
        {"event": "epoch", "epoch": 2, "train_loss": 1.0},
        {"event": "epoch", "epoch": 3, "train_loss": 0.5, "accuracy": 0.75},
        {"event": "end", "step": 9},
    ]
    fig = plot.history({"one": records, "two": records[:2]})
    left, right = fig.axes
    assert left.lines[0].get_xydata().tolist() == [[1, 2], [2, 1], [3, 0.5]]
    assert right.lines[0].get_xydata().tolist() == [[1, 50], [3, 75]]
    assert [text.get_text() for text in left.get_legend().texts] == [
        "one",
        "two",
    ]
    assert "%" in right.get_ylabel()


def test_filters_stand_apart_in_reading_order():
    red = torch.tensor([1.0, 0, 0])[:, None, None].expand(3, 2, 2)
    group = torch.stack([red, red.flip(0), red])
    fig = plot.filters({"a": group, "b": torch.zeros(1, 1, 2, 2)}, ncols=2)
    first, second = pictures(fig)
    assert first.shape == (5, 5, 3)
    assert (first[:2, :2] == [1, 0, 0]).all()
    assert (first[:2, 3:] == [0, 0, 1]).all()
    assert (first[3:, :2] == [1, 0, 0]).all()
    assert (first[2] == 1).all()
    assert second.shape == (2, 5)
    assert [ax.get_xlabel() for ax in fig.axes] == ["a", "b"]
    assert fig.axes[1].images[0].get_clim() == (0, 1)


def test_tiles_are_laid_out_by_place_on_one_scale():
    maps = torch.arange(36.0).reshape(2, 3, 2, 3)
    fig = plot.tiles([maps, maps / 2], ["a", "b"], colorbar="cosine")
    mosaic = pictures(fig)[0]
    assert mosaic.shape == (5, 11)
    for r in range(2):
        for c in range(3):
            tile = mosaic[3 * r : 3 * r + 2, 4 * c : 4 * c + 3]
            assert np.array_equal(tile, maps[r, c])
    assert np.isnan(np.ma.getdata(mosaic)[2]).all()
    scales = [ax.images[0].get_clim() for ax in fig.axes if ax.images]
    assert scales == [(0, 35), (0, 35)]


def test_intervals_reach_from_low_to_high():
    series = {
        "first": {"a": (0.5, 0.25, 1.0), "b": (-1.0, -1.5, -0.5)},
        "second": {"b": (2.0, 1.0, 3.0), "a": (0.0, 0.0, 0.0)},
    }
    fig = plot.intervals(series, "gain", zero="no better than chance")
    ax = fig.axes[0]
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["a", "b"]
    for drawn, rows in zip(ax.containers, series.values(), strict=True):
        line, _, (bars,) = drawn
        assert line.get_xdata().tolist() == [rows[n][0] for n in names]
        ends = [segment[:, 0].tolist() for segment in bars.get_segments()]
        assert ends == [list(rows[n][1:]) for n in names]
    low, high = ax.get_ylim()
    assert low > 1.5 > -0.5 > high  # from the top, all within the frame


def test_gallery_has_one_scale_for_all_maps():
    batch = torch.rand(2, 3, 8, 8)
    levels = torch.tensor([3.0, 2.0, 1.0, 0.5])
    maps = levels[:, None, None].expand(4, 2, 2)
    rows = {"a": maps[:2], "b": maps[2:]}
    fig = plot.gallery(batch, rows, "share", vmax=2)
    drawn = [ax for ax in fig.axes if ax.images]
    assert drawn[0].images[0].get_array().shape == (8, 8, 3)
    maps = [ax.images[0] for ax in drawn[2:6]]
    assert [one.get_array().max() for one in maps] == levels.tolist()
    assert {one.get_clim() for one in maps} == {(0, 2)}
    assert [drawn[2].get_ylabel(), drawn[4].get_ylabel()] == ["a", "b"]
    assert maps[0].colorbar is None
    assert maps[-1].colorbar.extend == "max"  # 3 is above 2
    whole = plot.gallery(batch, rows, "share")
    assert whole.axes[5].images[0].colorbar.extend == "neither"


def test_float64_keeps_its_digits_and_its_range():
    value = torch.tensor(632_045_801.0, dtype=torch.float64)
    fig = plot.bars({"p": value}, "x", decimals=0)
    assert fig.axes[0].texts[0].get_text() == "632,045,801"
    y = torch.tensor([1.0, 1e300], dtype=torch.float64)
    line = plot.curves({"a": ([1, 2], y)}, "x", "y").axes[0].lines[0]
    assert line.get_ydata().tolist() == [1, 1e300]


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn]
)
def test_small_floats_are_drawn(dtype):
    fig = plot.heatmaps(torch.ones(1, 2, 2).to(dtype))
    assert (pictures(fig)[0] == 1).all()


@pytest.mark.parametrize(
    ("image", "white"),
    [
        (torch.full((1, 4, 4), 0.5), 1),
        (torch.full((1, 4, 4), 9, dtype=torch.uint8), 255),
    ],
)
def test_a_pixel_is_of_one_grey_in_both_panels_of_patches(image, white):
    fig = plot.patches(image, 2)
    scales = [ax.images[0].get_clim() for ax in fig.axes]
    assert scales == [(0, white), (0, white)]


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int8])
def test_whole_numbers_other_than_bytes_are_no_image(dtype):
    image = torch.full((1, 4, 4), 9, dtype=dtype)
    for draw in (plot.images, lambda batch: plot.patches(batch[0], 2)):
        with pytest.raises(ValueError, match="must be uint8, or floats 0 to"):
            draw([image])


@pytest.mark.parametrize("P", [0, -2, 3, 2.0])
def test_patches_that_do_not_fit_the_image_are_refused(P):
    with pytest.raises(ValueError, match="patch_size must"):
        plot.patches(torch.zeros(1, 4, 8), P)


def test_nothing_is_not_drawn():
    image = torch.zeros(1, 4, 4)
    for draw in (
        lambda: plot.images([]),
        lambda: plot.heatmaps([]),
        lambda: plot.tiles([]),
        lambda: plot.filters({}),
        lambda: plot.overlay(image, []),
        lambda: plot.gallery([], {"a": []}, "share"),
        lambda: plot.gallery([image], {}, "share"),
        lambda: plot.intervals({}, "gain"),
    ):
        with pytest.raises(ValueError, match="must hold at least one; got"):
            draw()
