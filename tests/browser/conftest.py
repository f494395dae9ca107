"""What all tests in the browser share; `make browser` runs them.

`open_page("notebooks/05_attention.html", "phone", "dark")` opens a page of
the built site. VIT_SITE names another site's folder, VIT_PAGES a part of
the names of the pages to look at.
"""

import pytest
from built import PAGES, SITE, WIDTHS, chromium, launch, served


@pytest.fixture(scope="session")
def browser():
    """Start the system's browser, or skip."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if not chromium() or not PAGES:
        pytest.skip("needs Chromium or Chrome, and `make book` before")
    with sync_api.sync_playwright() as play:
        browser = launch(play)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def addresses():
    """Return the site's address from the file system and over http."""
    with served(SITE) as address:
        yield {"file": SITE.as_uri(), "http": address}


@pytest.fixture
def open_page(browser, addresses):
    """Return a function that opens a page; all close after the test.

    A page that logs an error fails the test.
    """
    pages, errors = [], []

    def open_one(name, width="wide", theme="light", over="http", **options):
        page = browser.new_page(
            viewport={"width": WIDTHS[width], "height": 900},
            color_scheme=theme,
            **options,
        )
        page.on("pageerror", lambda error: errors.append(f"{name}: {error}"))
        page.goto(f"{addresses[over]}/{name}")
        pages.append(page)
        return page

    yield open_one
    for page in pages:
        page.close()
    assert errors == []
