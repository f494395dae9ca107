"""The diagrams: drawn by the tool, true to the code, readable by all."""

import re
from pathlib import Path
from xml.etree import ElementTree

import diagram_parts
import diagrams
import drawing
import nbformat
import pytest
import torch

from vitlib import VARIANTS, create_model, patchify, plot

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "vitlib" / "_diagrams").glob("*.svg"))
SVG = "{http://www.w3.org/2000/svg}"


def form(svg, name):
    """Return the part of a diagram that is wide, or narrow."""
    groups = ElementTree.fromstring(svg).findall(f"{SVG}g")
    return next(group for group in groups if group.get("class") == name)


def lines(svg, name="wide"):
    """Return the lines of text of one form of a diagram."""
    texts = form(svg, name).iter(f"{SVG}text")
    return ["".join(text.itertext()) for text in texts]


def test_files_are_what_the_tool_draws():
    drawn = {
        f"{make.__name__}.svg": diagrams.draw(make).svg()
        for make in diagrams.DIAGRAMS
    }
    assert drawn == {file.name: file.read_text("utf-8") for file in FILES}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_diagram_has_words_for_those_who_do_not_see_it(file):
    root = ElementTree.fromstring(file.read_text("utf-8"))
    assert root.get("class") == "vit-diagram"
    assert root.get("role") == "img"
    named = {child.get("id"): child.text for child in root}
    title, about = (named[i] for i in root.get("aria-labelledby").split())
    assert 10 < len(title) < len(about)


@pytest.mark.parametrize("name", ["wide", "narrow"])
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_diagram_stays_within_its_box_and_can_be_read(file, name):
    svg = file.read_text("utf-8")
    box = re.search(
        r"viewBox=\"0 0 (\d+) (\d+)"
        if name == "wide"
        else r"aspect-ratio:(\d+)/(\d+)",
        svg,
    )
    width, height = map(int, box.groups())
    assert width <= (780 if name == "wide" else 360)
    found = form(svg, name)
    for box in found.iter(f"{SVG}rect"):
        x, y, w, h = (float(box.get(k)) for k in ("x", "y", "width", "height"))
        assert 0 <= x <= x + w <= width
        assert 0 <= y <= y + h <= height
    sizes = [float(t.get("font-size")) for t in found.iter(f"{SVG}text")]
    assert min(sizes) >= 12  # wide, on 577 pixels, 8.9; narrow, as it is


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_only_a_page_on_a_phone_shows_the_narrow_form(file):
    svg = file.read_text("utf-8")
    assert form(svg, "narrow").get("display") == "none"
    (rules,) = re.findall(r"@media screen .*?\n}", svg, re.S)
    assert rules.count("html ") == 3 == rules.count("{") - 1
    scale = float(form(svg, "narrow").get("transform")[6:-1])
    width = int(re.search(r'viewBox="0 0 (\d+)', svg)[1])
    assert round(width / scale) == 360


def luminance(colour):
    """Return the relative luminance of a colour, by WCAG's formula."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4
        for p in parts
    ]
    return sum(
        w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True)
    )


def contrast(one, other):
    """Return the contrast of two colours, 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def blend(colour, ground, opacity):
    """Return a colour as it looks on a ground that shines through."""
    pairs = [
        (int(colour[i : i + 2], 16), int(ground[i : i + 2], 16))
        for i in (1, 3, 5)
    ]
    mixed = [round(opacity * a + (1 - opacity) * b) for a, b in pairs]
    return "#" + "".join(f"{value:02x}" for value in mixed)


@pytest.mark.parametrize("mode", [0, 1])
def test_text_stands_out_from_every_ground(mode):
    for kind in ("ground", "plain", "patch", "class", "place", "head"):
        fill, line = drawing.SHAPES[kind][2 * mode : 2 * mode + 2]
        assert contrast(drawing.WORDS["ink"][mode], fill) >= 4.5
        if kind != "ground":
            assert contrast(line, drawing.SHAPES["ground"][2 * mode]) >= 3
    ground = drawing.SHAPES["ground"][2 * mode]
    deep = drawing.SHAPES["patch-deep"][2 * mode]
    strongest = max(map(diagram_parts.shade, range(9)))  # with a number on it
    mixed = blend(deep, ground, strongest)
    assert contrast(drawing.WORDS["ink"][mode], mixed) >= 4.5
    assert contrast(drawing.WORDS["quiet"][mode], ground) >= 4.5


@torch.no_grad()
def measured(name):
    """Return the shape of what each step of a model returns."""
    model = create_model(name, depth=1).eval()
    c = model.config
    images = torch.zeros(2, c.in_chans, c.img_size, c.img_size)
    x = model.embed(images)
    found = {
        "image": images,
        "patches": patchify(images, c.patch_size),
        "projected": model.patch_embed(images),
        "stream": model.blocks[0](x)[0],
        "hidden": model.blocks[0].mlp.fc1(x),
        "token": model.forward_features(images)[0][:, 0],
        "logits": model(images),
    }
    return {
        step: f"(B, {', '.join(map(str, value.shape[1:]))})"
        for step, value in found.items()
    }


@pytest.mark.parametrize(
    ("name", "steps", "models"),
    [
        ("patches", ["image", "patches", "projected"], ["Book/4", "Ti/16"]),
        (
            "block",
            ["stream", "stream", "hidden", "stream"],
            ["Book/4", "B/16"],
        ),
        (
            "model",
            [
                *("image", "patches", "projected", "stream", "stream"),
                *("token", "logits"),
            ],
            ["Book/4", "B/16"],
        ),
    ],
)
def test_shapes_are_those_of_the_models(name, steps, models):
    svg = plot.diagram(name).svg
    shown = [text for text in lines(svg) if text.startswith("(B")]
    small = [text for text in lines(svg, "narrow") if text.startswith("(B")]
    assert set(small) == set(shown)
    letters, *numbers = (
        shown[i : i + len(steps)] for i in range(0, len(shown), len(steps))
    )
    assert len(numbers) == len(models)
    for row, model in zip(numbers, models, strict=True):
        known = measured(model)
        assert row == [known[step] for step in steps], model
        config = VARIANTS[model]
        sizes = {
            "C": config.in_chans,
            "H": config.img_size,
            "W": config.img_size,
            "N": config.num_patches,
            "T": config.num_tokens,
            "D": config.embed_dim,
            "K": config.num_classes,
            "4D": 4 * config.embed_dim,
            "P²C": config.patch_size**2 * config.in_chans,
        }
        for symbols, step in zip(letters, row, strict=True):
            said = [sizes.get(s, s) for s in symbols.strip("()").split(", ")]
            assert f"({', '.join(map(str, said))})" == step


def test_heads_show_the_toy_of_chapter_5():
    nb = nbformat.read(ROOT / "notebooks" / "05_attention.ipynb", 4)
    code = "\n".join(c.source for c in nb.cells if c.cell_type == "code")
    assert "x = torch.randn(2, 5, 8)  # (B, T, D)" in code
    assert "three=3, h=2" in code
    svg = plot.diagram("heads").svg
    for name in ("wide", "narrow"):
        shown = lines(svg, name)
        for shape in ("(B, 5, 8)", "(B, 5, 24)", "(B, 2, 5, 5)"):
            assert shape in shown
        assert "(B, 2, 5, 4)" in shown


def test_an_unknown_diagram_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="'x'; there are: block, heads"):
        plot.diagram("x")
    assert repr(plot.diagram("block")) == "One block of the encoder, pre-norm"


def test_every_diagram_is_in_a_chapter_as_it_is():
    shown = set()
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        for cell in nbformat.read(path, 4).cells:
            for name in re.findall(r'plot\.diagram\("(\w+)"\)', cell.source):
                if cell.cell_type == "code":
                    (output,) = cell.outputs
                    stored = output.data["image/svg+xml"]
                    assert stored.strip() == plot.diagram(name).svg.strip()
                    shown.add(name)
    assert shown == {file.stem for file in FILES}
