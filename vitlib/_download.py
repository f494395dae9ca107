"""Downloads that end whole and checked, or leave nothing behind."""

import errno
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from vitlib._formats import MOST_BYTES
from vitlib._whole import sweep

# Takes an archive and a folder to write in, returns the files to keep.
Unpack = Callable[[Path, Path], list[Path]]

ATTEMPTS = 3
WAIT = 2.0  # seconds before the second attempt; doubles after
TIMEOUT = 30.0  # seconds without a byte before an attempt is given up
MOST_SECONDS = 3600.0  # for a file
GONE = (401, 403, 404, 410)  # HTTP answers that no second attempt changes
FULL = (errno.ENOSPC, errno.EDQUOT)


def cache_folder() -> Path:
    """Where data sets are kept: $VITLIB_CACHE, or in the user's cache.

    Raises:
        OSError: if there is neither, nor a home.
    """
    own = os.environ.get("VITLIB_CACHE")
    user = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(own or f"{user}/vitlib").expanduser()
    except RuntimeError as error:
        raise OSError(
            f"{error} Set VITLIB_CACHE to a folder for downloads"
        ) from error


def obtain(
    title: str,
    hint: str,
    files: Collection[str],
    downloads: Mapping[str, str],
    urls: Sequence[str],
    folders: Sequence[Path],
    unpack: Unpack | None = None,
) -> Path:
    """Find the folder that holds a data set, or download it.

    Args:
        title: the data set's name, for the message.
        hint: another way to come by it, likewise.
        files: what the folder must hold.
        downloads: file on the server -> its SHA-256.
        urls: base addresses; none means: do not download.
        folders: where to look, in this order; downloads go to the last.
        unpack: as download takes it.

    Raises:
        FileNotFoundError: names every folder and the files it lacks.
        OSError: as download raises it.
    """
    faults = ""
    for folder in folders:
        sweep(folder, ".partial-*")
        lacking = [name for name in files if not (folder / name).is_file()]
        if not lacking:
            return folder
        state = "lacks" if folder.is_dir() else "is no folder; it must hold"
        faults += f"\n  {folder} {state} {', '.join(lacking)}"
    if not urls:
        raise FileNotFoundError(
            f"{title} was not found:{faults}\nCall again with download=True, "
            f"or with root= the folder that holds these files. {hint}"
        )
    for name, sha256 in downloads.items():
        if unpack or name in lacking:
            download(name, urls, sha256, folder, unpack)
    return folder


def download(
    name: str,
    urls: Sequence[str],
    sha256: str,
    folder: Path,
    unpack: Unpack | None = None,
) -> None:
    """Fetch a file, check it, and only then put it in its folder.

    All work is done in a folder of its own beside the target, so that
    neither a fault nor a second process leaves half a file in the cache.

    Args:
        name: the file, as the server calls it.
        urls: base addresses, tried in turn; each ends with a slash.
        sha256: of the file.
        folder: where the result goes; made if missing.
        unpack: for an archive: what to keep in its place.

    Raises:
        ConnectionError: if no address gave the right file; lists each one's
            fault.
        OSError: if the disk is full or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as at:
            path = Path(at, name)
            _fetch([url + name for url in urls], path, sha256, folder)
            for file in unpack(path, Path(at)) if unpack else [path]:
                os.replace(file, folder / file.name)
    except ConnectionError:
        raise
    except OSError as error:
        fault = "the disk is full" if error.errno in FULL else "cannot write"
        raise OSError(
            error.errno,
            f"{fault}: {name} could not be stored ({error.strerror}); nothing "
            "was kept: free some space, name another folder by root=, or set "
            "VITLIB_CACHE to one",
            str(folder),
        ) from error


def _fetch(urls: list[str], path: Path, sha256: str, folder: Path) -> None:
    """Try each address, several times, until the right file is there."""
    try:
        import pooch
        import requests
    except ImportError as error:
        raise ImportError(
            "downloading needs pooch and tqdm: pip install pooch tqdm"
        ) from error
    get = pooch.HTTPDownloader(
        progressbar=watched(), chunk_size=1 << 18, timeout=TIMEOUT
    )
    faults: dict[str, str] = {}
    for attempt in range(ATTEMPTS):
        if attempt and urls:
            time.sleep(WAIT * 2 ** (attempt - 1))
        for url in list(urls):
            try:
                with path.open("wb") as file:
                    get(url, Limited(file), None)
            # ValueError: an answer or an address that makes no sense
            except (requests.RequestException, TooMuch, ValueError) as error:
                faults[url] = f"{type(error).__name__}: {error}"
                answer = getattr(error, "response", None)
                if getattr(answer, "status_code", None) in GONE:
                    urls.remove(url)
                continue
            found = pooch.file_hash(str(path), alg="sha256")
            if found == sha256:
                return
            faults[url] = f"SHA-256 {found}, expected {sha256}"
    listed = "".join(f"\n  {url}: {fault}" for url, fault in faults.items())
    raise ConnectionError(
        f"{path.name} could not be downloaded:{listed}\nNothing was kept. "
        "Check the connection and call again, name another server by "
        f"mirror=, or put the file into {folder} yourself"
    )


class TooMuch(Exception):
    """A server sends more, or takes longer, than any file of the book."""


class Limited:
    """A file that takes so many bytes, for so long, and no more."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.end = file, time.monotonic() + MOST_SECONDS
        self.flush = file.flush

    def write(self, data: bytes) -> int:
        """Write, or raise TooMuch."""
        if self.file.tell() + len(data) > MOST_BYTES:
            raise TooMuch(f"over {MOST_BYTES:,} bytes")
        if time.monotonic() > self.end:
            raise TooMuch(f"over {MOST_SECONDS:.0f} seconds")
        return self.file.write(data)


def sha256(path: Path) -> str:
    """Digest of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def watched() -> bool:
    """Whether a person sees a progress bar: a terminal, or Colab."""
    return sys.stderr.isatty() or "google.colab" in sys.modules
