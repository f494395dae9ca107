"""Build the site, check its links, and print the page to open.

    python tools/book.py [folder]       default: the repository's own root

The site goes to `_build/html` in that folder. A warning is an error.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pages
from hygiene import ROOT, repository_url


def build(folder: Path) -> Path:
    """Build from an empty output folder; return the first page.

    Raises:
        subprocess.CalledProcessError: if Sphinx reports a warning or error.
    """
    shutil.rmtree(folder / "_build", ignore_errors=True)
    command = "from jupyter_book.cli.main import main; main()"
    options = ["build", ".", "--all", "-W", "--keep-going", "-n", "-q"]
    result = subprocess.run(
        [sys.executable, "-c", command, *options, "--path-output", folder],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    if result.returncode:
        print(result.stdout)
        result.check_returncode()
    return folder / "_build" / "html" / "index.html"


def main() -> int:
    """Build, then say where the book is."""
    folder = Path(sys.argv[1]).resolve() if sys.argv[1:] else ROOT
    print("Building the book ...", flush=True)
    try:
        page = build(folder)
    except subprocess.CalledProcessError:
        print("The build failed: the warnings above count as errors.")
        return 1
    if found := pages.faults(page.parent):
        print("\n".join(found))
        print("The build failed: the links above are broken.")
        return 1
    if "/OWNER/" in repository_url():
        print(
            "Note: the repository's address is not set (repository.url in "
            "_config.yml); links to it and the Colab buttons lead nowhere."
        )
    print(f"The book is built. Open {page.as_uri()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
