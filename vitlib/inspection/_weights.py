"""What attention weights must be before anything is read from them."""

from torch import Tensor

from vitlib._checks import check_finite

# How far rounded weights may sum from 1, by bytes of a number: bfloat16
# moves each by at most 2^-8 of itself, and so their sum. Doubles may come
# from floats.
SUM_TOLERANCE = {2: 5e-3, 4: 1e-4, 8: 1e-4}


def check_weights(weights: Tensor, like: Tensor | None = None) -> Tensor:
    """Refuse what are no attention weights; return them in float32 or 64.

    Args:
        weights: should be (B, h, T, T), each row summing to 1.
        like: another layer's, or a matrix (B, T, T) made of them, that they
            must fit.

    Raises:
        ValueError: states the rule that was broken, and the values.
    """
    if not isinstance(weights, Tensor):
        raise ValueError(
            "each layer's weights must be a tensor (B, h, T, T); got "
            f"{type(weights).__name__}: ask the model with need_weights=True"
        )
    shape = tuple(weights.shape)
    if weights.ndim != 4 or shape[2] != shape[3] or not weights.numel():
        raise ValueError(f"weights must be (B, h, T, T); got shape {shape}")
    tolerance = SUM_TOLERANCE.get(weights.element_size())
    if not weights.is_floating_point() or tolerance is None:
        raise ValueError(
            "weights must be floating point, of 16 to 64 bits; got "
            f"{weights.dtype}"
        )
    if like is not None:
        if like.device != weights.device:
            raise ValueError(
                "all layers must be on one device; got "
                f"{like.device} and {weights.device}"
            )
        if (len(like), like.shape[-1]) != (shape[0], shape[3]):
            raise ValueError(
                f"all layers must have the same B and T; got {len(like)} and "
                f"{like.shape[-1]}, then {shape[0]} and {shape[3]}"
            )
    if weights.is_meta:
        raise ValueError("weights must hold numbers; got a meta tensor")
    if weights.element_size() == 2:
        weights = weights.float()
    if like is not None and like.dtype != weights.dtype:
        raise ValueError(
            f"all layers must share a dtype; got {like.dtype} and "
            f"{weights.dtype}"
        )
    sums, least = weights.sum(dim=-1), float(weights.amin())
    gap = float((sums - 1).abs().amax())
    if not (gap <= tolerance and least >= 0):  # so that NaN ends here too
        check_finite(weights, "weights")
        raise ValueError(
            "weights must be 0 or more and each row must sum to 1; got a "
            f"least weight of {least:.3g} and rows that sum to "
            f"{float(sums.amin()):.4g} to {float(sums.amax()):.4g}: logits, "
            "dropout or rounding?"
        )
    return weights


def prefix_of(tokens: int, grid_size: tuple[int, int]) -> int:
    """Count the tokens before the patches: 0, or 1 for a class token.

    Raises:
        ValueError: if the grid does not fit the number of tokens.
    """
    rows, columns = grid_size
    prefix = tokens - rows * columns
    if prefix not in (0, 1):
        raise ValueError(
            f"a grid of {rows}x{columns} has {rows * columns} tokens, or one "
            f"more with a class token; got weights of {tokens}"
        )
    return prefix
