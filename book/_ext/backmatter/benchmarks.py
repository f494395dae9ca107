"""Every file of results/ as tables, whatever it holds.

A new file needs nothing here: its tables follow from its shape. The title
comes from the script in experiments/ that wrote it, the date and the machine
from the file.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

from backmatter.numbers import (
    best,
    cell,
    interval,
    is_number,
    load,
    percent,
    spread,
)
from backmatter.python import ROOT, anchor, public_modules, units

# What describes a run, or needs a figure.
UNSHOWN = {"machine", "about", "what", "model", "config", "held_out"}
# Words for "all of it", which say nothing over a table.
ALL = {"arms", "cells", "ways", "seeds"}
# Of these, only some parts can be read as tables.
ONLY = {
    "faithfulness": {"gain over all fills"},
    "reference": {"seeds", "long", "shipped"},
}
Rows = dict[str, dict[str, str]]


def flat(record: dict[str, Any], data: dict[str, Any]) -> dict[str, str]:
    """Return what one row of a table can show of a record.

    A range stands behind the number that it belongs to.
    """
    row: dict[str, str] = {}
    for key, value in record.items():
        text = "" if key in UNSHOWN else cell(value, data)
        if text and row and key.endswith(("range", "interval")):
            row[next(reversed(row))] += interval(*value)
        elif text:
            row[key.replace("_", " ")] = text
    return row


def study_row(arm: dict[str, Any]) -> dict[str, str]:
    """Sum up the runs of one arm at the learning rate that suits it."""
    if not (runs := best(arm)):
        return {"learning rate": "not measured yet"}
    row, rest = {}, {}
    for key in runs[0]:
        values = [run[key] for run in runs if is_number(run.get(key))]
        if key.startswith("test") and values:
            row[f"{key}, %"] = percent(values)
        elif key not in {"lr", "seed", "held_out", "train_loss"} and values:
            rest[key.replace("_", " ")] = spread(values)
    rate = {"learning rate": f"{arm['best_lr']:g}", "runs": str(len(runs))}
    return row | rate | rest


def table(rows: Rows) -> list[str]:
    """Write rows as a table of Markdown."""
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    lines = [f"| {' | '.join(['what', *columns])} |"]
    lines += ["|---" * (len(columns) + 1) + "|"]
    for name, row in rows.items():
        cells = [name, *(row.get(key, "") for key in columns)]
        lines += [f"| {' | '.join(cells)} |"]
    return [*lines, ""]


def tables(part: dict[str, Any], data: dict[str, Any], path: str) -> list[str]:
    """Write a part of a file: its records as one table, the rest below."""
    part = {k: v for k, v in part.items() if k not in UNSHOWN}
    records = {k: v for k, v in part.items() if isinstance(v, dict)}
    rows: Rows = {}
    below: list[str] = []
    for key, record in records.items():
        if "runs" in record:
            rows[key] = study_row(record)
            continue
        rows |= {key: row} if (row := flat(record, data)) else {}
        inner = {k: v for k, v in record.items() if isinstance(v, dict)}
        below += tables(inner, data, f"{path}, {key}".strip(", "))
    if alone := flat(part, data):
        rows = {key: {"value": text} for key, text in alone.items()} | rows
    path = path.replace("_", " ")
    title = [f"**{path[0].upper()}{path[1:]}**", ""] if path else []
    return (title + table(rows) if rows else []) + below


def shown(name: str, data: dict[str, Any]) -> dict[str, Any]:
    """Return the parts of a file that the page shows."""
    if name not in ONLY:
        return {k: v for k, v in data.items() if k not in UNSHOWN}
    found = {k: v for k, v in data.items() if k in ONLY[name]}
    for key, value in data.items():
        inner = set(value) & ONLY[name] if isinstance(value, dict) else ()
        found |= {f"{key}, {part}": value[part] for part in inner}
    return found


def title_of(name: str) -> str:
    """Return what the script in experiments/ says that it measures."""
    text = (ROOT / "experiments" / f"{name}.py").read_text("utf-8")
    first = ast.get_docstring(ast.parse(text)).partition("\n")[0]
    title = re.sub(r"^(\(\w\)|Chapter \d+:) ", "", first).rstrip(".")
    return title[0].upper() + title[1:]


def machine(data: dict[str, Any]) -> str:
    """Say when and on what a file was measured."""
    about = data["machine"]
    rest = {k: v for k, v in about.items() if isinstance(v, (str, int))}
    what = [f"{k} {v}" for k, v in about["versions"].items()]
    what += [f"{k}: {v}" for k, v in rest.items() if k not in {"date", "cpu"}]
    return f"Measured on {about['date']}: {'; '.join([about['cpu'], *what])}."


@cache
def chapters() -> dict[str, str]:
    """Return the text of every notebook by its name."""
    files = sorted((ROOT / "notebooks").glob("*.ipynb"))
    return {file.name: file.read_text("utf-8") for file in files}


@cache
def readers(name: str) -> list[str]:
    """Link to the chapters and the functions that rest on a file."""
    uses = re.compile(rf'results\(\\?"{name}\\?"|_runs\(\\?"{name}\\?"')
    named = re.compile(rf"results/{name}\.json")
    links = []
    for file, text in chapters().items():
        if uses.search(text) or named.search(text):
            words = f"chapter {int(file[:2])}"
            links.append(f"[{words}](../notebooks/{file})")
    links += [
        f"[`{unit.name}`](#{anchor(unit)})"
        for file in public_modules()
        for unit in units(file)
        if unit.name and named.search(unit.text)
    ]
    return links


def first_chapter(name: str) -> str:
    """Return the number of the first chapter that shows a file."""
    return re.findall(r"\d\d(?=_)|$", "".join(readers(name)))[0] or "99"


def describe(file: Path, repository: str) -> list[str]:
    """Write one file of results."""
    name, data = file.stem, load(file.stem)
    about = data.get("about") or data.get("what") or ""
    here = f"{repository}/blob/main"
    links = [
        f"[Script]({here}/experiments/{name}.py)",
        f"[all numbers]({here}/results/{name}.json)",
        *readers(name),
    ]
    parts = shown(name, data)
    single = flat({k: v for k, v in parts.items() if is_number(v)}, data)
    settings = "; ".join(f"{key}: {value}" for key, value in single.items())
    lines = [f"## {title_of(name)}", ""]
    lines += [f"{about[:1].upper()}{about[1:].rstrip('.')}.", ""] * bool(about)
    lines += [f"{machine(data)} {settings}".strip(), "", " · ".join(links), ""]
    for key, part in parts.items():
        if isinstance(part, list) and isinstance(part[0], dict):
            part = {
                f"seed {run['seed']}": {k: run[k] for k in run if k != "seed"}
                for run in part
            }
        if isinstance(part, dict):
            lines += tables(part, data, "" if key in ALL else key)
    return lines


def benchmarks(repository: str) -> str:
    """Write all files of results, in the order of the chapters they serve."""
    files = sorted((ROOT / "results").glob("*.json"))
    files.sort(
        key=lambda file: (
            re.findall(r"/(\d\d)_|$", str(readers(file.stem)))[0] or "99"
        )
    )
    parts = [describe(file, repository) for file in files]
    return "\n".join(line for lines in parts for line in lines)
