"""Chapter 6: the Transformer encoder.

Dosovitskiy et al. 2021 (arXiv:2010.11929), Eq. 2 and 3. Pre-norm as in the
paper; post-norm (Vaswani et al. 2017, arXiv:1706.03762) for the comparison.
"""

from torch import Tensor, nn

from vitlib._checks import (
    check_heads,
    check_positive,
    check_probability,
    hidden_width,
)
from vitlib._shapes import check_shape, check_tokens
from vitlib.attention import Attention

LAYER_NORM_EPS = 1e-6  # the released code's; nn.LayerNorm's own is 1e-5


class Mlp(nn.Module):
    """Two linear layers with a GELU between, for each token alone.

    Chapter 6. Dosovitskiy et al. 2021, Eq. 3. Names as in timm.

    Differs: GELU is exact, as in timm; the released code takes the tanh
    approximation.

    Args:
        in_features: D.
        hidden_features: width of the hidden layer, 4 D in the paper.
        drop: dropout rate after either layer.
    """

    def __init__(
        self, in_features: int, hidden_features: int, drop: float = 0.0
    ) -> None:
        super().__init__()
        check_positive(
            in_features=in_features, hidden_features=hidden_features
        )
        check_probability(drop=drop)
        self.fc1 = nn.Linear(in_features, hidden_features)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden_features, in_features)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, T, D) to (B, T, D), one by one."""
        check_tokens(x, self.fc1.weight)
        return self.drop(self.fc2(self.drop(self.act(self.fc1(x)))))


class DropPath(nn.Module):
    """Stochastic depth: leave a branch out for some images of a batch.

    Chapter 6. Huang et al. 2016 (arXiv:1603.09382). What is kept grows by
    1 / (1 - rate), so that the mean stays. Does nothing in eval mode.

    Args:
        rate: share of images that skip the branch, 0 <= rate < 1.

    Raises:
        ValueError: if the rate lies outside.
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        check_probability(rate=rate)
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Zero (B, T, D) for a random part of the B images."""
        check_shape("tokens", x, "B T D")
        if not self.training or self.rate == 0:
            return x
        keep = x.new_empty(len(x), 1, 1).bernoulli_(1 - self.rate)
        return x * keep / (1 - self.rate)

    def extra_repr(self) -> str:
        """Show the rate when the module is printed."""
        return f"rate={self.rate:.3f}"


class Block(nn.Module):
    """One encoder layer: attention mixes tokens, the MLP works on each.

    Chapter 6. Dosovitskiy et al. 2021, Eq. 2 and 3. Names as in timm.

    Args:
        embed_dim: D.
        num_heads: h; must divide D.
        mlp_ratio: hidden width of the MLP, in units of D.
        qkv_bias: whether queries, keys and values have a bias.
        drop: dropout rate after every linear layer but qkv.
        drop_path: rate of stochastic depth for both branches.
        norm_first: True normalises each branch's input (pre-norm, the
            paper's); False the sum (post-norm).

    Raises:
        ValueError: if h does not divide D, or a rate lies outside [0, 1).
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        drop: float = 0.0,
        drop_path: float = 0.0,
        norm_first: bool = True,
    ) -> None:
        super().__init__()
        check_heads(embed_dim, num_heads)
        check_probability(drop=drop, drop_path=drop_path)
        self.norm_first = norm_first
        self.norm1 = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)
        self.attn = Attention(embed_dim, num_heads, qkv_bias, drop)
        self.drop_path1 = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)
        self.mlp = Mlp(embed_dim, hidden_width(embed_dim, mlp_ratio), drop)
        self.drop_path2 = DropPath(drop_path)

    def forward(
        self,
        x: Tensor,
        need_weights: bool = False,
        rel_pos: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Apply the layer.

        Args:
            x: (B, T, D).
            need_weights: whether to return the attention weights.
            rel_pos: relative positions (T, T, d), or None.

        Returns:
            (B, T, D), and the weights (B, h, T, T), or None if not asked.
        """
        check_tokens(x, self.attn.qkv.weight)
        if self.norm_first:
            mixed, weights = self.attn(self.norm1(x), need_weights, rel_pos)
            x = x + self.drop_path1(mixed)  # Eq. 2
            x = x + self.drop_path2(self.mlp(self.norm2(x)))  # Eq. 3
        else:
            mixed, weights = self.attn(x, need_weights, rel_pos)
            x = self.norm1(x + self.drop_path1(mixed))
            x = self.norm2(x + self.drop_path2(self.mlp(x)))
        return x, weights
