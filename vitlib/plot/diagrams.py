"""Chapters 2 to 7: the diagrams, as pictures below a cell.

Drawn by tools/diagrams.py in the repository.
"""

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "_diagrams"


@dataclass(frozen=True, repr=False)
class Diagram:
    """A drawing as SVG, which Jupyter shows as a picture."""

    svg: str

    def __repr__(self) -> str:
        return re.search(r"<title[^>]*>(.*)</title>", self.svg).group(1)

    def _repr_svg_(self) -> str:
        return self.svg


def diagram(name: str) -> Diagram:
    """Read one of the book's diagrams.

    Args:
        name: "patches", "token", "heads", "block" or "model".

    Returns:
        What Jupyter shows as a picture; `svg` is the file's text.

    Raises:
        ValueError: lists the diagrams there are.
    """
    file = FOLDER / f"{name}.svg"
    if not file.is_file():
        found = ", ".join(sorted(path.stem for path in FOLDER.glob("*.svg")))
        raise ValueError(f"no diagram {name!r}; there are: {found}")
    return Diagram(file.read_text(encoding="utf-8"))
