"""Chapter 8: a run's log, read back."""

import json
from pathlib import Path
from typing import Any

from vitlib._whole import whole_file


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """Read log.jsonl; a last line that was cut off is left out.

    Chapter 8.

    Args:
        path: the file, or the folder of the run.

    Returns:
        One record a line, each with "event" and "step".

    Raises:
        ValueError: names a line, other than the last, that is damaged.
    """
    path = Path(path)
    path = path / "log.jsonl" if path.is_dir() else path
    lines = path.read_text("utf-8", errors="replace").splitlines()
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            whole = isinstance(record["event"], str)
            whole = whole and isinstance(record["step"], int)
            whole = whole and isinstance(record.get("seconds", 0), int | float)
        except (ValueError, TypeError, KeyError, RecursionError):
            whole = False
        if whole:
            records.append(record)
        elif number < len(lines):
            raise ValueError(
                f"{path}, line {number} is damaged: {line[:60]}; mend it, or "
                "delete the file: the checkpoints go on without it"
            )
    return records


def append_record(path: Path, record: dict[str, Any]) -> None:
    """Write a line at the end of log.jsonl.

    Chapter 8.

    Args:
        path: the file.
        record: anything that JSON holds.

    Raises:
        OSError: if that fails, as on a full disk.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
    except OSError as error:
        raise OSError(
            f"{path} cannot be written: {error}; checkpoints beside it are "
            "whole, and the same call resumes"
        ) from error


def write_log(path: Path, records: list[dict[str, Any]]) -> None:
    """Write log.jsonl anew, whole or not at all.

    Chapter 8.

    Args:
        path: the file.
        records: one a line.

    Raises:
        OSError: if that fails; the log before it is untouched.
    """
    lines = [json.dumps(record) + "\n" for record in records]
    with whole_file(path, stale=0) as draft:  # a folder has one run
        draft.write_text("".join(lines), encoding="utf-8")
