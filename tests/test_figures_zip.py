"""The archive of figures holds each captioned figure under its number."""

import base64
import json
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "book" / "_ext"))

import figures  # noqa: E402  (from book/_ext)

CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def code(*images):
    """A cell that shows images."""
    outputs = [
        {"data": {"image/png": base64.b64encode(image).decode()}}
        for image in images
    ]
    return {"cell_type": "code", "source": [], "outputs": outputs}


def text(*lines):
    """A Markdown cell."""
    return {"cell_type": "markdown", "source": [f"{li}\n" for li in lines]}


def test_figures_get_the_number_of_the_caption_below(tmp_path):
    cells = [
        code(b"lost"),
        text("No caption here."),
        code(b"one"),
        text("*Figure 3.1. A caption", "of two lines.*", "", "More text."),
        code(b"two"),
        code(b"three"),
        text("*Figures 3.2 and 3.3. Both.*"),
        code(b"four", b"five"),
        text("*Figure 3.4. Two parts, 1.5 wide.*"),
        text("*Figure 3.5. Nothing above it.*"),
        code(b"six"),
        text("*Diagram 3.1. Drawn.*"),
    ]
    file = tmp_path / "03_x.ipynb"
    file.write_text(json.dumps({"cells": cells}))
    found = figures.figures(file)
    assert {name: image for name, (image, _) in found.items()} == {
        "03_x/figure-3.1.png": b"one",
        "03_x/figure-3.2.png": b"two",
        "03_x/figure-3.3.png": b"three",
        "03_x/figure-3.4a.png": b"four",
        "03_x/figure-3.4b.png": b"five",
        "03_x/diagram-3.1.png": b"six",
    }
    target = tmp_path / "figures.zip"
    figures.write([file], target, "Title")
    first = target.read_bytes()
    figures.write([file], target, "Title")
    assert target.read_bytes() == first
    with ZipFile(target) as archive:
        assert archive.read("figures/03_x/figure-3.2.png") == b"two"
        captions = archive.read("figures/captions.txt").decode()
    assert "figure-3.1.png: Figure 3.1. A caption of two lines.\n" in captions


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_each_chapter_brings_its_figures(path):
    found = figures.figures(path)
    assert len(found) > 1
    for image, caption in found.values():
        assert image.startswith(b"\x89PNG") or b"<svg" in image
        assert caption.startswith(("Figure", "Diagram"))
