"""The book as one file for reading without a network, and its button.

Each build writes `<project>.zip` beside the pages: the site, and the
notebooks in a folder of their own. The file's pages lack the button, which
would lead nowhere from there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

if TYPE_CHECKING:
    from sphinx.application import Sphinx

NOTEBOOKS = "_sources/notebooks/"
# Names for the theme's buttons that say more than ".ipynb" and ".pdf".
NAMES = {
    ".ipynb": "Notebook (.ipynb)",
    ".md": "Source of this page (.md)",
    ".pdf": "Print this page (.pdf)",
}
README = """\
{title}

To read, open site/index.html in a browser: no network is needed.
The chapters as notebooks are in notebooks/. Their first cell says how to
install the package that they use.
"""


def add_button(
    app: Sphinx, page: str, template: str, context: dict, doctree: object
) -> None:
    """Put the whole book beside the page's other downloads."""
    for group in context["header_buttons"]:
        if group.get("label") == "download-buttons":
            for button in group["buttons"]:
                button["text"] = NAMES.get(button["text"], button["text"])
            file = f"{app.config.project}.zip"
            group["buttons"].append(
                {
                    "type": "link",
                    "url": context["pathto"](file, 1),
                    "text": "Whole book (.zip)",
                    "tooltip": "Download the site and the notebooks",
                    "icon": "fas fa-book",
                    "label": "download-book-button",
                }
            )


def members(site: Path, file: str, title: str) -> dict[str, bytes]:
    """Return the files of the archive, by their names in it."""
    button = re.compile(rf'<li><a href="[./]*{re.escape(file)}".*?</li>', re.S)
    found = {"README.txt": README.format(title=title).encode()}
    for path in site.rglob("*"):
        name = path.relative_to(site).as_posix()
        skipped = name == file or name.endswith(".map") or name[0] == "."
        if skipped or not path.is_file():
            continue
        content = path.read_bytes()
        if name.endswith(".html"):
            page = button.sub("", content.decode())
            content = page.replace(NOTEBOOKS, "../notebooks/").encode()
        in_site = not name.startswith(NOTEBOOKS)
        found["site/" + name if in_site else name[len("_sources/") :]] = (
            content
        )
    return found


def write(site: Path, file: str, title: str) -> None:
    """Write the archive; the same site gives the same bytes."""
    folder = Path(file).stem
    with ZipFile(site / file, "w", ZIP_DEFLATED) as archive:
        for name, content in sorted(members(site, file, title).items()):
            entry = ZipInfo(f"{folder}/{name}")  # dated 1980
            entry.external_attr = 0o644 << 16
            entry.compress_type = ZIP_DEFLATED
            archive.writestr(entry, content)


def finish(app: Sphinx, problem: Exception | None) -> None:
    """Write the archive after everything else is in place."""
    if problem is None and app.builder.name == "html":
        file = f"{app.config.project}.zip"
        write(Path(app.outdir), file, app.config.html_title)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx, after the theme and whatever changes pages."""
    app.connect("html-page-context", add_button, priority=900)
    app.connect("build-finished", finish, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
