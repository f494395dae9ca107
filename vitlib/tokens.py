"""Chapter 3: the class token, and how a sequence becomes one vector.

Dosovitskiy et al. 2021 (arXiv:2010.11929), Eq. 1 and 4, Appendix D.3 and
Figure 9. The token is BERT's (Devlin et al. 2019, arXiv:1810.04805).
"""

from einops import reduce, repeat
from torch import Tensor, cat

from vitlib._checks import check_choice
from vitlib._shapes import check_alike, check_floating, check_shape

POOLS = ("token", "avg")


def prepend_token(x: Tensor, cls_token: Tensor) -> Tensor:
    """Put one learned vector in front of every sequence: Eq. 1.

    Chapter 3.

    Args:
        x: (B, N, D), the embedded patches.
        cls_token: (1, 1, D), the same for every image.

    Returns:
        (B, N+1, D): the class token is component 0, the *first*.

    Raises:
        ValueError: if the shapes do not fit; the message gives both.
    """
    check_shape("x", x, "B N D")
    check_shape("cls_token", cls_token, "1 1 D", D=x.shape[2])
    check_alike(dtypes=False, x=x, cls_token=cls_token)
    first = repeat(cls_token.to(x.dtype), "1 1 d -> b 1 d", b=x.shape[0])
    return cat([first, x], dim=1)  # (B, T, D)


def pool(x: Tensor, global_pool: str, num_prefix_tokens: int = 1) -> Tensor:
    """Read one vector a sequence: what the head sees.

    Chapter 3. Dosovitskiy et al. 2021, Eq. 4 ("token") and Appendix D.3
    ("avg").

    Args:
        x: (B, T, D), the encoder's output.
        global_pool: "token" takes component 0; "avg" the mean over patches.
        num_prefix_tokens: tokens in front of the patches, 0 or 1; they are
            left out of the mean.

    Returns:
        (B, D).

    Raises:
        ValueError: if global_pool is unknown (the message lists the known),
            or the sequence has nothing that it could read.
    """
    _check_pool(x, global_pool, num_prefix_tokens)
    if global_pool == "token":
        return x[:, 0]  # (B, D)
    return reduce(x[:, num_prefix_tokens:], "b n d -> b d", "mean")


def _check_pool(x: Tensor, global_pool: str, num_prefix_tokens: int) -> None:
    """Refuse tokens that cannot be read in this way."""
    check_choice("global_pool", global_pool, POOLS)
    whole = isinstance(num_prefix_tokens, int)
    if not whole or num_prefix_tokens not in (0, 1):
        raise ValueError(
            f"num_prefix_tokens must be 0 or 1; got {num_prefix_tokens!r}"
        )
    if global_pool == "token" and not num_prefix_tokens:
        raise ValueError(
            'global_pool "token" needs a class token; this sequence has '
            'none: use "avg"'
        )
    check_shape("x", x, "B T D")
    check_floating(x=x)
    least = num_prefix_tokens + (global_pool == "avg")
    if x.shape[1] < least:
        raise ValueError(
            f'global_pool "{global_pool}" with {num_prefix_tokens} prefix '
            f"tokens needs T of at least {least}; got {x.shape[1]}"
        )
