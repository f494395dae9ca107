"""The page of versions and licences says what is so."""

import re
from importlib import metadata
from pathlib import Path

import colab
import pytest
from packaging.requirements import Requirement

from vitlib._photographs import PHOTOGRAPHS

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "book" / "licences.md").read_text("utf-8")
DECLARED = [
    requirement
    for line in metadata.requires("vitlib")
    if "test" not in str((requirement := Requirement(line)).marker)
]


def rows(title):
    """Return the rows of the table below a heading, by their first cell."""
    part = "|" + PAGE.split(f"## {title}\n")[1].partition("\n|")[2]
    lines = part.partition("\n\n")[0].splitlines()
    lines = [line for line in lines if line.startswith("| ")]
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines]
    return {first: rest for first, *rest in cells[1:]}


def pinned():
    """Return the releases of requirements.txt for Python 3.11."""
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and line[0] != "#"]
    here = {"python_version": "3.11"}
    return {
        pin.name: str(pin.specifier).removeprefix("==")
        for pin in pins
        if pin.marker is None or pin.marker.evaluate(here)
    }


def test_versions_are_those_of_the_files():
    table, pins, of_colab = rows("Versions"), pinned(), colab.of_colab()
    assert {r.name for r in DECLARED} | {"ipython", "ipykernel"} == set(table)
    bounds = {r.name: str(r.specifier).removeprefix(">=") for r in DECLARED}
    for name, (least, stored, there) in table.items():
        assert least == bounds.get(name, "")
        assert stored == pins[name]
        assert there == of_colab[name.replace("_", "-")]


def test_colabs_runtimes_have_a_pytorch_that_is_new_enough():
    part = PAGE.split("| Colab's runtime version |")[1].split("\n\n")[0]
    lines = part.splitlines()[2:]
    found = [line.strip("| ").split(" | ")[1:] for line in lines]
    (bound,) = (r.specifier for r in DECLARED if r.name == "torch")
    assert len(found) == 4
    assert all(bound.contains(torch) for _, torch in found)
    assert found[0] == [colab.PYTHON, colab.of_colab()["torch"][:-2]]


def stated(name):
    """Return the licence in a package's metadata, the shortest form of it."""
    data = metadata.metadata(name)
    if expression := data.get("License-Expression"):
        return expression
    classes = data.get_all("Classifier") or []
    found = [c.split(" :: ")[-1] for c in classes if c.startswith("License")]
    return found[0] if found else data["License"]


def test_licences_are_those_of_the_metadata():
    table = rows("What is installed beside")
    assert set(table) == {r.name for r in DECLARED}
    for name, (licence,) in table.items():
        if metadata.version(name) == pinned()[name]:
            assert licence == stated(name), name


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_photographs_are_credited(name):
    entry = PHOTOGRAPHS[name]
    ships = rows("What ships")
    assert [entry.author, entry.licence] in list(ships.values())


def test_what_has_a_licence_of_its_own_is_listed():
    folders = {file.parent for file in ROOT.glob("*/**/LICENSE*")}
    shipped = [ROOT / "vitlib", ROOT / "book"]
    own = {f for f in folders if any(s in f.parents for s in shipped)}
    assert len(own) >= 2
    for folder in own:
        assert f"`{folder.relative_to(ROOT).as_posix()}`" in PAGE


def test_licences_of_the_book_are_those_of_its_files():
    ships = rows("What ships")
    code = next(v for k, v in ships.items() if k.startswith("The code"))
    text = next(v for k, v in ships.items() if k.startswith("The text"))
    assert (ROOT / "LICENSE").read_text("utf-8").startswith(code[-1])
    assert re.search(
        "Attribution 4.0 International",
        (ROOT / "LICENSE-text").read_text("utf-8"),
    )
    assert text[-1] == "CC BY 4.0"
