"""Write the lock files: every package with its release and its SHA-256.

    python tools/lock.py

`requirements.lock` has all that requirements.txt needs, on every system and
Python from 3.10 to 3.13, with PyTorch's small CPU build as well as the
package index's own. The latter needs CUDA's libraries on Linux, too: they
are in `requirements-cuda.lock`.

    pip install --require-hashes -r requirements.lock
    pip install --require-hashes -r requirements.lock -r requirements-cuda.lock
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEAD = "# Written by tools/lock.py from requirements.txt.\n"
CUDA = re.compile(r"(nvidia-|cuda-|triton)")
CPU_BUILD = (  # torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl
    "torch==2.13.0",
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
    return re.findall(r"^[^#\s].*\n(?:    .*\n)*", text, re.MULTILINE)


def main() -> None:
    """Resolve, part what is CUDA's, and write both files."""
    plain, cuda = HEAD, HEAD
    pin, sha256 = CPU_BUILD
    for block in blocks(compiled()):
        if re.match(rf"{re.escape(pin)}\s", block):
            block = f"{block.rstrip()} \\\n    --hash=sha256:{sha256}\n"
        if CUDA.match(block):
            cuda += block
        else:
            plain += block
    (ROOT / "requirements.lock").write_text(plain, encoding="utf-8")
    (ROOT / "requirements-cuda.lock").write_text(cuda, encoding="utf-8")


if __name__ == "__main__":
    main()
