"""All figures of the chapters as one archive, for slides.

Each build writes `figures.zip` beside the pages: every captioned figure and
diagram under its number, and the captions as a text.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from sphinx.application import Sphinx

FILE = "figures.zip"
CAPTION = re.compile(
    r"^\*((?:Diagram|Figures?) .+?)\*\s*(?=\n\n|\Z)", re.M | re.S
)
NUMBER = re.compile(r"\b\d+\.\d+\b")
KINDS = {"image/png": "png", "image/svg+xml": "svg"}


def pictures(cell: dict) -> list[tuple[str, bytes]]:
    """Return the suffix and content of each image that a cell shows."""
    found = []
    for output in cell.get("outputs", []):
        for kind, suffix in KINDS.items():
            content = "".join(output.get("data", {}).get(kind, ""))
            if content and suffix == "png":
                found.append((suffix, base64.b64decode(content)))
            elif content:
                found.append((suffix, content.encode()))
    return found


def figures(notebook: Path) -> dict[str, tuple[bytes, str]]:
    """Return a chapter's captioned figures: file name -> image, caption."""
    found: dict[str, tuple[bytes, str]] = {}
    shown: list[tuple[str, bytes]] = []
    for cell in json.loads(notebook.read_text("utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            shown += pictures(cell)
            continue
        for caption in CAPTION.findall("".join(cell["source"])):
            numbers = NUMBER.findall(caption.partition(". ")[0])
            names = numbers if len(numbers) == len(shown) else numbers[:1]
            for place, (suffix, image) in enumerate(shown):
                alone = len(shown) == len(names)
                part = "" if alone else "abcdefgh"[place]
                name = names[place] if alone else names[0]
                kind = caption.split()[0].lower().removesuffix("s")
                file = f"{notebook.stem}/{kind}-{name}{part}.{suffix}"
                found[file] = image, caption
            shown = []
        shown = []  # what has no caption below it
    return found


def write(notebooks: list[Path], target: Path, title: str) -> None:
    """Write the archive; the same chapters give the same bytes."""
    found: dict[str, tuple[bytes, str]] = {}
    for notebook in sorted(notebooks):
        found |= figures(notebook)
    lines = [f"{title}: figures and captions", ""]
    lines += [f"{n}: {' '.join(t.split())}" for n, (_, t) in found.items()]
    members = {"captions.txt": "\n".join([*lines, ""]).encode()}
    members |= {name: image for name, (image, _) in found.items()}
    with ZipFile(target, "w", ZIP_STORED) as archive:  # PNG is packed
        for name, content in members.items():
            entry = ZipInfo(f"figures/{name}")  # dated 1980
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)


def finish(app: Sphinx, problem: Exception | None) -> None:
    """Write the archive beside the pages."""
    if problem is None and app.builder.name == "html":
        notebooks = list(Path(app.srcdir, "notebooks").glob("*.ipynb"))
        write(notebooks, Path(app.outdir, FILE), app.config.html_title)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx, before the whole book is packed."""
    app.connect("build-finished", finish, priority=700)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
