"""A folder that is written whole or not at all."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Give a draft to write into; it becomes the folder at the end.

    The folder's parents are made. After an error nothing of it is left.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        dir=folder.parent, prefix=".partial-"
    ) as at:
        draft = Path(at, "whole")
        draft.mkdir()
        yield draft
        draft.replace(folder)
