"""Numbers of results/ as words: no page holds one that was typed."""

from __future__ import annotations

import json
import re
from functools import cache
from statistics import mean, median, stdev
from typing import Any

import nbformat

from backmatter.python import ROOT


def number(value: float) -> str:
    """Write a number with three digits, or more where it is whole."""
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 or not value else f"{value}"


def is_number(value: object) -> bool:
    """Whether a value is a number, True and False left out."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def spread(values: list[float]) -> str:
    """Write the mean of some runs, and their standard deviation."""
    if len(values) == 1:
        return number(values[0])
    return f"{number(mean(values))}\u00a0±\u00a0{stdev(values):.1g}"


def percent(shares: list[float]) -> str:
    """Write the mean of some shares of 1 in percent, and their spread."""
    ends = f"\u00a0±\u00a0{100 * stdev(shares):.1f}" if len(shares) > 1 else ""
    return f"{100 * mean(shares):.1f}{ends}"


def interval(low: float, high: float) -> str:
    """Write a range, nothing if it is none."""
    return f" ({number(low)} to {number(high)})" if low < high else ""


def cell(value: Any, data: dict[str, Any]) -> str:
    """Write a value; nothing if a table cannot show it.

    A list holds one number a seed or a round where it is as long, else the
    ends of a range, or a mean and the ends of its interval.
    """
    if isinstance(value, (str, bool)):
        return str(value)
    if is_number(value):
        return number(value)
    if not isinstance(value, list) or not all(map(is_number, value)):
        return ""
    if len(value) == len(data.get("seeds", ())):
        return spread(value)
    if len(value) == data.get("rounds"):
        return number(median(value)) + interval(min(value), max(value))
    if len(value) == 2:
        return f"{number(value[0])} to {number(value[1])}"
    if len(value) == 3:
        return number(value[0]) + interval(*value[1:])
    return ""


def load(name: str) -> dict[str, Any]:
    """Read a file of results."""
    return json.loads((ROOT / "results" / f"{name}.json").read_text("utf-8"))


def best(arm: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the runs of an arm at the learning rate that suits it."""
    return [run for run in arm["runs"] if run["lr"] == arm["best_lr"]]


def accuracy(name: str, arm: str, key: str = "test") -> str:
    """Write the accuracy of one arm of a study, in percent."""
    return percent([run[key] for run in best(load(name)["arms"][arm])]) + " %"


def measured(name: str, *path: str | int) -> str:
    """Write one value of a file of results, found by its keys."""
    value = data = load(name)
    for key in path:
        value = value[key]
    if text := cell(value, data):
        return text
    raise ValueError(f"{path} of results/{name}.json is no number")


@cache
def outputs(chapter: int) -> list[str]:
    """Return the lines that a chapter's cells printed, spaces made single."""
    (file,) = (ROOT / "notebooks").glob(f"{chapter:02}_*.ipynb")
    cells = nbformat.read(file, as_version=4).cells
    found = [
        out.get("text", "") for c in cells for out in c.get("outputs", [])
    ]
    return [" ".join(line.split()) for line in "\n".join(found).splitlines()]


def printed(chapter: int, line: str, nth: int | None = None) -> str:
    """Return what stands at the three points of a line that a chapter prints.

    Args:
        chapter: its number.
        line: as it is printed, such as "ignore ... px"; a star stands for
            anything.
        nth: which of several such lines, from 0; there must be one if None.

    Raises:
        ValueError: if the chapter's stored outputs have no such line, or
            several that differ.
    """
    pattern = re.escape(line).replace(r"\.\.\.", "(.+?)").replace(r"\*", ".*")
    matches = [re.fullmatch(pattern, output) for output in outputs(chapter)]
    found = [match.group(1) for match in matches if match]
    if not found or (nth is None and len(set(found)) > 1):
        raise ValueError(f"chapter {chapter} prints {line!r}: {found}")
    return found[nth or 0]
