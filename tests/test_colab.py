"""The rehearsal of Colab: what it chooses, what it notices."""

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import colab
import nbformat
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
BARE = {"torch": "2.11.0", "numpy": "2.1.3", "pip": "24.1.2"}
AFTER = BARE | {"vitlib": "0.1.0", "onnx": "1.23.2"}


def report(first="12.5", cells=9, **counts):
    """Return nbval's report of a chapter, as pytest writes it."""
    counts = {"failures": 0, "errors": 0, "skipped": 0} | counts
    counts = {name: str(count) for name, count in counts.items()}
    suite = ElementTree.Element("testsuite", counts)
    for number in range(cells):
        time = "0.1" if number else first
        ElementTree.SubElement(suite, "testcase", time=time)
    return suite


def test_a_good_run_has_no_fault():
    assert colab.faults(BARE, AFTER, report()) == []


@pytest.mark.parametrize(
    ("after", "made", "words"),
    [
        (AFTER | {"torch": "2.13.0"}, {}, "torch 2.11.0 became 2.13.0"),
        (AFTER | {"numpy": "2.4.6"}, {}, "numpy 2.1.3 became 2.4.6"),
        ({"vitlib": "0.1.0"}, {}, "pip 24.1.2 became None"),
        (BARE, {}, "vitlib was not installed"),
        (AFTER | {"scipy": "1.16.3"}, {}, "Colab has ['scipy'] already"),
        (AFTER, {"first": "30.1"}, "took over 30 s"),
        (AFTER, {"failures": 2}, "2 of 9 cells failed"),
        (AFTER, {"errors": 1}, "1 of 9 cells failed"),
        (AFTER, {"skipped": 3}, "3 of 9 cells failed"),
        (AFTER, {"cells": 1}, "0 of 1 cells failed"),
    ],
)
def test_a_fault_is_noticed(after, made, words):
    found = colab.faults(BARE, after, report(**made))
    assert any(words in fault for fault in found), found


def test_vitlib_must_come_from_the_first_cell():
    assert colab.faults(AFTER, AFTER, report())


def test_releases_are_colabs():
    releases = colab.of_colab()
    assert len(releases) > 600
    assert releases["ipython"] == "7.34.0"
    assert releases["ipykernel"] == "6.17.1"
    assert "torch" in releases
    assert not colab.NOT_HERE.search("torch==2.11.0\n")


def test_the_environment_has_all_that_colab_has_of_the_book():
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    lists = project.split("dependencies = [")[1].split("# What the unit")[0]
    names = {
        Requirement(line.strip().strip('",')).name
        for line in lists.splitlines()
        if line.strip().startswith('"')
    }
    assert {"torch", "numpy", "pooch"} < names
    spelt = {name.replace("_", "-"): name for name in names}
    assert set(spelt) <= set(colab.of_colab())  # nothing is to be added
    assert names <= set(colab.STACK.split())


def test_every_chapter_has_its_turn(monkeypatch):
    every = colab.choose([])
    assert [Path(n).name for n in every] == [p.name for p in NOTEBOOKS]
    assert colab.choose(["02", "attention_di"]) == [
        "notebooks/02_patches.ipynb",
        "notebooks/14_attention_distance.ipynb",
    ]
    with pytest.raises(SystemExit, match="no notebook has"):
        colab.choose(["99_"])
    listed = colab.git("ls-tree", "--name-only", "HEAD", "notebooks/")
    commits = range(1_700_000_000, 1_700_000_000 + 3600 * len(every), 3600)
    answers = iter([t for at in commits for t in (listed, f"{at}\n")])
    monkeypatch.setattr(colab, "git", lambda *_: next(answers))
    seen = [name for _ in commits for name in colab.choose(["turn"])]
    assert sorted(seen) == sorted(every * 2)


def test_kernel_finds_the_address_in_a_clone(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    env = colab.surroundings("/some/python", tmp_path)
    assert "PYTHONPATH" not in env
    command = ["git", "ls-remote", colab.repository_url(), "HEAD"]
    answer = subprocess.check_output(command, env=env, text=True)
    assert answer.split()[0] == colab.git("rev-parse", "HEAD").strip()
    (spec,) = tmp_path.rglob("kernel.json")
    assert '"/some/python"' in spec.read_text()


def test_first_cell_installs_what_it_lacks_or_says_what_to_do(tmp_path):
    """Run the cell where vitlib is missing and the install fails."""
    nb = nbformat.read(NOTEBOOKS[0], as_version=4)
    cell = next(c for c in nb.cells if c.cell_type == "code")
    lines = cell.source.splitlines()
    (place,) = (i for i, line in enumerate(lines) if "%pip" in line)
    indent = lines[place].partition("%")[0]
    lines[place] = f"{indent}print('would install', REPOSITORY)"
    for script in ("has.py", "lacks.py"):
        (tmp_path / script).write_text("\n".join(lines))
    (tmp_path / "lacks.py").write_text(
        "\n".join(lines).replace('"vitlib"', '"vitlib_is_nowhere"')
    )
    results = [
        subprocess.run(
            [sys.executable, tmp_path / script],
            capture_output=True,
            text=True,
            check=False,
        )
        for script in ("has.py", "lacks.py")
    ]
    assert (results[0].returncode, results[0].stdout) == (0, "")
    assert colab.repository_url() in results[1].stdout
    assert results[1].returncode == 1
    assert "Does REPOSITORY open? Run this again" in results[1].stderr


ASKS = re.compile(
    r"google\.colab|drive\.mount|\binput\(|getpass|userdata|\blogin\(|_TOKEN"
)


def test_only_one_marked_cell_asks_for_anything():
    """And that one only where its switch was set."""
    found = {}
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code" and ASKS.search(cell.source):
                found[cell.id] = cell.source
    assert list(found) == ["p17-drive"]
    first, switch, condition, *body = found["p17-drive"].splitlines()
    assert first.startswith("# @title In Colab")
    assert switch == 'SAVE_TO_DRIVE = False  # @param {type: "boolean"}'
    assert condition == "if SAVE_TO_DRIVE:"
    assert all(line.startswith("    ") or not line for line in body)
