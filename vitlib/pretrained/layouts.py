"""Chapter 11: from a peer's tensors to those of the book's model.

Three steps lead from any layout to a state dict: rename (and turn, where a
library multiplies from the other side), join queries with keys and values,
fold LayerScale in.
"""

import re
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from vitlib._checks import check_choice
from vitlib.pretrained._names import KERNELS, LAYOUTS, NUMERICS, REFUSED

LAST = {"1": "attn.proj", "2": "mlp.fc2"}  # of either branch of a block


class Translated(NamedTuple):
    """What a file holds, in the book's names.

    Attributes:
        state: tensors by name.
        names: name here -> name in the file.
        num_heads: where the layout says it; Google's does.
        log: one line for each thing that was done to the tensors.
    """

    state: dict[str, Tensor]
    names: dict[str, str]
    num_heads: int | None
    log: list[str]


def detect(names: set[str], metadata: dict[str, str]) -> str:
    """Tell the layout by the names of the tensors.

    Chapter 11.

    Args:
        names: of all tensors in the file.
        metadata: of a safetensors file; save_model's holds a config.

    Returns:
        A key of LAYOUTS.

    Raises:
        ValueError: if no layout has such names; shows the first few.
    """
    tails = {re.sub(r"^(vit|dinov2)\.", "", name) for name in names}
    if "patch_embed.proj.weight" in names:
        return "vitlib" if "config" in metadata else "timm"
    if "embeddings.patch_embeddings.projection.weight" in tails:
        scaled = any(name.endswith(".lambda1") for name in names)
        return "Hugging Face Dinov2" if scaled else "Hugging Face ViT"
    if "encoder.pos_embedding" in names:
        return "torchvision"
    if "embedding/kernel" in names:
        return "Google"
    raise ValueError(
        f"no ViT of {', '.join(LAYOUTS)} has tensors named "
        f"{', '.join(sorted(names)[:4]) or '(none)'}"
    )


def translate(tensors: dict[str, Tensor], layout: str) -> Translated:
    """Rename, turn, join and fold a peer's tensors.

    Chapter 11.

    Args:
        tensors: by the peer's names.
        layout: a key of LAYOUTS.

    Returns:
        The same numbers under the book's names.

    Raises:
        KeyError: names a tensor that others need.
        ValueError: names a tensor that belongs to a structure which a plain
            ViT has not, or that came twice.
    """
    check_choice("layout", layout, LAYOUTS)
    state: dict[str, Tensor] = {}
    names: dict[str, str] = {}
    heads = None
    for name, tensor in tensors.items():
        for pattern, what in REFUSED:
            if re.search(pattern, name):
                raise ValueError(
                    f"it has {what}, which a plain ViT cannot hold: {name}"
                )
        new = name
        for pattern, replacement in LAYOUTS[layout]:
            new = re.sub(pattern, replacement, new)
        if layout == "Google":
            if new.endswith("attn.q.kernel") and tensor.ndim == 3:
                heads = tensor.shape[1]
            for pattern, axes in KERNELS:
                if re.search(pattern, new):
                    tensor = rearrange(tensor, axes)
                    break
            new = new.replace(".kernel", ".weight")
        if new in state:
            raise ValueError(f"{names[new]} and {name} are the same tensor")
        state[new], names[new] = tensor, name
    count = sum(tensor.numel() for tensor in tensors.values())
    log = [f"layout: {layout}; {len(tensors)} tensors, {count:,} numbers"]
    if layout in NUMERICS:
        log.append(NUMERICS[layout])
    if state.pop("mask_token", None) is not None:
        log.append(f"{names['mask_token']}: dropped, only pre-training has it")
    log += join_qkv(state) + fold_scales(state)
    return Translated(state, names, heads, log)


def join_qkv(state: dict[str, Tensor]) -> list[str]:
    """Stack q, k and v into qkv: three times h * d rows, in this order."""
    first = re.compile(r"(blocks\.\d+\.attn\.)q\.(weight|bias)")
    found = [match for name in state if (match := first.fullmatch(name))]
    for stem, part in (match.groups() for match in found):
        thirds = [state.pop(f"{stem}{x}.{part}") for x in "qkv"]
        state[f"{stem}qkv.{part}"] = torch.cat(thirds)
    return [f"q, k, v: joined into {len(found)} tensors"] if found else []


def fold_scales(state: dict[str, Tensor]) -> list[str]:
    """Scale the rows that LayerScale would scale after them.

    gamma * (x W^T + b) = x (gamma W)^T + gamma b, row by row.
    """
    scale = re.compile(r"(blocks\.\d+)\.ls([12])\.gamma")
    found = [match for name in state if (match := scale.fullmatch(name))]
    for match in found:
        gamma = state.pop(match[0])
        layer = f"{match[1]}.{LAST[match[2]]}"
        if gamma.shape != state[f"{layer}.bias"].shape:
            raise ValueError(f"{match[0]} is no scale for {layer}")
        state[f"{layer}.weight"] = gamma[:, None] * state[f"{layer}.weight"]
        state[f"{layer}.bias"] = gamma * state[f"{layer}.bias"]
    return [f"LayerScale: folded into {len(found)} layers"] if found else []
