"""Chapters 8 to 15: `python -m vitlib train`, `evaluate` and the others."""

import json
import os
import re
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from threading import current_thread, main_thread
from typing import Any

import torch

from vitlib import __version__
from vitlib._cli import parse
from vitlib._commands import download, evaluate, train
from vitlib._inspect import inspect
from vitlib._rescue import ran_out
from vitlib.checkpoint import DamagedError

COMMANDS = {
    "train": train,
    "evaluate": evaluate,
    "download": download,
    "inspect": inspect,
}
FAILED = (
    DamagedError,
    FloatingPointError,
    ImportError,
    MemoryError,
    OSError,
    torch.cuda.OutOfMemoryError,
)

# What gloo and NCCL say when the process at the other end is no more.
LOST = ("Connection reset", "Connection closed", "Broken pipe", "NCCL error")
GONE = "another process has ended; the same command takes the run up again"


def main(argv: list[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: what follows `python -m vitlib`; None takes the process's own.

    Returns:
        The exit code; the help of the command lists them.
    """
    mend_streams()
    args = parse(argv, __version__)
    first = os.environ.get("RANK", "0") == "0"
    with stoppable(), aside(args.json), open(os.devnull, "w") as nowhere:
        progress = sys.stderr if args.json else sys.stdout
        try:
            with redirect_stdout(progress if first else nowhere):
                result = COMMANDS[args.command](args)
        except FAILED as error:
            return complain(error, 1)
        except ValueError as error:
            return complain(error, 2)
        except RuntimeError as error:
            if ran_out(error):
                cause = str(error).splitlines()[0][:200]
                return complain(MemoryError(f"out of memory: {cause}"), 1)
            if not any(sign in str(error) for sign in LOST):
                raise
            return complain(ConnectionError(f"{GONE} ({error})"[:400]), 1)
        except KeyboardInterrupt as stop:
            number = signal.Signals(stop.args[0] if stop.args else 2)
            if first:
                again = "the same command takes it up again"
                say(f"stopped by {number.name}; {again}")
            return 128 + number
    if args.json and first:
        try:
            print(json.dumps({"command": args.command, **result}), flush=True)
        except OSError as error:
            return complain(error, 1)
    return 0


def mend_streams() -> None:
    """Put up with closed streams, and with names that are not text."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # as after `2>&-`
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def aside(wanted: bool) -> Iterator[None]:
    """Send to standard error what libraries print below Python, as gloo."""
    if not wanted:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def complain(error: BaseException, code: int) -> int:
    """Say what went wrong, in the words of the command line."""
    text = str(error) or type(error).__name__
    text = text.replace("download=True", "--download")
    say("error: " + re.sub(r"\b(root|mirror)=", r"--\1", text))
    return code


def say(text: str) -> None:
    """Write to standard error, with the process where there are several."""
    rank, world = (os.environ.get(n, "") for n in ("RANK", "WORLD_SIZE"))
    who = f" (process {rank} of {world})" if world not in ("", "1") else ""
    print(f"vitlib{who}: {text}", file=sys.stderr, flush=True)


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM end a command as SIGINT does; show warnings in a line."""

    def stop(number: int, _: Any) -> None:
        raise KeyboardInterrupt(number)

    before = {}
    if current_thread() is main_thread():
        for kind in (signal.SIGINT, signal.SIGTERM):
            before[kind] = signal.signal(kind, stop)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda text, *_, **__: say(f"note: {text}")
            yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


if __name__ == "__main__":
    sys.exit(main())
