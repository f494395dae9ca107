"""Chapter 7: what a ViT holds and what it costs, by formula.

The closed forms are checked against the modules themselves and against
PyTorch's own counter; the sums of Dosovitskiy et al. 2021, Table 1, follow.
"""

from vitlib._checks import check_positive
from vitlib.config import ViTConfig


def parameter_counts(config: ViTConfig) -> dict[str, int]:
    """Count the learned numbers of each part.

    Chapter 7. Dosovitskiy et al. 2021, Table 1.

    Args:
        config: the model.

    Returns:
        Parameters by part, in the order of the forward pass; their sum is
        the model's count.
    """
    D, M = config.embed_dim, config.mlp_dim
    patch = config.in_chans * config.patch_size**2
    rows, columns = config.grid_size
    positions = {
        "none": 0,
        "1d": config.num_tokens * D,
        "2d": (rows + columns) * D // 2,
        "relative": (2 * config.num_tokens - 1) * config.head_dim,
        "sincos": 0,
    }
    width = config.representation_size or D
    head = config.num_classes * (width + 1) if config.num_classes else 0
    return {
        "patch_embed": patch * D + config.patch_bias * D,
        "cls_token": config.class_token * D,
        "pos_embed": positions[config.pos_embed],
        "norms of the blocks": config.depth * 4 * D,
        "attention": config.depth * (4 * D * D + D + config.qkv_bias * 3 * D),
        "MLP": config.depth * (2 * D * M + M + D),
        "norm": 2 * D,
        "pre_logits": config.representation_size * (D + 1),
        "head": head,
    }


def flops(config: ViTConfig, batch_size: int = 1) -> dict[str, int]:
    """Count the floating-point operations of one forward pass.

    Chapter 7. Only matrix products, a multiplication and an addition each:
    twice the count of "multiply-adds" that papers often call FLOPs.

    Args:
        config: the model.
        batch_size: B.

    Returns:
        Operations by part, in the order of the forward pass.
    """
    check_positive(batch_size=batch_size)
    D, M, T = config.embed_dim, config.mlp_dim, config.num_tokens
    patch = config.in_chans * config.patch_size**2
    scores = 2 * T * T * D  # q k^T, and as much again for weights @ v
    relative = scores if config.pos_embed == "relative" else 0
    width = config.representation_size or D
    counts = {
        "patch_embed": 2 * config.num_patches * patch * D,
        "qkv and proj": config.depth * 2 * T * 4 * D * D,
        "attention weights": config.depth * (2 * scores + relative),
        "MLP": config.depth * 2 * T * 2 * D * M,
        "head": 2 * config.representation_size * D
        + 2 * config.num_classes * width,
    }
    return {part: batch_size * count for part, count in counts.items()}
