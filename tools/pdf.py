"""Make the whole book one PDF file, with the system's Chromium.

    python tools/pdf.py [folder]        default: the repository's own root

Reads the built site in `_build/html` of that folder. The file goes beside
it: a cover, the contents with page numbers, then the pages in the order of
the navigation, with links between them and bookmarks.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from playwright.sync_api import sync_playwright
from pypdf import PdfReader

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TOOLS = Path(__file__).resolve().parent
ROOT = TOOLS.parent
NAME = "vit-step-by-step.pdf"
PRINT = {"prefer_css_page_size": True, "outline": True, "tagged": True}

sys.path.append(str(ROOT / "tests" / "browser"))
from built import launch  # noqa: E402  (the browser that the tests use)


def bookmarks(file: Path) -> list[tuple[str, int]]:
    """Return a PDF's bookmarks in order: title and page, counted from 1."""
    reader = PdfReader(file)

    def walk(entries: list) -> Iterator[tuple[str, int]]:
        for entry in entries:
            if isinstance(entry, list):
                yield from walk(entry)
            else:
                page = reader.get_destination_page_number(entry)
                yield entry.title, page + 1

    return list(walk(reader.outline))


def join(page: Page, site: Path, names: tuple[str, ...]) -> None:
    """Open the first page and join all whose address has one of the names."""
    page.goto((site / "book" / "intro.html").as_uri())
    page.add_script_tag(path=TOOLS / "pdf.js")
    page.add_style_tag(path=TOOLS / "pdf.css")
    pages = page.evaluate("book.pages()")
    pages = [
        found for found in pages if any(name in found["url"] for name in names)
    ]
    for found in pages:
        file = Path(unquote(urlsplit(found["url"]).path))
        found["html"] = file.read_text(encoding="utf-8")
    page.evaluate("pages => book.join(pages)", pages)


def make(
    browser: Browser, site: Path, file: Path, names: tuple[str, ...] = ("",)
) -> int:
    """Write the site's pages to one file; return how many it has.

    The second print has the numbers that the first one's bookmarks tell.
    """
    page = browser.new_page(color_scheme="light", bypass_csp=True)
    page.set_default_timeout(300_000)
    join(page, site, names)
    page.pdf(path=file, **PRINT)
    numbers = [number for _, number in bookmarks(file)]
    page.evaluate("numbers => book.number(numbers)", numbers)
    page.pdf(path=file, **PRINT)
    page.close()
    if [number for _, number in bookmarks(file)] != numbers:
        raise RuntimeError("the contents' page numbers moved the pages")
    return len(PdfReader(file).pages)


def main() -> int:
    """Print the book, then say where it is."""
    folder = Path(sys.argv[1]).resolve() if sys.argv[1:] else ROOT
    file = folder / "_build" / NAME
    print("Printing the book ...", flush=True)
    start = time.monotonic()
    with sync_playwright() as play:
        browser = launch(play)
        pages = make(browser, folder / "_build" / "html", file)
        browser.close()
    size = file.stat().st_size / 1e6
    seconds = time.monotonic() - start
    print(f"{pages} pages, {size:.1f} MB, {seconds:.0f} s: {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
