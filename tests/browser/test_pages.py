"""The built site in a real browser: wide, on a phone, in light and dark.

Run by `make browser`, with the system's Chromium or Chrome; skipped without
them, and without a built book.
"""

import os
import shutil
from pathlib import Path

import pytest

sync_api = pytest.importorskip("playwright.sync_api")

SITE = Path(__file__).resolve().parents[2] / "_build" / "html"
PAGES = sorted(
    path.relative_to(SITE).as_posix()
    for folder in ("book", "notebooks")
    for path in (SITE / folder).glob("*.html")
)
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = ["--disable-gpu", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync", "--no-first-run"]
WIDTHS = {"wide": 1280, "phone": 390}

# What a page must not have: formulas left as TeX or in error, and anything
# that makes the whole page scroll sideways.
STATE = """() => ({
  formulas: document.querySelectorAll(".math").length,
  shown: document.querySelectorAll(".math mjx-container").length,
  errors: document.querySelectorAll("mjx-merror").length,
  width: document.documentElement.scrollWidth,
  dark: document.documentElement.dataset.theme,
})"""


@pytest.fixture(scope="module")
def browser():
    """Start the system's browser."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if not path or not PAGES:
        pytest.skip("needs Chromium or Chrome, and `make book` before")
    flags = [*FLAGS, "--no-sandbox"] if os.getuid() == 0 else FLAGS
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_page(browser, name, width, theme):
    page = browser.new_page(
        viewport={"width": WIDTHS[width], "height": 900}, color_scheme=theme
    )
    asked, wrong = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("requestfailed", lambda request: wrong.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console",
        lambda message: message.type == "error" and wrong.append(message.text),
    )
    page.goto((SITE / name).as_uri())
    page.wait_for_function(
        "!document.querySelector('.math:not(:has(mjx-container))')",
        timeout=20_000,
    )
    state = page.evaluate(STATE)
    page.close()
    local = ("file:", "data:", "blob:")
    assert [url for url in asked if not url.startswith(local)] == []
    assert wrong == []
    assert state["errors"] == 0
    assert state["shown"] >= state["formulas"]
    assert state["width"] <= WIDTHS[width]
    assert state["dark"] == theme
