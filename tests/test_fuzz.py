"""Every reader of outside bytes, fed with thousands of damaged files.

VITLIB_FUZZ=10000 python -m pytest tests/test_fuzz.py    a longer search
"""

import gzip
import io
import json
import os
import pickle
import resource
import shlex
import struct
import tarfile
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.tiny_run import CPU, PLAIN, images, model
from vitlib import VisionTransformer, ViTConfig
from vitlib._cli import parse
from vitlib._formats import CIFAR_RECORD, read_cifar, read_idx, unpack
from vitlib._options import given
from vitlib._picture import FORMATS, read_picture
from vitlib._tensors import load_tensors, save_tensors
from vitlib.checkpoint import DamagedError, read_state, write_state
from vitlib.pretrained import load
from vitlib.pretrained._onnx import read_onnx
from vitlib.recipe import TrainConfig
from vitlib.records import read_log
from vitlib.trainer import Trainer
from vitlib.weights import load_model, save_model

COUNT = int(os.environ.get("VITLIB_FUZZ", "200"))
# Bytes that a reader may ask for beyond what is there; a picture may have
# MAX_PIXELS, and its decoder asks for more than it fills.
ROOM = {"of_picture": 8 << 30}
EXTREME = [0, 1, 127, 255, 1 << 15, (1 << 31) - 1, (1 << 32) - 1, 1 << 62]
TOKENS = [b"[" * 9999, b"NaN", b"1e999", b"-1", b"null", b'"', b"9" * 400]
TOKENS += [b"\\ud800", b"\0", b"../", b"x" * 300, b"{}", b"[]", b"true"]
WEIGHTS = ["safetensors", "safetensors by load_model", "npz", "pth"]
WEIGHTS += ["npz: pos_embed.npy", "pth: data.pkl", "config by load_model"]
# Errors that a reader documents beside ValueError; argparse leaves by exit.
ALSO = {"of_picture": (OSError,), "of_config": (SystemExit,)}


class Bomb:
    """Unpickled, it makes a folder: proof that code ran."""

    def __reduce__(self):
        return os.mkdir, ("it ran",)


def mutant(seed, rng):
    """A copy of the bytes with one to four injuries."""
    data = bytearray(seed)
    for _ in range(rng.integers(1, 5)):
        at, to = sorted(rng.integers(0, len(data) + 1, 2).tolist())
        kind = rng.integers(7)
        if kind == 0 and at < len(data):  # a bit flipped
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:  # cut short
            del data[to:]
        elif kind == 2:  # a piece of it once more, elsewhere
            data[at:at] = data[to : to + int(rng.integers(1, 64))]
        elif kind == 3:  # a number overwritten, of either byte order
            value, size = EXTREME[rng.integers(8)], 1 << rng.integers(4)
            order = ("little", "big")[rng.integers(2)]
            value &= (1 << 8 * int(size)) - 1
            data[at : at + size] = value.to_bytes(int(size), order)
        elif kind == 4:  # bytes pushed in
            data[at:at] = rng.bytes(int(rng.integers(1, 32)))
        elif kind == 5:  # what breaks text, over as much or beside it
            token = TOKENS[rng.integers(len(TOKENS))]
            data[at : at + int(rng.integers(2)) * len(token)] = token
        else:  # a call, as a pickle spells it
            data[at:at] = pickle.dumps(Bomb())[rng.integers(3) :]
    return bytes(data)


@contextmanager
def little_room(size):
    """Let this process have little more memory than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    old = resource.getrlimit(resource.RLIMIT_AS)
    most = pages * resource.getpagesize() + size
    resource.setrlimit(resource.RLIMIT_AS, (most, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, old)


def tiny():
    """A model small enough to be damaged often."""
    torch.manual_seed(0)
    return VisionTransformer(ViTConfig(8, 4, 1, 3, 8, 1, num_heads=2))


def saved(save, *args, **options):
    """What a function writes to a file."""
    file = io.BytesIO()
    save(*args, file, **options)
    return file.getvalue()


def member(packed, ending, path):
    """One file in a zip, and how to pack the zip with another instead."""
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    inner = next(name for name in parts if name.endswith(ending))

    def put(data):
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in (parts | {inner: data}).items():
                archive.writestr(name, content)

    return parts[inner], put


def of_idx(folder, kind):
    paths = {
        name: folder / f"train-{name}-ubyte.gz"
        for name in ("images-idx3", "labels-idx1")
    }
    header = struct.pack(">4I", 0x803, 2, 3, 3)
    seeds = {
        "images-idx3": header + bytes(18),
        "labels-idx1": struct.pack(">2I", 0x801, 2) + b"\1\2",
    }
    for name, seed in seeds.items():
        paths[name].write_bytes(seed)
    path, seed = paths[kind[:11]], seeds[kind[:11]]
    seed = gzip.compress(seed) if kind.endswith("gz") else seed

    def read():
        pixels, labels = read_idx(folder, "train", 10, {})
        assert (pixels.ndim, pixels.dtype) == (4, torch.uint8)
        assert len(pixels) == len(labels)
        assert labels.max() < 10

    return seed, path.write_bytes, read


def of_cifar(folder, kind):
    record = bytes(2 * CIFAR_RECORD)
    path = folder / "test_batch.bin"
    if kind == "bin":
        return record, path.write_bytes, lambda: read_cifar(path, 10)[1].max()
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as t:
        for name in ("a/test_batch.bin", "a/é"):
            info = tarfile.TarInfo(name)
            info.size = 9
            t.addfile(info, io.BytesIO(b"123456789"))
    seed, archive = file.getvalue(), folder / "cifar.tar.gz"
    seed = gzip.compress(seed) if kind == "tar.gz" else seed

    def read():
        assert unpack(archive, folder, ["test_batch.bin"]) == [path]
        assert {p.name for p in folder.iterdir()} <= {path.name, archive.name}

    return seed, archive.write_bytes, read


def of_weights(folder, kind):
    path, net = folder / "model", tiny()
    state = net.state_dict()
    if kind == "config by load_model":
        seed = json.dumps(asdict(net.config)).encode()

        def put(data):
            text = data.decode("utf-8", "replace")
            save_file(state, path, {"config": text})

    elif "safetensors" in kind:
        save_model(net, path, mean=[0.5], std=[0.5])
        seed, put = path.read_bytes(), path.write_bytes
    elif kind.startswith("npz"):
        arrays = {name: value.numpy() for name, value in state.items()}
        seed, put = saved(lambda f: np.savez(f, **arrays)), path.write_bytes
    else:
        seed, put = saved(partial(torch.save, state)), path.write_bytes
    for inner in ("data.pkl", "pos_embed.npy"):
        if kind.endswith(inner):
            seed, put = member(seed, inner, path)
    load_it = (
        load_model if "load_model" in kind else partial(load, num_heads=2)
    )

    def read():
        state = load_it(path)[0].state_dict()
        assert kind.startswith(("safetensors", "config")) or all(
            value.isfinite().all() for value in state.values()
        )

    return seed, put, read


def of_onnx(folder, kind):
    def field(number, content):
        return bytes([number << 3 | 2, len(content)]) + content

    tensor = bytes([1 << 3, 2, 1 << 3, 2, 2 << 3, 1])
    tensor += field(8, b"w") + field(9, bytes(16))
    node = field(1, b"x") + field(1, b"w") + field(2, b"y") + field(4, b"Add")
    seed, path = field(7, field(1, node) + field(5, tensor)), folder / "onnx"
    return seed, path.write_bytes, lambda: read_onnx(path.read_bytes())


def of_picture(folder, kind):
    pixels = np.random.default_rng(0).integers(0, 255, (9, 7, 3), np.uint8)
    seed = saved(partial(Image.fromarray(pixels).save, format=kind))
    path = folder / "picture"

    def read():
        assert read_picture(path, (8, 8), 3)[0].shape == (3, 8, 8)

    return seed, path.write_bytes, read


def of_checkpoint(folder, kind):
    run, final = (
        Trainer(model(), images(16), PLAIN, CPU),
        folder / "step-00000000",
    )
    run.loss_sum = 1.5
    save_tensors(run, final)
    write_state(final, run)
    path = final / kind

    def read():
        if kind == "state.json":
            assert type(read_state(final)["step"]) is int
        else:
            load_tensors(run, final)

    return path.read_bytes(), path.write_bytes, read


def of_log(folder, kind):
    records = [{"event": "epoch", "step": n, "loss": 0.5} for n in range(5)]
    seed = "".join(json.dumps(record) + "\n" for record in records).encode()
    path = folder / "log.jsonl"
    return (
        seed,
        path.write_bytes,
        lambda: [
            record["event"] + str(record["step"]) for record in read_log(path)
        ],
    )


def of_config(folder, kind):
    path, fine = folder / "config", asdict(TrainConfig())
    argv = [f"--{name.replace('_', '-')}={value}"
            for name, value in fine.items()
            if type(value) in (int, float, str)]  # fmt: skip
    seed = json.dumps(fine) if kind == "json" else " ".join(["train", *argv])

    def read():
        text = path.read_text("utf-8")
        if kind == "flags":
            args = parse(shlex.split(text), "")
            assert TrainConfig(**given(args, TrainConfig))
        elif "[" * 999 not in text:  # json's own business
            found = json.loads(text)
            known = {name: found[name] for name in fine if name in found}
            assert TrainConfig(**known)

    return seed.encode(), path.write_bytes, read


READERS = [
    *((of_idx, k) for k in ("images-idx3", "images-idx3.gz", "labels-idx1")),
    *((of_cifar, k) for k in ("bin", "tar", "tar.gz")),
    *((of_weights, k) for k in WEIGHTS),
    (of_onnx, "onnx"),
    *((of_picture, k) for k in FORMATS),
    *((of_checkpoint, k) for k in ("state.json", ".metadata", "__0_0.distcp")),
    (of_log, "jsonl"),
    *((of_config, k) for k in ("json", "flags")),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("of", "kind"), READERS)
def test_damage_is_read_or_refused(of, kind, tmp_path, monkeypatch):
    here, folder = tmp_path / "here", tmp_path / "folder"
    here.mkdir()
    folder.mkdir()
    monkeypatch.chdir(here)  # where a bomb makes its folder
    seed, put, read = of(folder, kind)
    put(seed)
    read()
    rng = np.random.default_rng(zlib.crc32(kind.encode()))
    refused, told = 0, (ValueError, *ALSO.get(of.__name__, ()))
    for number in range(COUNT):
        data = mutant(seed, rng)
        put(data)
        try:
            with little_room(ROOM.get(of.__name__, 512 << 20)):
                read()
        except told:
            refused += 1
        except BaseException as error:
            cause = f"{kind}, mutant {number}: {error!r} of {data[:2000]!r}"
            raise AssertionError(cause) from error
    print(f"{kind}: {refused} of {COUNT} refused")
    assert refused > COUNT // 20
    assert not list(here.iterdir()), "code ran, or a file went astray"
    assert {path.name for path in tmp_path.iterdir()} == {"here", "folder"}


@pytest.mark.parametrize("field", ["embed_dim", "depth", "num_classes"])
def test_a_config_that_asks_for_much_is_refused_unbuilt(field, tmp_path):
    _, put, read = of_weights(tmp_path, "config by load_model")
    config = asdict(tiny().config) | {field: 20_000}
    put(json.dumps(config).encode())
    with pytest.raises(ValueError, match="config asks for"):
        read()


@pytest.mark.parametrize(
    "change",
    [{"loss_sum": 10**400}, {"files": {"x" * 300: "", ".metadata": ""}}],
)
def test_a_state_of_values_beyond_bounds_is_damaged(change, tmp_path):
    seed, put, read = of_checkpoint(tmp_path, "state.json")
    put(json.dumps(json.loads(seed) | change).encode())
    with pytest.raises(DamagedError, match="missing or damaged"):
        read()


def test_a_number_in_an_onnx_file_is_no_name():
    node = bytes([1 << 3]) + b"\xff\xff\xff\xff\x0f"  # would be 4 GB of zeros
    graph = b"\x0a" + bytes([len(node)]) + node
    with pytest.raises(ValueError, match="no ONNX file"):
        read_onnx(b"\x3a" + bytes([len(graph)]) + graph)
