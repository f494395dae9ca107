"""Chapter 3: the class token, and how a sequence becomes one vector.

Dosovitskiy et al. 2021 (arXiv:2010.11929), Eq. 1 and 4, Appendix D.3 and
Figure 9. The token is BERT's (Devlin et al. 2019, arXiv:1810.04805).
"""

from einops import reduce, repeat
from torch import Tensor, cat

from vitlib._checks import check_choice

POOLS = ("token", "avg")


def prepend_token(x: Tensor, cls_token: Tensor) -> Tensor:
    """Put one learned vector in front of every sequence: Eq. 1.

    Chapter 3.

    Args:
        x: (B, N, D), the embedded patches.
        cls_token: (1, 1, D), the same for every image.

    Returns:
        (B, N+1, D): the class token is component 0, the *first*.
    """
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
            or is "token" where there is none.
    """
    check_choice("global_pool", global_pool, POOLS)
    if global_pool == "token":
        if not num_prefix_tokens:
            raise ValueError(
                'global_pool "token" needs a class token; this sequence has '
                'none: use "avg"'
            )
        return x[:, 0]  # (B, D)
    return reduce(x[:, num_prefix_tokens:], "b n d -> b d", "mean")
