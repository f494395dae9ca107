"""Chapter 8: a run on disk, whole or not at all."""

import hashlib
import json
import shutil
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

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
        if self.folder:
            self.folder.mkdir(parents=True, exist_ok=True)

    def save(self) -> None:
        """Write the state after this step, then drop the oldest."""
        if not self.folder:
            return
        trainer = self.trainer
        final = self.folder / f"step-{trainer.step:08}"
        draft = final.with_suffix(".part")
        if trainer.rank == 0 and draft.exists():
            shutil.rmtree(draft)
        wait_for_all()
        save_tensors(trainer, draft)
        wait_for_all()
        if trainer.rank == 0:
            state = {
                "step": trainer.step,
                "loss_sum": trainer.loss_sum,
                "scaler": trainer.scaler.state_dict(),
                "identity": identity(trainer),
                "files": {p.name: sha256(p) for p in draft.iterdir()},
            }
            (draft / "state.json").write_text(json.dumps(state))
            shutil.rmtree(final, ignore_errors=True)
            draft.rename(final)
            for old in self._newest_first()[KEEP:]:
                shutil.rmtree(old)
        wait_for_all()

    def restore(self) -> None:
        """Bring the run to its newest whole checkpoint, if it has one.

        Raises:
            ValueError: if it belongs to another run, naming what differs,
                or all are damaged.
        """
        found = self._newest_first() if self.folder else []
        for folder in found:
            try:
                state = read_state(folder)
            except ValueError as error:
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
            self.trainer.scaler.load_state_dict(state["scaler"])
            return
        if found:
            raise DamagedError(
                f"no whole checkpoint in {self.folder}: {len(found)} damaged; "
                "remove them to start again"
            )

    def _newest_first(self) -> list[Path]:
        pattern = "step-" + "[0-9]" * 8
        return sorted((self.folder or Path()).glob(pattern), reverse=True)


def identity(trainer: Trainer) -> dict[str, Any]:
    """Everything that decides which steps a run takes, by name."""
    config = getattr(trainer.model, "config", None)
    model = asdict(config) if config else {}
    return {
        "data": trainer.identity,
        # FSDP2 makes a subclass of the model's class, with this prefix
        "model": type(trainer.model).__name__.removeprefix("FSDP"),
        **{f"model.{name}": value for name, value in model.items()},
        **asdict(trainer.config),
    }


def sha256(path: Path) -> str:
    """Digest of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def read_state(folder: Path) -> dict[str, Any]:
    """Read state.json, and check that every file is what it was.

    Raises:
        ValueError: names the first file that is missing or damaged.
    """
    try:
        state = json.loads((folder / "state.json").read_text())
        files = dict(state["files"])
        names = ("step", "loss_sum", "scaler", "identity")
        state = {name: state[name] for name in names}
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{folder}/state.json is missing or damaged: {error!r}"
        raise ValueError(message) from error
    for name, digest in files.items():
        path = folder / Path(name).name
        if not path.is_file() or sha256(path) != digest:
            raise ValueError(f"{path} is missing or damaged")
    return state
