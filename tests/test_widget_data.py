"""The widgets' data are what the book's models say today, and small."""

import hygiene
import matplotlib as mpl
import pytest
import torch
import widget_data
from widget_attention import STEPS, levels
from widget_data import CELLS, FOLDER, WIDGETS, chapter, read
from widget_pack import unpack

from vitlib import data
from vitlib.pretrained import load

SCRIPTS = FOLDER.parent
NAMES = [
    tag.removeprefix("widget-") for tag in hygiene.TAGS if "widget" in tag
]
FROM_PRETRAINED = {"attention-14", "attention-15", "positions"}
PAGE = 600_000  # bytes that a page's widget may load


def test_every_tag_has_its_script_and_its_data():
    assert sorted(NAMES) == sorted(WIDGETS)
    assert sorted(NAMES) == sorted(path.stem for path in FOLDER.iterdir())
    for name in NAMES:
        assert (SCRIPTS / f"{name.split('-')[0]}.js").is_file()


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_page_loads_little(name):
    files = ["loader.js", "base.js", "widgets.css", f"data/{name}.js"]
    files.append(f"{name.split('-')[0]}.js")
    assert sum((SCRIPTS / file).stat().st_size for file in files) < PAGE


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"shuffle"}))
def test_the_models_say_the_same_today(name):
    if name in FROM_PRETRAINED:
        try:
            load(widget_data.PRETRAINED)
        except (ImportError, OSError) as error:
            pytest.skip(f"needs the pretrained weights: {error}")
    stored, fresh = read(name), widget_data.make(name)
    packed = {"packed", "images", "image"}  # bytes of a library's choice
    assert stored.keys() == fresh.keys()
    for key in stored.keys() - packed - {"far"}:
        assert stored[key] == fresh[key], key
    if "far" in stored:  # pixels
        far = torch.tensor(stored["far"]), torch.tensor(fresh["far"])
        torch.testing.assert_close(*far, rtol=0, atol=0.02)
    if "packed" in stored:
        before, after = unpack(stored), unpack(fresh)
        for key, array in before.items():
            gap = (array.int() - after[key].int()).abs().max()
            assert gap <= 1, key  # a step, from rounding on another machine


def test_a_row_is_given_back_by_its_sum():
    rows = torch.rand(3, 50).softmax(dim=-1)
    found = levels(rows)
    back = found / found.sum(dim=-1, keepdim=True)
    most = rows.amax(dim=-1, keepdim=True)
    assert ((back - rows).abs() / most).max() < 1 / STEPS


def test_the_bench_shows_the_chapters_models(monkeypatch):
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    mpl.use("Agg")
    stored = read("shuffle")
    arrays = unpack(stored)
    cells = [f"p01-{cell}" for cell in CELLS.split()]
    sources = widget_data.cells_of("01_end_of_cnn", *cells)
    assert stored["cells"] == widget_data.digest(sources), (
        "chapter 1's training cells have changed: tools/widget_data.py shuffle"
    )
    names = chapter("01_end_of_cnn", *cells[:4])  # the CNN alone is trained
    test, mix = names["test"], names["shuffle_pieces"]
    first = [int((test.labels == k).nonzero()[0]) for k in range(10)]
    pictures = [test.images[first], mix(test.images[first], 2, 1)]
    x = data.normalize(torch.cat(pictures), *data.FASHION_MNIST_STATS)
    with torch.no_grad():
        says = names["cnn"].eval()(x).softmax(dim=-1).unflatten(0, (2, 10))
    gap = (arrays["says"][0, [0, 2]] / 255 - says).abs()
    assert gap.mean() < 0.02  # training on another machine ends elsewhere


def test_the_model_without_positions_is_blind_to_its_own_patches():
    stored = read("shuffle")
    says = unpack(stored)["says"][stored["models"].index("no positions")].int()
    start = 1 + (stored["grids"].index(7) - 1) * stored["draws"]
    assert (says[start:] - says[0]).abs().max() <= 1
    assert (says[1:start] - says[0]).abs().max() > 25  # not to other cuts


def test_the_colours_are_those_of_the_figures():
    text = (SCRIPTS / "base.js").read_text(encoding="utf-8")
    text = text.partition("const viridis =")[2].partition(";")[0]
    digits = "".join(text.split('"')[1::2])
    anchors = torch.tensor(list(bytes.fromhex(digits))).reshape(-1, 3).float()
    shares = torch.linspace(0, 1, 256)
    place = shares * (len(anchors) - 1)
    low = place.floor().long().clamp(max=len(anchors) - 2)
    part = (place - low)[:, None]
    found = anchors[low] * (1 - part) + anchors[low + 1] * part
    viridis = torch.tensor(mpl.colormaps["viridis"](shares.numpy()))[:, :3]
    assert (found - 255 * viridis).abs().max() < 4
