"""The built site, and the system's Chromium to open it with."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

ROOT = Path(__file__).resolve().parents[2]
# VIT_SITE: the folder of another site, as from `tools/book.py FOLDER`.
SITE = Path(os.environ.get("VIT_SITE") or ROOT / "_build" / "html").resolve()
# VIT_PAGES: a part of the names of the pages to look at.
PAGES = [
    name
    for path in sorted(SITE.rglob("*.html"))
    if (name := path.relative_to(SITE).as_posix()) != "index.html"
    and not name.startswith("_")
    and os.environ.get("VIT_PAGES", "") in name
]
WIDTHS = {"wide": 1280, "phone": 390}
THEMES = ("light", "dark")
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = ["--disable-gpu", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync", "--no-first-run"]


def chromium() -> str | None:
    """Return the path of the system's Chromium or Chrome, if it has one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def launch(play: Playwright) -> Browser:
    """Start the system's browser; root has to do without its sandbox."""
    flags = [*FLAGS, "--no-sandbox"] if os.getuid() == 0 else FLAGS
    return play.chromium.launch(executable_path=chromium(), args=flags)


class Quiet(SimpleHTTPRequestHandler):
    """A server of files that keeps its log to itself."""

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder over http on this machine; yield its address."""
    handler = partial(Quiet, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
