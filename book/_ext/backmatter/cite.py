"""How to cite the book: CITATION.cff in other forms."""

from __future__ import annotations

from typing import Any

import yaml

from backmatter.python import ROOT


def citation() -> dict[str, Any]:
    """Read CITATION.cff; the year is that of `_config.yml`."""
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
    return found | {"year": config["copyright"]}


def bibtex() -> str:
    """Write the book as an entry of BibTeX."""
    about = citation()
    authors = " and ".join(f"{{{a['name']}}}" for a in about["authors"])
    fields = {
        "title": f"{{{about['title']}}}",
        "author": authors,
        "year": about["year"],
        "version": about["version"],
        "url": about["repository-code"],
    }
    body = "".join(f"  {key} = {{{fields[key]}}},\n" for key in fields)
    return f"```bibtex\n@misc{{vitstepbystep,\n{body}}}\n```"


def apa() -> str:
    """Write the book in the style of the APA."""
    about = citation()
    authors = ", ".join(author["name"] for author in about["authors"])
    return (
        f"{authors}. ({about['year']}). *{about['title']}* "
        f"(Version {about['version']}) [Computer software]. "
        f"{about['repository-code']}"
    )
