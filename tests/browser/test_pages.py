"""The built site in a real browser: wide, on a phone, in light and dark.

Run by `make browser`, with the system's Chromium or Chrome; skipped without
them, and without a built book.
"""

import pytest
from built import PAGES, THEMES, WIDTHS

# What a page must not have: formulas left as TeX or in error, and anything
# that makes the whole page scroll sideways.
STATE = """() => ({
  formulas: document.querySelectorAll(".math").length,
  shown: document.querySelectorAll(".math .katex").length,
  errors: document.querySelectorAll(".katex-error").length,
  width: document.documentElement.scrollWidth,
  dark: document.documentElement.dataset.theme,
})"""


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_page(browser, addresses, name, width, theme):
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
    page.goto(f"{addresses['file']}/{name}")
    page.wait_for_function(
        "!document.querySelector('.math:not(:has(.katex))')",
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
