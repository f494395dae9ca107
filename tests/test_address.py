"""One place holds the repository's address, and one tool spreads it."""

import shutil
import subprocess
from pathlib import Path

import address
import hygiene
import nbformat
import pytest

import book as book_tool

ROOT = Path(__file__).resolve().parents[1]
NEW = "some-body/patches.and-tokens"
REPEATED = ["README.md", "book/intro.md", "pyproject.toml", "CITATION.cff"]


@pytest.fixture
def copy(tmp_path):
    """Copy what git knows into a repository of its own."""
    for file in address.tracked(ROOT):
        if file.exists():
            target = tmp_path / file.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    shutil.copy(ROOT / "_config.yml", tmp_path)
    for command in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def set_address(root, url):
    """Edit the one line that an owner edits."""
    file = root / "_config.yml"
    old = f"  url: {hygiene.repository_url()}\n"
    text = file.read_text("utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, f"  url: {url}\n"), "utf-8")


def test_every_file_holds_the_address_of_the_configuration():
    assert address.written(ROOT) == address.wanted(ROOT)
    notebooks = (ROOT / "notebooks").glob("*.ipynb")
    for file in [*notebooks, *(ROOT / name for name in REPEATED)]:
        assert address.wanted(ROOT) in file.read_text("utf-8"), file.name


def test_tool_writes_a_new_address_everywhere(copy):
    old = address.wanted(ROOT)
    set_address(copy, f"https://github.com/{NEW}")
    changed = {
        file.relative_to(copy).as_posix() for file in address.rewrite(copy)
    }
    notebooks = {
        f"notebooks/{p.name}" for p in (ROOT / "notebooks").glob("*.ipynb")
    }
    assert notebooks | set(REPEATED) <= changed
    for file in address.tracked(copy):
        assert old not in file.read_text("utf-8"), file
    colab = f"https://colab.research.google.com/github/{NEW}/blob/main/"
    assert (copy / "README.md").read_text("utf-8").count(colab) == len(
        notebooks
    )
    assert "\ncd patches.and-tokens\n" in (copy / "book/intro.md").read_text(
        "utf-8"
    )
    assert address.rewrite(copy) == []  # a second time there is nothing to do


def test_rewritten_notebooks_are_in_order(copy):
    set_address(copy, f"https://github.com/{NEW}")
    address.rewrite(copy)
    for path in sorted((copy / "notebooks").glob("*.ipynb")):
        nb = nbformat.read(path, as_version=4)
        first = next(c for c in nb.cells if c.cell_type == "code")
        old = hygiene.INSTALL_CELL.replace(address.wanted(ROOT), NEW)
        assert first.source == old, path.name


@pytest.mark.parametrize(
    "url",
    [
        "https://gitlab.com/a/b",
        "http://github.com/a/b",
        "https://github.com/a",
        "https://github.com/a/b/",
        "https://github.com/a/b.git",
        "github.com/a/b",
    ],
)
def test_what_colab_cannot_open_is_refused(copy, url):
    set_address(copy, url)
    with pytest.raises(ValueError, match="it must have the form"):
        address.rewrite(copy)
    assert address.written(copy) == address.wanted(ROOT)


@pytest.mark.parametrize("owner", ["OWNER", "some-body"])
def test_build_says_that_the_address_is_not_set(
    owner, monkeypatch, capsys, tmp_path
):
    monkeypatch.setattr(book_tool.sys, "argv", ["book.py", str(tmp_path)])
    monkeypatch.setattr(
        book_tool, "build", lambda folder: folder / "index.html"
    )
    monkeypatch.setattr(book_tool.pages, "faults", lambda folder: [])
    url = f"https://github.com/{owner}/book"
    monkeypatch.setattr(book_tool, "repository_url", lambda: url)
    assert book_tool.main() == 0
    said = "the repository's address is not set" in capsys.readouterr().out
    assert said == (owner == "OWNER")
