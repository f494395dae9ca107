"""Chapter 11: tensors out of files that strangers wrote.

A file of weights is data and stays data: whatever could run code, or fill
the memory with less on disk, is refused. Rank 0.
"""

import re
import zipfile
from pathlib import Path

import torch
from torch import Tensor

MAX_BYTES = 4 << 30  # H/14, the paper's largest, takes 2.5 GB in float32
WRAPPERS = ("model", "state_dict")  # keys that hold the weights in a .pth


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read safetensors, .pth, .pt, .bin or .npz, told by their content.

    Chapter 11.

    Args:
        path: of the file.

    Returns:
        Tensors by name, float32, and the metadata of a safetensors file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, too large, holds anything but tensors
            of finite floating-point numbers, or could run code.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file of weights at {path}")
    try:
        _check_size(path.stat().st_size)
        found, metadata = _read(path)
        tensors = [v for v in found.values() if isinstance(v, Tensor)]
        _check_size(sum(4 * tensor.numel() for tensor in tensors))
        return {k: _checked(k, v) for k, v in found.items()}, metadata
    except Exception as error:  # a damaged file can break a reader anywhere
        raise ValueError(f"{path} was refused: {_cause(error)}") from error


def _read(path: Path) -> tuple[dict[str, object], dict[str, str]]:
    """Choose the reader by the first bytes and, of a zip, its members."""
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:] == b"{":  # eight bytes of length, then JSON
        return _read_safetensors(path)
    if not zipfile.is_zipfile(path):
        return _read_torch(path), {}  # PyTorch before 1.6
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        _check_size(sum(member.file_size for member in members))
        if any(member.filename.endswith("/data.pkl") for member in members):
            if any(member.compress_type for member in members):
                raise ValueError("PyTorch's files are not compressed")
            return _read_torch(path), {}
        names = [member.filename.removesuffix(".npy") for member in members]
        return {
            name: _read_npy(archive, member, name)
            for name, member in zip(names, members, strict=True)
        }, {}


def _read_safetensors(path: Path) -> tuple[dict[str, object], dict[str, str]]:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return found, file.metadata() or {}


def _read_torch(path: Path) -> dict[str, object]:
    """Unpickle with PyTorch's list of harmless types and no others."""
    found = torch.load(path, map_location="cpu", weights_only=True)
    for key in WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict):
        raise ValueError(f"it holds a {type(found).__name__}, not tensors")
    if all(str(name).startswith("module.") for name in found):  # DDP's
        found = {k.removeprefix("module."): v for k, v in found.items()}
    return found


def _read_npy(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str
) -> Tensor:
    """Read one array of an .npz: first its header, then what that says."""
    import numpy as np

    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is packed in an unusual way")
    with archive.open(member) as file:
        if np.lib.format.read_magic(file) != (1, 0):  # longer headers
            raise ValueError(f"{name} is no array of NumPy's format 1.0")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        if dtype.kind != "f" or dtype.itemsize > 8:
            raise ValueError(
                f"{name} holds {dtype}, not floating-point numbers"
            )
        size = dtype.itemsize
        for side in shape:
            size *= max(side, 0)
        left = member.file_size - file.tell()
        if size != left:
            raise ValueError(
                f"{name} has {left} bytes for shape {shape}, {dtype}"
            )
        data, order = file.read(size), "F" if fortran else "C"
    array = np.ndarray(shape, dtype, data, order=order)
    return torch.from_numpy(array.astype(np.float32, order="C"))


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise ValueError(
            f"it holds {size:,} bytes; at most {MAX_BYTES:,} are read"
        )


def _checked(name: object, value: object) -> Tensor:
    """One tensor in float32, if it is one, and finite."""
    if not isinstance(name, str) or not isinstance(value, Tensor):
        raise ValueError(f"{name!r} is a {type(value).__name__}, no tensor")
    if not value.is_floating_point():
        raise ValueError(f"{name} holds {value.dtype}, no floating point")
    if value.layout != torch.strided:
        raise ValueError(f"{name} is stored as {value.layout}")
    if value.nbytes > value.untyped_storage().nbytes():
        raise ValueError(f"{name} is larger than what is stored of it")
    value = value.detach().float().contiguous()
    bad = int((~value.isfinite()).sum())
    if bad:
        raise ValueError(
            f"{name}: {bad} of {value.numel()} values are NaN or infinite"
        )
    return value


def _cause(error: Exception) -> str:
    """Say what is wrong, without PyTorch's advice to unpickle anyway."""
    text = str(error)
    if "weights_only" in text or "Unsupported" in text:
        found = re.search(r"GLOBAL (\S+)", text)
        what = f" ({found[1]})" if found else ""
        return (
            f"besides tensors it holds objects{what} that could run code "
            "when read; ask its author for safetensors"
        )
    lines = text.splitlines() or [type(error).__name__]
    return lines[0][:300]
