"""One look at a page: a few loads serve all checks of it.

Each page is loaded over http and from the file system, on a wide screen and
on a phone, and shown in both themes after each load. What is wrong is noted
by kind, in words. In the second theme axe-core looks at colours alone, as
nothing else differs.
"""

from __future__ import annotations

import os
from collections import defaultdict
from itertools import product
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from built import THEMES, WIDTHS
from playwright.sync_api import Browser, Page, TimeoutError

LOOK = Path(__file__).with_name("look.js").read_text(encoding="utf-8")
KINDS = (
    "outside request",
    "failed request",
    "late font",
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
LOCAL = ("file:", "data:", "blob:")
MAX_BYTES = 1_500_000
MAX_PAINT = int(os.environ.get("VIT_MOST_PAINT", "1000"))  # milliseconds
MAX_SHIFT = 0.05
THEME_WAIT = 10_000
TRIES = 10  # the machine may be busy: the quickest of these counts
TAB = {"type": "rawKeyDown", "key": "Tab", "windowsVirtualKeyCode": 9}
AXE = {"resultTypes": ["violations"], "preload": False}
COLOURS = {**AXE, "runOnly": ["color-contrast", "link-in-text-block"]}

Faults = dict[str, list[str]]


class Look:
    """A page of the site, as it is looked at, and what is wrong with it."""

    def __init__(self, browser: Browser, addresses: dict, name: str) -> None:
        self.browser, self.addresses, self.name = browser, addresses, name
        self.faults: Faults = defaultdict(list)
        self.numbers: dict[str, float] = {}

    def note(self, kind: str, where: str, found: list[str]) -> None:
        """Note what is wrong."""
        self.faults[kind] += [f"{self.name} ({where}): {x}" for x in found]

    def load(self, over: str, width: str, theme: str) -> tuple[Page, list]:
        """Open the page; note what it asks for and what fails."""
        where = f"{over}, {width}, {theme}"
        address = self.addresses[over]
        page = self.browser.new_page(
            viewport={"width": WIDTHS[width], "height": 900},
            color_scheme=theme,
        )
        page.set_default_timeout(120_000)  # a busy machine
        page.add_init_script(LOOK)
        loaded = []

        def asked(request) -> None:
            if not request.url.startswith((*LOCAL, address)):
                self.note("outside request", where, [request.url])
            if request.resource_type == "font" and request.url[:5] != "data:":
                self.note("late font", where, [request.url])

        def failed(request) -> None:
            self.note("failed request", where, [request.url])

        def answered(response) -> None:
            if response.status >= 400:
                self.note("failed request", where, [response.url])

        def said(message) -> None:
            if message.type == "error":
                self.note("console error", where, [message.text])

        page.on("request", asked)
        page.on("requestfailed", failed)
        page.on("response", answered)
        page.on("console", said)
        page.on(
            "pageerror", lambda e: self.note("console error", where, [str(e)])
        )
        network = page.context.new_cdp_session(page)
        network.send("Network.enable")
        network.on(
            "Network.loadingFinished",
            lambda event: loaded.append(event["encodedDataLength"]),
        )
        page.goto(f"{address}/{self.name}")
        return page, loaded

    def state(self, page: Page, where: str, theme: str) -> None:
        """Look at what is shown in one theme, with everything unfolded."""
        page.emulate_media(color_scheme=theme)
        shown = page.locator(f"html[data-theme={theme}]")
        try:
            shown.wait_for(state="attached", timeout=THEME_WAIT)
        except TimeoutError:
            self.note("wrong theme", where, ["it stays as it was"])
        page.evaluate("vitLook.openAll()")
        for kind in ("formulas", "sideways"):
            found = page.evaluate(f"vitLook.{kind}()")
            self.note(f"{kind}", where, found and [" · ".join(found)])

    def keyboard(self, page: Page, where: str) -> None:
        """Walk through the page by Tab."""
        presses = page.evaluate("vitLook.follow()")
        keys = page.context.new_cdp_session(page)
        for _ in range(presses // 25 + 1):
            for _ in range(25):
                keys.send("Input.dispatchKeyEvent", TAB)
            if page.evaluate("vitLook.left()"):
                break
        missed = page.evaluate("vitLook.unreached()")
        self.note("out of the keyboard's reach", where, missed)
        same = page.evaluate("vitLook.unmarked()")
        self.note("focus not to be seen", where, same)

    def keys(self, page: Page, where: str) -> None:
        """Open and close by keyboard what folds: solutions, the search."""
        folded = page.locator("main details > summary:visible")
        if folded.count():
            for opened in (True, False):
                folded.first.press("Enter")
                if (
                    folded.first.evaluate("x => x.parentElement.open")
                    != opened
                ):
                    self.note("key without effect", where, ["Enter unfolds"])
        menu = page.locator(".dropdown-download-buttons:visible")
        if menu.count():
            menu.locator(".dropdown-toggle").press("Enter")
            if not menu.locator(".dropdown-menu").is_visible():
                self.note("key without effect", where, ["Enter opens a menu"])
            page.keyboard.press("Escape")
        dialog = page.locator("#pst-search-dialog")
        page.keyboard.press("Control+k")
        if not page.evaluate("document.activeElement.matches('[name=q]')"):
            self.note("key without effect", where, ["Ctrl+K opens the search"])
        page.keyboard.press("Escape")
        if dialog.evaluate("x => x.open"):
            self.note(
                "key without effect", where, ["Escape leaves the search"]
            )

    def axe(self, page: Page, where: str, options: dict) -> None:
        """Ask axe-core."""
        found = Axe().run(page, options=options).response["violations"]
        self.note(
            "axe-core violation",
            where,
            [
                f"{rule['id']}: {node['html'][:160]}"
                + (f" {node['any'][0]['message']}" if node["any"] else "")
                for rule in found
                for node in rule["nodes"][:3]
            ],
        )

    def speed(self, page: Page, loaded: list, width: str) -> None:
        """Measure the first load."""
        page.wait_for_load_state("networkidle")
        size, where = sum(loaded), f"http, {width}"
        if size > MAX_BYTES:
            self.note("too heavy", where, [f"{size / 1e6:.2f} MB"])
        shift = page.evaluate("vitLook.shift()")
        moved = " · ".join(page.evaluate("vitLook.moved()"))
        paint = page.evaluate("vitLook.paint()")
        for _ in range(TRIES - 1):
            if paint < MAX_PAINT:
                break
            again = self.browser.new_page(viewport=page.viewport_size)
            again.add_init_script(LOOK)
            again.goto(f"{self.addresses['http']}/{self.name}")
            again.wait_for_load_state("networkidle")
            paint = min(paint, again.evaluate("vitLook.paint()"))
            again.close()
        if shift > MAX_SHIFT:
            self.note("layout shift", where, [f"{shift:.3f}: {moved}"])
        if paint > MAX_PAINT:
            self.note("late first paint", where, [f"{paint:.0f} ms"])
        self.note(
            "picture without size", where, page.evaluate("vitLook.pictures()")
        )
        for key, value in (
            ("MB", size / 1e6),
            ("ms", paint),
            ("shift", shift),
        ):
            self.numbers[key] = max(value, self.numbers.get(key, 0))

    def look(self) -> None:
        """Load the page in all four ways; show it in both themes each time."""
        for over, width in product(self.addresses, WIDTHS):
            first, second = THEMES[:: self.turn(over, width)]
            page, loaded = self.load(over, width, first)
            where = f"{over}, {width}, "
            if over == "http":
                self.speed(page, loaded, width)
                if width == "wide":
                    self.keys(page, where + first)
            self.state(page, where + first, first)
            if over == "http":
                self.keyboard(page, where + first)
                page.evaluate("vitLook.thin()")
                self.axe(page, where + first, AXE)
            self.state(page, where + second, second)
            if over == "http":
                self.axe(page, where + second, COLOURS)
            page.close()

    def turn(self, over: str, width: str) -> int:
        """Say which theme comes first; pages take turns, Tab walks in it."""
        odd = sum(map(ord, self.name)) % 2
        return -1 if (over == "file") ^ (width == "phone") ^ odd else 1
