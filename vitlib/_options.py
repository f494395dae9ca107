"""Chapter 8: the fields of a config as flags of the command line."""

import argparse
import inspect
import re
from dataclasses import fields
from types import UnionType
from typing import Any, NoReturn, get_args, get_origin, get_type_hints

# Fields whose default is not the dataclass's own.
FROM_DATA = dict.fromkeys(
    ("mean", "std", "img_size", "in_chans", "num_classes"), "the data set's"
)


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the list of all options."""

    def error(self, message: str) -> NoReturn:
        """Leave with exit code 2."""
        self.exit(2, f"vitlib: error: {message}; see {self.prog} --help\n")


def attribute_texts(cls: type) -> dict[str, str]:
    """What a dataclass's docstring says of each attribute."""
    doc = inspect.getdoc(cls) or ""
    section = doc.partition("Attributes:\n")[2].partition("\n\n")[0]
    entries = re.split(r"^    (\w+): ", section, flags=re.MULTILINE)[1:]
    return {
        name: " ".join(text.split()).removesuffix(".")
        for name, text in zip(entries[::2], entries[1::2], strict=True)
    }


def option(kind: Any) -> dict[str, Any]:
    """How argparse reads a field of this type."""
    if kind is bool:
        return {"action": argparse.BooleanOptionalAction}
    parts = get_args(kind)
    number = parts[0] if parts else kind
    metavar = {int: "N", float: "X", str: "NAME"}[number]
    read = {"type": number, "metavar": metavar}
    if not parts:
        return read
    exact = get_origin(kind) is tuple and Ellipsis not in parts
    return read | {"nargs": len(parts) if exact else "+"}


def shown(value: Any) -> str:
    """A default as one would type it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return str(value)


def add_fields(
    parser: Parser, cls: type, title: str, default: str = ""
) -> None:
    """One flag for each field of a config, its text from the docstring."""
    group = parser.add_argument_group(title)
    texts, kinds = attribute_texts(cls), get_type_hints(cls)
    for item in fields(cls):
        value = FROM_DATA.get(item.name, default) or shown(item.default)
        text = f"{texts[item.name]} (default: {value})"
        group.add_argument(
            "--" + item.name.replace("_", "-"),
            help=text.replace("%", "%%"),
            **option(kinds[item.name]),
        )


def given(args: argparse.Namespace, cls: type) -> dict[str, Any]:
    """The fields of a config that the command line sets."""
    found, kinds = {}, get_type_hints(cls)
    for name, kind in kinds.items():
        value = getattr(args, name)
        if isinstance(value, list):
            lone = len(value) == 1 and get_origin(kind) is UnionType
            value = value[0] if lone else tuple(value)
        if value is not None:
            found[name] = value
    return found
