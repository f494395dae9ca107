"""Read the built site as a browser would: does every link lead somewhere?

Sphinx checks the links it makes itself. This also checks links in raw HTML,
anchors, pictures without words, and anything that a page would load from
another host: the book must open without a network.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser loads by itself, by tag: a link (<a>) waits for a click.
LOADED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "embed": "src",
    "object": "data",
    "link": "href",
}
# Relations of <link> that load nothing.
PASSIVE = {"author", "canonical", "index", "next", "prev", "search", "license"}
VOID = {"br", "hr", "img", "input", "link", "meta", "source", "wbr", "col"}
CSS_URL = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")
TEX = re.compile(r"\\(?:mathbf|mathrm|frac|sqrt|tag|begin|ell)(?![a-zA-Z])")
FILE = re.compile(r"\.(png|jpe?g|svg)$")
MIN_ALT = 20


@dataclass
class Page(HTMLParser):
    """What one page links to, loads and shows."""

    file: Path
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    alts: list[tuple[str, str | None]] = field(default_factory=list)
    formulas: int = 0
    stray: list[str] = field(default_factory=list)
    stack: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.file.read_text(encoding="utf-8"))

    def handle_starttag(
        self, tag: str, attrs: list[tuple[str, str | None]]
    ) -> None:
        """Note what the tag links to or loads."""
        found = dict(attrs)
        self.ids |= {found[key] for key in ("id", "name") if found.get(key)}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        relations = set((found.get("rel") or "").split())
        if tag in LOADED and found.get(LOADED[tag]):
            target = found[LOADED[tag]]
            passive = tag == "link" and relations & PASSIVE
            (self.links if passive else self.loads).append(target)
        for url, imported in CSS_URL.findall(found.get("style") or ""):
            self.loads.append(url or imported)
        if tag == "img":
            self.alts.append((found.get("src") or "", found.get("alt")))
        classes = found.get("class") or ""
        self.formulas += "math" in classes.split()
        if tag not in VOID:
            self.stack.append((tag, classes))

    def handle_endtag(self, tag: str) -> None:
        """Leave the element, and those that were never closed in it."""
        while self.stack and self.stack.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        """Look for TeX that was not taken for a formula."""
        tags = {tag for tag, _ in self.stack}
        classes = " ".join(classes for _, classes in self.stack).split()
        if "style" in tags:
            for url, imported in CSS_URL.findall(data):
                self.loads.append(url or imported)
        if tags & {"script", "style", "pre", "code", "title", "head"}:
            return
        if "math" not in classes and (found := TEX.search(data)):
            self.stray.append(found.group())


def is_outside(url: str) -> bool:
    """Whether loading this address would leave the site."""
    return url.startswith("//") or urlsplit(url).scheme in {"http", "https"}


def target_of(page: Path, url: str) -> tuple[Path, str]:
    """Return the file and the anchor that a relative address means."""
    parts = urlsplit(url)
    path = unquote(parts.path)
    file = page if not path else (page.parent / path).resolve()
    return (file / "index.html" if file.is_dir() else file), parts.fragment


def leads_nowhere(file: Path, url: str, pages: dict[Path, Page]) -> str:
    """Return why a relative address does not lead anywhere, or nothing."""
    target, anchor = target_of(file, url)
    if not target.exists():
        return f"{url} leads to no file"
    if target in pages and anchor and unquote(anchor) not in pages[target].ids:
        return f"{url} leads to no such place"
    return ""


def page_faults(page: Page, pages: dict[Path, Page]) -> Iterator[str]:
    """Yield the faults of one page."""
    for url in page.links + page.loads:
        if is_outside(url):
            if url in page.loads:
                yield f"loads {url} from another host"
        elif not urlsplit(url).scheme and (
            fault := leads_nowhere(page.file, url, pages)
        ):
            yield fault
    for source, alt in page.alts:
        if "logo" in source:
            continue
        if alt is None or len(alt) < MIN_ALT or FILE.search(alt):
            yield f"{source} has the alt text {alt!r}"
    for text in page.stray:
        yield f"TeX that is no formula: {text}"
    if page.formulas and not any("katex/" in url for url in page.loads):
        yield "formulas, and no KaTeX to show them"


def style_faults(file: Path) -> Iterator[str]:
    """Yield the faults of one style sheet."""
    text = file.read_text(encoding="utf-8", errors="replace")
    for url, imported in CSS_URL.findall(text):
        address = url or imported
        if is_outside(address):
            yield f"loads {address} from another host"
        elif not address.startswith(("data:", "#")) and (
            fault := leads_nowhere(file, address, {})
        ):
            yield fault


def faults(site: Path) -> list[str]:
    """Return what is wrong in the built site below a folder, in words."""
    site = site.resolve()
    files = [f for f in site.rglob("*.html") if "_static" not in f.parts]
    pages = {file: Page(file) for file in sorted(files)}
    found = []
    for file, page in pages.items():
        name = file.relative_to(site)
        found += [f"{name}: {fault}" for fault in page_faults(page, pages)]
    for file in sorted(site.rglob("*.css")):
        name = file.relative_to(site)
        found += [f"{name}: {fault}" for fault in style_faults(file)]
    return found
