"""Every page in a real browser, one kind of fault after the other.

Run by `make browser`, with the system's Chromium or Chrome; skipped without
them, and without a built book. The message names the pages at fault.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest
from built import PAGES, chromium

KINDS = (
    "outside request",
    "failed request",
    "console error",
    "formulas",
    "sideways",
    "wrong theme",
    "out of the keyboard's reach",
    "focus not to be seen",
    "key without effect",
    "axe-core violation",
    "too heavy",
    "late first paint",
    "layout shift",
    "picture without size",
)
PROCESSES = 2


@pytest.fixture(scope="module")
def looks():
    """Look at every page, with two browsers side by side."""
    pytest.importorskip("playwright.sync_api")
    if not chromium() or not PAGES:
        pytest.skip("needs Chromium or Chrome, and `make book` before")
    from looking import look_at

    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=spawn) as pool:
        found = list(pool.map(look_at, [[name] for name in PAGES]))
    return [look for looks in found for look in looks]


@pytest.mark.parametrize("kind", KINDS)
def test_no_page_has(kind, looks):
    found = [line for _, faults, _ in looks for line in faults.get(kind, [])]
    assert not found, f"{kind}:\n" + "\n".join(found)


def test_all_kinds_are_known(looks):
    assert {kind for _, faults, _ in looks for kind in faults} <= set(KINDS)


def test_weights_and_times(looks):
    """Print what was measured: the most of each over the pages."""
    for name, _, numbers in looks:
        print(
            f"{name}: " + ", ".join(f"{v:.3g} {k}" for k, v in numbers.items())
        )
    assert all(numbers["MB"] > 0.1 for _, _, numbers in looks)


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
