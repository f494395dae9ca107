"""Classes for paragraphs that a style sheet cannot tell by itself.

Notebooks hold plain Markdown, so a question before a result, an exercise
and a caption are paragraphs that begin with a certain word.
"""

from __future__ import annotations

import re

from sphinx.application import Sphinx

BEGINNINGS = {
    "vit-predict": r"<strong>Predict\b",
    "vit-exercise": r"<strong>Exercise \d",
    "vit-caption": r"<em>(?:Diagram|Figures?|Table) \d",
}


def marked(html: str) -> str:
    """Give each such paragraph its class."""
    for name, beginning in BEGINNINGS.items():
        html = re.sub(f"<p>(?={beginning})", f'<p class="{name}">', html)
    return html


def mark(
    app: Sphinx, page: str, template: str, context: dict, doctree: object
) -> None:
    """Mark the paragraphs of a chapter's page."""
    if page.startswith("notebooks/") and "body" in context:
        context["body"] = marked(context["body"])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("html-page-context", mark)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
