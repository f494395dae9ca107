"""The code under the book *ViT, Step by Step*.

Each module belongs to a chapter; its first line names it. Plotting
(vitlib.plot) and data (vitlib.data) are imported by themselves.
"""

from vitlib.attention import Attention, explicit_attention, fused_attention
from vitlib.config import VARIANTS, ViTConfig
from vitlib.counts import flops, parameter_counts
from vitlib.encoder import Block, DropPath, Mlp
from vitlib.exercises import check
from vitlib.init import init_weights
from vitlib.model import VisionTransformer, create_model
from vitlib.patches import PatchEmbed, patchify, unpatchify
from vitlib.positions import (
    combine_2d,
    relative_positions,
    resize_positions,
    sincos_2d,
)
from vitlib.show import source
from vitlib.tokens import pool, prepend_token

__version__ = "0.1.0"

__all__ = [
    "VARIANTS",
    "Attention",
    "Block",
    "DropPath",
    "Mlp",
    "PatchEmbed",
    "ViTConfig",
    "VisionTransformer",
    "check",
    "combine_2d",
    "create_model",
    "explicit_attention",
    "flops",
    "fused_attention",
    "init_weights",
    "parameter_counts",
    "patchify",
    "pool",
    "prepend_token",
    "relative_positions",
    "resize_positions",
    "sincos_2d",
    "source",
    "unpatchify",
]
