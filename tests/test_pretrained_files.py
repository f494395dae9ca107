"""Files that strangers wrote: damaged, hostile, or merely strange."""

import json
import os
import pickle
import random
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vitlib import VisionTransformer, ViTConfig
from vitlib.pretrained import _files, _fit, load
from vitlib.weights import save_model


class Bomb:
    """Unpickled, it makes a folder: proof that code ran."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def marker(tmp_path):
    """Where a bomb leaves its mark; the bomb is shown to be live."""
    path = tmp_path / "it ran"
    pickle.loads(pickle.dumps(Bomb(path)))
    assert path.exists()
    path.rmdir()
    return path


def tiny_state():
    torch.manual_seed(0)
    config = ViTConfig(8, 4, 1, 3, 8, 1, num_heads=2)
    state = VisionTransformer(config).state_dict()
    return {k: v + 0.1 * torch.randn(v.shape) for k, v in state.items()}


def refused(path, *words):
    """The message of the refusal, which names the file."""
    with pytest.raises(ValueError, match="was refused") as caught:
        load(path, num_heads=2)
    message = str(caught.value)
    assert message.startswith(str(path))
    for word in words:
        assert word in message, message
    assert "weights_only" not in message  # no advice to unpickle anyway
    assert "allow_pickle" not in message
    return message


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("where", ["alone", "beside", "as a name", "legacy"])
def test_a_pickle_in_a_pth_does_not_run(where, tmp_path, marker):
    path, state = tmp_path / "model.pth", tiny_state()
    bomb = Bomb(marker)
    if where == "alone":
        path.write_bytes(pickle.dumps(bomb))
    elif where == "as a name":
        torch.save({bomb: state["norm.bias"]}, path)
    else:
        zipped = where == "beside"
        torch.save(state | {"extra": bomb}, path,
                   _use_new_zipfile_serialization=zipped)  # fmt: skip
    name = "" if where == "alone" else "(posix.mkdir)"
    refused(path, "objects", name, "could run code", "safetensors")
    assert not marker.exists()
    if where == "beside":  # the same file, as it would be read elsewhere
        torch.load(path, weights_only=False)
        assert marker.exists()


def test_objects_in_an_npz_do_not_run(tmp_path, marker):
    path = tmp_path / "model.npz"
    objects = np.array([Bomb(marker)], dtype=object)
    np.savez(path, **{"embedding/kernel": objects, "cls": np.ones(3)})
    refused(path, "embedding/kernel", "object, not floating-point numbers")
    assert not marker.exists()
    np.load(path, allow_pickle=True)["embedding/kernel"]
    assert marker.exists()


@pytest.mark.parametrize("dtype", ["i8", "c16", "V4", "U3", "f4,f4", "?"])
def test_an_npz_holds_floating_point_alone(dtype, tmp_path):
    np.savez(tmp_path / "model.npz", cls=np.zeros(2, dtype))
    refused(tmp_path / "model.npz", "cls holds", "not floating-point")


def npy(header, data=b""):
    """An array of NumPy's format 1.0 with a header of our own."""
    text = str(header).encode() + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + data


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ((10**12,), b"1234"),  # 4 TB asked, 4 bytes there
        ((10**6, 10**6, 10**6), b""),
        ((1,), b"12345678"),
        ((-1, -1), b"1234"),
        ((2**62, 4), b""),  # overflows 64 bits
    ],
)
def test_an_npz_whose_header_lies_takes_no_memory(shape, data, tmp_path):
    path = tmp_path / "model.npz"
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cls.npy", npy(header, data))
    tracemalloc.start()
    refused(path, "cls has", "bytes for shape")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


def test_an_npz_header_is_no_program(tmp_path, marker):
    path = tmp_path / "model.npz"
    code = f"__import__('pathlib').Path({str(marker)!r}).touch()"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cls.npy", npy(f"{{'descr': {code}}}"))
    refused(path)
    assert not marker.exists()


def test_a_zip_bomb_is_refused_before_it_opens(tmp_path, monkeypatch):
    """A thousandth on disk of what it says it holds."""
    path = tmp_path / "model.npz"
    np.savez_compressed(path, cls=np.zeros(4_000_000, np.float32))
    assert path.stat().st_size < 20_000
    monkeypatch.setattr(_files, "MAX_BYTES", 1_000_000)
    tracemalloc.start()
    refused(path, "it holds 16,000,128 bytes; at most 1,000,000 are read")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


def test_a_zip_that_understates_itself(tmp_path):
    """More data than the directory says is not read."""
    path = tmp_path / "model.npz"
    np.savez_compressed(path, cls=np.zeros(100_000, np.float32))
    with zipfile.ZipFile(path) as archive:
        size = archive.infolist()[0].file_size
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<I", size),
                                  struct.pack("<I", 1000)))  # fmt: skip
    refused(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_rare_compressions_are_refused(method, tmp_path):
    with zipfile.ZipFile(tmp_path / "model.npz", "w", method) as archive:
        archive.writestr("cls.npy", b"x" * 1000)
    refused(tmp_path / "model.npz", "packed in an unusual way")


def test_a_compressed_pth_is_refused(tmp_path):
    torch.save(tiny_state(), tmp_path / "sound.pth")
    target = zipfile.ZipFile(tmp_path / "model.pth", "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(tmp_path / "sound.pth") as source, target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    refused(tmp_path / "model.pth", "files are not compressed")


def test_tensors_larger_than_their_storage(tmp_path):
    path = tmp_path / "model.pth"
    torch.save({"a": torch.zeros(1).expand(10**6, 10**6)}, path)
    refused(path, "it holds 4,000,000,000,000 bytes; at most")
    torch.save({"a": torch.zeros(1).expand(50)}, path)
    refused(path, "a is larger than what is stored of it")
    row = torch.zeros(1000)
    torch.save({str(i): row[i:] for i in range(3)}, path)  # views are fine
    refused(path, "no ViT of")


def test_many_views_of_one_storage(tmp_path, monkeypatch):
    path, row = tmp_path / "model.pth", torch.zeros(10_000)
    torch.save({str(i): row[:] for i in range(100)}, path)
    monkeypatch.setattr(_files, "MAX_BYTES", 1_000_000)
    refused(path, "it holds 4,000,000 bytes; at most 1,000,000")


def header(text, data=b"", length=None):
    text = text.encode()
    length = len(text) if length is None else length
    return struct.pack("<Q", length) + text + data


@pytest.mark.parametrize(
    "content",
    [
        header("{}", length=2**62),
        header("{" + " " * 100, length=10**9),
        header("{" * 100_000),
        header('{"a": ' * 5000),
        header('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}',
               b"1234"),
        header('{"a":{"dtype":"F32","shape":[1000000000000],'
               '"data_offsets":[0,4000000000000]}}', b"1234"),
        header('{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}'),
        header('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
               '"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
               b"1234"),
        header('{"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}',
               b"1234"),
        header("{}"),
        header("{}", b"1234"),
        header("[]"),
    ],
)  # fmt: skip
def test_a_broken_safetensors_header(content, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    refused(path)


@pytest.mark.parametrize("content", [b"", b"x", b"<!DOCTYPE html>" * 10,
                                     b"PK\3\4" + b"\0" * 100])  # fmt: skip
def test_files_that_are_none_of_these(content, tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    refused(path)


def test_no_file(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere.pth"):
        with pytest.raises(FileNotFoundError, match="neither a file nor a"):
            load(path)
        with pytest.raises(FileNotFoundError, match="no file of weights at"):
            _files.read_tensors(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("ending", ["safetensors", "pth", "npz"])
def test_numbers_that_are_none(ending, value, tmp_path):
    state = tiny_state()
    state["blocks.0.norm1.bias"][2] = value
    path = write(state, tmp_path / f"model.{ending}")
    refused(path, "blocks.0.norm1.bias: 1 of 8 values are NaN or infinite")


def write(state, path):
    if path.suffix == ".npz":
        np.savez(path, **{k: v.numpy() for k, v in state.items()})
    elif path.suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    return path


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (torch.arange(3), "holds torch.int64"),
        (torch.zeros(3, dtype=torch.bool), "holds torch.bool"),
        (torch.zeros(3, dtype=torch.cfloat), "holds torch.complex64"),
        (torch.eye(3).to_sparse(), "stored as torch.sparse_coo"),
        ([1.0, 2.0], "is a list, no tensor"),
        ({"a": 1}, "is a dict, no tensor"),
        (None, "is a NoneType, no tensor"),
    ],
)
def test_values_that_are_no_weights(value, words, tmp_path):
    torch.save(tiny_state() | {"extra": value}, tmp_path / "model.pth")
    refused(tmp_path / "model.pth", "extra", words)


def test_a_pth_without_names(tmp_path):
    for value, words in (
        (torch.ones(3), "it holds a Tensor, not tensors"),
        ([torch.ones(3)], "it holds a list"),
        ({3: torch.ones(3)}, "3 is a Tensor, no tensor"),
        ({}, "no ViT of"),
    ):
        torch.save(value, tmp_path / "model.pth")
        refused(tmp_path / "model.pth", words)


@pytest.mark.parametrize(
    "fields",
    [
        {"depth": 10**12},
        {"embed_dim": 10**9, "num_heads": 1},
        {"img_size": 10**9, "patch_size": 1},
        {"img_size": 10**7, "patch_size": 1, "pos_embed": "sincos"},
        {"img_size": 10**7, "patch_size": 1, "pos_embed": "none"},
        {"num_classes": 10**12},
        {"depth": 2, "embed_dim": 4, "mlp_ratio": 1},
        {"embed_dim": 10**400},
        {"depth": "1"},
        {"depth": 1.5},
        {"unheard": 1},
        {"img_size": []},
        {"img_size": None},
        {"mlp_ratio": float("nan")},
        {"mlp_ratio": 1e300},
    ],
)
def test_a_config_that_asks_for_too_much(fields, tmp_path, monkeypatch):
    """Refused before a model is built: no file may fill the memory."""
    config = {"img_size": 8, "patch_size": 4, "in_chans": 1}
    config |= {"num_classes": 3, "embed_dim": 8, "depth": 1, "num_heads": 2}
    notes = {"config": json.dumps(config | fields)}
    save_file(tiny_state(), tmp_path / "model.safetensors", notes)

    def never(config):
        raise AssertionError("built")

    monkeypatch.setattr(_fit, "VisionTransformer", never)
    refused(tmp_path / "model.safetensors")


@pytest.mark.parametrize("config", ["", "{", "3", "[]", "[" * 100_000, "null"])
def test_a_config_that_is_none(config, tmp_path):
    save_file(tiny_state(), tmp_path / "model", {"config": config})
    refused(tmp_path / "model")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("ending", ["safetensors", "pth", "npz", "old"])
def test_damage_anywhere_is_refused_or_harmless(ending, tmp_path):
    """Cut off, or a few bytes changed: a ValueError, or finite weights."""
    sound, path = tmp_path / f"sound.{ending}", tmp_path / f"model.{ending}"
    if ending == "old":
        torch.save(tiny_state(), sound, _use_new_zipfile_serialization=False)
    else:
        write(tiny_state(), sound)
    data, draw = sound.read_bytes(), random.Random(0)
    counts = {"cut": 0, "changed": 0}
    for trial in range(120):
        broken = bytearray(data)
        kind = "changed" if trial % 2 else "cut"
        if kind == "cut":
            del broken[draw.randrange(len(data)) :]
        else:
            # headers and directories lie at the ends
            for _ in range(3):
                place = draw.choice((draw.randrange(400),
                                     -1 - draw.randrange(400),
                                     draw.randrange(len(data))))  # fmt: skip
                broken[place] = draw.randrange(256)
        path.write_bytes(broken)
        try:
            model, _ = load(path, num_heads=2)
        except ValueError:
            counts[kind] += 1
        else:
            for value in model.state_dict().values():
                assert value.isfinite().all()
    assert counts["cut"] == 60
    assert counts["changed"] > 20


def test_a_sound_file_of_each_kind(tmp_path):
    state = tiny_state()
    x = torch.randn(2, 1, 8, 8)
    outputs = []
    for ending in ("safetensors", "pth", "npz"):
        path = write(state, tmp_path / f"model.{ending}")
        outputs.append(load(path, num_heads=2)[0](x))
    torch.save(state, tmp_path / "b.pt", _use_new_zipfile_serialization=False)
    outputs.append(load(tmp_path / "b.pt", num_heads=2)[0](x))
    np.savez_compressed(
        tmp_path / "c", **{k: np.asfortranarray(v) for k, v in state.items()}
    )
    outputs.append(load(tmp_path / "c.npz", num_heads=2)[0](x))
    big = {k: v.numpy().astype(">f8") for k, v in state.items()}
    np.savez(tmp_path / "d.npz", **big)
    outputs.append(load(tmp_path / "d.npz", num_heads=2)[0](x))
    model = VisionTransformer(ViTConfig(8, 4, 1, 3, 8, 1, num_heads=2)).eval()
    model.load_state_dict(state)
    save_model(model, tmp_path / "own")
    outputs.append(load(tmp_path / "own")[0](x))
    for output in outputs:
        assert torch.equal(output, model(x))


def test_a_deep_config_over_much_junk_is_not_built(tmp_path, monkeypatch):
    config = {"img_size": 8, "patch_size": 4, "in_chans": 1, "embed_dim": 1}
    config |= {"depth": 5000, "num_heads": 1, "mlp_ratio": 1}
    state = {"patch_embed.proj.weight": torch.zeros(99_999)}
    notes = {"config": json.dumps(config | {"num_classes": 0})}
    save_file(state, tmp_path / "model.safetensors", notes)
    monkeypatch.setattr(_fit, "VisionTransformer", None)
    refused(tmp_path / "model.safetensors", "depth=5000 asks for 11 tensors")


def test_a_file_does_not_speak_for_the_loader(tmp_path):
    """Its own notes are added to what is known, and replace none of it."""
    model = VisionTransformer(ViTConfig(8, 4, 1, 3, 8, 1, num_heads=2))
    path = tmp_path / "model.safetensors"
    lies = {"name": "vit-b16", "source": "https://huggingface.co/google"}
    lies |= {"layout": "Google", "log": "x", "parameters": 7}
    save_model(model, path, **lies, licence="CC0", mean=[0.5], seed=3)
    loaded, notes = load(path, img_size=16)
    assert notes["name"] == notes["source"] == str(path)
    assert notes["layout"] == "vitlib"
    assert notes["log"][-1].startswith("positions: 8 px to 16 px")
    assert notes["parameters"] == sum(p.numel() for p in loaded.parameters())
    assert (notes["licence"], notes["std"]) == ("CC0", None)
    assert (notes["mean"], notes["seed"]) == ([0.5], 3)


def test_no_classes_may_be_noted_as_none(tmp_path):
    model = VisionTransformer(ViTConfig(8, 4, 1, 3, 8, 1, num_heads=2))
    save_model(model, tmp_path / "own", classes=None)
    assert "classes" not in load(tmp_path / "own")[1]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_default_dtype_changes_nothing(dtype, tmp_path):
    state = tiny_state()
    path = write(state, tmp_path / "model.safetensors")
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(dtype)
        model, _ = load(path, num_classes=2, num_heads=2)
    finally:
        torch.set_default_dtype(before)
    found = model.state_dict()
    assert {value.dtype for value in found.values()} == {torch.float32}
    assert torch.equal(found["norm.bias"], state["norm.bias"])
