"""What a page offers to take away: the notebook, the book, and paper."""

import json
import sys
import zipfile

import pytest
from built import PAGES, ROOT, SITE

PAGE = "notebooks/05_attention.html"
BOOK = "vit-step-by-step"
pytestmark = pytest.mark.skipif(
    PAGE not in PAGES, reason="VIT_PAGES leaves chapter 5 out"
)
sys.path.append(str(ROOT / "tools"))
MENU = "[aria-label='Download this page']"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """Unpack the whole book somewhere else, and return its folder."""
    folder = tmp_path_factory.mktemp("reader")
    with zipfile.ZipFile(SITE / f"{BOOK}.zip") as archive:
        archive.extractall(folder)
    return folder / BOOK


def take(page, name):
    """Choose an entry of the download menu; return the file it gives."""
    page.locator(MENU).click()
    with page.expect_download() as found:
        page.get_by_role("link", name=name).click()
    return found.value


def test_the_notebook_comes_down(open_page):
    download = take(open_page(PAGE), "Notebook (.ipynb)")
    assert download.suggested_filename == "05_attention.ipynb"
    with open(download.path(), encoding="utf-8") as file:
        cells = json.load(file)["cells"]
    assert "".join(cells[0]["source"]).startswith("# 5. Attention")


@pytest.mark.parametrize("over", ["file", "http"])
def test_the_whole_book_comes_down(open_page, over):
    download = take(open_page(PAGE, over=over), "Whole book (.zip)")
    assert download.suggested_filename == f"{BOOK}.zip"
    with zipfile.ZipFile(download.path()) as archive:
        assert archive.testzip() is None
        assert f"{BOOK}/site/{PAGE}" in archive.namelist()


def test_colab_opens_this_notebook(open_page):
    page = open_page(PAGE, over="file")
    page.locator("[aria-label='Launch interactive content']").click()
    address = page.get_by_role("link", name="Colab").get_attribute("href")
    colab = "https://colab.research.google.com/github/"
    assert address.startswith(colab)
    assert address.endswith("/blob/main/notebooks/05_attention.ipynb")


def test_the_book_holds_all_pages_and_notebooks(unpacked):
    pages = {
        path.relative_to(unpacked / "site").as_posix()
        for path in (unpacked / "site").rglob("*.html")
    }
    assert set(PAGES) <= pages
    notebooks = {path.stem for path in unpacked.glob("notebooks/*.ipynb")}
    chapters = {path.stem for path in unpacked.glob("site/notebooks/*.html")}
    assert notebooks == chapters != set()
    assert "site/index.html" in (unpacked / "README.txt").read_text()


def test_no_link_of_the_unpacked_book_leads_nowhere(unpacked):
    import pages

    assert pages.faults(unpacked / "site") == []


def test_the_unpacked_book_opens(browser, unpacked):
    page = browser.new_page()
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(request.url))
    page.goto((unpacked / "site" / PAGE).as_uri())
    page.locator(MENU).click()
    assert page.get_by_role("link", name="Whole book").count() == 0
    link = page.get_by_role("link", name="Notebook (.ipynb)")
    address = link.evaluate("link => link.href")
    assert address == (unpacked / "notebooks/05_attention.ipynb").as_uri()
    page.close()
    assert wrong == []


def test_the_same_site_gives_the_same_zip(tmp_path):
    sys.path.append(str(ROOT / "book" / "_ext"))
    import whole_book

    folder = tmp_path / "book"
    folder.mkdir()
    (tmp_path / "index.html").write_text("<p>One page.</p>")
    (folder / "intro.html").write_text("<p>Another.</p>")
    kept = []
    for _ in range(2):
        whole_book.write(tmp_path, "x.zip", "Title")
        kept.append((tmp_path / "x.zip").read_bytes())
    assert kept[0] == kept[1]


# What a printed page shows: what is visible and how wide it is.
SHOWN = """() => ({
  theme: document.documentElement.dataset.theme,
  shut: document.querySelectorAll("details:not([open])").length,
  lazy: document.querySelectorAll("img[loading=lazy]").length,
  cut: [...document.querySelectorAll("div.highlight pre, .cell_output pre")]
    .filter((box) => box.scrollWidth > box.clientWidth + 1).length,
  around: [...document.querySelectorAll(
    ".bd-sidebar-primary, .bd-sidebar-secondary, .bd-header-article, button")]
    .filter((box) => box.getClientRects().length).length,
})"""


def test_a_dark_page_prints_light_whole_and_alone(open_page):
    page = open_page(PAGE, theme="dark", over="file")
    assert page.evaluate(SHOWN)["theme"] == "dark"
    assert page.evaluate(SHOWN)["shut"] > 0
    page.set_viewport_size({"width": 658, "height": 980})  # A4's text
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(SHOWN) == {
        "theme": "light",
        "shut": 0,
        "lazy": 0,
        "cut": 0,
        "around": 0,
    }
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen", color_scheme="dark")
    assert page.evaluate(SHOWN)["theme"] == "dark"
    assert page.evaluate(SHOWN)["shut"] > 0
