"""The state a committed chapter must be in, checked without a kernel.

nbval runs the cells and compares the checked outputs; these rules close
the holes that it leaves, and keep a chapter readable on a page, on GitHub
and in Colab alike. Each rule is a function from a notebook to its faults.
"""

from __future__ import annotations

import base64
import dis
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from types import CodeType

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
Faults = Iterator[str]


def repository_url() -> str:
    """Return the address of the repository, as `_config.yml` has it."""
    text = (ROOT / "_config.yml").read_text(encoding="utf-8")
    return re.search(r"^  url: (\S+)$", text, re.MULTILINE).group(1)


# The first code cell of every chapter, the same in all of them.
INSTALL_CELL = f'''\
# In Colab this installs the book's package; elsewhere it does nothing.
from importlib.util import find_spec

REPOSITORY = "{repository_url()}"
if find_spec("vitlib") is None:
    %pip install -q "vitlib[book] @ git+{{REPOSITORY}}"
HELP = "pip says above why it failed. Does REPOSITORY open? Run this again."
assert find_spec("vitlib"), HELP\
'''

KERNEL = {
    "kernelspec": {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    },
    "language_info": {"name": "python"},
}

# A misspelt tag would disarm the test it asks for, so only these exist.
TAGS = {
    "hide-cell",
    "nbval-check-output",
    "nbval-skip",
    "raises-exception",
    "skip-execution",
    "widget-attention-05",  # in the book the figure comes alive: WIDGET
    "widget-attention-14",
    "widget-attention-15",
    "widget-patches",
    "widget-positions",
    "widget-shuffle",
}
WIDGET = "widget-"  # a tag that starts so names one of book/_static/widgets
MAX_LINES, MEDIAN_LINES, MAX_WIDTH = 20, 8, 79
MAX_IMAGE = 150_000  # bytes, so that a page of ten figures opens on a phone
MIN_ALT = 30  # characters: a sentence, not a word

FOLDERS = "home|root|tmp|work|Users|usr|opt|var|mnt|content"
ABSOLUTE = re.compile(rf"(?<![\w.)\]-])/(?:{FOLDERS})\b|\b[A-Z]:\\[A-Za-z]")
CODE_SPAN = re.compile(r"(?<![`}])(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
ROLE = re.compile(r"\{[a-zA-Z][\w:.+-]*\}`")
FENCED = re.compile(r"^ *(```|~~~)(.*?)^ *\1 *$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(!?)\[[^\]]*\]\(<?([^)\s>]+)>?[^)]*\)")
DIAGRAM = re.compile(r'<svg [^>]*class="vit-diagram"')
TITLE = re.compile(r"# @title Solution (\d+)")
EXERCISE = re.compile(r"^(?:#+ |\*\*)Exercise (\d+)", re.MULTILINE)


def tags(cell: NotebookNode) -> set[str]:
    """Return the tags of a cell."""
    return set(cell.metadata.get("tags", ()))


def code_cells(nb: NotebookNode) -> Iterator[tuple[str, NotebookNode]]:
    """Yield the code cells, each with the words that name its place."""
    for number, cell in enumerate(nb.cells, 1):
        if cell.cell_type == "code":
            yield f"cell {number}", cell


def markdown_cells(nb: NotebookNode) -> Iterator[tuple[str, NotebookNode]]:
    """Yield the Markdown cells, each with the words that name its place."""
    for number, cell in enumerate(nb.cells, 1):
        if cell.cell_type == "markdown":
            yield f"cell {number}", cell


def output_texts(cell: NotebookNode) -> Iterator[str]:
    """Yield every piece of text that a code cell's outputs hold."""
    for output in cell.outputs:
        yield output.get("text", "")
        yield "\n".join(output.get("traceback", []))
        for mime, data in output.get("data", {}).items():
            if not mime.startswith("image/") and isinstance(data, str):
                yield data


def fingerprint(nb: NotebookNode) -> str:
    """Return a digest of what a run stores: code, tags, counts, outputs.

    The first code cell is left out: `check_install` holds its text, which
    changes with the repository's address.
    """
    stored = [
        (cell.source, sorted(tags(cell)), cell.execution_count, cell.outputs)
        for _, cell in code_cells(nb)
    ]
    text = json.dumps(stored[1:], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_run(nb: NotebookNode) -> Faults:
    """No code cell was edited, moved or deleted after the stored run."""
    if nb.metadata.get("vitlib") != {"run": fingerprint(nb)}:
        yield (
            "code or outputs are not those of the stored run; "
            "run tools/nb.py run"
        )


def check_kernel(nb: NotebookNode) -> Faults:
    """Nothing of one machine's Python stays in the file."""
    if {**nb.metadata, "vitlib": None} != {**KERNEL, "vitlib": None}:
        yield f"metadata must be {KERNEL}; run tools/nb.py run"
    ids = [cell.get("id") for cell in nb.cells]
    if len(set(ids)) < len(ids) or not all(ids):
        yield "each cell needs an id of its own; run tools/nb.py run"


def check_counts(nb: NotebookNode) -> Faults:
    """Run from top to bottom in a fresh kernel: counts are 1 to n."""
    for number, (where, cell) in enumerate(code_cells(nb), 1):
        if not cell.source.strip():
            yield f"{where}: is empty"
        if cell.execution_count != number:
            yield (
                f"{where}: execution count {cell.execution_count} where "
                f"{number} is due; run tools/nb.py run"
            )
        for output in cell.outputs:
            if output.get("execution_count", number) != number:
                yield f"{where}: output is of another run"


def check_checked(nb: NotebookNode) -> Faults:
    """At least two cells have a stored output that nbval compares."""
    count = 0
    for where, cell in code_cells(nb):
        if "nbval-check-output" in tags(cell):
            count += bool(cell.outputs)
            if not cell.outputs:
                yield f"{where}: nbval-check-output without a stored output"
            for output in cell.outputs:
                if any(m.startswith("image/") for m in output.get("data", {})):
                    yield f"{where}: nbval compares no image; check a number"
    if count < 2:
        yield f"{count} cells tagged nbval-check-output; 2 are due"


def check_outputs(nb: NotebookNode) -> Faults:
    """No stderr, no SVG but a diagram, no widget, no address, no repr."""
    for where, cell in code_cells(nb):
        for output in cell.outputs:
            data = output.get("data", {})
            if output.get("name") == "stderr":
                yield f"{where}: wrote to stderr"
            for mime in data:
                if DIAGRAM.match(data.get("image/svg+xml", "")):
                    continue
                if "svg" in mime or "widget" in mime or "javascript" in mime:
                    yield f"{where}: output of type {mime}"
            text = data.get("text/plain", "") + output.get("text", "")
            if re.search(r"\bat 0x[0-9a-f]{6,}", text):
                yield f"{where}: output holds a memory address"
            images = [mime for mime in data if mime.startswith("image/")]
            if "<Figure size" in text and not images:
                yield f"{where}: shows a figure's repr; end with plt.show()"
            if "<matplotlib." in text:
                yield f"{where}: shows a plot's repr; end with plt.show()"


def check_errors(nb: NotebookNode) -> Faults:
    """An error is shown on purpose only, and its message is compared."""
    both = {"raises-exception", "nbval-check-output"}
    for where, cell in code_cells(nb):
        raised = any(o.output_type == "error" for o in cell.outputs)
        wanted = "raises-exception" in tags(cell)
        if wanted and not both <= tags(cell):
            yield f"{where}: raises-exception needs nbval-check-output too"
        if wanted and not raised:
            yield f"{where}: tagged raises-exception and raised nothing"
        if raised and not wanted:
            yield f"{where}: raised an error and is not tagged for it"


def check_tags(nb: NotebookNode) -> Faults:
    """Tags are known ones; the two that skip a cell come together."""
    for where, cell in code_cells(nb):
        if unknown := tags(cell) - TAGS:
            yield f"{where}: unknown tags {sorted(unknown)}"
        if len(tags(cell) & {"skip-execution", "nbval-skip"}) == 1:
            yield f"{where}: skip-execution and nbval-skip come together"
        images = [
            mime
            for output in cell.outputs
            for mime in output.get("data", {})
            if mime.startswith("image/")
        ]
        if any(tag.startswith(WIDGET) for tag in tags(cell)) and not images:
            yield f"{where}: a widget needs a figure for pages without scripts"
        if "NBVAL_" in cell.source:
            yield f"{where}: NBVAL_ comment; use a tag, the page hides it"


def check_source(nb: NotebookNode) -> Faults:
    """Short cells, short lines, no trick that hides what happens."""
    lengths = []
    for number, (where, cell) in enumerate(code_cells(nb)):
        lines = cell.source.splitlines()
        lengths.append(len(lines))
        if len(lines) > MAX_LINES:
            yield f"{where}: {len(lines)} lines; at most {MAX_LINES}"
        for line in lines:
            if len(line) > MAX_WIDTH:
                yield f"{where}: line of {len(line)} characters: {line[:30]}"
            if line.rstrip().endswith(";"):
                yield f"{where}: ends with ';', which nbval does not honour"
            if number and re.match(r"\s*[%!]", line):
                yield f"{where}: magic or shell command {line.strip()[:30]}"
            if "filterwarnings" in line:
                yield f"{where}: hides warnings; remove their cause"
    if lengths and median(lengths) > MEDIAN_LINES:
        yield f"median of {median(lengths)} lines a cell; at most 8"


def check_paths(nb: NotebookNode) -> Faults:
    """No absolute path of any machine, in what is written or printed."""
    for number, cell in enumerate(nb.cells, 1):
        texts = [cell.source]
        if cell.cell_type == "code":
            texts += output_texts(cell)
        for text in texts:
            if found := ABSOLUTE.search(text):
                yield f"cell {number}: absolute path at {found.group()}"


def check_install(nb: NotebookNode) -> Faults:
    """The first code cell makes a bare Colab ready; it is one text."""
    first = next((cell for _, cell in code_cells(nb)), None)
    if first is None or first.source != INSTALL_CELL:
        yield f"the first code cell must be exactly:\n{INSTALL_CELL}"


def check_proof(nb: NotebookNode) -> Faults:
    """What was built by hand is compared with the package."""
    code = "\n".join(cell.source for _, cell in code_cells(nb))
    if not re.search(r"^[^#\n]*\bassert_close\(", code, re.MULTILINE):
        yield "no cell calls torch.testing.assert_close"


def check_images(nb: NotebookNode) -> Faults:
    """Each image is small, and its alt text says what it shows."""
    for where, cell in code_cells(nb):
        for output in cell.outputs:
            for mime, data in output.get("data", {}).items():
                if not mime.startswith("image/"):
                    continue
                coded = "svg" not in mime
                size = len(base64.b64decode(data) if coded else data)
                if size > MAX_IMAGE:
                    yield f"{where}: image of {size} bytes; most {MAX_IMAGE}"
                image = cell.metadata.get("mystnb", {}).get("image", {})
                alt = image.get("alt", "").strip()
                if len(alt) < MIN_ALT:
                    yield (
                        f"{where}: alt text {alt!r}; say in at least "
                        f"{MIN_ALT} characters what is to be seen, in the "
                        "cell's metadata mystnb.image.alt"
                    )
                if re.search(r"\.(png|jpe?g|svg)\b", alt):
                    yield f"{where}: alt text is a file name"


def check_markdown(nb: NotebookNode) -> Faults:
    """Plain Markdown only: Colab shows MyST's syntax as raw text."""
    for where, cell in markdown_cells(nb):
        for fence in re.finditer(
            r"^ *(?:```+|~~~+) *\{", cell.source, re.MULTILINE
        ):
            yield f"{where}: MyST directive {fence.group().strip()}"
        text = CODE_SPAN.sub("", FENCED.sub("", cell.source))
        if role := ROLE.search(text):
            yield f"{where}: MyST role {role.group()}"
        if re.search(r"^ *:{3,}", text, re.MULTILINE):
            yield f"{where}: MyST directive :::"


def check_links(nb: NotebookNode) -> Faults:
    """Links to files of the repository lead to files that exist."""
    blob = f"{repository_url()}/blob/main/"
    for where, cell in markdown_cells(nb):
        text = CODE_SPAN.sub("", FENCED.sub("", cell.source))
        for image, target in LINK.findall(text):
            path = target.partition("#")[0]
            if path.startswith(blob):
                file = ROOT / path[len(blob) :]
            elif re.match(r"[a-z]+:", path) or not path:
                if image:
                    yield f"{where}: image from elsewhere {target}"
                continue
            else:
                file = ROOT / "notebooks" / path
            if not file.exists():
                yield f"{where}: link to {target}: no such file"


def check_exercises(nb: NotebookNode) -> Faults:
    """Three to five exercises, each with its solution, folded away."""
    asked: list[int] = []
    solved: list[int] = []
    for _, cell in markdown_cells(nb):
        asked += [int(number) for number in EXERCISE.findall(cell.source)]
    for where, cell in code_cells(nb):
        title = TITLE.match(cell.source)
        if title:
            solved.append(int(title.group(1)))
            if cell.metadata.get("cellView") != "form":
                yield f"{where}: open in Colab; run tools/nb.py run"
        if bool(title) != ("hide-cell" in tags(cell)):
            yield (
                f"{where}: a solution has the tag hide-cell and the first "
                "line '# @title Solution 1'"
            )
    if asked != list(range(1, len(asked) + 1)) or not 3 <= len(asked) <= 5:
        yield (
            f"exercises {asked}; 3 to 5 are due, each opened by a line "
            "'**Exercise 1' or '### Exercise 1'"
        )
    if sorted(set(solved)) != asked:
        yield f"solutions {solved} for exercises {asked}"


def names(code: CodeType, own: frozenset = frozenset()) -> tuple[set, set]:
    """Return the names that a cell gives, and those it takes from others."""
    gives: set[str] = set()
    takes: set[str] = set()
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_NAME", "LOAD_GLOBAL"):
            takes |= {step.argval} - gives - own
        elif step.opname in ("STORE_NAME", "STORE_GLOBAL"):
            gives.add(step.argval)
        elif isinstance(step.argval, CodeType):  # what a function takes
            takes |= names(step.argval, own | gives)[1]
    return gives, takes


def check_names(nb: NotebookNode) -> Faults:
    """Who runs a cell again finds the names as the chapter left them."""
    imported: set[str] = set()
    taken, given = {}, {}
    for where, cell in list(code_cells(nb))[1:]:  # but for the install cell
        source = re.sub(r"(?m)^\s*[%!].*$", "", cell.source)
        gives, takes = names(compile(source, where, "exec"))
        imported |= gives & {"vitlib"}
        solution = "hide-cell" in tags(cell)
        for name in gives if solution else takes:
            (given if solution else taken).setdefault(name, where)
    for name in sorted(given.keys() & taken.keys()):
        yield (
            f"{given[name]}: a solution gives {name} another meaning, and "
            f"{taken[name]} needs it; take another name"
        )
    for where, cell in markdown_cells(nb):
        if "`vitlib." in cell.source and not imported:
            yield f"{where}: says vitlib. where nothing imports vitlib"


CHECKS: tuple[Callable[[NotebookNode], Faults], ...] = (
    check_run,
    check_kernel,
    check_counts,
    check_checked,
    check_outputs,
    check_errors,
    check_tags,
    check_source,
    check_paths,
    check_install,
    check_proof,
    check_images,
    check_markdown,
    check_links,
    check_exercises,
    check_names,
)


def faults(path: Path) -> list[str]:
    """Return all that is wrong with a notebook, in words."""
    # read as it is: nbformat.read would mend some faults
    nb = nbformat.v4.reads(path.read_text(encoding="utf-8"))
    found = [fault for check in CHECKS for fault in check(nb)]
    number = int(re.match(r"\d*", path.name).group() or 0)
    if not nb.cells or not nb.cells[0].source.startswith(f"# {number}. "):
        found.append(f"the first cell must open with '# {number}. Title'")
    return found
