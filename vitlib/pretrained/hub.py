"""Chapter 11: the file that belongs to a name, from the hub or the cache."""

import contextlib
import itertools
import json
from pathlib import Path
from typing import Any

from vitlib._checks import check_choice
from vitlib._download import cache_folder, sha256, watched
from vitlib._whole import whole_file
from vitlib.pretrained.focus import prepare
from vitlib.pretrained.registry import REGISTRY, Entry


def fetch(name: str) -> tuple[Path, Entry]:
    """Find the file of a named model, or download it.

    Chapter 11. huggingface_hub keeps what it downloads in its own cache,
    where it is found again without a connection.

    Args:
        name: a key of vitlib.pretrained.registry.REGISTRY.

    Returns:
        The file, and what is known of it.

    Raises:
        ConnectionError: if it is neither in the cache nor to be had.
        ImportError: if the library that fetches it is missing.
        ValueError: if the name is unknown (the message lists the known), or
            the file is not the one that was expected.
    """
    check_choice("weights", name, REGISTRY)
    entry = REGISTRY[name]
    return (_download(name, entry) if entry.repo else prepare()), entry


def _download(name: str, entry: Entry) -> Path:
    """Get the first of the entry's files that is in its repository."""
    try:
        from huggingface_hub import errors
        from huggingface_hub.utils import disable_progress_bars
    except ImportError as error:
        raise ImportError(
            f"{name} needs huggingface_hub: pip install huggingface_hub"
        ) from error
    if not watched():
        disable_progress_bars()
    revision = entry.revision or _first_seen().get(entry.repo, "main")
    fault = ""
    for local, file in itertools.product((True, False), entry.files):
        try:
            path = _get(
                entry.repo, file, revision=revision, local_files_only=local
            )
        except Exception as error:  # the hub's, or its HTTP library's
            fault = f"{file}: {type(error).__name__}: {error}"
            if isinstance(error, errors.EntryNotFoundError) or local:
                continue  # another file may be there
            break
        _check(path, entry)
        if revision == "main":
            _remember(entry.repo, path.parent.name)
        return path
    raise ConnectionError(
        f"neither in the cache nor to be had from the hub: {name}, "
        f"{entry.repo} at {revision}\n{fault}"
    )


def _get(repo: str, file: str, **options: Any) -> Path:
    """Download a file, and once more whole if its parts do not fit.

    After a break some servers send all of it, and older releases of the
    library put that behind what had come before, each time.
    """
    from huggingface_hub import hf_hub_download

    options["token"] = False  # all are public; in Colab it would ask for one
    try:
        return Path(hf_hub_download(repo, file, **options))
    except OSError as error:
        if "should be of size" not in str(error):
            raise
    return Path(hf_hub_download(repo, file, force_download=True, **options))


def _check(path: Path, entry: Entry) -> None:
    """Compare a file with its SHA-256; remove one that has another.

    Where the registry does not know it, the hub does: it is the name under
    which a large file lies in the cache.
    """
    blob = path.resolve()
    expected = entry.sha256 or (blob.name if len(blob.name) == 64 else "")
    if not expected:
        return
    found = sha256(path)
    if found != expected:
        blob.unlink()
        raise ValueError(
            f"{path.name} of {entry.repo} had SHA-256 {found}, "
            f"expected {expected}; it was removed"
        )


def _first_seen() -> dict[str, str]:
    """Read the commits that unpinned repositories had when first used."""
    with contextlib.suppress(OSError, RecursionError, ValueError):
        found = json.loads((cache_folder() / "revisions.json").read_text())
        if isinstance(found, dict):
            return {k: v for k, v in found.items() if isinstance(v, str)}
    return {}


def _remember(repo: str, commit: str) -> None:
    """Ask for this commit from now on, even when the repository changes."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_first_seen() | {repo: commit}, indent=2)
    with whole_file(folder / "revisions.json") as draft:
        draft.write_text(text)
