r"""From the paper to the book: which places treat which part of it.

A marker is a reference as one writes it: "Eq. 2", "Equations 5 to 8", "Table
8", "Figures 7 and 11", "Appendix D.3". It counts for Dosovitskiy et al. 2021
unless the paragraph named another paper last. Numbers with a point, as in
Figure 2.1, are the book's own; an equation shown with the paper's number has
a whole one, as in \tag{2}. Markers stand in chapters (they name the
section), in the docstrings and comments of public functions, and in those of
tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nbformat

from backmatter.paper import LEFT_OUT, PAPER
from backmatter.python import ROOT, Unit, anchor, public_modules, units

ONE = r"(?:[A-D]\b(?:\.\d+)*|\d+\b(?!\.\d))"
MARKER = re.compile(
    r"\b(Eq|Equation|Table|Figure|Appendix)s?\.? "
    rf"({ONE}(?:(?:,? and |,? or |, | to |-){ONE})*)"
)
OWNER = re.compile(
    r"[A-Z][\w-]+(?: et al\.| (?:and|&) [A-Z][\w-]+)?,?\]? \(?(?:19|20)\d\d"
    r"|the paper"
)
KIND = {"Equation": "Eq"}
HEADINGS = {
    "Eq.": "## Equations",
    "Table": "## Tables",
    "Figure": "## Figures",
    "Appendix": "## Appendices",
}
# Sections that repeat what the others say.
ECHOES = {"Recap", "Exercises", "What comes next", "References"}


class Section(NamedTuple):
    """A part of a chapter that names a place of the paper."""

    file: str
    heading: str  # empty for what stands before the first heading


def expand(numbers: str) -> Iterator[str]:
    """Yield the numbers of "1, 5 to 7 and D.3" one by one."""
    for part in re.split(r",? and |,? or |, ", numbers):
        ends = re.split(r" to |-", part)
        if len(ends) == 2 and all(end.isdigit() for end in ends):
            yield from map(str, range(int(ends[0]), int(ends[1]) + 1))
        else:
            yield from ends


def markers(text: str) -> list[str]:
    """Return the places of the paper that a text names."""
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        flat = " ".join(paragraph.split())
        for match in MARKER.finditer(flat):
            before = flat[: match.start()]
            if re.search(r"[Nn]ot in (the paper's )?$", before):
                continue
            owners = OWNER.findall(before)
            if owners and not re.match("Dosovitskiy|the paper", owners[-1]):
                continue
            kind = KIND.get(match.group(1), match.group(1))
            dot = "." if kind == "Eq" else ""
            found += [f"{kind}{dot} {n}" for n in expand(match.group(2))]
    return list(dict.fromkeys(found))


def sections(file: Path) -> Iterator[tuple[Section, str]]:
    """Yield each section of a notebook with its text."""
    cells = nbformat.read(file, as_version=4).cells
    text = "\n\n".join(c.source for c in cells if c.cell_type == "markdown")
    parts = re.split(r"^#{1,3} (.+)$", text, flags=re.MULTILINE)
    for i in range(1, len(parts), 2):
        heading = "" if i == 1 else parts[i].strip()
        section = Section(file.name, heading)
        yield section, f"{heading}\n\n{parts[i + 1]}"


def sections_by_place() -> dict[str, list[Section]]:
    """Return, for each place, one section of each chapter that names it.

    The first that shows the equation, else the first that names the place,
    and the chapter's opening only where nothing else does.
    """
    found: dict[str, dict[str, tuple[int, Section]]] = {}
    for file in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for section, text in sections(file):
            if section.heading in ECHOES:
                continue
            shown = {f"Eq. {n}" for n in re.findall(r"\\tag\{(\d+)\}", text)}
            for place in shown.union(markers(text)):
                rank = (place in shown) + bool(section.heading)
                chapters = found.setdefault(place, {})
                if rank > chapters.get(file.name, (-1,))[0]:
                    chapters[file.name] = rank, section
    return {
        place: [section for _, section in chapters.values()]
        for place, chapters in found.items()
    }


def units_by_place(files: list[Path], prefix: str = "") -> dict[str, list]:
    """Return, for each place, the units that name it.

    A module counts where none of its functions names the place.
    """
    found: dict[str, list] = {}
    for file in files:
        module, *named = units(file)
        named = [u for u in named if u.name.startswith(prefix)]
        for unit in named:
            for place in markers(unit.text):
                found.setdefault(place, []).append(unit)
        for place in markers(module.text):
            mine = found.setdefault(place, [])
            if not any(unit.module == module.module for unit in mine):
                mine.append(module)
    return found


def slug(heading: str) -> str:
    """Return the anchor that MyST gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def link(section: Section) -> str:
    """Link to a section of a chapter."""
    words = f"Chapter\u00a0{int(section.file[:2])}"
    address = f"../notebooks/{section.file}"
    if section.heading:
        words += f": {section.heading}"
        address += f"#{slug(section.heading)}"
    return f"[{words}]({address})"


def entry(place: str, rows: dict[str, list[str]]) -> list[str]:
    """Write one place of the paper, with where it is treated, or why not."""
    lines = [
        f"*{name}:* {' · '.join(links)}"
        for name, links in rows.items()
        if links
    ] or [f"*Left out:* {LEFT_OUT[place]}."]
    term = f"**{place}**: {PAPER[place]}"
    return [term, ": " + "\\\n  ".join(lines), ""]


def crosswalk(repository: str) -> str:
    """Write one definition list for each kind of place."""
    tests = sorted((ROOT / "tests").glob("test_*.py"))
    in_text = sections_by_place()
    in_code = units_by_place(public_modules())
    in_tests = units_by_place(tests, "test_")
    lines: list[str] = []
    for place in PAPER:
        heading = HEADINGS[place.split()[0]]
        if heading not in lines:
            lines += [heading, ""]
        code = [
            f"[`{unit.name or unit.module}`](#{anchor(unit)})"
            for unit in in_code.get(place, [])
        ]
        test = [
            f"[{test_words(unit)}]({unit.url(repository)})"
            for unit in in_tests.get(place, [])
        ]
        text = [link(section) for section in in_text.get(place, [])]
        lines += entry(place, {"Book": text, "Code": code, "Tests": test})
    return "\n".join(lines)


def test_words(unit: Unit) -> str:
    """Read the name of a test as the sentence that it is."""
    if not unit.name:
        return f"all of {unit.file.name}"
    return unit.name.removeprefix("test_").replace("_", " ")
