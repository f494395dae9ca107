"""Tensors of a run to disk and back, by torch.distributed.checkpoint.

One process or many write the same format, and another number of processes
can read it.
"""

import pickle
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint import state_dict as states

from vitlib.trainer import Trainer

OPTIONS = states.StateDictOptions(flatten_optimizer_state_dict=True)
# What an index of tensors is made of.
CLASSES = {
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
    "torch.Size",
    "torch.serialization._get_layout",
    "torch.distributed.checkpoint.filesystem._StorageInfo",
    *(
        f"torch.distributed.checkpoint.metadata.{name}"
        for name in (
            "ChunkStorageMetadata",
            "Metadata",
            "MetadataIndex",
            "StorageMeta",
            "TensorProperties",
            "TensorStorageMetadata",
            "_MEM_FORMAT_ENCODING",
        )
    ),
}


def tensors_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    """All tensors of a run by name: weights, average, optimiser's state."""
    found = {f"model.{k}": v for k, v in trainer.model.state_dict().items()}
    if trainer.average is not None:
        average = trainer.average.state_dict()
        found |= {f"average.{k}": v for k, v in average.items()}
    for name, value in _optimizer_state(trainer).items():
        if name.startswith("state."):
            found[f"optimizer.{name}"] = value
    return found


def _optimizer_state(trainer: Trainer) -> dict[str, Any]:
    """State and settings of the optimisers, flat, by parameter's name."""
    return states.get_optimizer_state_dict(
        trainer.model, trainer.optimizers, options=OPTIONS
    )


def save_tensors(trainer: Trainer, folder: Path) -> None:
    """Write a run's tensors, each process its own, into a new folder."""
    with _quiet_if_alone() as alone:
        dcp.save(tensors_of(trainer), checkpoint_id=folder, no_dist=alone)


def load_tensors(trainer: Trainer, folder: Path) -> None:
    """Fill a run's tensors from a checkpoint."""
    found = tensors_of(trainer)
    with _quiet_if_alone() as alone:
        dcp.load(
            found,
            storage_reader=SafeReader(folder),
            planner=SafePlanner(),
            no_dist=alone,
        )
    full = _optimizer_state(trainer)
    prefix = "optimizer."
    full |= {
        name.removeprefix(prefix): value
        for name, value in found.items()
        if name.startswith(prefix)
    }
    states.set_optimizer_state_dict(
        trainer.model, trainer.optimizers, full, options=OPTIONS
    )


@contextmanager
def _quiet_if_alone() -> Iterator[bool]:
    """Whether there is no process group; then PyTorch need not warn of it."""
    grouped = distributed.is_available() and distributed.is_initialized()
    with warnings.catch_warnings():
        if not grouped:
            warnings.filterwarnings("ignore", "torch.distributed is disabled")
        yield not grouped


class SafePlanner(dcp.DefaultLoadPlanner):
    """Reads tensors only: other values would be unpickled."""

    def load_bytes(self, read_item: Any, value: Any) -> None:
        """Refuse.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"not a tensor: {read_item.dest_index.fqn}")


class SafeReader(dcp.FileSystemReader):
    """Reads the index, a pickle, with its own classes and no others."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        """Read the index; refuses what could run code."""
        with (Path(self.path) / ".metadata").open("rb") as file:
            metadata = Unpickler(file).load()
        metadata.storage_meta = dcp.metadata.StorageMeta(load_id=self.load_id)
        return metadata


class Unpickler(pickle.Unpickler):
    """Knows the classes that an index of tensors is made of."""

    def find_class(self, module: str, name: str) -> Any:
        """Look up a class.

        Raises:
            pickle.UnpicklingError: if it is none of those.
        """
        dtype = isinstance(getattr(torch, name, None), torch.dtype)
        if f"{module}.{name}" in CLASSES or (module == "torch" and dtype):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} in a checkpoint")
