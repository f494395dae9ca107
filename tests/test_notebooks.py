"""Every chapter is in the state that tools/hygiene.py asks for.

The second half makes one small notebook without a fault, spoils it in one
way at a time, and expects the rule concerned to say so.
"""

import base64
import os
import re
import subprocess
import sys
from itertools import islice, pairwise
from pathlib import Path

import hygiene
import nb as nb_tool
import nbformat
import pytest
from nbformat.v4 import (
    new_code_cell,
    new_markdown_cell,
    new_notebook,
    new_output,
)

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ALT = "A grid of seven by seven patches of a photograph of a cat."
MESSAGE = "ValueError: P=5 does not divide H=8"


def test_there_are_chapters():
    assert CHAPTERS


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapter(path):
    found = hygiene.faults(path)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_shown_code_is_the_code_of_today(path):
    files = [file.read_text("utf-8") for file in ROOT.glob("vitlib/**/*.py")]
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            text = output.get("data", {}).get("text/markdown", "")
            if not text.startswith("```python\n"):
                continue
            for shown in (
                text.strip("`").removeprefix("python\n").split("\n\n\n")
            ):
                assert any(shown.strip("\n") in file for file in files), (
                    f"{cell.id} shows old code; `make run` it again:\n{shown}"
                )


DIAGRAM = '<svg xmlns="http://www.w3.org/2000/svg" class="vit-diagram"></svg>'


def printed(text):
    """Return the output of a print."""
    return [new_output("stream", name="stdout", text=text)]


def picture(size=100):
    """Return the output of a figure of so many bytes."""
    data = base64.b64encode(bytes(size)).decode()
    return [new_output("display_data", data={"image/png": data})]


def drawing():
    """Return the output of a diagram."""
    return [new_output("display_data", data={"image/svg+xml": DIAGRAM})]


def good_notebook():
    """Return a notebook in which no rule finds a fault."""
    error = new_output(
        "error", ename="ValueError", evalue="P", traceback=[MESSAGE]
    )
    checked = {"tags": ["nbval-check-output"]}
    cells = [
        new_markdown_cell("# 2. Patches\n\nSee `{x}` and `y{z}`, $e^{x}$."),
        new_code_cell(hygiene.INSTALL_CELL),
        new_code_cell("print(1)", outputs=printed("1\n"), metadata=checked),
        new_code_cell("print(2)", outputs=printed("2\n"), metadata=checked),
        new_code_cell("torch.testing.assert_close(1, 1)"),
        new_code_cell(
            "plot()\nplt.show()",
            outputs=[*picture(), *drawing()],
            metadata={"mystnb": {"image": {"alt": ALT}}},
        ),
        new_code_cell(
            "patchify(images, 5)",
            outputs=[error],
            metadata={"tags": ["raises-exception", "nbval-check-output"]},
        ),
        new_markdown_cell("[module](../vitlib/patches.py)"),
    ]
    for number in (1, 2, 3):
        cells += [
            new_markdown_cell(f"**Exercise {number}.** Why?"),
            new_code_cell(
                f"# @title Solution {number}\nprint({number})",
                outputs=printed(f"{number}\n"),
                metadata={"tags": ["hide-cell"]},
            ),
        ]
    nb = new_notebook(cells=cells)
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, 1):
        cell.execution_count = number
    nb_tool.tidy_notebook(nb)
    return nb


def faults_of(nb, folder):
    """Write a notebook and return its faults."""
    path = folder / "02_made.ipynb"
    path.write_text(nbformat.v4.writes(nb), encoding="utf-8")  # unchecked
    return hygiene.faults(path)


def test_the_made_notebook_has_no_fault(tmp_path):
    assert faults_of(good_notebook(), tmp_path) == []


FAULTS = {}


def fault(words):
    """Register a way to spoil the notebook, and words of the message."""

    def register(spoil):
        FAULTS[spoil.__name__] = (spoil, words)
        return spoil

    return register


@fault("not those of the stored run")
def assertion_deleted(nb):
    nb.cells[4].source = "pass"


@fault("not those of the stored run")
def check_disarmed(nb):
    nb.cells[2].metadata.tags = []


@fault("metadata must be")
def another_kernel(nb):
    nb.metadata.kernelspec.name = "my-env"


@fault("metadata must be")
def python_version_kept(nb):
    nb.metadata.language_info.version = "3.11.7"


@fault("id of its own")
def same_ids(nb):
    nb.cells[2].id = nb.cells[3].id


@fault("execution count None where 2 is due")
def not_run(nb):
    nb.cells[2].execution_count = None


@fault("execution count 9 where 3 is due")
def run_out_of_order(nb):
    nb.cells[3].execution_count = 9


@fault("is empty")
def empty_cell(nb):
    nb.cells[4].source = ""


@fault("without a stored output")
def outputs_stripped(nb):
    nb.cells[2].outputs = []


@fault("2 are due")
def too_few_checked(nb):
    for cell in nb.cells[2:7]:
        cell.metadata.pop("tags", None)


@fault("nbval compares no image")
def image_checked(nb):
    nb.cells[5].metadata.tags = ["nbval-check-output"]


@fault("wrote to stderr")
def stderr_kept(nb):
    nb.cells[2].outputs += [new_output("stream", name="stderr", text="x")]


@fault("output of type image/svg+xml")
def svg_kept(nb):
    svg = new_output("display_data", data={"image/svg+xml": "<svg/>"})
    nb.cells[2].outputs += [svg]


@fault("output of type image/svg+xml")
def figure_as_svg(nb):
    data = {"image/svg+xml": '<svg><g class="vit-diagram"/></svg>'}
    nb.cells[2].outputs += [new_output("display_data", data=data)]


@fault("alt text ''")
def diagram_without_alt(nb):
    nb.cells[2].outputs += drawing()


@fault("image of ")
def heavy_diagram(nb):
    data = {"image/svg+xml": DIAGRAM + " " * 150_000}
    nb.cells[5].outputs = [new_output("display_data", data=data)]


@fault("output of type application/vnd.jupyter.widget-view+json")
def widget_kept(nb):
    data = {"application/vnd.jupyter.widget-view+json": {}}
    nb.cells[2].outputs += [new_output("display_data", data=data)]


@fault("memory address")
def address_printed(nb):
    nb.cells[2].outputs = printed("<object at 0x7f3a2b1c>\n")


@fault("a plot's repr")
def plot_repr(nb):
    data = {"text/plain": "[<matplotlib.lines.Line2D>]"}
    nb.cells[2].outputs += [new_output("display_data", data=data)]


@fault("a figure's repr")
def figure_repr(nb):
    data = {"text/plain": "<Figure size 640x480 with 1 Axes>"}
    nb.cells[2].outputs += [new_output("display_data", data=data)]


@fault("raised an error and is not tagged")
def error_not_meant(nb):
    nb.cells[6].metadata.tags = ["nbval-check-output"]


@fault("raises-exception needs nbval-check-output")
def error_not_compared(nb):
    nb.cells[6].metadata.tags = ["raises-exception"]


@fault("raised nothing")
def error_gone(nb):
    nb.cells[6].outputs = printed("fine\n")


@fault("come together")
def half_a_skip(nb):
    nb.cells[4].metadata.tags = ["skip-execution"]


@fault("unknown tags ['nbval-check-ouput']")
def misspelt_tag(nb):
    nb.cells[2].metadata.tags = ["nbval-check-ouput"]


@fault("NBVAL_ comment")
def comment_marker(nb):
    nb.cells[2].source = "# NBVAL_IGNORE_OUTPUT\nprint(1)"


@fault("ends with ';'")
def semicolon(nb):
    nb.cells[2].source = "print(1);"


@fault("21 lines; at most 20")
def long_cell(nb):
    nb.cells[4].source += "\npass" * 20


@fault("median of 9 lines")
def long_cells(nb):
    for cell in nb.cells[2:7]:
        cell.source += "\npass" * (8 - cell.source.count("\n"))
    for cell in nb.cells[9::2]:
        cell.source += "\npass" * 8


@fault("line of 80 characters")
def wide_line(nb):
    nb.cells[4].source += "\n" + "x" * 80


@fault("magic or shell command")
def magic(nb):
    nb.cells[4].source += "\n%timeit f()"


@fault("hides warnings")
def warnings_hidden(nb):
    nb.cells[4].source += "\nwarnings.filterwarnings('ignore')"


@fault("absolute path at /home")
def path_in_source(nb):
    nb.cells[4].source += "\nopen('/home/me/x')"


@fault("absolute path at /root")
def path_in_output(nb):
    nb.cells[2].outputs = printed("saved to /root/x\n")


@fault("absolute path at /tmp")
def path_in_prose(nb):
    nb.cells[0].source += " It is in /tmp."


@fault("absolute path at C:")
def windows_path(nb):
    nb.cells[4].source += "\nopen(r'C:\\Users\\me')"


@fault("the first code cell must be")
def install_cell_changed(nb):
    nb.cells[1].source += "\n"


@fault("no cell calls torch.testing.assert_close")
def nothing_proved(nb):
    nb.cells[4].source = "# assert_close(x, y)\nx = 1"


@fault("alt text ''")
def no_alt(nb):
    nb.cells[5].metadata.pop("mystnb")


@fault("alt text 'A plot.'")
def short_alt(nb):
    nb.cells[5].metadata.mystnb.image.alt = "A plot."


@fault("alt text is a file name")
def file_as_alt(nb):
    alt = "../_build/html/_images/0123456789abcdef.png"
    nb.cells[5].metadata.mystnb.image.alt = alt


@fault("image of 150001 bytes")
def large_image(nb):
    nb.cells[5].outputs = picture(150_001)


@fault("MyST role {ref}`")
def myst_role(nb):
    nb.cells[0].source += " See {ref}`fig-x`."


@fault("MyST directive :::")
def colon_fence(nb):
    nb.cells[0].source += "\n\n:::{note}\nx\n:::"


@fault("MyST directive ```{")
def directive(nb):
    nb.cells[0].source += "\n\n```{note}\nx\n```"


@fault("link to ../vitlib/nothing.py: no such file")
def broken_link(nb):
    nb.cells[7].source = "[module](../vitlib/nothing.py)"


@fault("no such file")
def broken_link_to_repository(nb):
    url = f"{hygiene.repository_url()}/blob/main/vitlib/nothing.py"
    nb.cells[7].source = f"[module]({url})"


@fault("image from elsewhere")
def remote_image(nb):
    nb.cells[7].source = "![a cat](https://example.org/cat.png)"


@fault("3 to 5 are due")
def two_exercises(nb):
    del nb.cells[-2:]


@fault("solutions [1, 2] for exercises [1, 2, 3]")
def exercise_without_solution(nb):
    del nb.cells[-1]


@fault("a solution has the tag hide-cell")
def solution_open(nb):
    nb.cells[-1].metadata.tags = []


@fault("a solution has the tag hide-cell")
def hidden_without_title(nb):
    nb.cells[-1].source = "print(3)"


@fault("open in Colab")
def open_in_colab(nb):
    nb.cells[-1].metadata.pop("cellView")


@fault("a solution gives images another meaning, and cell 7 needs it")
def solution_takes_a_name(nb):
    nb.cells[-1].source = "# @title Solution 3\nimages = 3"


@fault("a solution gives plot another meaning, and cell 6 needs it")
def solution_defines_a_name(nb):
    nb.cells[5].source = "def show():\n    plot()"
    nb.cells[-1].source = "# @title Solution 3\ndef plot():\n    pass"


@fault("says vitlib. where nothing imports vitlib")
def names_what_is_not_there(nb):
    nb.cells[-2].source += " `vitlib.check` grades it."


@fault("must open with '# 2. Title'")
def wrong_number(nb):
    nb.cells[0].source = "# 3. Patches"


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_noticed(name, tmp_path):
    spoil, words = FAULTS[name]
    nb = good_notebook()
    spoil(nb)
    assert any(words in found for found in faults_of(nb, tmp_path))


def test_a_solution_may_use_the_names_of_the_chapter(tmp_path):
    """And one that the chapter gives itself before it takes it."""
    nb = good_notebook()
    nb.cells[2].source = "count = 1\nprint(count)"
    nb.cells[-1].source = "# @title Solution 3\ncount = 2\nprint(images)"
    nb_tool.tidy_notebook(nb)
    assert faults_of(nb, tmp_path) == []


def test_every_rule_can_fail(tmp_path):
    failed = set()
    for spoil, _ in FAULTS.values():
        nb = good_notebook()
        spoil(nb)
        failed |= {check for check in hygiene.CHECKS if list(check(nb))}
    assert failed == set(hygiene.CHECKS)


def edit_an_output(cells):
    for cell in cells:
        for output in cell.outputs:
            text = output.get("data", output)
            for key in ("text", "text/plain", "text/markdown", "image/png"):
                if key in text:
                    yield text, key, text[key][:-1] + "~"


def swap_two_cells(cells):
    for one, other in pairwise(cells[1:]):
        yield (one, "source", other.source), (other, "source", one.source)


def swap_two_cells_and_count_anew(cells):
    for one, other in pairwise(cells[1:]):
        yield tuple(
            (to, key, of[key])
            for to, of in ((one, other), (other, one))
            for key in ("source", "outputs", "metadata", "id")
        )


def delete_an_assertion(cells):
    for cell in cells[1:]:
        lines = cell.source.split("\n")
        for number, line in enumerate(lines):
            if re.match(r"\s*(assert |\S*assert_close\()", line):
                left = [*lines[:number], *lines[number + 1 :]]
                yield cell, "source", "\n".join(left)


def delete_an_output(cells):
    for cell in cells:
        for number in range(len(cell.outputs)):
            left = cell.outputs[:number] + cell.outputs[number + 1 :]
            yield cell, "outputs", left


def change_a_count(cells):
    for cell in cells:
        yield cell, "execution_count", cell.execution_count + 1


def edit_a_number(cells):
    for cell in cells[1:]:
        for found in re.finditer(r"\d(?!\w)", cell.source):
            digit = str((int(found.group()) + 1) % 10)
            text = cell.source[: found.start()] + digit
            yield cell, "source", text + cell.source[found.end() :]


def remove_a_tag(cells):
    for cell in cells:
        for tag in cell.metadata.get("tags", []):
            left = [t for t in cell.metadata.tags if t != tag]
            yield cell.metadata, "tags", left


MUTATIONS = [
    edit_an_output,
    swap_two_cells,
    swap_two_cells_and_count_anew,
    delete_an_assertion,
    delete_an_output,
    change_a_count,
    edit_a_number,
    remove_a_tag,
]


@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_an_edit_without_a_run_is_noticed(path, mutate):
    """A place is edited and restored: every tenth, or VITLIB_EDITS=all."""
    nb = nbformat.read(path, as_version=4)
    cells = [cell for cell in nb.cells if cell.cell_type == "code"]
    rules = (hygiene.check_counts, hygiene.check_run)
    step = 1 if os.environ.get("VITLIB_EDITS") == "all" else 10
    count = 0
    for edits in islice(mutate(cells), 0, None, step):
        edits = edits if isinstance(edits[0], tuple) else (edits,)
        before = [(node, key, node[key]) for node, key, _ in edits]
        for node, key, value in edits:
            node[key] = value
        assert any(list(rule(nb)) for rule in rules), (before, edits)
        for node, key, value in before:
            node[key] = value
        count += 1
    assert count
    print(f"{count} mutants, all noticed")  # pytest -s shows them
    assert not any(list(rule(nb)) for rule in rules)


def test_run_stores_outputs_once_and_keeps_a_failing_file(tmp_path):
    path = tmp_path / "02_made.ipynb"
    nb = new_notebook(cells=[new_code_cell("print(1)\nprint(2)")])
    nbformat.write(nb, path)
    nb_tool.run([path], timeout=60)
    first = path.read_bytes()
    stored = nbformat.read(path, as_version=4)
    assert stored.cells[0].outputs == printed("1\n2\n")
    assert stored.cells[0].execution_count == 1
    nb_tool.run([path], timeout=60)
    assert path.read_bytes() == first

    stored.cells[0].source = "raise RuntimeError('no')"
    nbformat.write(stored, path)
    before = path.read_bytes()
    assert nb_tool.run([path], timeout=60) > 0
    assert path.read_bytes() == before


# What nbval would let pass


def test_a_cell_that_runs_out_of_time_fails_the_run(tmp_path):
    """It may take nbval's interrupt as a wish to stop, as training does."""
    slow = """
import signal, time
asked = []
signal.signal(signal.SIGINT, lambda *_: asked.append(1))
while not asked:
    time.sleep(0.1)
"""
    cells = [new_code_cell(slow), new_code_cell("assert asked")]
    nbformat.write(new_notebook(cells=cells), tmp_path / "slow.ipynb")
    options = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=1"]
    options += ["-p", "no:cacheprovider", "slow.ipynb"]
    for plugin, code in ((["-p", "conftest"], 1), ([], 0)):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *plugin, *options],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""},
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stdout
    assert "1 xpassed" in done.stdout
