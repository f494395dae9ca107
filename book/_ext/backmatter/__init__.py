"""A Sphinx extension: pages that are written while the book is built.

A page of the list PAGES may call a function in double braces, such as
`{{ crosswalk() }}`, and gets the Markdown that it returns. So nothing on
these pages can be older than the code, the chapters and the results they
are made from, and no number on them is typed.
"""

from __future__ import annotations

from typing import Any

import jinja2
from sphinx.application import Sphinx

from backmatter import api, benchmarks, cite, crosswalk, numbers

NAMES = "api benchmarks cite crosswalk departures"
PAGES = {f"book/{name}" for name in NAMES.split()}


def fill(app: Sphinx, page: str, source: list[str]) -> None:
    """Replace the calls on a page by what they return."""
    if page not in PAGES:
        return
    repository = app.config.html_theme_options["repository_url"]
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    source[0] = environment.from_string(source[0]).render(
        accuracy=numbers.accuracy,
        apa=cite.apa,
        api=lambda: api.api(repository),
        benchmarks=lambda: benchmarks.benchmarks(repository),
        bibtex=cite.bibtex,
        crosswalk=lambda: crosswalk.crosswalk(repository),
        differs=api.differs,
        measured=numbers.measured,
        printed=numbers.printed,
    )


def outdated(app: Sphinx, *_: object) -> set[str]:
    """Have these pages written anew by every build."""
    return PAGES & app.env.found_docs


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("source-read", fill)
    app.connect("env-get-outdated", outdated)
    return {"parallel_read_safe": True}
