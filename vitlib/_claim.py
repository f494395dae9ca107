"""One run at a time in a folder.

Rank 0: imports nothing from the package.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextmanager
def claim(folder: str | Path | None, rank: int) -> Iterator[None]:
    """Make a run's folder, and keep other runs out of it meanwhile.

    Chapter 8. The lock ends with the process, however that ends. Windows
    and file systems without such locks keep nobody out.

    Args:
        folder: of the run, or None for none.
        rank: of this process; each has a lock of its own.

    Raises:
        BlockingIOError: if another run is at work there.
        OSError: if nothing can be written there.
    """
    if not folder:
        yield
        return
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        file = Path(folder, f".lock-{rank}").open("ab")  # noqa: SIM115
    except OSError as error:
        raise type(error)(
            f"no checkpoint can be written to {folder}: {error}"
        ) from error
    with file:
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(
                f"another run is at work in {folder}: wait until it ends, "
                "stop it, or take another folder"
            ) from error
        except OSError:
            pass  # this file system has no locks
        yield
