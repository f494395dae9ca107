"""The book's index: `book/index.yml` as entries of Sphinx's own index.

Notebooks hold plain Markdown, which has no mark for an index entry. The
entries make the page `genindex` and lead the search to the right section.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from docutils.nodes import document
from sphinx.addnodes import index
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

SOURCE = Path(__file__).resolve().parents[1] / "index.yml"


def entries(
    page: document, name: str, sections: dict[str, list[str]]
) -> list[tuple[str, str, str, str, None]]:
    """Return Sphinx's entries for one page; warn of a section it lacks."""
    found = []
    for section, terms in sections.items():
        if section not in page.ids:
            logging.getLogger(__name__).warning(
                "book/index.yml: the page has no section %r",
                section,
                location=name,
            )
        found += [("single", term, section, "main", None) for term in terms]
    return found


class IndexTerms(SphinxTransform):
    """Put a page's entries where an index directive would put them."""

    default_priority = 500

    def apply(self, **kwargs: object) -> None:
        """Add them to the page, if the file names it."""
        self.env.note_dependency(str(SOURCE))
        terms = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))
        sections = terms.get(self.env.docname, {})
        node = index(
            entries=entries(self.document, self.env.docname, sections)
        )
        self.document.insert(0, node)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_transform(IndexTerms)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
