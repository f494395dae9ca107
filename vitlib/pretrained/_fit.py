"""Chapter 11: the model that fits the tensors, and its head."""

import math
import re
from dataclasses import replace

import torch
from torch import Tensor

from vitlib.config import VARIANTS, ViTConfig
from vitlib.counts import parameter_counts
from vitlib.model import VisionTransformer
from vitlib.weights import check_depth

MAX_PATCHES = 1 << 20  # 1024 x 1024: no position table is larger


def infer_config(
    state: dict[str, Tensor], num_heads: int | None
) -> tuple[ViTConfig, list[str]]:
    """Read a ViT's sizes from the shapes of its tensors.

    Chapter 11. Where the class token has no position of its own, a row of
    zeros is put in its place, in state.

    Args:
        state: tensors by the book's names.
        num_heads: h, if known: no shape tells it.

    Returns:
        The configuration, and one line for each thing assumed.

    Raises:
        KeyError: names a tensor that is missing.
        ValueError: if a shape makes no sense.
    """
    D, C, P, log = _patches(state["patch_embed.proj.weight"])
    blocks = {m[1] for k in state if (m := re.match(r"blocks\.(\d+)\.", k))}
    depth = len(blocks)
    table, has_token = state["pos_embed"], "cls_token" in state
    if table.ndim != 3 or table.shape[::2] != (1, D):
        raise ValueError(f"positions must be (1, T, {D}); got {_size(table)}")
    own = has_token and math.isqrt(table.shape[1]) ** 2 != table.shape[1]
    side = math.isqrt(table.shape[1] - own)
    if side**2 != table.shape[1] - own or not side:
        raise ValueError(
            f"{table.shape[1]} positions make no square grid of patches"
        )
    if has_token and not own:
        state["pos_embed"] = torch.cat([torch.zeros(1, 1, D), table], dim=1)
        log.append("class token: it has no position; zeros stand for one")
    if num_heads is None:
        num_heads, why = _guess_heads(D, depth)
        log.append(f"heads: {num_heads}, {why}; num_heads= says otherwise")
    hidden = state["blocks.0.mlp.fc1.weight"].shape[0]
    if state["blocks.0.mlp.fc2.weight"].shape[-1] * 2 == hidden:
        raise ValueError(
            "it has gated MLPs (SwiGLU), which a plain ViT cannot hold: fc1 "
            f"makes {hidden} numbers, of which fc2 takes half"
        )
    ratio = hidden / D
    if int(D * ratio) < hidden:  # rounded down
        ratio = math.nextafter(ratio, math.inf)
    if not has_token:
        log.append("no class token: the mean over patches is read out")
    pre_logits, head = "pre_logits.fc.weight", "head.weight"
    return ViTConfig(
        img_size=side * P,
        patch_size=P,
        in_chans=C,
        num_classes=len(state[head]) if head in state else 0,
        embed_dim=D,
        depth=depth,
        num_heads=num_heads,
        mlp_ratio=ratio,
        qkv_bias="blocks.0.attn.qkv.bias" in state,
        patch_bias="patch_embed.proj.bias" in state,
        class_token=has_token,
        global_pool="token" if has_token else "avg",
        representation_size=len(state[pre_logits])
        if pre_logits in state
        else 0,
    ), log


def _patches(weight: Tensor) -> tuple[int, int, int, list[str]]:
    """D, C and P of a convolution (D, C, P, P) or a matrix (D, C*P*P)."""
    if weight.ndim == 4 and weight.shape[2] == weight.shape[3]:
        return *weight.shape[:3], []
    for channels in (3, 1) if weight.ndim == 2 else ():
        side = math.isqrt(weight.shape[1] // channels)
        if side and channels * side**2 == weight.shape[1]:
            line = f"patches: a matrix, read as {channels} x {side} x {side}"
            return len(weight), channels, side, [line]
    raise ValueError(
        "the patch projection must be (D, C, P, P) or (D, C*P*P) with C = 3 "
        f"or 1; got {_size(weight)}"
    )


def _guess_heads(embed_dim: int, depth: int) -> tuple[int, str]:
    """The heads of the variant of these sizes, else 64 components each."""
    for name, variant in VARIANTS.items():
        if (variant.embed_dim, variant.depth) == (embed_dim, depth):
            return variant.num_heads, f"as in {name}"
    if embed_dim % 64:
        raise ValueError(
            f"no shape tells the number of heads, and 64 does not divide "
            f"embed_dim={embed_dim}: say num_heads="
        )
    return embed_dim // 64, "by the convention of 64 components a head"


def fit_head(
    state: dict[str, Tensor], config: ViTConfig, num_classes: int | None
) -> tuple[ViTConfig, list[str]]:
    """Keep the head, drop it, or put zeros in its place, in state.

    Chapter 11. Dosovitskiy et al. 2021, section 3.2: for a new task the
    whole prediction head goes, and a zero-initialised layer comes.

    Args:
        state: tensors by the book's names.
        config: of the tensors.
        num_classes: K wanted; 0 for none, None for what the file has.

    Returns:
        The configuration with the head, and a line that says what was done.
    """
    old = config.num_classes
    if num_classes in (None, old):
        kept = f"kept, {old} classes" if old else "the file has none"
        return config, [f"head: {kept}"]
    for name in ("pre_logits.fc", "head"):
        for part in ("weight", "bias"):
            state.pop(f"{name}.{part}", None)
    config = replace(config, num_classes=num_classes, representation_size=0)
    if num_classes:
        state["head.weight"] = torch.zeros(num_classes, config.embed_dim)
        state["head.bias"] = torch.zeros(num_classes)
    what = f"zeros for {num_classes} classes" if num_classes else "none"
    was = f"{old} classes" if old else "none"
    return config, [f"head: {was} in the file; now {what}"]


def build(
    state: dict[str, Tensor], config: ViTConfig, names: dict[str, str]
) -> VisionTransformer:
    """Make the model, if each tensor has its place and each place one.

    Chapter 11.

    Args:
        state: tensors by the book's names.
        config: of the model.
        names: name here -> name in the file, for the messages.

    Raises:
        ValueError: names tensors that are left over, missing or misshapen.
    """
    wanted = sum(parameter_counts(config).values())
    there = sum(tensor.numel() for tensor in state.values())
    # known before anything is built, so that no file asks for much memory
    if wanted > 2 * there or config.num_patches > MAX_PATCHES:
        raise ValueError(
            f"a model of its shapes has {wanted:,} parameters and "
            f"{config.num_patches:,} patches; the file has {there:,} numbers"
        )
    check_depth(config, len(state))
    model = VisionTransformer(config).float()
    own = model.state_dict()
    proj = state.get("patch_embed.proj.weight")
    if proj is not None:
        state["patch_embed.proj.weight"] = proj.flatten(1)
    extra = [names.get(name, name) for name in state if name not in own]
    if extra:
        raise ValueError(f"nothing here holds {_some(extra)}")
    lacking = [name for name in own if name not in state]
    if lacking:
        raise ValueError(f"it lacks {_some(lacking)}")
    for name, tensor in state.items():
        if tensor.shape != own[name].shape:
            raise ValueError(
                f"{names.get(name, name)} is {_size(tensor)}; the other "
                f"tensors ask for {_size(own[name])}"
            )
    model.load_state_dict(state)
    return model.eval()


def _size(tensor: Tensor) -> str:
    return f"({', '.join(map(str, tensor.shape))})"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more
