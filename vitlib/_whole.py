"""A file or a folder that is written whole or not at all.

Rank 0: imports nothing from the package.
"""

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

STALE = 86400.0  # seconds after which a killed process's draft may go
HEX = "[0-9a-f]" * 8  # what secrets.token_hex(4) gives, as a pattern


@contextmanager
def whole_file(path: Path, stale: float = STALE) -> Iterator[Path]:
    """Give a draft to write; it becomes the file at the end.

    Each call has a draft of its own beside the file, so that two processes
    which write the same file do not write into one another's.

    Args:
        path: the file.
        stale: seconds after which the drafts of killed processes go; 0
            where no other process writes this file.

    Raises:
        OSError: names the file; what was there before is untouched.
    """
    sweep(path.parent, f"{escape(path.name)}.{HEX}.part", stale)
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
        # one that is empty stays: it may be a mount, a link, or "."
        there = folder.is_dir() and not any(folder.iterdir())
        place = folder if there else folder.parent
        sweep(place, ".partial-*")
        with tempfile.TemporaryDirectory(dir=place, prefix=".partial-") as at:
            draft = Path(at, "whole")
            draft.mkdir()
            yield draft
            for file in draft.iterdir() if there else ():
                file.replace(folder / file.name)
            if not there:
                draft.replace(folder)
    except OSError as error:
        raise type(error)(
            f"{folder} was not written: {error}; nothing of it was kept"
        ) from error


def sweep(folder: Path, pattern: str, stale: float = STALE) -> None:
    """Remove drafts that were left long ago, by processes since killed."""
    for old in folder.glob(pattern):
        with suppress(OSError):  # another process may be first
            # a clock that was set back leaves times that are yet to come
            if abs(time.time() - old.stat().st_mtime) >= stale:
                shutil.rmtree(old) if old.is_dir() else old.unlink()
