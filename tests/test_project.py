"""What a reader installs is what the outputs were made with."""

import ast
import json
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
# Names to import, where they differ from the names to install.
INSTALLED_AS = {
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "PIL": "pillow",
    "IPython": "ipython",
    "yaml": "pyyaml",
}


def requirements(file):
    """Return the requirements of a file that hold for this Python."""
    lines = (ROOT / file).read_text("utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and line[0] != "#"]
    return [r for r in found if r.marker is None or r.marker.evaluate()]


def third_party(folder):
    """Return the libraries that the Python files of a folder import."""
    names = set()
    for file in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split(".")[0])
    names -= set(sys.stdlib_module_names) | {"vitlib"}
    return {INSTALLED_AS.get(name, name) for name in names}


def test_the_environment_is_the_pinned_one():
    for requirement in requirements("requirements.txt"):
        installed = metadata.version(requirement.name)
        assert str(requirement.specifier).startswith("=="), requirement
        assert requirement.specifier.contains(installed), requirement


def test_pins_hold_on_every_supported_python():
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and line[0] != "#"]
    for minor in (10, 11, 12, 13):
        environment = {"python_version": f"3.{minor}"}
        names = [
            pin.name
            for pin in pins
            if pin.marker is None or pin.marker.evaluate(environment)
        ]
        assert len(names) == len(set(names)) == len({p.name for p in pins})


def test_what_the_package_imports_is_declared_and_pinned():
    declared = metadata.requires("vitlib")
    names = {Requirement(line).name for line in declared}
    assert third_party("vitlib") <= names
    pinned = {r.name for r in requirements("requirements.txt")}
    assert names <= pinned


def test_bounds_are_loose_enough_for_the_pins():
    pins = {r.name: r for r in requirements("requirements.txt")}
    for line in metadata.requires("vitlib"):
        bound = Requirement(line)
        version = str(pins[bound.name].specifier).removeprefix("==")
        assert bound.specifier.contains(version), line
        assert "==" not in str(bound.specifier)
        assert "<" not in str(bound.specifier)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel that Colab would install."""
    folder = tmp_path_factory.mktemp("wheel")
    skip = shutil.ignore_patterns("__pycache__")
    for name in ("vitlib", "results"):
        shutil.copytree(ROOT / name, folder / name, ignore=skip)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    code = "from setuptools.build_meta import build_wheel; build_wheel('out')"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return next((folder / "out").glob("*.whl"))


def test_wheel_holds_every_file_of_the_package(wheel):
    packed = set(zipfile.ZipFile(wheel).namelist())
    needed = {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "vitlib").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert needed
    assert needed <= packed
    assert any(re.search(r"licenses/LICENSE$", name) for name in packed)


def test_installed_package_reads_the_results(wheel, tmp_path):
    stored = sorted(p.name for p in (ROOT / "results").glob("*.json"))
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        "import vitlib.results as r; print(r.__file__);"
        f"print(all(r.load_results(n[:-5]) for n in {stored}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert stored
    assert result.stderr == ""
    assert result.stdout.split() == [
        str(tmp_path / "vitlib" / "results.py"),
        "True",
    ]


def test_command_is_installed():
    scripts = metadata.entry_points(group="console_scripts", name="vitlib")
    assert [script.value for script in scripts] == ["vitlib.__main__:main"]


def test_readme_states_what_was_measured():
    text = (ROOT / "README.md").read_text("utf-8")
    results = json.loads((ROOT / "results/reference.json").read_text("utf-8"))
    shipped = results["shipped"]
    low, high = shipped["interval"]
    words = " ".join(text.split())
    assert f"classifies {100 * shipped['test']:.2f} % of" in words
    assert f"interval {100 * low:.2f} to {100 * high:.2f} %" in words
    assert f"after {shipped['cpu_minutes']:.0f} minutes on one core" in words
    file = ROOT / "results" / "throughput.json"
    ways = json.loads(file.read_text("utf-8"))["ways"]
    share = ways["bare step"]["fit_to_this"]
    assert f"`fit` keeps {100 * share:.1f} % of the speed" in words
    times = ways["timm, DataLoader"]["fit_to_this"]
    assert f"trains {times:.1f} times as many images" in words
