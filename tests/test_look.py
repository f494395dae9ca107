"""What the site adds to a chapter: its times, and names for its paragraphs."""

import json
from pathlib import Path
from types import SimpleNamespace

import callouts
import chapter_times
import nbformat
import pytest
from nbformat.v4 import (
    new_code_cell,
    new_markdown_cell,
    new_notebook,
    new_output,
)

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def made(words=0, lines=0, figures=0, **metadata):
    """Return a notebook with so much to read."""
    outputs = [new_output("display_data", data={"image/png": ""})] * figures
    code = "\n".join(["x = 1"] * lines)
    return new_notebook(
        cells=[
            new_markdown_cell(" ".join(["word"] * words)),
            new_code_cell(code, outputs=outputs, metadata=metadata),
        ]
    )


@pytest.mark.parametrize(
    ("amounts", "minutes"),
    [
        ({"words": 1000}, 5),
        ({"words": 1001}, 10),
        ({"lines": 200}, 10),
        ({"figures": 20}, 5),
        ({"words": 1000, "lines": 100, "figures": 20}, 15),
        ({"words": 1000, "lines": 200, "tags": ["hide-cell"]}, 5),
    ],
)
def test_reading_time_counts_words_lines_and_figures(amounts, minutes):
    assert chapter_times.reading_minutes(made(**amounts)) == minutes


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_run_time_is_of_the_chapter_as_it_is(path):
    stored = json.loads(chapter_times.TIMES.read_text("utf-8"))["chapters"]
    measured = stored[path.stem]["code_lines"]
    lines = chapter_times.code_lines(nbformat.read(path, as_version=4))
    assert abs(lines - measured) <= 0.25 * measured, (
        f"{lines} lines of code, {measured} when it was measured: run "
        f"experiments/run_times.py notebooks/{path.name}"
    )
    assert stored[path.stem]["cpu_seconds"] < 120  # as the book promises


def test_start_page_shows_both_times_of_every_chapter():
    app = SimpleNamespace(config=SimpleNamespace(root_doc="book/intro"))
    source = [(ROOT / "book" / "intro.md").read_text("utf-8")]
    chapter_times.fill_table(app, "book/intro", source)
    for path in CHAPTERS:
        row = next(
            line
            for line in source[0].splitlines()
            if line.startswith("| ") and f"/{path.name})" in line
        )
        read, run = chapter_times.times(path.stem)
        assert row.endswith(f" | {read} | {run} |")
        assert row.count("|") == 6
    untouched = ["| 1. [A](../notebooks/a.ipynb) | b | c |"]
    chapter_times.fill_table(app, "book/notation", untouched)
    assert untouched == ["| 1. [A](../notebooks/a.ipynb) | b | c |"]


def test_times_stand_under_the_title_of_chapters_only():
    name = CHAPTERS[0].stem
    context = {"body": "<h1>A</h1><p>b</p><h1>C</h1>"}
    chapter_times.under_title(None, f"notebooks/{name}", "", context, None)
    read, run = chapter_times.times(name)
    line = f"Reading: {read}. Running: {run} on one CPU core."
    first, _, rest = context["body"].partition('<p class="vit-times">')
    assert first == "<h1>A</h1>\n"
    assert rest == f"{line}</p><p>b</p><h1>C</h1>"
    other = {"body": "<h1>A</h1>"}
    chapter_times.under_title(None, "book/notation", "", other, None)
    assert other["body"] == "<h1>A</h1>"


@pytest.mark.parametrize(
    ("begins", "name"),
    [
        ("<strong>Predict.</strong>", "vit-predict"),
        ("<strong>Predict:</strong>", "vit-predict"),
        ("<strong>Exercise 2: Heads.</strong>", "vit-exercise"),
        ("<em>Figure 5.1. Heads.</em>", "vit-caption"),
        ("<em>Diagram 5.1. Heads.</em>", "vit-caption"),
    ],
)
def test_a_paragraph_is_marked_by_how_it_begins(begins, name):
    page = {"body": f"<p>{begins} x</p><p>y {begins}</p>"}
    callouts.mark(None, "notebooks/05_attention", "", page, None)
    assert page["body"] == f'<p class="{name}">{begins} x</p><p>y {begins}</p>'
    other = {"body": f"<p>{begins}</p>"}
    callouts.mark(None, "book/notation", "", other, None)
    assert other["body"] == f"<p>{begins}</p>"


@pytest.mark.parametrize(
    "begins", ["<strong>Predicted</strong>", "<em>Figure</em>", "Predict."]
)
def test_other_paragraphs_stay_as_they_are(begins):
    assert callouts.marked(f"<p>{begins}</p>") == f"<p>{begins}</p>"
