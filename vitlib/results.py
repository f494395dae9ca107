"""All chapters: the measurements that the book shows.

Rank 0: imports nothing from the package.
"""

import json
from pathlib import Path
from typing import Any

# In an installed package, and beside it in the repository.
FOLDERS = (
    Path(__file__).parent / "_results",
    Path(__file__).parents[1] / "results",
)


def results_file(name: str) -> Path:
    """Find a file of results.

    Args:
        name: with its ending, such as "reference.json".

    Raises:
        FileNotFoundError: lists the files there are.
    """
    for folder in FOLDERS:
        if (folder / name).is_file():
            return folder / name
    found = sorted(p.name for f in FOLDERS for p in f.glob("*.*"))
    raise FileNotFoundError(
        f"no results {name!r}; found: {', '.join(found) or 'none'}"
    )


def load_results(name: str) -> dict[str, Any]:
    """Read what a script in experiments/ measured.

    Args:
        name: of the study, such as "reference".

    Returns:
        Its numbers, with configuration, seeds, versions and machine.

    Raises:
        FileNotFoundError: lists the files there are.
    """
    return json.loads(results_file(f"{name}.json").read_text("utf-8"))
