"""Pages that load little and do not jump: a last pass over the built site.

Pictures get their size and load when they come near; the book's own
diagrams, `<svg class="vit-diagram">`, move into the page, where they follow
its theme; style sheets keep the rules that some page uses, and the icons'
fonts the icons. Scripts that draw icons or search on other pages go.
"""

from __future__ import annotations

import base64
import io
import re
import shutil
from functools import partial
from itertools import count
from pathlib import Path
from urllib.parse import unquote

from fontTools import subset
from PIL import Image
from sphinx.application import Sphinx

IMAGE = re.compile(r"<img\s[^>]*>")
ATTRIBUTE = re.compile(r'([\w-]+)="([^"]*)"')
SVG = re.compile(r"<svg\b[^>]*>.*</svg>", re.S)
VIEW_BOX = re.compile(r'viewBox="[\d.-]+ [\d.-]+ ([\d.]+) ([\d.]+)"')
ID = re.compile(r'(\bid="|href="#|url\(#)([^")]+)')
SCRIPT = '<script [^>]*src="[^"]*{}[^"]*"[^>]*></script>\n?'
ICON_SCRIPT = re.compile(SCRIPT.format("fontawesome"))
SEARCH_SCRIPTS = re.compile(
    SCRIPT.format("(?:searchtools|language_data|searchindex)")
)
# The theme's colours wait for its last script; they need not.
THEME = (
    'localStorage.getItem("theme") || "auto"',
    'localStorage.getItem("theme") || (matchMedia("(prefers-color-scheme: '
    'dark)").matches ? "dark" : "light")',
)
# Languages, source maps and icons' fonts that no page asks for any more.
UNUSED = ("_static/**/*.map", "_static/scripts/fontawesome*")
UNUSED += ("_static/locales", "_static/vendor")

WORD = re.compile(r"[\w-]+")
NAME = re.compile(r"[.#]((?:\\.|[\w-])+)")
GROUP = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
COMMA = re.compile(r",(?![^()\[\]]*[)\]])")
COMMENT = re.compile(r"/\*.*?\*/", re.S)
FONT = re.compile(r"src:url\(([^)]*\.woff2)\)[^;}]*")
ICON = re.compile(r"\\([0-9a-f]{4,5})")


def size_of(file: Path) -> tuple[int, int] | None:
    """Return the width and height of a picture, or None."""
    if file.suffix == ".svg":
        found = VIEW_BOX.search(file.read_text(encoding="utf-8"))
        return found and tuple(round(float(side)) for side in found.groups())
    with Image.open(file) as image:
        return image.size


def inlined(file: Path, number: int, alt: str) -> str:
    """Return a diagram as an element of the page; its names are its own."""
    text = SVG.search(file.read_text(encoding="utf-8")).group()
    names = {name for _, name in ID.findall(text)}
    text = ID.sub(rf"\g<1>d{number}-\g<2>", text)

    def renamed(match: re.Match) -> str:
        words = match[2].split()
        new = [
            f"d{number}-{word}" if word in names else word for word in words
        ]
        return f'{match[1]}="{" ".join(new)}"'

    text = re.sub(r'(aria-\w+by)="([^"]*)"', renamed, text)
    if "aria-label" not in text:
        text = text.replace("<svg", f'<svg role="img" aria-label="{alt}"', 1)
    return text


def image(tag: str, page: Path, number: int) -> str:
    """Return a picture's tag with its size, or the diagram that it shows."""
    found = dict(ATTRIBUTE.findall(tag))
    file = page.parent / unquote(found.get("src", ""))
    if "loading" in found or not file.is_file():
        return tag
    if file.suffix == ".svg" and "vit-diagram" in file.read_text("utf-8"):
        return inlined(file, number, found.get("alt", ""))
    new = ' loading="lazy" decoding="async"'
    if not {"width", "height", "style"} & set(found) and (
        sides := size_of(file)
    ):
        new += f' width="{sides[0]}" height="{sides[1]}"'
    return tag.replace("<img", f"<img{new}", 1)


def lighten(page: Path) -> None:
    """Rewrite one page."""
    html = page.read_text(encoding="utf-8")
    html = ICON_SCRIPT.sub("", html)
    if page.name != "search.html":
        html = SEARCH_SCRIPTS.sub("", html)
    html = html.replace(*THEME)
    before, article, text = html.partition("<article")
    number = count()
    text = IMAGE.sub(lambda tag: image(tag[0], page, next(number)), text)
    page.write_text(before + article + text, encoding="utf-8")


def is_used(selector: str, words: set[str]) -> bool:
    """Whether all classes and ids that a selector asks for occur."""
    while (shorter := GROUP.sub("", selector)) != selector:
        selector = shorter
    names = [name.replace("\\", "") for name in NAME.findall(selector)]
    return words.issuperset(names)


def used_rules(css: str, words: set[str]) -> str:
    """Return a style sheet without the rules that no page uses."""
    kept, at = [], 0
    while (opening := css.find("{", at)) >= 0:
        semicolon = css.find(";", at, opening)
        if semicolon >= 0:  # as of @import
            kept.append(css[at : semicolon + 1])
            at = semicolon + 1
            continue
        closing, depth = opening + 1, 1
        while depth:
            depth += {"{": 1, "}": -1}.get(css[closing], 0)
            closing += 1
        before, body = css[at:opening].strip(), css[opening + 1 : closing - 1]
        at = closing
        if before.startswith(("@media", "@supports")):
            body = used_rules(body, words)
        elif not before.startswith("@"):
            chosen = [s for s in COMMA.split(before) if is_used(s, words)]
            before = ",".join(chosen)
        if before and body.strip():
            kept.append(f"{before}{{{body}}}")
    return "".join([*kept, css[at:]])


def icon_font(folder: Path, icons: set[int], source: re.Match) -> str:
    """Return a font with the given characters alone, as its CSS source."""
    options = subset.Options(flavor="woff")
    font = subset.load_font((folder / source[1]).with_suffix(".ttf"), options)
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=icons)
    subsetter.subset(font)
    buffer = io.BytesIO()
    subset.save_font(font, buffer, options)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'src:url(data:font/woff;base64,{data}) format("woff")'


def lighten_styles(site: Path, own: Path) -> None:
    """Rewrite the style sheets that are not the book's own."""
    words: set[str] = set()
    for file in [*site.rglob("*.html"), *site.rglob("_static/**/*.js")]:
        if "fontawesome" not in file.name:
            words.update(WORD.findall(file.read_text(encoding="utf-8")))
    for file in (site / "_static").rglob("*.css"):
        if (own / file.relative_to(site / "_static")).exists():
            continue
        css = COMMENT.sub("", file.read_text(encoding="utf-8"))
        css = used_rules(css, words)
        icons = {int(code, 16) for code in ICON.findall(css)}
        css = FONT.sub(partial(icon_font, file.parent, icons), css)
        file.write_text(css, encoding="utf-8")


def finish(app: Sphinx, problem: Exception | None) -> None:
    """Go over the site once all pages are written."""
    if problem is not None or app.builder.name != "html":
        return
    site = Path(app.outdir)
    for page in site.rglob("*.html"):
        lighten(page)
    lighten_styles(site, Path(app.confdir) / "book" / "_static")
    for pattern in UNUSED:
        for path in site.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx, before the archives of the site are written."""
    app.connect("build-finished", finish, priority=500)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
