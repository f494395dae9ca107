"""The page of the API, from the package's own docstrings.

They are Markdown already, so no module is imported and nothing is converted
but the headings of Google's style ("Args:") and what Markdown would take for
markup in them.
"""

from __future__ import annotations

import ast
import re

from backmatter.python import ROOT, Unit, anchor, public_modules, units

MARKUP = re.compile(r"([*_$<\[\]{}\\])")
PART = re.compile(r"(Args|Returns|Raises|Yields|Attributes|Example):$")
LISTS = {"Args", "Raises", "Attributes"}


def escape(line: str) -> str:
    """Escape what stands outside of `code`."""
    parts = line.split("`")
    parts[::2] = [MARKUP.sub(r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def to_markdown(docstring: str) -> str:
    """Turn a docstring in Google's style into Markdown."""
    lines: list[str] = []
    part = ""
    for line in docstring.splitlines():
        named = re.match(r"    ([\w*][\w., *]*): (.*)", line)
        if match := PART.match(line):
            part = match.group(1)
            lines += ["", f"*{part}:*", ""]
        elif part in LISTS and named:
            name, rest = named.groups()
            lines.append(f"- `{name}`: {escape(rest)}")
        elif part and line.startswith("    "):
            lines.append(f"  {escape(line.strip())}")
        else:
            part = "" if line else part
            lines.append(escape(line))
    return "\n".join(lines)


def signature(node: ast.FunctionDef | ast.ClassDef) -> str:
    """Write a function's signature, or a class's with its methods'."""
    if isinstance(node, ast.FunctionDef):
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        head = f"def {node.name}("
        arguments = ast.unparse(node.args)
        if len(head + arguments + returns) < 78:
            return f"{head}{arguments}){returns}"
        listed = split(arguments)
        inner = "".join(f"    {argument},\n" for argument in listed)
        return f"{head}\n{inner}){returns}"
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    lines = [f"class {node.name}({bases})" if bases else f"class {node.name}"]
    for item in node.body:
        if isinstance(item, ast.AnnAssign):
            lines.append(f"    {ast.unparse(item)}")
        public = isinstance(item, ast.FunctionDef) and (
            not item.name.startswith("_") or item.name == "__init__"
        )
        if public:
            lines += [f"    {x}" for x in signature(item).splitlines()]
    return "\n".join(lines)


def split(arguments: str) -> list[str]:
    """Split "a: int, b: tuple[int, int]" at its outer commas."""
    found, depth = [""], 0
    for letter in arguments:
        depth += (letter in "[({") - (letter in "])}")
        if letter == "," and not depth:
            found.append("")
        else:
            found[-1] += letter
    return [argument.strip() for argument in found]


def methods(node: ast.ClassDef) -> list[str]:
    """Say what each public method does."""
    found = []
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name[0] != "_":
            doc = (ast.get_docstring(item) or "").partition("\n")[0]
            found += [f"- `{item.name}`: {escape(doc)}"] if doc else []
    return ["", "*Methods:*", "", *found] if found else []


def describe(unit: Unit, repository: str) -> list[str]:
    """Write one function or class."""
    lines = [f"({anchor(unit)})=", "```python", signature(unit.node), "```"]
    lines += ["", to_markdown(ast.get_docstring(unit.node) or "")]
    if isinstance(unit.node, ast.ClassDef):
        lines += methods(unit.node)
    return [
        *lines,
        "",
        f"[Source of `{unit.name}`]({unit.url(repository)})",
        "",
    ]


def chapter_of(module: Unit) -> int:
    """Return the chapter a module belongs to, 99 for that of none."""
    chapter = re.match(r"Chapters? (\d+)", module.text)
    return int(chapter.group(1)) if chapter else 99


def heading(module: Unit) -> list[str]:
    """Write a module's name, its chapter with a link, and what it says."""
    text = to_markdown(module.text)
    name = module.module.removeprefix("vitlib.")
    for file in (ROOT / "notebooks").glob(f"{chapter_of(module):02}_*.ipynb"):
        address = f"../notebooks/{file.name}"
        text = re.sub(r"^Chapters? \d+", rf"[\g<0>]({address})", text)
    return [f"({anchor(module)})=", f"## `{name}`", "", text, ""]


def api(repository: str) -> str:
    """Write all public modules, in the order of the chapters."""
    modules = [units(file) for file in public_modules()]
    modules.sort(key=lambda found: (chapter_of(found[0]), found[0].module))
    lines: list[str] = []
    for module, *named in modules:
        if module.module != "vitlib":
            lines += heading(module)
        for unit in named:
            lines += describe(unit, repository)
    return "\n".join(lines)


def differs() -> str:
    """List what docstrings say after "Differs:", from which function."""
    found = []
    for unit in (unit for file in public_modules() for unit in units(file)):
        for paragraph in re.split(r"\n\s*\n", unit.text):
            text = " ".join(paragraph.split())
            if text.startswith("Differs: "):
                link = f"[`{unit.name or unit.module}`](#{anchor(unit)})"
                found.append(f"- {link}: {escape(text[9:])}")
    return "\n".join(found)
