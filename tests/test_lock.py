"""The lock files hold what requirements.txt asks for, and nothing else."""

import re
from importlib import metadata
from pathlib import Path

import lock
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
FILES = ("requirements.lock", "requirements-index.lock")
CPU = "requirements-cpu.lock"


def entries(name):
    """Return the requirements and the hashes of a lock file."""
    found = []
    for block in lock.blocks((ROOT / name).read_text("utf-8")):
        line = block.splitlines()[0].removesuffix("\\").strip()
        hashes = re.findall(r"--hash=sha256:([0-9a-f]{64})\b", block)
        assert len(hashes) == block.count("--hash"), line
        found.append((Requirement(line), hashes))
    return found


def pins():
    """Return the requirements of requirements.txt."""
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    return [Requirement(line) for line in lines if line and line[0] != "#"]


def holding(requirements, minor, system="linux"):
    """Return the pins that hold on a Python, by name."""
    environment = {
        "python_version": f"3.{minor}",
        "python_full_version": f"3.{minor}.4",
        "sys_platform": system,
        "platform_system": {"linux": "Linux", "darwin": "Darwin"}[system],
        "platform_machine": {"linux": "x86_64", "darwin": "arm64"}[system],
    }
    found = [
        (canonicalize_name(r.name), str(r.specifier))
        for r in requirements
        if r.marker is None or r.marker.evaluate(environment)
    ]
    assert len(found) == len(dict(found))
    return dict(found)


@pytest.mark.parametrize("name", [*FILES, CPU])
def test_every_entry_is_exact_and_has_hashes(name):
    listed = entries(name)
    assert len(listed) == 1 if name == CPU else len(listed) > 10
    for requirement, hashes in listed:
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier))
        assert hashes, requirement
        assert len(hashes) == len(set(hashes))


@pytest.mark.parametrize("system", ["linux", "darwin"])
@pytest.mark.parametrize("minor", [10, 11, 12, 13])
def test_lock_agrees_with_requirements(minor, system):
    asked = holding(pins(), minor, system)
    listed = [r for name in FILES for r, _ in entries(name)]
    locked = holding(listed, minor, system)
    assert asked.items() <= locked.items()


def needed(roots):
    """Return all that is needed here in turn, of what is installed."""
    found, queue = set(), list(roots)
    while queue:
        wish = queue.pop()
        key = (canonicalize_name(wish.name), frozenset(wish.extras))
        if key in found:
            continue
        found.add(key)
        for line in metadata.requires(wish.name) or []:
            child = Requirement(line)
            if child.marker is None or any(
                child.marker.evaluate({"extra": extra})
                for extra in wish.extras or {""}
            ):
                queue.append(child)
    return {name for name, _ in found}


def test_lock_is_whole_and_has_the_releases_of_this_environment():
    here = [r for r in pins() if r.marker is None or r.marker.evaluate()]
    listed = [r for name in FILES for r, _ in entries(name)]
    locked = {
        canonicalize_name(r.name): r.specifier
        for r in listed
        if r.marker is None or r.marker.evaluate()
    }
    names = needed(here)
    assert len(names) > 100
    assert names <= set(locked)


def test_both_builds_of_torch_are_listed():
    ((build, hashes),) = entries(CPU)
    assert (str(build), hashes) == (lock.CPU_BUILD[0], [lock.CPU_BUILD[1]])
    torch = {r.name: r.specifier for r in pins()}["torch"]
    assert torch.contains(str(build.specifier).removeprefix("=="))
    index = {r.name: found for r, found in entries(FILES[1])}
    assert {"torch", "triton"} < set(index)
    assert len(index["torch"]) > 10  # for each system and Python
    assert all(lock.PYTORCH.match(f"{name}=") for name in index)
    plain = [r.name for r, _ in entries(FILES[0])]
    assert not any(lock.PYTORCH.match(f"{name}=") for name in plain)


def test_asked_for_help_it_writes_nothing(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["lock.py", "--help"])
    monkeypatch.setattr(lock, "compiled", lambda: pytest.fail("resolved"))
    with pytest.raises(SystemExit) as left:
        lock.main()
    assert left.value.code == 0
    assert "lock files" in capsys.readouterr().out


@pytest.mark.parametrize("name", [FILES[1], CPU])
def test_each_build_comes_with_all_the_rest(name):
    lines = (ROOT / name).read_text("utf-8").splitlines()
    assert lines.count("-r requirements.lock") == 1
