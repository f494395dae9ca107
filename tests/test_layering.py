"""vitlib is a ladder: a module imports only from ranks below its own."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

VITLIB = Path(__file__).resolve().parents[1] / "vitlib"

RANKS = {
    "_shapes": -1,  # the other checks stand on it
    "_checks": 0,
    "_claim": 0,
    "_dataset": 0,
    "_download": 1,
    "_folder": 1,
    "_formats": 0,
    "_modes": 0,
    "_photographs": 0,
    "_sources": 0,
    "_whole": 0,
    "attention": 1,
    "augment": 1,
    "baselines": 1,
    "data": 2,
    "device": 1,
    "distributed": 1,
    "init": 1,
    "metrics": 1,
    "optim": 1,
    "patches": 1,
    "positions": 1,
    "results": 0,
    "show": 1,
    "tokens": 1,
    "config": 2,
    "encoder": 2,
    "counts": 3,
    "model": 3,
    "records": 1,
    "report": 1,
    "recipe": 2,
    "evaluate": 2,
    "_guards": 3,
    "checkpoint": 6,
    "log": 6,
    "trainer": 4,
    "_tensors": 5,
    "_rescue": 5,
    "train": 7,
    "weights": 4,
    "_options": 1,
    "_cli": 4,
    "_inputs": 7,
    "_commands": 8,
    "_picture": 0,
    "_views": 12,
    "_inspect": 13,
    "inspection._weights": 1,
    "inspection.stream": 4,
    "inspection.distance": 2,
    "inspection.rollout": 2,
    "inspection.flow": 3,
    "inspection.filters": 5,
    "inspection.similarity": 5,
    "inspection.structure": 6,
    "inspection.waves": 6,
    "inspection.fills": 4,
    "inspection.sanity": 4,
    "inspection.targets": 4,
    "inspection.orders": 5,
    "inspection.faithfulness": 5,
    "inspection.relevance": 5,
    "inspection.methods": 6,
    "inspection": 7,
    "pretrained": 7,
    "pretrained._files": 0,
    "pretrained._fit": 5,
    "pretrained._names": 0,
    "pretrained._onnx": 0,
    "pretrained.registry": 3,
    "pretrained.focus": 5,
    "pretrained.hub": 6,
    "pretrained.layouts": 1,
    "plot._style": 7,
    "plot.charts": 8,
    "plot.diagrams": 0,
    "plot.pictures": 8,
    "plot.gallery": 9,
    "plot.maps": 9,
    "plot.ranges": 9,
    "plot": 10,
    "exercises._words": 0,
    "exercises": 1,
    **{f"exercises.ch{n:02}": 9 for n in range(1, 18)},
    "": 11,  # vitlib/__init__.py
    "__main__": 14,
}
# Imported only by the function that needs them, so that the package stays
# light; matplotlib belongs to plot alone.
OPTIONAL = {
    "huggingface_hub",
    "matplotlib",
    "PIL",
    "pooch",
    "skimage",
    "sklearn",
    "tqdm",
}
MAX_LINES = 200

FILES = sorted(VITLIB.rglob("*.py"))


def module_name(file):
    """Return the name of a file's module, without the package's."""
    parts = file.relative_to(VITLIB).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports_of(source, top_level_only=False):
    """Return the modules that a source imports."""
    tree = ast.parse(source)
    nodes = tree.body if top_level_only else ast.walk(tree)
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports in vitlib are absolute"
            names.add(node.module)
            # `from vitlib import model` imports a module, too
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def ladder_faults(name, source, ranks):
    """Return the imports of a module that do not lie below it."""
    faults = []
    for imported in sorted(imports_of(source)):
        if imported != "vitlib" and not imported.startswith("vitlib."):
            continue
        below = imported.removeprefix("vitlib").removeprefix(".")
        if below in ranks and ranks[below] >= ranks[name]:
            faults.append(f"{name} imports {below or 'vitlib'}")
    return faults


def test_every_module_has_a_rank():
    assert {module_name(file) for file in FILES} == set(RANKS)


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_imports_only_from_below(file):
    name = module_name(file)
    source = file.read_text(encoding="utf-8")
    assert ladder_faults(name, source, RANKS) == []


@pytest.mark.parametrize(
    "line",
    [
        "from vitlib.model import VisionTransformer",
        "import vitlib.model",
        "from vitlib import model",
        "import vitlib",
        "def late():\n    from vitlib.encoder import Block",
        "from vitlib.tokens import pool",
    ],
)
def test_a_step_up_the_ladder_is_noticed(line):
    assert ladder_faults("tokens", line, RANKS)
    assert not ladder_faults("tokens", "from vitlib._checks import x", RANKS)


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_optional_libraries_are_imported_late(file):
    name = module_name(file)
    source = file.read_text(encoding="utf-8")
    early = {n.split(".")[0] for n in imports_of(source, top_level_only=True)}
    anywhere = {n.split(".")[0] for n in imports_of(source)}
    if name.split(".")[0] == "plot":
        early.discard("matplotlib")
        anywhere.discard("matplotlib")
    assert not early & OPTIONAL
    assert "matplotlib" not in anywhere


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_files_stay_short(file):
    lines = len(file.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_shapes_change_by_einops_only(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    banned = {"view", "permute", "reshape", "transpose", "swapaxes"}
    used = {
        node.func.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert not used & banned


def test_the_package_is_marked_as_typed():
    assert (VITLIB / "py.typed").exists()


def run_python(code, *options):
    """Run code in a fresh interpreter and return what it wrote."""
    result = subprocess.run(
        [sys.executable, *options, "-c", code],
        capture_output=True,
        text=True,
        cwd=VITLIB.parent,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


def test_import_is_silent():
    assert run_python("import vitlib", "-W", "error") == ""


def test_import_is_light():
    code = (
        "import sys, einops, torch; before = set(sys.modules);"
        "import vitlib; new = set(sys.modules) - before;"
        f"print(sorted(new & set({sorted(OPTIONAL)!r})))"
    )
    assert run_python(code).strip() == "[]"


def test_import_takes_under_half_a_second_beyond_torch():
    code = (
        "import time, torch; start = time.perf_counter(); import vitlib;"
        "print(time.perf_counter() - start)"
    )
    seconds = min(float(run_python(code)) for _ in range(3))
    assert seconds < 0.5
