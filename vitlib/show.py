"""Showing the package's code in a notebook's output."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, repr=False)
class Source:
    """Source code that a notebook shows as highlighted Python."""

    code: str

    def __repr__(self) -> str:
        return self.code

    def _repr_markdown_(self) -> str:
        return f"```python\n{self.code}```"


def source(*objects: Callable) -> Source:
    """Show the source of functions or classes below a cell.

    Args:
        objects: functions, methods or classes.

    Returns:
        What Jupyter shows as Markdown, so that a page and Colab look alike.
    """
    return Source("\n\n".join(inspect.getsource(item) for item in objects))
