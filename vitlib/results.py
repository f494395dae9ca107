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
        ValueError: names the file, if it is damaged.
    """
    path = results_file(f"{name}.json")
    try:
        found = json.loads(path.read_text("utf-8"))
    except (RecursionError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(found, dict):
        kind = type(found).__name__
        raise ValueError(f"{path} must hold a dict of results; got a {kind}")
    return found


def best_runs(name: str) -> dict[str, list[dict[str, Any]]]:
    """Read each arm's runs at the learning rate that suits it best.

    Chapter 1. The rate was chosen on held-out images, with the first seed;
    an arm whose rates have not all been tried yet has no runs here.

    Args:
        name: of a study that compares arms, such as "shuffle".

    Returns:
        Arm -> its runs, one a seed; nothing if the study is not there.

    Raises:
        ValueError: names the file, if it is damaged or compares no arms.
    """
    try:
        return {
            key: [run for run in arm["runs"] if run["lr"] == arm["best_lr"]]
            for key, arm in load_results(name)["arms"].items()
        }
    except FileNotFoundError:
        return {}
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{results_file(f'{name}.json')} must hold arms, each with runs "
            f"and best_lr; got {error!r}"
        ) from error
