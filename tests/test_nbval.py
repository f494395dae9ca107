"""The test of the tests: nbval must notice what is broken.

Each test copies the package and one chapter, breaks the copy in one place,
and runs nbval on it as `make test` does.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]

# What is broken: the chapter that must notice, the module, the text that is
# there and the text that takes its place.
BROKEN = {
    "flatten order": (
        "02_patches",
        "patches.py",
        "b c (gh ph) (gw pw) -> b (gh gw) (c ph pw)",
        "b c (gh ph) (gw pw) -> b (gh gw) (ph pw c)",
    ),
    "last token for the first": (
        "03_class_token",
        "tokens.py",
        "return x[:, 0]",
        "return x[:, -1]",
    ),
    "last token for the first, in the whole": (
        "07_vision_transformer",
        "tokens.py",
        "return x[:, 0]",
        "return x[:, -1]",
    ),
    "scale of the attention": (
        "05_attention",
        "attention.py",
        "    q = q * q.shape[-1] ** -0.5\n    logits",
        "    logits",
    ),
    "final LayerNorm": (
        "07_vision_transformer",
        "model.py",
        "return self.norm(x), all_weights",
        "return x, all_weights",
    ),
}


def copy_chapter(folder, chapter):
    """Copy the package, and the chapter with what it may read."""
    shutil.copytree(ROOT / "vitlib", folder / "vitlib")
    (folder / "notebooks").mkdir()
    for name in ("results", "book"):
        if (ROOT / name).exists():
            (folder / name).symlink_to(ROOT / name)
    path = folder / "notebooks" / f"{chapter}.ipynb"
    shutil.copy(ROOT / "notebooks" / path.name, path)
    return path


def run_nbval(path):
    """Run nbval until the first failure; return the status and the text."""
    folder = path.parents[1]
    environment = dict(os.environ, PYTHONPATH=str(folder))
    where = subprocess.run(
        [sys.executable, "-c", "import vitlib; print(vitlib.__file__)"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=path.parent,
        check=True,
    )
    assert str(folder) in where.stdout, "the copy is not what is imported"
    options = ["--nbval-lax", "--nbval-current-env", "-x", "-q"]
    options += ["--nbval-cell-timeout=120", "-p", "no:cacheprovider"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *options, path.name],
        capture_output=True,
        text=True,
        env=environment,
        cwd=path.parent,
        check=False,
    )
    return result.returncode, result.stdout + result.stderr


def replace_once(file, old, new):
    """Replace a text that must be there exactly once."""
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} is not once in {file.name}"
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_an_unbroken_copy_passes(tmp_path):
    status, text = run_nbval(copy_chapter(tmp_path, "02_patches"))
    assert status == 0, text


@pytest.mark.parametrize("what", BROKEN)
def test_broken_code_is_noticed(what, tmp_path):
    chapter, module, old, new = BROKEN[what]
    path = copy_chapter(tmp_path, chapter)
    replace_once(tmp_path / "vitlib" / module, old, new)
    status, text = run_nbval(path)
    assert status == 1, text
    # it noticed by running: cells passed before the one that failed
    assert re.search(r"\b1 failed, [1-9]\d* passed", text), text


def test_an_edited_output_is_noticed(tmp_path):
    path = copy_chapter(tmp_path, "02_patches")
    nb = nbformat.read(path, as_version=4)
    cell = next(
        cell
        for cell in nb.cells
        if "nbval-check-output" in cell.metadata.get("tags", [])
        and cell.outputs
        and cell.outputs[0].output_type == "stream"
    )
    text = cell.outputs[0].text
    cell.outputs[0].text = re.sub(
        r"\d", lambda digit: str((int(digit.group()) + 1) % 10), text, count=1
    )
    assert cell.outputs[0].text != text
    nbformat.write(nb, path)
    status, text = run_nbval(path)
    assert status == 1, text
    assert "mismatch" in text, text
