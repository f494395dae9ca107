"""The book as one PDF, tried on two pages."""

import json
import sys
import unicodedata

import pytest
from built import PAGES, ROOT, SITE

pypdf = pytest.importorskip("pypdf")
pytestmark = pytest.mark.skipif(
    "notebooks/12_filters.html" not in PAGES,
    reason="VIT_PAGES leaves chapter 12 out",
)
sys.path.append(str(ROOT / "tools"))


@pytest.fixture(scope="module")
def book(browser, tmp_path_factory):
    """Print chapter 12 and the notation; return the file, read."""
    import pdf

    file = tmp_path_factory.mktemp("pdf") / "book.pdf"
    pdf.make(browser, SITE, file, ("12_filters", "notation"))
    return pypdf.PdfReader(file), pdf.bookmarks(file)


def text_of(pages):
    """Return the text of some pages: single blanks, no letters joined."""
    text = " ".join(page.extract_text() for page in pages)
    return unicodedata.normalize("NFKC", " ".join(text.split()))


def test_the_bookmarks_name_the_sections_on_their_pages(book):
    reader, marks = book
    titles = [title for title, _ in marks]
    assert titles[:2] == ["Contents", "Notation"]
    assert "12. Embedding filters" in titles
    for title, number in marks:
        assert title in text_of([reader.pages[number - 1]])


def test_the_contents_give_the_numbers(book):
    reader, marks = book
    first = dict(marks)["Notation"]
    contents = text_of(reader.pages[1 : first - 1])
    for title in ("Notation", "12. Embedding filters", "A filter is a row"):
        assert f"{title} {dict(marks)[title]}" in contents


def test_the_pages_are_a4(book):
    for page in book[0].pages:
        size = [round(float(side) / 72 * 25.4) for side in page.mediabox[2:]]
        assert size == [210, 297]


def test_no_line_of_code_is_cut(book):
    printed = "".join(text_of(book[0].pages).split())
    notebook = SITE / "_sources" / "notebooks" / "12_filters.ipynb"
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    lines = [
        line
        for cell in cells
        if cell["cell_type"] == "code"
        for line in "".join(cell["source"]).splitlines()
    ]
    longest = sorted(lines, key=len)[-5:]
    for line in longest:  # solutions among them: they are open on paper
        assert "".join(line.split()) in printed
    assert any("# @title Solution" in line for line in lines)
    assert "#@titleSolution1" in printed


def test_links_stay_in_the_book_or_lead_to_the_web(book):
    reader = book[0]
    addresses = [
        note.get_object().get("/A", {}).get("/URI", "")
        for page in reader.pages
        for note in page.get("/Annots", [])
    ]
    assert any(address.startswith("https://") for address in addresses)
    assert [found for found in addresses if found.startswith("file:")] == []
    assert addresses.count("") > 10  # the contents' links, at least
