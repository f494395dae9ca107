"""Rehearse chapters as a bare Colab would run them.

    python tools/colab.py                  every chapter
    python tools/colab.py 02 attention     those with this in their names
    python tools/colab.py turn             two of them, chosen by the commit
    python tools/colab.py --python /usr/bin/python3     with this Python

Without `--python` the kernel runs in `.venv-colab`: Colab's releases of
what the book uses, from tools/colab-constraints.txt, and no vitlib. Each
chapter stands alone in a folder, its own first cell installs the package
from a clone of this commit, and nbval compares its outputs. Before the next
chapter the environment is made bare again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree.ElementTree import Element, parse

from hygiene import ROOT, repository_url

Releases = dict[str, str]
VENV = ROOT / ".venv-colab"
COLAB = (ROOT / "tools" / "colab-constraints.txt").read_text()
PYTHON = "3.13"  # of Colab's runtime, as that file says
# What Colab has of the packages that the book and its kernel need.
STACK = """torch numpy scipy matplotlib pillow scikit-image scikit-learn
einops safetensors huggingface_hub pooch requests tqdm ml_dtypes protobuf
ipython ipykernel ipywidgets jupyter_client pip setuptools"""
# The index's PyTorch brings another CUDA than Colab's.
NOT_HERE = re.compile(r"^(nvidia|cuda|triton).*\n", re.MULTILINE)
MOST_SECONDS = int(os.environ.get("COLAB_MOST_SECONDS", "30"))  # to install
LISTED = """import json
from importlib.metadata import distributions
print(json.dumps({d.metadata["Name"]: d.version for d in distributions()}))"""


def git(*words: str | Path) -> str:
    """Return what git answers in this repository."""
    return subprocess.check_output(["git", "-C", ROOT, *words], text=True)


def by_name(pairs: list[tuple[str, str]]) -> Releases:
    """Return releases under the one spelling of their names."""
    return {re.sub("[-_.]+", "-", n).lower(): v for n, v in pairs}


def of_colab() -> Releases:
    """Return the releases that Colab has."""
    return by_name(re.findall(r"^([\w.-]+)==(\S+)$", COLAB, re.MULTILINE))


def installed(python: str | Path) -> Releases:
    """Return the releases that are installed beside a Python."""
    output = subprocess.check_output([python, "-I", "-c", LISTED], text=True)
    return by_name(list(json.loads(output).items()))


def make_bare(python: str | Path, bare: Releases) -> None:
    """Uninstall what a chapter has brought."""
    if extra := sorted(set(installed(python)) - set(bare)):
        command = [python, "-m", "pip", "uninstall", "--yes", "-q", *extra]
        subprocess.run(command, check=True)


def make_environment() -> Path:
    """Make .venv-colab, unless it is there; return its Python."""
    python, ready = VENV / "bin" / "python", VENV / "ready.json"
    pins = NOT_HERE.sub("", COLAB)
    made = {"of": f"{ROOT} {STACK}\n{pins}"}
    if ready.exists():
        bare = json.loads(ready.read_text())
        make_bare(python, bare["has"])  # after a run that was stopped
        if bare == made | {"has": installed(python)}:
            return python
    print("Making .venv-colab ...", flush=True)
    shutil.rmtree(VENV, ignore_errors=True)
    # uv finds a system's Pythons by itself, but not those of pyenv
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    own = sorted(pyenv.glob(f"versions/{PYTHON}.*/bin/python"))
    uv = [sys.executable, "-m", "uv", "--quiet"]
    base = own[-1] if own else PYTHON
    subprocess.run([*uv, "venv", "--python", base, VENV], check=True)
    (VENV / "pins.txt").write_text(pins)
    install = [*uv, "pip", "install", "--python", python, "--no-build"]
    install += ["--constraint", VENV / "pins.txt", *STACK.split()]
    subprocess.run(install, check=True)
    ready.write_text(json.dumps(made | {"has": installed(python)}))
    return python


def choose(words: list[str]) -> list[str]:
    """Return the committed notebooks that the command line asks for."""
    listed = git("ls-tree", "--name-only", "HEAD", "notebooks/").split()
    names = [name for name in listed if name.endswith(".ipynb")]
    if words == ["turn"]:  # two an hour: a commit always has the same
        hour = int(git("log", "-1", "--format=%ct")) // 3600
        return [names[(2 * hour + i) % len(names)] for i in range(2)]
    if lacking := [w for w in words if not any(w in n for n in names)]:
        raise SystemExit(f"no notebook has {lacking} in its name")
    return [n for n in names if not words or any(w in n for w in words)]


def surroundings(python: str | Path, folder: Path) -> dict[str, str]:
    """Return an environment in which the address leads to a clone here."""
    clone = folder / "clone"
    options = ["--bare", "--quiet", "--config", "uploadpack.allowFilter=true"]
    git("clone", *options, ROOT, clone)
    kernel = folder / "share" / "jupyter" / "kernels" / "colab"
    kernel.mkdir(parents=True)
    words = [str(python), "-m", "ipykernel_launcher", "-f"]
    spec = {"argv": [*words, "{connection_file}"], "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    left_out = ("PYTHON", "VIRTUAL_ENV", "PIP_CONSTRAINT", "MPLBACKEND")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(left_out)}
    return kept | {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{clone.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": repository_url(),
        "JUPYTER_PATH": str(folder / "share" / "jupyter"),
        "VITLIB_CACHE": str(folder / "cache"),  # nothing was downloaded yet
    }


def run(name: str, folder: Path, env: dict[str, str]) -> Element:
    """Run a chapter alone in a folder; return nbval's report."""
    alone, report = folder / Path(name).stem, folder / "report.xml"
    alone.mkdir()
    (alone / Path(name).name).write_text(git("show", f"HEAD:{name}"))
    report.unlink(missing_ok=True)
    options = ["--nbval-lax", "--nbval-kernel-name=colab", "--tb=short", "-q"]
    options += ["--nbval-cell-timeout=1200", "-oxfail_strict=true"]
    options += [f"--junitxml={report}", "-ojunit_duration_report=call"]
    command = [sys.executable, "-m", "pytest", *options, Path(name).name]
    result = subprocess.run(command, cwd=alone, env=env, capture_output=True)
    if result.returncode:
        print(result.stdout.decode()[-8000:], result.stderr.decode()[-2000:])
    return parse(report).getroot()[0]


def faults(bare: Releases, after: Releases, report: Element) -> list[str]:
    """Return what went wrong with a chapter, in words."""
    found = [
        f"{name} {bare[name]} became {after.get(name)}"
        for name in bare
        if after.get(name) != bare[name]
    ]
    if "vitlib" in bare or "vitlib" not in after:
        found.append("vitlib was not installed by the first cell")
    if missed := sorted(set(after) - set(bare) & set(of_colab())):
        found.append(f"Colab has {missed} already: add them to STACK")
    first, *rest = report.findall("testcase")
    if float(first.get("time")) > MOST_SECONDS:
        found.append(f"the install took over {MOST_SECONDS} s")
    bad = sum(int(report.get(k)) for k in ("failures", "errors", "skipped"))
    if bad or not rest:
        found.append(f"{bad} of {1 + len(rest)} cells failed")
    return found


def main() -> int:
    """Rehearse the chapters; exit 1 where one has a fault."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("chapters", nargs="*", help="parts of names, or turn")
    parser.add_argument("--python", type=Path, help="the kernel's Python")
    args = parser.parse_args()
    names, failed = choose(args.chapters), 0
    python = args.python or make_environment()
    bare, colab = installed(python), of_colab()
    other = [n for n in bare if bare[n] != colab.get(n)]
    print(f"Not as in Colab: {', '.join(f'{n} {bare[n]}' for n in other)}")
    with tempfile.TemporaryDirectory() as scratch:
        env = surroundings(python, Path(scratch))
        for name in names:
            report = run(name, Path(scratch), env)
            found = faults(bare, after := installed(python), report)
            first = report.find("testcase").get("time")
            new = ", ".join(sorted(set(after) - set(bare)))
            print(
                f"{name}: {report.get('tests')} cells, {report.get('time')} s;"
                f" {first} s installed {new}:",
                "; ".join(found) or "passed",
                flush=True,
            )
            make_bare(python, bare)
            failed += bool(found)
    print(f"{len(names) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
