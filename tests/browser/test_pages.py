"""Every page in a real browser.

Run by `make browser`, with the system's Chromium or Chrome; skipped without
them, and without a built book. The message says what is wrong, by kind.
"""

import re
import time

import pytest
from built import PAGES

looking = pytest.importorskip("looking")


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wrong(browser, addresses, name):
    look = looking.Look(browser, addresses, name)
    look.look()
    print({key: round(value, 3) for key, value in look.numbers.items()})
    found = [
        f"{kind}: {line}" for kind in look.faults for line in look.faults[kind]
    ]
    assert found == []
    assert look.numbers["MB"] > 0.1


@pytest.mark.parametrize("over", ["file", "http"])
def test_nothing_moves_when_scripts_and_fonts_come_late(
    browser, addresses, over
):
    def wait(route):
        time.sleep(0.1)
        route.continue_()

    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.add_init_script(looking.LOOK)
    page.route(re.compile(r"\.(js|woff2?)\b"), wait)
    page.goto(f"{addresses[over]}/book/notation.html")
    page.wait_for_load_state("networkidle")
    assert page.evaluate("vitLook.shift()") < looking.MAX_SHIFT
    page.close()


def test_search_by_keyboard_from_the_file_system(open_page):
    page = open_page("book/notation.html", over="file")
    page.locator("button.search-button-field:visible").first.press("Enter")
    page.keyboard.type("attention")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=attention*")
    page.locator("#search-results li a").first.wait_for()


def test_contents_by_keyboard_on_a_phone(open_page):
    page = open_page("book/notation.html", width="phone")
    page.locator("button.primary-toggle").press("Enter")
    link = page.locator("dialog[open] a", has_text="Attention").first
    link.wait_for()
    page.keyboard.press("Escape")
    link.wait_for(state="hidden")
