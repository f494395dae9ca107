"""Reading and run time of each chapter, below its title and on the start page.

Nothing here is typed. The reading time is counted from the notebook at each
build, by the rates below; the run time is that of `results/run_times.json`,
which `experiments/run_times.py` measures.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
TIMES = ROOT / "results" / "run_times.json"
WORDS, LINES, FIGURES = 200, 20, 4  # read in a minute: text, code, pictures
ROW = re.compile(r"^\| \d+\. \[.+?\]\(\.\./notebooks/(\w+)\.ipynb\) \|.*\|$")
HEADER = "| Chapter |"


def code_lines(nb: NotebookNode) -> int:
    """Count the lines of code."""
    code = [cell.source for cell in nb.cells if cell.cell_type == "code"]
    return sum(len(source.splitlines()) for source in code)


def reading_minutes(nb: NotebookNode) -> int:
    """Estimate the minutes to read a chapter, to the next five.

    Solutions are left out: they are folded away.
    """
    cells = [
        c for c in nb.cells if "hide-cell" not in c.metadata.get("tags", ())
    ]
    text = " ".join(c.source for c in cells if c.cell_type == "markdown")
    code = [c for c in cells if c.cell_type == "code"]
    words = len(re.findall(r"[^\W\d_]+", text))
    lines = sum(len(c.source.splitlines()) for c in code)
    figures = sum(
        mime.startswith("image/")
        for c in code
        for output in c.outputs
        for mime in output.get("data", {})
    )
    minutes = words / WORDS + lines / LINES + figures / FIGURES
    return 5 * math.ceil(minutes / 5)


def run_seconds(name: str) -> int:
    """Return the measured CPU seconds of a chapter, to the next ten."""
    chapters = json.loads(TIMES.read_text("utf-8"))["chapters"]
    return 10 * math.ceil(chapters[name]["cpu_seconds"] / 10)


def times(name: str) -> tuple[str, str]:
    """Return a chapter's reading time and run time, in words."""
    path = ROOT / "notebooks" / f"{name}.ipynb"
    nb = nbformat.read(path, as_version=4)
    return f"{reading_minutes(nb)} min", f"{run_seconds(name)} s"


def fill_table(app: Sphinx, page: str, source: list[str]) -> None:
    """Add two columns to the tables of chapters on the start page."""
    if page != app.config.root_doc:
        return
    lines = source[0].splitlines()
    for i, line in enumerate(lines):
        if line.startswith(HEADER):
            lines[i] += " Read | Run |"
            lines[i + 1] += "---|---|"
        elif row := ROW.match(line):
            lines[i] += " {} | {} |".format(*times(row[1]))
    source[0] = "\n".join(lines) + "\n"


def under_title(
    app: Sphinx, page: str, template: str, context: dict, doctree: object
) -> None:
    """Write a chapter's times under its title."""
    folder, _, name = page.partition("/")
    if folder == "notebooks" and "body" in context:
        read, run = times(name)
        line = (
            f'<p class="vit-times">Reading: {read}. Running: {run} on one CPU '
            "core.</p>"
        )
        context["body"] = context["body"].replace("</h1>", f"</h1>\n{line}", 1)


def outdated(app: Sphinx, *_: object) -> set[str]:
    """Have the start page written anew by every build."""
    return {app.config.root_doc} & app.env.found_docs


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("source-read", fill_table)
    app.connect("html-page-context", under_title)
    app.connect("env-get-outdated", outdated)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
