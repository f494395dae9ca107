"""Chapter 17: what was found, as one page and its figures in a folder."""

from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from vitlib._whole import whole_folder

STYLE = """
body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem;
  font: 1rem/1.6 system-ui, sans-serif; }
img { max-width: 100%; height: auto; background: white; }
figure { margin: 1.5rem 0; }
figcaption { font-size: 0.9rem; }
@media (prefers-color-scheme: dark) {
  body { background: #14181d; color: #e3e6ea; }
}
"""


class Section(NamedTuple):
    """A part of a report.

    Attributes:
        title: its heading.
        text: plain text; an empty line parts paragraphs.
        figure: a matplotlib figure, or None.
        alt: what the figure shows, for those who cannot see it.
    """

    title: str
    text: str
    figure: Any = None
    alt: str = ""


def write_report(
    folder: str | Path, title: str, sections: Iterable[Section]
) -> Path:
    """Write a page that opens by itself, and its figures beside it.

    Chapter 17. Written whole or not at all, and never over something.

    Args:
        folder: where to; made here, its parents too.
        title: of the page.
        sections: in the order of the page.

    Returns:
        The page, index.html.

    Raises:
        ValueError: if the folder exists, or a figure has no alt text.
    """
    folder = Path(folder).expanduser()
    if folder.exists():
        raise ValueError(f"{folder} exists; name a folder that does not")
    sections = list(sections)
    for section in sections:
        if section.figure is not None and not section.alt.strip():
            raise ValueError(f"the figure of {section.title!r} needs alt text")
    with whole_folder(folder) as draft:
        body = [
            line
            for number, section in enumerate(sections, 1)
            for line in _lines(section, draft, f"figure-{number}.png")
        ]
        page = [
            '<!doctype html>\n<html lang="en">',
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            f"<main>\n<h1>{escape(title)}</h1>",
            *body,
            "</main>\n</html>\n",
        ]
        text = "\n".join(page)
        (draft / "index.html").write_text(text, "utf-8", "replace")
    return folder / "index.html"


def _lines(section: Section, folder: Path, name: str) -> list[str]:
    """Write a section's figure to a file, and the section as HTML."""
    lines = [f"<h2>{escape(section.title)}</h2>"]
    text = "\n".join(section.text.splitlines())  # whatever ends a line
    for paragraph in filter(None, text.strip().split("\n\n")):
        lines.append(f"<p>{escape(paragraph)}</p>")
    if section.figure is not None:
        section.figure.savefig(folder / name, bbox_inches="tight")
        alt = escape(section.alt)
        lines.append(f'<figure><img src="{name}" alt="{alt}"></figure>')
    return lines
