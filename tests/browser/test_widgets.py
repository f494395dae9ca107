"""The figures that come alive: what they show, and how they are used."""

import base64
import json
import re
import zlib
from itertools import product
from math import prod

import pytest
from built import ROOT, SITE, THEMES, WIDTHS

CHAPTERS = {
    "shuffle": "01_end_of_cnn",
    "patches": "02_patches",
    "attention-05": "05_attention",
    "positions": "13_position_similarity",
    "attention-14": "14_attention_distance",
    "attention-15": "15_rollout",
}
STATIC = ROOT / "book" / "_static" / "widgets"


def stored(name):
    """A widget's data, and its arrays as (shape, bytes)."""
    text = (STATIC / "data" / f"{name}.js").read_text(encoding="utf-8")
    data = json.loads(text.partition(" = ")[2].rstrip(";\n"))
    raw, arrays, start = b"", {}, 0
    if "packed" in data:
        raw = zlib.decompress(base64.b64decode(data["packed"]))
    for key, shape in data.get("shapes", {}).items():
        arrays[key] = shape, raw[start : start + prod(shape)]
        start += prod(shape)
    return data, arrays


def at(array, *indices):
    """The bytes of an array at its first indices."""
    shape, raw = array
    size, place = prod(shape[len(indices) :]), 0
    for index, length in zip(indices, shape, strict=False):
        place = place * length + index
    return raw[place * size : (place + 1) * size]


@pytest.fixture
def live(open_page):
    """Return a function that opens a chapter at its widget."""

    def open_widget(name, *how, **options):
        page = open_page(f"notebooks/{CHAPTERS[name]}.html", *how, **options)
        page.locator(f".tag_widget-{name}").scroll_into_view_if_needed()
        page.wait_for_selector(".vit-live .vit-widget", timeout=20_000)
        said = page.locator(".vit-say", has_text=re.compile(r"\S"))
        said.first.wait_for(state="attached")
        return page

    return open_widget


def said(page):
    """What the widget says in words, with plain spaces."""
    return page.locator(".vit-say").text_content().replace("\xa0", " ")


def choice(page, label):
    """A list of the widget, by its label."""
    widget = page.locator(".vit-widget")
    return widget.get_by_role("combobox", name=label, exact=True)


def place(n, side):
    """Row and column of place n, as a widget names it."""
    return f"row {n // side + 1}, column {n % side + 1}"


def most(data, row):
    """The largest patch of a row of steps, as an explorer says it."""
    patches = list(row[1:])
    n = patches.index(max(patches))
    share = patches[n] / sum(row)
    where = place(n, data["side"])
    return f"{where} ({100 * share:.1f} %, {share * len(row):.1f} times"


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_widget_takes_the_place_of_its_figure(live, name):
    asked = []
    page = live(name, "wide", "light", "file")
    page.on("request", lambda request: asked.append(request.url))
    cell = page.locator(f".tag_widget-{name}")
    assert cell.locator(".cell_output").is_hidden()
    assert cell.locator(".vit-widget canvas").first.is_visible()
    page.emulate_media(media="print")
    assert cell.locator(".cell_output img").first.is_visible()
    assert cell.locator(".vit-widget").is_hidden()
    assert [url for url in asked if url.startswith("http")] == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_without_scripts_the_figure_stays(browser, name):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((SITE / "notebooks" / f"{CHAPTERS[name]}.html").as_uri())
    figure = page.locator(f".tag_widget-{name} .cell_output img")
    assert figure.count() == 1
    assert figure.is_visible()
    assert page.locator(".vit-widget").count() == 0
    context.close()


def test_nothing_is_loaded_before_the_figure_is_near(open_page):
    page = open_page("notebooks/05_attention.html")
    page.wait_for_timeout(2000)  # what the page asks for by itself is there
    loaded = page.evaluate(
        "performance.getEntriesByType('resource').map((e) => e.name)"
    )
    assert any("widgets/loader.js" in url for url in loaded)
    assert not any("widgets/data" in url for url in loaded)


@pytest.mark.parametrize("name", CHAPTERS)
def test_it_fits_a_phone_and_both_themes(live, name):
    colours = set()
    for width, theme in product(WIDTHS, THEMES):
        page = live(name, width, theme)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= WIDTHS[width]
        colours.add(
            page.locator(".vit-widget").evaluate(
                "(e) => getComputedStyle(e).backgroundColor"
            )
        )
    assert len(colours) == 2  # the theme's


@pytest.mark.parametrize("name", CHAPTERS)
def test_axe_finds_nothing_in_a_live_widget(live, name):
    module = pytest.importorskip("axe_playwright_python.sync_playwright")
    for theme in THEMES:
        page = live(name, "wide", theme)
        found = module.Axe().run(page, context=".vit-widget").response
        assert [rule["id"] for rule in found["violations"]] == []
        assert len(found["passes"]) > 5


@pytest.mark.parametrize("name", ["attention-05", "attention-14"])
def test_the_explorer_says_what_the_data_hold(live, name):
    data, arrays = stored(name)
    asking = data["side"] // data["block"]
    page = live(name)
    layer, head, n = 4, 2, asking + 2
    choice(page, "Layer").select_option(str(layer))
    choice(page, "Head").select_option(f"head {head}")
    page.locator(".vit-grid button").nth(n).click()
    m = data["maps"].index([layer, head])
    words = said(page)
    asks = at(arrays["attention"], 0, 0, m, n + 1)
    class_token = at(arrays["attention"], 0, 0, m, 0)
    rollout = at(arrays["rollout"], 0, 0, 0, 0)
    where = "row 2, column 3"
    if data["block"] == 2:  # patches, two by two
        where = "rows 3 to 4, columns 5 to 6"
    assert f"Layer {layer}, head {head}, asked from {where}:" in words
    assert f"looks most at {most(data, asks)}" in words
    assert f"The class token looks most at {most(data, class_token)}" in words
    assert f"Rollout is largest at {most(data, rollout)}" in words
    assert f"{100 * asks[0] / sum(asks):.1f} % go to the class" in words
    reach = at(arrays["reach"], 0, 0, m)[n] / 255 * data["longest"]
    far = data["far"][0][0][m]
    assert f"{reach:.0f} pixels far on average, all of the" in words
    assert f"head {far:.1f} (uniform: {data['uniform']:.1f})" in words


def test_the_explorer_paints_what_it_says(live):
    _, arrays = stored("attention-05")
    page = live("attention-05")
    choice(page, "Model").select_option("untrained")
    page.get_by_label("each map on its own scale").check()
    row = at(arrays["attention"], 0, 1, 0, 24 + 1)[1:]
    greens = page.locator(".vit-panel canvas").first.evaluate(
        """(canvas) => Array.from({ length: 49 }, (_, n) => {
          const size = canvas.width / 7;
          const x = (n % 7 + 0.5) * size, y = (Math.floor(n / 7) + 0.5) * size;
          const context = canvas.getContext("2d");
          const [r, g, b] = context.getImageData(x, y, 1, 1).data;
          return g - b;
        })"""
    )
    # viridis: the brightest is yellow (g far above b), the darkest purple
    assert row.index(max(row)) in {
        n for n, value in enumerate(greens) if value >= max(greens) - 2
    }
    assert greens[row.index(min(row))] < 0 < greens[row.index(max(row))]


def test_photographs_layers_and_rollout_can_be_chosen(live):
    data, arrays = stored("attention-15")
    page = live("attention-15")
    choice(page, "Picture").select_option(index=1)
    choice(page, "Rollout").select_option(
        "rollout without layer 1, the chosen patch"
    )
    page.locator(".vit-grid button").nth(9).click()
    rollout = at(arrays["rollout"], 1, 0, 1, 10)
    assert f"Rollout is largest at {most(data, rollout)}" in said(page)
    heads = choice(page, "Head").locator("option")
    assert heads.count() == 7  # the mean, and six heads of layer 1
    choice(page, "Layer").select_option("12")
    assert heads.all_text_contents() == ["mean of the heads"]


@pytest.mark.parametrize("name", ["attention-05", "positions"])
def test_arrow_keys_move_and_one_place_takes_the_focus(live, name):
    page = live(name)
    buttons = page.locator(".vit-grid button")
    assert page.locator(".vit-grid button[tabindex='0']").count() == 1
    buttons.nth(24).click()
    for key, n in (("ArrowRight", 25), ("ArrowDown", 32), ("Home", 28)):
        page.keyboard.press(key)
        focused = page.evaluate(
            "document.activeElement.getAttribute('aria-label')"
        )
        assert focused == place(n, 7)
        assert place(n, 7) in said(page)
        assert page.locator(".vit-grid button[tabindex='0']").count() == 1
    page.keyboard.press("ArrowLeft")  # at the edge it stays
    assert place(28, 7) in said(page)
    outline = buttons.nth(28).evaluate(
        "(e) => getComputedStyle(e).outlineStyle"
    )
    assert outline != "none"


@pytest.mark.parametrize("name", ["attention-14", "positions"])
def test_a_tap_chooses_a_place(live, name):
    page = live(name, "phone", "dark", has_touch=True)
    page.locator(".vit-grid button").nth(3).tap()
    words = (
        "rows 1 to 2, columns 7 to 8" if name != "positions" else "column 4"
    )
    assert words in said(page)


def test_tiles_over_training(live):
    data, arrays = stored("positions")
    page = live("positions")
    slider = page.locator("input[type=range]")
    page.locator(".vit-grid button").nth(21).click()
    for epoch in range(len(data["epochs"])):
        slider.fill(str(epoch))
        tile = list(at(arrays["book"], epoch, 3, 0))
        tile[21] = -1  # itself
        n = tile.index(max(tile))
        cosine = (tile[n] - 127) / 127
        words = said(page)
        assert f"Epoch {data['epochs'][epoch]}, place row 4, col" in words
        assert f"most alike is {place(n, 7)} (cosine {cosine:.2f})" in words
    choice(page, "Table").select_option(index=1)
    assert slider.is_disabled()
    tile = list(at(arrays["pretrained"], 0, 3, 0))
    near = [tile[17 * 37], tile[19 * 37], tile[18 * 37 + 1]]
    mean = sum((value - 127) / 127 for value in near) / 3
    assert "place row 19, column 1" in said(page)
    assert f"neighbours {mean:.2f}" in said(page)


def test_patch_sizes(live):
    data, _ = stored("patches")
    page = live("patches")
    slider = page.locator("input[type=range]")
    for index, row in enumerate(data["rows"]):
        slider.fill(str(index))
        values = page.locator(".vit-table td").all_text_contents()
        values = [value.replace("\xa0", " ") for value in values]
        assert values[:2] == [f"{row['patch']} pixels", f"{row['patches']:,}"]
        assert values[4] == f"{row['parameters']:,}"
        assert float(values[5].split()[0]) == pytest.approx(
            row["total"] / 1e9, rel=0.005
        )
        share = 100 * row["attention"] / row["total"]
        assert values[6].endswith(f"{share:.1f} %")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    assert slider.get_attribute("aria-valuetext") == "56 pixels"


def test_the_bench_tells_each_models_answer(live):
    data, arrays = stored("shuffle")
    page = live("shuffle")
    choice(page, "Picture").select_option("Trouser")
    page.get_by_role("button", name="7x7 pieces").click()
    again = page.get_by_role("button", name="Shuffle again")
    seen = set()
    for draw in range(data["draws"]):
        words = said(page)
        arrangement = 1 + 2 * data["draws"] + draw
        for m, model in enumerate(data["models"]):
            shares = at(arrays["says"], m, arrangement, 1)
            best = shares.index(max(shares))
            verdict = "right" if best == 1 else "wrong"
            percent = f"{100 * shares[best] / 255:.0f}"
            name = data["classes"][best]
            assert f"{model} says {name} ({percent} %, {verdict})" in words
        seen.add(
            page.locator(".vit-panel canvas").evaluate("(c) => c.toDataURL()")
        )
        again.click()
    assert len(seen) == data["draws"]
    page.get_by_role("button", name="intact").click()
    assert again.is_disabled()
