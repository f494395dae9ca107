"""The files of the data sets, read and checked: IDX, CIFAR-10 binary, tar.

Rank 0: imports nothing from the package. A message names the file, what is
wrong with it and what to do. The form is checked first and the checksum
last, so that the message is the most telling one.
"""

import gzip
import hashlib
import math
import shutil
import struct
import tarfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath

import torch
from einops import rearrange
from torch import Tensor

# One byte of label, then 32x32 pixels each of red, green and blue.
CIFAR_RECORD = 1 + 3 * 32 * 32
MOST_BYTES = 1 << 28  # of a file, packed or not; the largest has 170 MB
# What Python raises for a gzip stream that is cut short or altered.
BROKEN_GZIP = (gzip.BadGzipFile, EOFError, zlib.error, struct.error)


def damaged(path: Path, fault: str) -> ValueError:
    """The error for a file that does not hold what it should."""
    return ValueError(
        f"{path} {fault}: delete it and load again with download=True, or "
        "put a sound copy in its place"
    )


def read_bytes(path: Path) -> bytes:
    """Read a file whole, unpacked where its first bytes say gzip.

    Raises:
        ValueError: if the gzip stream is cut short, damaged or a bomb.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            content = gzip.GzipFile(fileobj=file) if packed else file
            data = content.read(MOST_BYTES + 1)
    except BROKEN_GZIP as error:
        raise damaged(path, f"is cut short or damaged ({error})") from error
    if len(data) > MOST_BYTES:
        raise damaged(path, f"holds more than {MOST_BYTES:,} bytes")
    return data


def check_sum(path: Path, data: bytes, sha256: str | None) -> None:
    """Compare the unpacked content: two gzips of the same data differ.

    Raises:
        ValueError: gives the sum found and the one expected.
    """
    found = hashlib.sha256(data).hexdigest()
    if sha256 not in (None, found):
        raise damaged(
            path,
            "does not hold the published data (SHA-256 of its content "
            f"{found}, expected {sha256})",
        )


def check_labels(path: Path, labels: Tensor, classes: int) -> None:
    """Refuse a label that names no class.

    Raises:
        ValueError: gives the first such label and its place.
    """
    bad = (labels >= classes).nonzero()
    if len(bad):
        place = int(bad[0])
        raise damaged(
            path,
            f"has a label out of range: {int(labels[place])} at image "
            f"{place}, where 0 to {classes - 1} are possible",
        )


def _parse_idx(path: Path, data: bytes, ndim: int) -> Tensor:
    """Read IDX: 0x0800 + ndim, the size of each axis, then one byte each."""
    magic, expected = data[:4].hex(), f"{0x0800 + ndim:08x}"
    if magic != expected:
        raise damaged(
            path,
            f"starts with the magic number 0x{magic}, expected 0x{expected}",
        )
    start = 4 + 4 * ndim  # numbers of 4 bytes, big-endian
    shape = struct.unpack(f">{ndim}I", data[4:start].ljust(4 * ndim, b"\0"))
    if not math.prod(shape) or len(data) != start + math.prod(shape):
        raise damaged(
            path,
            f"has the wrong length: {len(data)} bytes, where its header says "
            f"{start} + {' * '.join(map(str, shape))}",
        )
    values = torch.frombuffer(bytearray(data), dtype=torch.uint8, offset=start)
    return values.unflatten(0, shape)


def read_idx(
    folder: Path, split: str, classes: int, sums: Mapping[str, str]
) -> tuple[Tensor, Tensor]:
    """Read a split stored in IDX, the format of MNIST and Fashion-MNIST.

    Args:
        folder: holds SPLIT-images-idx3-ubyte.gz (magic number 0x803) and
            SPLIT-labels-idx1-ubyte.gz (0x801).
        split: "train" or "t10k".
        classes: K; labels are 0 to K - 1.
        sums: file name -> SHA-256 of its unpacked content, where known.

    Returns:
        Images uint8 (B, 1, H, W), labels uint8 (B,).

    Raises:
        ValueError: names the file that is damaged, and how.
    """
    paths = [
        folder / f"{split}-{kind}-ubyte.gz"
        for kind in ("images-idx3", "labels-idx1")
    ]
    contents = [read_bytes(path) for path in paths]
    images = _parse_idx(paths[0], contents[0], ndim=3)
    labels = _parse_idx(paths[1], contents[1], ndim=1)
    check_labels(paths[1], labels, classes)
    if len(images) != len(labels):
        fault = f"has {len(labels)} labels for {len(images)} images"
        raise damaged(paths[1], fault)
    for path, content in zip(paths, contents, strict=True):
        check_sum(path, content, sums.get(path.name))
    return rearrange(images, "b h w -> b 1 h w"), labels


def read_cifar(
    path: Path, classes: int, sha256: str | None = None
) -> tuple[Tensor, Tensor]:
    """Read one file of CIFAR-10's binary version: records, no header.

    Returns:
        Images uint8 (B, 3, 32, 32), labels uint8 (B,).

    Raises:
        ValueError: names the file and how it is damaged.
    """
    data = read_bytes(path)
    if not data or len(data) % CIFAR_RECORD:
        raise damaged(
            path,
            f"has the wrong length: {len(data)} bytes are not whole records "
            f"of {CIFAR_RECORD}",
        )
    flat = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    records = rearrange(flat, "(b record) -> b record", record=CIFAR_RECORD)
    check_labels(path, records[:, 0], classes)
    check_sum(path, data, sha256)
    pixels = records[:, 1:]
    images = rearrange(pixels, "b (c h w) -> b c h w", c=3, h=32, w=32)
    return images, records[:, 0]


def unpack(archive: Path, folder: Path, names: Collection[str]) -> list[Path]:
    """Take the named files out of a tar archive, and nothing else.

    A file is written under our own name for it, never under the path that
    the archive gives.

    Raises:
        ValueError: if the archive is damaged, lacks a file, or holds a link,
            a device or a path that leads out of its folder.
    """
    fault = f"{archive.name} was not unpacked: it"
    written: dict[str, Path] = {}
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                plain = member.isfile() or member.isdir()
                if not plain or path.is_absolute() or ".." in path.parts:
                    raise ValueError(
                        f"{fault} holds {member.name!r}, a link, a device or "
                        "a path out of its folder"
                    )
                content = tar.extractfile(member)
                if content and path.name in names:
                    written[path.name] = folder / path.name
                    with open(written[path.name], "wb") as target:
                        shutil.copyfileobj(content, target, 1 << 20)
    except (tarfile.TarError, *BROKEN_GZIP) as error:
        raise ValueError(f"{fault} is damaged ({error})") from error
    lacking = [name for name in names if name not in written]
    if lacking:
        raise ValueError(f"{fault} lacks {', '.join(lacking)}")
    return list(written.values())
