"""Formulas by KaTeX, drawn when the book is built.

A page has its formulas from its first paint, without a script, and the fonts
that they need lie in KaTeX's style sheet: nothing arrives late and moves the
text. KaTeX itself runs here, in a JavaScript engine.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from docutils import nodes
from myst_parser.sphinx_ext.mathjax import html_visit_displaymath
from py_mini_racer import JSEvalException, MiniRacer
from sphinx.application import Sphinx
from sphinx.ext.mathjax import html_visit_math
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

FOLDER = Path(__file__).resolve().parents[1] / "_static" / "katex"
TEX = re.compile(r"\\[(\[](.*)\\[)\]]", re.S)
# What some page asks for; the tests in the browser name what is missing.
FONTS = ("Main-Regular", "Main-Bold", "Math-Italic", "Caligraphic-Regular")
FONTS += ("AMS-Regular", "Size1-Regular", "Size2-Regular", "Size3-Regular")


@cache
def engine() -> MiniRacer:
    """Return KaTeX, ready to draw."""
    engine = MiniRacer()
    engine.eval((FOLDER / "katex.min.js").read_text(encoding="utf-8"))
    return engine


def draw(tex: str, display: bool) -> str:
    """Return a formula as HTML, with MathML for those who hear it."""
    options = {"displayMode": display}
    return engine().call("katex.renderToString", tex.strip(), options)


def drawn(visit: Callable) -> Callable:
    """Return a visitor that draws the TeX which another one writes."""

    def visit_and_draw(self: HTML5Translator, node: nodes.Node) -> None:
        start = len(self.body)
        with suppress(nodes.SkipNode):
            visit(self, node)
        before, tex, after = TEX.split("".join(self.body[start:]))
        try:
            tex = draw(html.unescape(tex), node.tagname == "math_block")
        except JSEvalException as error:
            words = str(error).partition("KaTeX parse error: ")[2]
            logging.getLogger(__name__).warning(
                "KaTeX: %s", words.partition("\n")[0], location=node
            )
        self.body[start:] = [before, tex, after]
        raise nodes.SkipNode

    return visit_and_draw


def add_style(
    app: Sphinx, page: str, template: str, context: dict, doctree: object
) -> None:
    """Load KaTeX's style sheet, if the page has a formula."""
    if app.env.get_domain("math").has_equations(page):
        app.add_css_file("katex/katex.min.css")


def inline_fonts(app: Sphinx, problem: Exception | None) -> None:
    """Put the fonts into the site's style sheet; KaTeX itself stays here."""
    if problem is not None or app.builder.name != "html":
        return
    folder = Path(app.outdir, "_static", "katex")
    css = (folder / "katex.min.css").read_text(encoding="utf-8")
    for name in FONTS:
        font = folder / "fonts" / f"KaTeX_{name}.woff2"
        data = base64.b64encode(font.read_bytes()).decode()
        css = css.replace(
            f"fonts/{font.name}", f"data:font/woff2;base64,{data}"
        )
        font.unlink()
    (folder / "katex.min.css").write_text(css, encoding="utf-8")
    (folder / "katex.min.js").unlink()


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx as the renderer `katex`."""
    app.add_html_math_renderer(
        "katex",
        (drawn(html_visit_math), None),
        (drawn(html_visit_displaymath), None),
    )
    app.connect("html-page-context", add_style)
    app.connect("build-finished", inline_fonts, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
