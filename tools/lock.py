"""Write the lock files: every package with its release and its SHA-256.

    python tools/lock.py

`requirements.lock` has all that requirements.txt needs but PyTorch, on every
system and Python from 3.10 to 3.13. Two files include it. One adds the
package index's PyTorch, which on Linux needs CUDA's libraries; the other
adds PyTorch's small CPU build, for Linux and the book's own Python.

    pip install --require-hashes -r requirements-index.lock
    pip install --require-hashes -r requirements-cpu.lock
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEAD = "# Written by tools/lock.py from requirements.txt.\n"
PYTORCH = re.compile(r"(torch=|nvidia-|cuda-|triton=)")
CPU_BUILD = (  # torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl
    "torch==2.13.0+cpu",
    "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",
)


def compiled() -> str:
    """Return what uv resolves, without comments."""
    command = [sys.executable, "-m", "uv", "--quiet", "--no-config"]
    command += ["pip", "compile", "requirements.txt", "--universal"]
    command += ["--python-version", "3.10", "--generate-hashes"]
    command += ["--no-annotate", "--no-header"]
    return subprocess.check_output(command, cwd=ROOT, text=True)


def blocks(text: str) -> list[str]:
    """Return a lock file's entries, each with its hashes."""
    return re.findall(r"^[a-z].*\n(?:    .*\n)*", text, re.MULTILINE)


def main() -> None:
    """Resolve, part what is PyTorch's, and write the files."""
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    include = f"{HEAD}-r requirements.lock\n"
    pin, sha256 = CPU_BUILD
    files = {"": HEAD, "-index": include}
    files["-cpu"] = f"{include}{pin} \\\n    --hash=sha256:{sha256}\n"
    for block in blocks(compiled()):
        files["-index" if PYTORCH.match(block) else ""] += block
    for name, text in files.items():
        path = ROOT / f"requirements{name}.lock"
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
