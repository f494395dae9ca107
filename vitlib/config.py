"""Chapter 7: the sizes of a ViT, what they hold and what they cost.

Dosovitskiy et al. 2021 (arXiv:2010.11929), Table 1. Ti and S are Touvron et
al. 2021 (arXiv:2012.12877) and Steiner et al. 2021 (arXiv:2106.10270).
"""

from dataclasses import dataclass, fields

from vitlib._checks import (
    check_choice,
    check_deviation,
    check_heads,
    check_patches,
    check_positive,
    check_probability,
    check_type,
    hidden_width,
    pair,
)
from vitlib.positions import KINDS
from vitlib.tokens import POOLS


@dataclass(frozen=True)
class ViTConfig:
    """Everything that defines a Vision Transformer; B/16 by default.

    Chapter 7. Names as in timm. Vary one with dataclasses.replace.

    Attributes:
        img_size: H = W in pixels, or (H, W).
        patch_size: P, in pixels; must divide H and W.
        in_chans: C, the channels of an image.
        num_classes: K, the number of classes; 0 leaves the head out.
        embed_dim: D, the width of a token.
        depth: L, the number of blocks.
        num_heads: h, the heads of each attention; must divide D.
        mlp_ratio: hidden width of the MLPs, in units of D.
        qkv_bias: whether queries, keys and values have a bias.
        patch_bias: whether the patch projection E has one; not in Eq. 1.
        class_token: whether a class token stands first.
        global_pool: what the head reads: "token" or "avg".
        pos_embed: kind of position: "none", "1d", "2d", "relative",
            "sincos".
        pos_std: standard deviation of learned positions at the start.
        representation_size: width of the tanh layer before the head, as in
            the paper's pre-training; 0 leaves it out, as in fine-tuning.
        drop_rate: dropout after every linear layer but qkv, and after the
            positions.
        drop_path: stochastic depth of the last block; it grows linearly
            from 0 at the first.
        norm_first: pre-norm, as in the paper, or post-norm.

    Raises:
        ValueError: states the rule that was broken, and the values.
    """

    img_size: int | tuple[int, int] = 224
    patch_size: int = 16
    in_chans: int = 3
    num_classes: int = 1000
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    patch_bias: bool = True
    class_token: bool = True
    global_pool: str = "token"
    pos_embed: str = "1d"
    pos_std: float = 0.02  # the released code's
    representation_size: int = 0
    drop_rate: float = 0.0
    drop_path: float = 0.0
    norm_first: bool = True

    def __post_init__(self) -> None:
        for item in fields(self):
            kind = type(item.default)
            if kind in (bool, float, str):
                check_type(item.name, getattr(self, item.name), kind)
        height, width = pair(self.img_size, "img_size")
        check_patches(height, width, self.patch_size)
        check_positive(in_chans=self.in_chans, depth=self.depth)
        check_heads(self.embed_dim, self.num_heads)
        for name in ("num_classes", "representation_size"):
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                raise ValueError(f"{name} must be 0 or more; got {value!r}")
        hidden_width(self.embed_dim, self.mlp_ratio)
        check_deviation(pos_std=self.pos_std)
        check_probability(drop_rate=self.drop_rate, drop_path=self.drop_path)
        check_choice("global_pool", self.global_pool, POOLS)
        check_choice("pos_embed", self.pos_embed, KINDS)
        if self.global_pool == "token" and not self.class_token:
            raise ValueError(
                'global_pool="token" needs class_token=True; got False'
            )
        multiple = {"2d": 2, "sincos": 4}.get(self.pos_embed, 1)
        if self.embed_dim % multiple:
            raise ValueError(
                f'pos_embed="{self.pos_embed}" needs embed_dim to be a '
                f"multiple of {multiple}; got embed_dim={self.embed_dim}"
            )

    @property
    def grid_size(self) -> tuple[int, int]:
        """Rows and columns of patches: (H/P, W/P)."""
        height, width = pair(self.img_size, "img_size")
        return height // self.patch_size, width // self.patch_size

    @property
    def num_patches(self) -> int:
        """N."""
        return self.grid_size[0] * self.grid_size[1]

    @property
    def num_tokens(self) -> int:
        """T: N, and one more with a class token."""
        return self.num_patches + self.class_token

    @property
    def pos_embed_shape(self) -> tuple[int, ...]:
        """Shape of the learned positions; empty where none are learned."""
        shapes = {
            "1d": (1, self.num_tokens, self.embed_dim),
            "2d": (sum(self.grid_size), self.embed_dim // 2),
            "relative": (2 * self.num_tokens - 1, self.head_dim),
        }
        return shapes.get(self.pos_embed, ())

    @property
    def head_dim(self) -> int:
        """Components a head: d = D / h."""
        return self.embed_dim // self.num_heads

    @property
    def mlp_dim(self) -> int:
        """Hidden width of the MLPs."""
        return hidden_width(self.embed_dim, self.mlp_ratio)


VARIANTS = {
    "Ti/16": ViTConfig(embed_dim=192, num_heads=3),
    "S/16": ViTConfig(embed_dim=384, num_heads=6),
    "B/16": ViTConfig(),
    "B/32": ViTConfig(patch_size=32),
    "L/16": ViTConfig(embed_dim=1024, depth=24, num_heads=16),
    "L/32": ViTConfig(patch_size=32, embed_dim=1024, depth=24, num_heads=16),
    "H/14": ViTConfig(patch_size=14, embed_dim=1280, depth=32, num_heads=16),
    # the shape of DINOv2's small model (arXiv:2304.07193), without a head
    "S/14": ViTConfig(
        img_size=518, patch_size=14, embed_dim=384, num_heads=6, num_classes=0
    ),
    # the book's own, for grey images of 28x28 pixels: a 7x7 grid of patches
    "Book/4": ViTConfig(
        img_size=28,
        patch_size=4,
        in_chans=1,
        num_classes=10,
        embed_dim=128,
        depth=6,
        num_heads=4,
    ),
}
