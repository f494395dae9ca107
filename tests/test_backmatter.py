"""The back matter: complete, fresh, and without a typed number."""

import inspect
import json
import re
from importlib import import_module

import jinja2
import nbformat
import pytest
import yaml
from backmatter import PAGES, benchmarks, cite, crosswalk, numbers
from backmatter.api import api, differs, escape, signature, to_markdown
from backmatter.paper import LEFT_OUT, PAPER
from backmatter.python import ROOT, public_modules, units

import vitlib

URL = "https://example.org/book"
BOOK = ROOT / "book"
TESTS = sorted((ROOT / "tests").glob("test_*.py"))


@pytest.fixture(scope="module")
def places():
    """Where each place of the paper is named: text, code, tests."""
    return (
        crosswalk.sections_by_place(),
        crosswalk.units_by_place(public_modules()),
        crosswalk.units_by_place(TESTS, "test_"),
    )


def read(page):
    """Return a page's source."""
    return (BOOK / f"{page}.md").read_text("utf-8")


# --- from the paper to the book


def test_the_list_of_the_papers_places_has_no_gap():
    for kind, last in {"Eq.": 8, "Table": 9, "Figure": 14}.items():
        listed = [p for p in PAPER if p.startswith(kind)]
        assert listed == [f"{kind} {n}" for n in range(1, last + 1)]
    parts = [p.split()[1] for p in PAPER if p.startswith("Appendix")]
    nested = ["B.1", "B.1.1", "B.1.2", *(f"D.{n}" for n in range(1, 11))]
    assert parts == ["A", *nested[:3], "C", *nested[3:]]


@pytest.mark.parametrize("place", PAPER)
def test_a_place_is_in_the_book_or_left_out_with_a_reason(place, places):
    named = any(place in found for found in places)
    assert named != (place in LEFT_OUT)


def test_nobody_names_a_place_that_the_paper_has_not(places):
    for found in places:
        assert set(found) <= set(PAPER)


@pytest.mark.parametrize("number", range(1, 9))
def test_an_equation_has_a_section_a_function_and_a_test(number, places):
    for found in places:
        assert found.get(f"Eq. {number}")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Eq. 1, and Appendix\nD.3.", ["Eq. 1", "Appendix D.3"]),
        ("Equations 5 to 7", ["Eq. 5", "Eq. 6", "Eq. 7"]),
        ("Eq. 2-3; Figures 7 and 11", "Eq. 2|Eq. 3|Figure 7|Figure 11"),
        ("Figure 2.1, Eq. 16.3 and Table 16.1", []),
        ("Appendix B.1.1, Table 8", ["Appendix B.1.1", "Table 8"]),
        ("Chefer et al. 2021 (arXiv:2103.15679), Eq. 1, 5 and 6", []),
        ("[Abnar and Zuidema 2020](x), Eq. 1; the paper's Eq. 2", ["Eq. 2"]),
        ("Guo et al. 2017.\n\nEq. 3.", ["Eq. 3"]),
        ("This kind is not in the paper's Table 8.", []),
        ("Tables of figures, 3 of them", []),
    ],
)
def test_markers(text, found):
    wanted = found.split("|") if isinstance(found, str) else found
    assert crosswalk.markers(text) == wanted


def test_the_section_that_shows_an_equation_is_preferred(places):
    shown = {s.file[:2]: s.heading for s in places[0]["Eq. 6"]}
    assert shown["05"] == "Weights"


def test_every_test_that_is_linked_stands_where_the_link_says():
    page = crosswalk.crosswalk(URL)
    links = re.findall(r"/blob/main/(tests/\w+\.py)#L(\d+)-L(\d+)", page)
    assert len(links) > 20
    for path, first, last in links:
        lines = (ROOT / path).read_text("utf-8").splitlines()
        part = "\n".join(lines[int(first) - 1 : int(last)])
        assert len(re.findall(r"^def test_", part, re.MULTILINE)) == 1


def test_every_function_that_is_linked_is_on_the_page_of_the_api():
    anchors = set(re.findall(r"^\((api-.+)\)=$", api(URL), re.MULTILINE))
    pages = crosswalk.crosswalk(URL) + benchmarks.benchmarks(URL) + differs()
    links = set(re.findall(r"\]\(#(api-.+?)\)", pages))
    assert links
    assert links <= anchors


# --- API


def test_the_api_has_every_public_name_once():
    anchors = re.findall(r"^\((api-.+)\)=$", api(URL), re.MULTILINE)
    assert len({a.lower() for a in anchors}) == len(anchors)
    listed = {a.rpartition("-")[2] for a in anchors}
    functions = {
        name
        for name in vitlib.__all__
        if inspect.isroutine(getattr(vitlib, name))
        or inspect.isclass(getattr(vitlib, name))
    }
    assert functions <= listed


@pytest.mark.parametrize("file", public_modules(), ids=lambda file: file.stem)
def test_signatures_are_those_of_the_code(file):
    module, *named = units(file)
    code = import_module(module.module)
    for unit in named:
        found = getattr(code, unit.name)
        assert found.__doc__
        if inspect.isfunction(found):
            names = inspect.signature(found).parameters
            shown = re.findall(r"\w+", signature(unit.node))
            assert set(names) <= set(shown)


def test_a_docstring_becomes_markdown():
    doc = (
        "Sum.\n\nArgs:\n    x: (B, C*P*P), as\n        `a_b` is: so.\n\n"
        "Returns:\n    y_1."
    )
    assert to_markdown(doc) == (
        "Sum.\n\n\n*Args:*\n\n- `x`: (B, C\\*P\\*P), as\n  `a_b` is: so.\n\n\n"
        "*Returns:*\n\n  y\\_1."
    )
    assert escape("`a*b` * $c$") == "`a*b` \\* \\$c\\$"


# --- benchmarks


@pytest.mark.parametrize(
    "file", sorted((ROOT / "results").glob("*.json")), ids=lambda f: f.stem
)
def test_every_file_of_results_has_its_section(file):
    page = "\n".join(benchmarks.describe(file, URL))
    data = json.loads(file.read_text("utf-8"))
    assert f"Measured on {data['machine']['date']}" in page
    assert f"torch {data['machine']['versions']['torch']}" in page
    assert f"({URL}/blob/main/results/{file.name})" in page
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert len(rows) > 2
    assert "{" not in page
    assert all(line.count("|") == rows[0].count("|") for line in rows[:2])


def test_all_files_of_results_are_on_the_page():
    page = benchmarks.benchmarks(URL)
    files = list((ROOT / "results").glob("*.json"))
    assert page.count("\nMeasured on ") == len(files)
    for file in files:
        assert f"({URL}/blob/main/results/{file.name})" in page


def test_a_new_kind_of_file_is_shown_by_its_shape():
    data = {
        "rounds": 4,
        "ways": {
            "one": {"rate": 10.0, "range": [9.0, 12.0]},
            "two": {"rate": 1234.5, "MB": 7, "curve": [1, 2, 3, 4, 5]},
        },
        "times": {"a": [1.0, 2.0, 3.0, 4.0]},
    }
    assert benchmarks.tables(data["ways"], data, "") == [
        "| what | rate | MB |",
        "|---|---|---|",
        "| one | 10 (9 to 12) |  |",
        "| two | 1,234 | 7 |",
        "",
    ]
    times = benchmarks.tables(data["times"], data, "times")
    assert times[0] == "**Times**"
    assert "| a | 2.5 (1 to 4) |" in times


def test_a_study_is_summed_up_at_its_best_rate():
    runs = [
        {"lr": 0.1, "seed": 0, "test": 0.2, "cpu_minutes": 1.0},
        {"lr": 0.3, "seed": 0, "test": 0.5, "cpu_minutes": 1.0},
        {"lr": 0.3, "seed": 1, "test": 0.7, "cpu_minutes": 3.0},
    ]
    row = benchmarks.study_row({"best_lr": 0.3, "runs": runs})
    assert row["learning rate"] == "0.3"
    assert row["runs"] == "2"
    assert row["test, %"].replace("\u00a0", " ") == "60.0 ± 14.1"
    assert row["cpu minutes"].replace("\u00a0", " ") == "2 ± 1"
    begun = benchmarks.study_row({"best_lr": None, "runs": runs})
    assert begun == {"learning rate": "not measured yet"}


# --- numbers


def test_a_number_is_read_from_what_a_chapter_prints(monkeypatch):
    lines = ["ignore 81.5 px", "own: 1 to 2", "own: 3 to 4", "n: 1.5 of 2"]
    monkeypatch.setattr(numbers, "outputs", lambda chapter: lines)
    assert numbers.printed(14, "ignore ... px") == "81.5"
    assert numbers.printed(14, "n: ... of *") == "1.5"
    assert numbers.printed(14, "own: ...", 1) == "3 to 4"
    for line in ("gone ... px", "own: ..."):
        with pytest.raises(ValueError, match="chapter 14 prints"):
            numbers.printed(14, line)


def test_a_value_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="is no number"):
        numbers.measured("l2", "machine")


# --- the pages


def test_every_call_on_a_page_is_on_a_page_that_is_filled():
    for file in BOOK.glob("*.md"):
        if "{{" in file.read_text("utf-8"):
            assert f"book/{file.stem}" in PAGES


def test_departures_link_to_their_evidence():
    entries = re.split(r"\n(?=\*\*)", read("departures"))[1:]
    assert len(entries) > 30
    for entry in entries:
        assert re.search(r"\]\(\.\./notebooks/\d\d_\w+\.ipynb#", entry), entry


def test_departures_find_their_numbers():
    filled = jinja2.Environment(undefined=jinja2.StrictUndefined)
    page = filled.from_string(read("departures")).render(
        accuracy=numbers.accuracy,
        differs=differs,
        measured=numbers.measured,
        printed=numbers.printed,
    )
    assert "{{" not in page
    # what is measured here has a decimal point and a unit, and is not typed
    typed = re.sub(r"\{\{.*?\}\}", "", read("departures"), flags=re.DOTALL)
    assert not re.findall(r"\d\.\d+ (?:%|px|points higher|MB)", typed)


def test_every_difference_of_a_docstring_is_listed():
    files = (ROOT / "vitlib").rglob("*.py")
    text = "\n".join(file.read_text("utf-8") for file in files)
    marks = re.findall(r"^ +Differs: ", text, re.MULTILINE)
    assert len(differs().splitlines()) == len(marks) > 4


def glossary():
    """Yield each term with its definition."""
    body = re.search(r"```\{glossary\}\n(.+?)```", read("glossary"), re.DOTALL)
    for entry in body.group(1).strip().split("\n\n"):
        term, _, definition = entry.partition("\n")
        yield term, " ".join(definition.split())


def test_the_glossary_is_in_order_and_in_two_languages():
    terms = [term for term, _ in glossary()]
    assert len(terms) > 50
    assert terms == sorted(terms, key=str.lower)
    for term, definition in glossary():
        korean = re.match(r'<span lang="ko">(.+?)</span>\. ', definition)
        assert korean, term
        assert re.fullmatch(r"[가-힣 ,-]+", korean.group(1)), term


@pytest.mark.parametrize(("term", "definition"), list(glossary()))
def test_a_term_is_used_in_its_chapter(term, definition):
    (name,) = re.findall(r"\(\.\./notebooks/(\w+\.ipynb)\)", definition)
    cells = nbformat.read(ROOT / "notebooks" / name, as_version=4).cells
    text = "\n".join(c.source for c in cells if c.cell_type == "markdown")
    words = re.sub(r"\W+", " ", text).lower()
    stem = re.sub(r" \(.*", "", term).replace("-", " ").lower()
    wanted = [re.sub(r"\W+", " ", part) for part in re.split(", | and ", stem)]
    assert all(part in words for part in wanted)


def test_korean_is_marked_as_korean():
    marked = re.compile(r'<span lang="ko">.+?</span>')
    for file in BOOK.glob("*.md"):
        text = marked.sub("", file.read_text("utf-8"))
        assert not re.search("[가-힣]", text), file.name


def test_citations_say_what_citation_cff_says():
    about = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    for text in (cite.bibtex(), cite.apa()):
        for value in (about["title"], vitlib.__version__):
            assert value in text
        assert about["repository-code"] in text
        assert about["authors"][0]["name"] in text
