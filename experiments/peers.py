"""The peers' ViTs of any of the book's sizes, and vitlib's weights in them.

Needs the environment of `make peers`.
"""

from collections.abc import Callable

import timm
import torchvision
import transformers
import vit_pytorch
from torch import Tensor, nn
from vit_pytorch.simple_vit import SimpleViT

from vitlib.config import ViTConfig


class Logits(nn.Module):
    """Return the logits alone of a transformers model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Classify images (B, C, H, W): (B, K)."""
        return self.model(images).logits


def make_timm(c: ViTConfig) -> nn.Module:
    """Timm's VisionTransformer."""
    return timm.models.vision_transformer.VisionTransformer(
        img_size=c.img_size,
        patch_size=c.patch_size,
        in_chans=c.in_chans,
        num_classes=c.num_classes,
        embed_dim=c.embed_dim,
        depth=c.depth,
        num_heads=c.num_heads,
    )


def make_torchvision(c: ViTConfig) -> nn.Module:
    """Torchvision's VisionTransformer; it takes three channels only."""
    model = torchvision.models.VisionTransformer(
        image_size=c.img_size,
        patch_size=c.patch_size,
        num_layers=c.depth,
        num_heads=c.num_heads,
        hidden_dim=c.embed_dim,
        mlp_dim=c.mlp_dim,
        num_classes=c.num_classes,
    )
    if c.in_chans != 3:
        model.conv_proj = nn.Conv2d(
            c.in_chans, c.embed_dim, c.patch_size, c.patch_size
        )
    return model


def make_transformers(c: ViTConfig, attention: str) -> nn.Module:
    """Transformers' ViTForImageClassification, "sdpa" or "eager"."""
    config = transformers.ViTConfig(
        image_size=c.img_size,
        patch_size=c.patch_size,
        num_channels=c.in_chans,
        hidden_size=c.embed_dim,
        num_hidden_layers=c.depth,
        num_attention_heads=c.num_heads,
        intermediate_size=c.mlp_dim,
        num_labels=c.num_classes,
        layer_norm_eps=1e-6,
        attn_implementation=attention,
    )
    return Logits(transformers.ViTForImageClassification(config))


def make_vit_pytorch(c: ViTConfig, simple: bool) -> nn.Module:
    """vit-pytorch's ViT, or its SimpleViT."""
    options = {
        "image_size": c.img_size,
        "patch_size": c.patch_size,
        "channels": c.in_chans,
        "num_classes": c.num_classes,
        "dim": c.embed_dim,
        "depth": c.depth,
        "heads": c.num_heads,
        "mlp_dim": c.mlp_dim,
        "dim_head": c.head_dim,
    }
    return SimpleViT(**options) if simple else vit_pytorch.ViT(**options)


PEERS: dict[str, Callable[[ViTConfig], nn.Module]] = {
    "timm": make_timm,
    "torchvision": make_torchvision,
    "transformers (sdpa)": lambda c: make_transformers(c, "sdpa"),
    "transformers (eager)": lambda c: make_transformers(c, "eager"),
    "vit-pytorch ViT": lambda c: make_vit_pytorch(c, simple=False),
    "vit-pytorch SimpleViT": lambda c: make_vit_pytorch(c, simple=True),
}


def torchvision_state(state: dict[str, Tensor], c: ViTConfig) -> dict:
    """Rename vitlib's weights to torchvision's."""
    shape = (c.embed_dim, c.in_chans, c.patch_size, c.patch_size)
    out = {
        "class_token": state["cls_token"],
        "conv_proj.weight": state["patch_embed.proj.weight"].reshape(shape),
        "conv_proj.bias": state["patch_embed.proj.bias"],
        "encoder.pos_embedding": state["pos_embed"],
        "encoder.ln.weight": state["norm.weight"],
        "encoder.ln.bias": state["norm.bias"],
        "heads.head.weight": state["head.weight"],
        "heads.head.bias": state["head.bias"],
    }
    names = {
        "norm1": "ln_1",
        "attn.qkv": "self_attention.in_proj_",
        "attn.proj": "self_attention.out_proj",
        "norm2": "ln_2",
        "mlp.fc1": "mlp.0",
        "mlp.fc2": "mlp.3",
    }
    for i in range(c.depth):
        for ours, theirs in names.items():
            for part in ("weight", "bias"):
                dot = "" if theirs.endswith("_") else "."
                key = f"encoder.layers.encoder_layer_{i}.{theirs}{dot}{part}"
                out[key] = state[f"blocks.{i}.{ours}.{part}"]
    return out


def transformers_state(state: dict[str, Tensor], c: ViTConfig) -> dict:
    """Rename vitlib's weights to those of transformers 5."""
    vit = "model.vit"
    shape = (c.embed_dim, c.in_chans, c.patch_size, c.patch_size)
    patch = f"{vit}.embeddings.patch_embeddings.projection"
    out = {
        f"{vit}.embeddings.cls_token": state["cls_token"],
        f"{vit}.embeddings.position_embeddings": state["pos_embed"],
        f"{patch}.weight": state["patch_embed.proj.weight"].reshape(shape),
        f"{patch}.bias": state["patch_embed.proj.bias"],
    }
    names = {
        "attn.proj": "attention.o_proj",
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "mlp.fc1": "mlp.fc1",
        "mlp.fc2": "mlp.fc2",
    }
    for part in ("weight", "bias"):
        out[f"{vit}.layernorm.{part}"] = state[f"norm.{part}"]
        out[f"model.classifier.{part}"] = state[f"head.{part}"]
        for i in range(c.depth):
            for ours, theirs in names.items():
                key = f"{vit}.layers.{i}.{theirs}.{part}"
                out[key] = state[f"blocks.{i}.{ours}.{part}"]
            thirds = state[f"blocks.{i}.attn.qkv.{part}"].chunk(3)
            for letter, third in zip("qkv", thirds, strict=True):
                key = f"{vit}.layers.{i}.attention.{letter}_proj.{part}"
                out[key] = third
    return out
