"""Run the chapters and keep their stored outputs tidy.

    python tools/nb.py run [files]      execute, store the outputs
    python tools/nb.py check [files]    test the stored state, no kernel

Without files, both take every notebook of `notebooks/`. The rules that
`check` holds are in `hygiene.py`, and so is INSTALL_CELL, the first code
cell of every chapter.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import os
import sys
import time
from pathlib import Path

import hygiene
import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"


class ChapterError(Exception):
    """A chapter did not run to its end; the message says where."""


def small_png(data: str) -> str:
    """Store a photograph's figure in 256 colours: a third of the bytes."""
    from PIL import Image

    if len(data) < 100_000:  # charts and maps keep every colour
        return data
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    if picture.mode == "P":  # done before
        return data
    file = io.BytesIO()
    colours = picture.convert("RGB").quantize(
        256, Image.Quantize.MAXCOVERAGE, kmeans=3
    )
    colours.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def tidy_outputs(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Join what one stream wrote, and drop what differs between machines.

    A traceback holds the paths of this machine's files: the page shows
    the error's own line instead, which is also all that nbval compares.
    """
    tidy: list[NotebookNode] = []
    for output in outputs:
        last = tidy[-1] if tidy else None
        if output.output_type == "error":
            message = f"{output.ename}: {output.evalue}"
            output.traceback = [message]
        if "image/png" in output.get("data", {}):
            output.data["image/png"] = small_png(output.data["image/png"])
        if (
            output.output_type == "stream"
            and last is not None
            and last.output_type == "stream"
            and last.name == output.name
        ):
            last.text += output.text
        else:
            tidy.append(output)
    return tidy


def tidy_notebook(nb: NotebookNode) -> None:
    """Bring a notebook to the one form that is committed."""
    nb.nbformat, nb.nbformat_minor = 4, 5
    seen: set[str] = set()
    for index, cell in enumerate(nb.cells):
        cell_id = cell.get("id", "")
        if not cell_id or cell_id in seen:
            text = f"{index} {cell.source}".encode()
            cell_id = hashlib.sha256(text).hexdigest()[:8]
        cell.id = cell_id
        seen.add(cell_id)
        kept = ("tags", "mystnb")
        cell.metadata = nbformat.from_dict(
            {key: cell.metadata[key] for key in kept if key in cell.metadata}
        )
        if hygiene.TITLE.match(cell.source):
            cell.metadata.cellView = "form"  # Colab folds the code away
        if cell.cell_type == "code":
            cell.outputs = tidy_outputs(cell.outputs)
        else:
            cell.pop("outputs", None)
            cell.pop("execution_count", None)
    run_of = {"vitlib": {"run": hygiene.fingerprint(nb)}}
    nb.metadata = nbformat.from_dict({**hygiene.KERNEL, **run_of})


def execute(nb: NotebookNode, timeout: int) -> None:
    """Run all cells in a fresh kernel; raise ChapterError where one fails."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    client = NotebookClient(
        nb,
        timeout=timeout,
        kernel_name="python3",
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(NOTEBOOKS)}},
    )
    try:
        client.execute()
    except CellExecutionError as error:
        raise ChapterError(str(error)) from error
    except (RuntimeError, TimeoutError) as error:  # a dead or stuck kernel
        raise ChapterError(f"{type(error).__name__}: {error}") from error


def store(nb: NotebookNode, path: Path) -> bool:
    """Write the notebook when it differs from the file; all or nothing."""
    text = nbformat.writes(nb)
    if not text.endswith("\n"):
        text += "\n"
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    part = path.with_suffix(".ipynb.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
    return True


def run(paths: list[Path], timeout: int) -> int:
    """Execute chapters and store their outputs; return the failures."""
    # Sums depend on the number of threads in their last digit.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    failures = 0
    for path in paths:
        start = time.perf_counter()
        nb = nbformat.read(path, as_version=4)
        tidy_notebook(nb)
        try:
            execute(nb, timeout)
        except ChapterError as error:
            failures += 1
            print(f"{path.name}: FAILED, file left as it was\n{error}")
            continue
        tidy_notebook(nb)
        state = "stored" if store(nb, path) else "unchanged"
        seconds = time.perf_counter() - start
        print(f"{path.name}: {state}, {seconds:.1f} s", flush=True)
    return failures + check(paths)


def check(paths: list[Path]) -> int:
    """Print every fault in the stored state; return how many there are."""
    count = 0
    for path in paths:
        for fault in hygiene.faults(path):
            print(f"{path.name}: {fault}")
            count += 1
    if not count:
        print(f"{len(paths)} notebooks checked, no fault")
    return count


def main() -> int:
    """Read the command line; exit 1 on any failure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=("run", "check"))
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--timeout", type=int, default=1200, metavar="S")
    args = parser.parse_args()
    paths = args.files or sorted(NOTEBOOKS.glob("*.ipynb"))
    if not paths:
        print(f"no notebook in {NOTEBOOKS.name}/")
        return 1
    count = run(paths, args.timeout) if args.command == "run" else check(paths)
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
