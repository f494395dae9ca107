"""Tensors of a run to disk and back, by torch.distributed.checkpoint.

One process or many write the same format, and another number of processes
can read it.
"""

import pickle
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint import state_dict as states

from vitlib.trainer import Trainer

OPTIONS = states.StateDictOptions(flatten_optimizer_state_dict=True)
# What an index of tensors is made of, from PyTorch 2.9 to 2.14.
CLASSES = {
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
PATHS = ("PosixPath", "WindowsPath")  # of any Python, on any system


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
    """Write a run's tensors, each process its own, into a new folder.

    Raises:
        OSError: if that fails.
    """
    try:
        with _no_warning():
            dcp.save(tensors_of(trainer), checkpoint_id=folder)
    except dcp.CheckpointException as error:  # no Exception, by PyTorch
        raise OSError(_cause(error)) from error


def load_tensors(trainer: Trainer, folder: Path) -> None:
    """Fill a run's tensors from a checkpoint.

    Raises:
        ValueError: names the folder, if it holds other tensors, or things
            that are none.
    """
    found = tensors_of(trainer)
    try:
        with _no_warning():
            reader = SafeReader(folder)
            reader.read_metadata()  # dcp.load would hide why it fails
            dcp.load(found, storage_reader=reader, planner=SafePlanner())
    except (Exception, dcp.CheckpointException) as error:
        message = f"{folder} cannot be loaded: {_cause(error)}"
        raise ValueError(message) from error
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


def _cause(error: BaseException) -> str:
    """The last line of what went wrong, of the first process it did in."""
    for failure, _ in getattr(error, "failures", {}).values():
        error = failure
        break
    return f"{type(error).__name__}: {error}"


@contextmanager
def _no_warning() -> Iterator[None]:
    """One process is no fault; PyTorch warns of it, or of its own code."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is")
        warnings.filterwarnings("ignore", "TypedStorage is deprecated")
        yield


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
        """Read the index.

        Raises:
            ValueError: if it would run code, or leads out of the folder.
        """
        folder = Path(self.path)
        with (folder / ".metadata").open("rb") as file:
            metadata = Unpickler(file).load()
        names = {path.name for path in folder.iterdir()}
        for info in metadata.storage_data.values():
            if info.relative_path not in names:
                raise ValueError(f"no file {info.relative_path!r} in it")
        metadata.storage_meta = dcp.metadata.StorageMeta(load_id=self.load_id)
        return metadata


class Unpickler(pickle.Unpickler):
    """Knows the classes that an index of tensors is made of."""

    def find_class(self, module: str, name: str) -> Any:
        """Look up a class.

        Raises:
            pickle.UnpicklingError: if it is none of those.
        """
        if module in ("pathlib", "pathlib._local") and name in PATHS:
            return PurePosixPath  # where the index was written: unused
        if f"{module}.{name}" == "builtins.getattr":
            return _member  # how some Pythons pickle an enum, 3.11.2 for one
        if f"{module}.{name}" in CLASSES:
            return super().find_class(module, name)
        if module == "torch" and isinstance(
            getattr(torch, name, None), torch.dtype
        ):
            return getattr(torch, name)
        raise pickle.UnpicklingError(f"{module}.{name} in its index")


def _member(kind: Any = None, name: str = "") -> Any:
    """Look up a memory format by its name, in place of getattr.

    Raises:
        pickle.UnpicklingError: if anything else is asked for.
    """
    formats = dcp.metadata._MEM_FORMAT_ENCODING
    if kind is not formats or name not in formats.__members__:
        raise pickle.UnpicklingError("builtins.getattr in its index")
    return formats[name]
