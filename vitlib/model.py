"""Chapter 7: the whole Vision Transformer, Eq. 1 to 4.

Dosovitskiy et al. 2021 (arXiv:2010.11929), section 3.1. Attributes carry
timm's names, so that its weights load without a mapping.
"""

from collections import OrderedDict
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from vitlib._checks import check_choice
from vitlib._shapes import check_shape
from vitlib.config import VARIANTS, ViTConfig
from vitlib.encoder import LAYER_NORM_EPS, Block
from vitlib.init import init_weights
from vitlib.patches import PatchEmbed
from vitlib.positions import (
    combine_2d,
    relative_positions,
    resize_positions,
    sincos_2d,
)
from vitlib.tokens import pool, prepend_token


class VisionTransformer(nn.Module):
    """A ViT: images in, class scores out.

    Chapter 7. Dosovitskiy et al. 2021, Eq. 1-4.

    Args:
        config: what to build.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        D, P, C = config.embed_dim, config.patch_size, config.in_chans
        self.patch_embed = PatchEmbed(
            config.img_size, P, C, embed_dim=D, bias=config.patch_bias
        )
        self.cls_token = None
        if config.class_token:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, D))
        shape = config.pos_embed_shape
        if config.pos_embed == "sincos":
            table = sincos_2d(config.grid_size, D)
            self.register_buffer("pos_embed", table, persistent=False)
        else:
            table = nn.Parameter(torch.empty(shape)) if shape else None
            self.register_parameter("pos_embed", table)
        self.pos_drop = nn.Dropout(config.drop_rate)
        step = config.drop_path / max(config.depth - 1, 1)
        shared = {
            "mlp_ratio": config.mlp_ratio,
            "qkv_bias": config.qkv_bias,
            "drop": config.drop_rate,
            "norm_first": config.norm_first,
        }
        self.blocks = nn.ModuleList(
            Block(D, config.num_heads, drop_path=step * index, **shared)
            for index in range(config.depth)
        )
        self.norm = nn.LayerNorm(D, eps=LAYER_NORM_EPS)
        width, K = config.representation_size, config.num_classes
        self.pre_logits = nn.Identity()
        if width:
            layers = OrderedDict(fc=nn.Linear(D, width), act=nn.Tanh())
            self.pre_logits = nn.Sequential(layers)
        self.head = nn.Linear(width or D, K) if K else nn.Identity()
        init_weights(self, config.pos_std)

    def _add_positions(self, x: Tensor) -> Tensor:
        """Add E_pos of Eq. 1 to tokens (B, T, D).

        Only "1d" gives the class token a position of its own: the token is
        one learned vector anyway, and another one added changes nothing.
        """
        kind, table = self.config.pos_embed, self.pos_embed
        if kind in ("none", "relative"):
            return x
        table = table.to(x.dtype)
        if kind == "1d":
            return x + table
        if kind == "2d":
            table = combine_2d(*table.split(self.config.grid_size))  # (N, D)
        prefix = int(self.config.class_token)
        return x + nn.functional.pad(table, (0, 0, prefix, 0))

    def embed(self, images: Tensor) -> Tensor:
        """Turn images (B, C, H, W), normalised, into tokens (B, T, D)."""
        x = self.patch_embed(images)  # (B, N, D)
        if x.dtype == torch.float16:  # too narrow for the sum of all branches
            x = x.float()
        if self.cls_token is not None:
            x = prepend_token(x, self.cls_token)  # (B, T, D)
        return self.pos_drop(self._add_positions(x))  # Eq. 1

    def relative(self) -> Tensor | None:
        """Look up the relative positions (T, T, d), or None without any."""
        if self.config.pos_embed != "relative":
            return None
        return relative_positions(self.pos_embed)

    def forward_features(
        self, images: Tensor, need_weights: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """Encode images: Eq. 1 to 3 and the LayerNorm of Eq. 4.

        Args:
            images: (B, C, H, W), normalised.
            need_weights: whether to return the attention weights.

        Returns:
            All tokens (B, T, D), and the weights, a list of L tensors
            (B, h, T, T), or an empty one if not asked.
        """
        x, rel_pos, all_weights = self.embed(images), self.relative(), []
        for block in self.blocks:
            x, weights = block(x, need_weights, rel_pos)  # Eq. 2 and 3
            all_weights += [] if weights is None else [weights]
        return self.norm(x), all_weights

    def forward_head(self, x: Tensor) -> Tensor:
        """Read tokens (B, T, D) out as logits (B, K)."""
        check_shape("tokens", x, "B T D", D=self.config.embed_dim)
        prefix = int(self.config.class_token)
        y = pool(x, self.config.global_pool, prefix)  # Eq. 4
        return self.head(self.pre_logits(y))

    def forward(
        self, images: Tensor, need_weights: bool = False
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        """Classify images (B, C, H, W): logits (B, K), and the weights."""
        x, weights = self.forward_features(images, need_weights)
        logits = self.forward_head(x)
        return (logits, weights) if need_weights else logits

    def resized(
        self, img_size: int | tuple[int, int], mode: str = "bicubic"
    ) -> "VisionTransformer":
        """Copy the model for images of another size.

        Chapter 4. Dosovitskiy et al. 2021, section 3.2: the patch size
        stays, so the grid changes and the positions are resized to it.

        Args:
            img_size: H = W in pixels, or (H, W); P must divide both.
            mode: see vitlib.positions.resize_positions.

        Returns:
            A new model with copies of the weights.

        Raises:
            ValueError: if P does not divide the size, the mode is unknown,
                or the positions are relative: offsets not seen in training
                have no vector.
        """
        config = replace(self.config, img_size=img_size)
        old, new = self.config.grid_size, config.grid_size
        if config.pos_embed == "relative" and old != new:
            raise ValueError(
                "relative positions cannot be resized: the grid of "
                f"{new[0]}x{new[1]} has offsets that {old[0]}x{old[1]} lacks"
            )
        state, table = self.state_dict(), self.pos_embed
        if config.pos_embed == "1d":
            state["pos_embed"] = resize_positions(table, old, new, mode)
        elif config.pos_embed == "2d":  # rows, then columns
            halves = [
                resize_positions(half[None], (a, 1), (b, 1), mode)[0]
                for half, a, b in zip(table.split(old), old, new, strict=True)
            ]
            state["pos_embed"] = torch.cat(halves)
        model = VisionTransformer(config).to(self.norm.weight)
        model.load_state_dict(state)
        return model.train(self.training)


def create_model(name: str, **overrides: Any) -> VisionTransformer:
    """Build a variant by name, with freshly drawn weights.

    Chapter 7.

    Args:
        name: a key of vitlib.config.VARIANTS, such as "B/16".
        overrides: fields of ViTConfig to change.

    Returns:
        The model, in training mode.

    Raises:
        ValueError: if the name is unknown (the message lists the known), or
            an override breaks a rule.
    """
    check_choice("variant", name, VARIANTS)
    return VisionTransformer(replace(VARIANTS[name], **overrides))
