"""A file or a folder that is written whole or not at all.

Rank 0: imports nothing from the package.
"""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a draft to write; it becomes the file at the end.

    Each call has a draft of its own beside the file, so that two processes
    which write the same file do not write into one another's.

    Raises:
        OSError: names the file; what was there before is untouched.
    """
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield draft
        with draft.open("rb") as file:
            os.fsync(file.fileno())  # or a power cut leaves a name, no bytes
        draft.replace(path)
    except OSError as error:
        raise type(error)(
            f"{path} was not written: {error}; what was there before is "
            "untouched"
        ) from error
    finally:
        with suppress(OSError):  # there is none, or nothing may be changed
            draft.unlink()


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Give a draft to write into; it becomes the folder at the end.

    The folder's parents are made. After an error nothing of it is left.

    Raises:
        OSError: names the folder.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=folder.parent, prefix=".partial-"
        ) as at:
            draft = Path(at, "whole")
            draft.mkdir()
            yield draft
            draft.replace(folder)
    except OSError as error:
        raise type(error)(
            f"{folder} was not written: {error}; nothing of it was kept"
        ) from error
