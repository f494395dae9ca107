"""The state a committed chapter must be in, checked without a kernel.

Each rule is a function from a notebook to a list of faults. nbval runs
the cells and compares checked outputs; these rules close the holes that
nbval leaves, and keep a chapter readable on a page, on GitHub and in
Colab alike.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def repository_url() -> str:
    """Return the address of the repository, as `_config.yml` has it."""
    text = (ROOT / "_config.yml").read_text(encoding="utf-8")
    return re.search(r"^  url: (\S+)$", text, re.MULTILINE).group(1)


# The first code cell of every chapter, the same in all of them.
INSTALL_CELL = f'''\
# In Colab this installs the book's package; elsewhere it does nothing.
from importlib.util import find_spec

REPOSITORY = "{repository_url()}"
if find_spec("vitlib") is None:
    %pip install -q "vitlib[book] @ git+{{REPOSITORY}}"\
'''
