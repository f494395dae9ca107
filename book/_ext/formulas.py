"""Formulas by KaTeX: a quarter of MathJax, and drawn at once.

Sphinx writes the TeX into the page as it does for MathJax; the scripts in
`book/_static/katex` draw it. Only pages with formulas load them.
"""

from __future__ import annotations

from myst_parser.sphinx_ext.mathjax import html_visit_displaymath
from sphinx.application import Sphinx
from sphinx.ext.mathjax import html_visit_math


def add_scripts(
    app: Sphinx, page: str, template: str, context: dict, doctree: object
) -> None:
    """Load KaTeX, if the page has a formula."""
    if app.env.get_domain("math").has_equations(page):
        app.add_css_file("katex/katex.min.css")
        app.add_js_file("katex/katex.min.js", loading_method="defer")
        app.add_js_file("katex/render.js", loading_method="defer")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx as the renderer `katex`."""
    app.add_html_math_renderer(
        "katex", (html_visit_math, None), (html_visit_displaymath, None)
    )
    app.connect("html-page-context", add_scripts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
