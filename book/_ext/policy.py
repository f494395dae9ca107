"""Pages that run and load only what the book wrote: the very last pass.

Each page gets a content security policy: scripts, styles, pictures, fonts
and what the search reads come from the site itself; of the scripts and style
sheets that stand in the page, those run whose digests the policy names.
Attributes may style, which formulas need, but not act: the theme's two
`onclick` go, and a11y.js acts instead. Links that leave the site say so.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from sphinx.application import Sphinx

ELEMENT = r"<{0}(?![^>]*\ssrc=)[^>]*>(.*?)</{0}>"
SCRIPT = re.compile(ELEMENT.format("script"), re.S)
STYLE = re.compile(ELEMENT.format("style"), re.S)
HANDLER = re.compile(r'\s+onclick="(?:toggleFullScreen|window\.print)\(\)"')
AWAY = re.compile(r'<a\s(?=[^>]*href="https?://)[^>]*>')
REL = re.compile(r'\srel="([^"]*)"')
CHARSET = re.compile(r'<meta charset="utf-8"\s*/?>')
POLICY = (
    "default-src 'none'; script-src 'self'{scripts}; style-src 'self'"
    "{styles}; style-src-attr 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'"
)


def digests(pattern: re.Pattern, html: str) -> str:
    """Return the sources that allow what stands in a page, each once."""
    found = dict.fromkeys(pattern.findall(html))
    return "".join(
        f" 'sha256-{base64.b64encode(digest).decode()}'"
        for digest in (hashlib.sha256(x.encode()).digest() for x in found)
    )


def marked(link: re.Match) -> str:
    """Return a link to another site that says what it is."""
    old = REL.search(link[0])
    words = [*(old[1].split() if old else []), "external", "noopener"]
    tag = REL.sub("", link[0])
    return f'{tag[:-1]} rel="{" ".join(dict.fromkeys(words))}">'


def guarded(html: str) -> str:
    """Return a page with its policy, before anything that it rules."""
    html = AWAY.sub(marked, HANDLER.sub("", html))
    policy = POLICY.format(
        scripts=digests(SCRIPT, html), styles=digests(STYLE, html)
    )
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}" />'
    return CHARSET.sub(lambda charset: f"{charset[0]}\n{meta}", html, count=1)


def finish(app: Sphinx, problem: Exception | None) -> None:
    """Go over the pages as they will be read."""
    if problem is None and app.builder.name == "html":
        for page in Path(app.outdir).rglob("*.html"):
            html = page.read_text(encoding="utf-8")
            page.write_text(guarded(html), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx, after the last change of a page's scripts."""
    app.connect("build-finished", finish, priority=800)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
