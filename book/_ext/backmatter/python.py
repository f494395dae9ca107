"""What a Python file says of itself, read without running it."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
COMMENT = re.compile(r"#\s+(.*)")
Definition = ast.FunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Unit:
    """A module (no name), or a function or class at its top level."""

    module: str
    name: str
    node: Definition | ast.Module
    file: Path
    lines: tuple[int, int]
    text: str  # docstrings and comments, a blank line between them

    def url(self, repository: str) -> str:
        """Where the unit stands in the repository."""
        path = self.file.relative_to(ROOT).as_posix()
        first, last = self.lines
        anchor = f"#L{first}-L{last}" if self.name else ""
        return f"{repository}/blob/main/{path}{anchor}"


def words(node: ast.AST, lines: list[str]) -> str:
    """Join the docstrings below a node and the comments on its lines."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    found = [ast.get_docstring(n) for n in ast.walk(node) if type(n) in kinds]
    found += [m.group(1) for line in lines if (m := COMMENT.search(line))]
    return "\n\n".join(filter(None, found))


@cache
def units(file: Path) -> list[Unit]:
    """Return a file's module, then its public functions and classes."""
    source = file.read_text("utf-8")
    tree, lines = ast.parse(source), source.splitlines()
    parts = file.relative_to(ROOT).with_suffix("").parts
    module = ".".join(parts).removesuffix(".__init__")
    text = ast.get_docstring(tree) or ""
    found = [Unit(module, "", tree, file, (1, len(lines)), text)]
    for node in tree.body:
        if not isinstance(node, Definition) or node.name.startswith("_"):
            continue
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        while lines[first - 2].startswith("#"):
            first -= 1
        text = words(node, lines[first - 1 : node.end_lineno])
        where = (first, node.end_lineno)
        found.append(Unit(module, node.name, node, file, where, text))
    return found


def public_modules() -> list[Path]:
    """Return the package's public files, those of the exercises left out."""
    files = sorted((ROOT / "vitlib").rglob("*.py"))
    hidden = re.compile(r"/_(?!_init__)|/exercises/ch")
    return [f for f in files if not hidden.search(f.as_posix())]


def anchor(unit: Unit) -> str:
    """Return the anchor of a unit on the page of the API.

    Anchors know no capitals, and there are rollout and Rollout.
    """
    kind = "class" if isinstance(unit.node, ast.ClassDef) else ""
    parts = ["api", *unit.module.split("."), kind, unit.name]
    return "-".join(filter(None, parts))
