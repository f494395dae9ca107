"""How long each chapter runs, on one thread.

    python experiments/run_times.py [notebooks]     default: all of them

The CPU time of the chapter's kernel, start and imports included, so that
other work on the machine does not count. The notebooks stay as they are.
Writes results/run_times.json after each chapter.
"""

import os
import resource
import sys
from pathlib import Path

import nbformat
from machine import describe, save

from vitlib.results import load_results

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tools"))
sys.path.append(str(ROOT / "book" / "_ext"))

import nb as nb_tool  # noqa: E402
from chapter_times import code_lines  # noqa: E402


def cpu_seconds() -> float:
    """Return the CPU time of the kernels that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure, and store after each chapter."""
    os.environ["OMP_NUM_THREADS"] = "1"
    paths = [Path(name) for name in sys.argv[1:]]
    for path in paths or sorted((ROOT / "notebooks").glob("*.ipynb")):
        nb = nbformat.read(path, as_version=4)
        before = cpu_seconds()
        nb_tool.execute(nb, timeout=600)
        found = {
            "cpu_seconds": round(cpu_seconds() - before, 1),
            "code_lines": code_lines(nb),
        }
        try:
            chapters = load_results("run_times")["chapters"]
        except FileNotFoundError:
            chapters = {}
        chapters = dict(sorted((chapters | {path.stem: found}).items()))
        machine = describe()
        del machine["malloc"]  # of the script's own process, not the kernel's
        save("run_times", {"machine": machine, "chapters": chapters})
        print(f"{path.name}: {found['cpu_seconds']} s", flush=True)


if __name__ == "__main__":
    main()
