"""Chapter 8: a run on disk, whole or not at all."""

import json
import math
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vitlib._claim import claim
from vitlib._download import sha256
from vitlib._tensors import load_tensors, save_tensors
from vitlib.distributed import wait_for_all
from vitlib.recipe import differences
from vitlib.trainer import Trainer

KEEP = 2  # if the newest is damaged, the one before it serves


class DamagedError(ValueError):
    """A file is not what was written."""


class Checkpoints:
    """The checkpoints of one run: folders step-00000000 within its own.

    Chapter 8. A folder is written under another name, then renamed; it
    holds the tensors, and state.json with the rest and a SHA-256 of every
    file.

    Args:
        folder: of the run, or None to keep nothing.
        trainer: the run.
    """

    def __init__(self, folder: str | Path | None, trainer: Trainer) -> None:
        self.trainer = trainer
        self.folder = Path(folder) if folder else None

    def save(self) -> None:
        """Write the state after this step, then drop the oldest.

        Raises:
            OSError: if that fails; the checkpoint before it stays whole.
        """
        if not self.folder:
            return
        step = self.trainer.step
        final = self.folder / f"step-{step:08}"
        draft = final.with_suffix(".part")
        try:
            if self.trainer.rank == 0:
                shutil.rmtree(draft, ignore_errors=True)
            wait_for_all()
            save_tensors(self.trainer, draft)
            if self.trainer.rank == 0:
                write_state(draft, self.trainer)
                shutil.rmtree(final, ignore_errors=True)
                draft.rename(final)
                self._drop_others(final)
        except OSError as error:
            if self.trainer.rank == 0:
                shutil.rmtree(draft, ignore_errors=True)
            raise OSError(
                f"no checkpoint after step {step:,}: {error}; those before "
                f"it in {self.folder} are whole, and the same call resumes"
            ) from error
        wait_for_all()

    def restore(self) -> None:
        """Bring the run to its newest whole checkpoint, if it has one.

        Raises:
            ValueError: if it belongs to another run, naming what differs,
                or cannot be trusted, or all are damaged.
        """
        found = self._newest_first()
        if self.folder and self.trainer.rank == 0:
            for stale in self.folder.glob("step-*.part"):
                shutil.rmtree(stale, ignore_errors=True)
        for folder in found:
            try:
                state = read_state(folder)
            except DamagedError as error:
                if self.trainer.rank == 0:
                    warnings.warn(f"{error}; left out", stacklevel=3)
                continue
            now = json.loads(json.dumps(identity(self.trainer)))
            faults = differences(state["identity"], now)
            if faults:
                raise ValueError(
                    f"{self.folder} holds another run ({'; '.join(faults)}): "
                    "take another folder, or remove it"
                )
            load_tensors(self.trainer, folder)
            self.trainer.step = state["step"]
            self.trainer.loss_sum = state["loss_sum"]
            if state["scaler"] and self.trainer.scaler.is_enabled():
                self.trainer.scaler.load_state_dict(state["scaler"])
            return
        if found:
            raise DamagedError(
                f"no whole checkpoint in {self.folder}: {len(found)} damaged; "
                "remove them to start again"
            )

    def _newest_first(self) -> list[Path]:
        if not self.folder:
            return []
        pattern = "step-" + "[0-9]" * 8
        return sorted(self.folder.glob(pattern), reverse=True)

    def _drop_others(self, newest: Path) -> None:
        """Drop the oldest, and damaged ones of steps not yet reached."""
        found = self._newest_first()
        place = found.index(newest)
        for folder in found[:place] + found[place + KEEP :]:
            shutil.rmtree(folder)


@contextmanager
def open_checkpoints(
    folder: str | Path | None, trainer: Trainer
) -> Iterator[Checkpoints]:
    """Bring a run to its newest checkpoint, and keep others out meanwhile.

    Chapter 8. Arguments as of Checkpoints, errors as of claim and restore.
    """
    with claim(folder, trainer.rank):
        store = Checkpoints(folder, trainer)
        store.restore()
        yield store


def identity(trainer: Trainer) -> dict[str, Any]:
    """Everything that decides which steps a run takes, by name."""
    config = getattr(trainer.given, "config", None)
    model = asdict(config) if config else {}
    return {
        "data": trainer.identity,
        "model": type(trainer.given).__name__,
        **{f"model.{name}": value for name, value in model.items()},
        **asdict(trainer.config),
    }


def write_state(folder: Path, trainer: Trainer) -> None:
    """Write state.json: what are no tensors, and the files' digests."""
    state = {
        "step": trainer.step,
        "loss_sum": trainer.loss_sum,
        "scaler": trainer.scaler.state_dict(),
        "identity": identity(trainer),
        "files": {path.name: sha256(path) for path in folder.iterdir()},
    }
    with (folder / "state.json").open("w", encoding="utf-8") as file:
        json.dump(state, file)
        file.flush()
        os.fsync(file.fileno())


def read_state(folder: Path) -> dict[str, Any]:
    """Read state.json, and check that every file is what it was.

    Raises:
        DamagedError: names the first file that is missing or damaged.
    """
    file = folder / "state.json"
    try:
        state = json.loads(file.read_text("utf-8"))
        files = state["files"]
        whole = (
            type(state["step"]) is int
            and folder.name == f"step-{state['step']:08}"
            and math.isfinite(state["loss_sum"])
            and {type(state["scaler"]), type(state["identity"])} == {dict}
            and ".metadata" in files
            and all(Path(name).name == name for name in files)
        )
        if not whole:
            raise ValueError("no run writes such values")
        lacking = [name for name in files if not (folder / name).is_file()]
        digests = dict(files.items())
    except (OSError, ValueError, LookupError, TypeError, AttributeError,
            OverflowError, RecursionError) as error:  # fmt: skip
        raise DamagedError(f"{file} is missing or damaged: {error}") from error
    for name, digest in digests.items():
        path = folder / name
        if name in lacking or sha256(path) != digest:
            raise DamagedError(f"{path} is missing or damaged")
    return state
