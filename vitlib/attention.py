"""Chapter 5: every token looks at every token.

Dosovitskiy et al. 2021 (arXiv:2010.11929), Appendix A, Eq. 5-8; Vaswani et
al. 2017 (arXiv:1706.03762), section 3.2.
"""

import torch
from einops import einsum, rearrange
from torch import Tensor, nn
from torch.nn import functional

from vitlib._checks import check_heads, check_positive, check_probability
from vitlib._shapes import (
    check_alike,
    check_floating,
    check_shape,
    check_tokens,
)

# PyTorch before 2.10 or so cannot tell: then the explicit path serves
HAS_AMX: bool = getattr(torch.cpu, "get_capabilities", dict)().get(
    "amx_bf16", False
)
REGISTER = 16  # floats in the longest vector register of a CPU


def explicit_attention(
    q: Tensor, k: Tensor, v: Tensor, rel_pos: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Average the values, weighted by how well query and key agree.

    Chapter 5. Dosovitskiy et al. 2021, Eq. 6 and 7, written out:
    softmax(q k^T / sqrt(d)) v.

    Args:
        q: queries (B, h, T, d).
        k: keys (B, h, T, d).
        v: values (B, h, T, d).
        rel_pos: relative positions (T, T, d), or None; see
            vitlib.positions.relative_positions.

    Returns:
        The heads' outputs (B, h, T, d) and the weights (B, h, T, T); row i
        of the weights sums to 1 and says where query i looks.

    Raises:
        ValueError: if the shapes do not fit; the message says how.
    """
    _check(q, k, v, rel_pos)
    q = q * q.shape[-1] ** -0.5
    logits = q @ rearrange(k, "b h t d -> b h d t")  # (B, h, T, T)
    if rel_pos is not None:
        logits = logits + _relative_logits(q, rel_pos)
    # where no gradient asks for the logits, the weights take their place
    keep = logits.requires_grad or logits.dtype != torch.float32
    weights = torch.softmax(logits, dim=-1, out=None if keep else logits)
    return weights @ v, weights


def fused_attention(
    q: Tensor, k: Tensor, v: Tensor, rel_pos: Tensor | None = None
) -> Tensor:
    """The same outputs by PyTorch's fused kernel, without the weights.

    Chapter 5. Arguments as in explicit_attention; returns (B, h, T, d).

    The kernel for CPUs turns NaN into 0 where there are fewer keys than a
    vector register has places; the formula itself keeps it.
    """
    _check(q, k, v, rel_pos)
    if q.device.type == "cpu" and k.shape[2] < REGISTER:
        return explicit_attention(q, k, v, rel_pos)[0]
    bias = None
    if rel_pos is not None:
        bias = _relative_logits(q * q.shape[-1] ** -0.5, rel_pos)
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)


def prefers_fused(q: Tensor) -> bool:
    """Whether the fused kernel is the faster path for these queries.

    Chapter 5. By device, dtype and mode:

    | where                | faster   | why                              |
    |----------------------|----------|----------------------------------|
    | GPU                  | fused    | never writes the weights         |
    | CPU, float32         | fused    | the same: 0.7 to 1.0 of the time |
    | CPU, bf16, training  | explicit | fused takes 1.9 to 2.7 times as  |
    | CPU, bf16, inference | explicit | long, and 1.3 to 2.0 times       |
    | the same, with AMX   | fused    | its tiles serve the fused kernel |

    The CPU rows without AMX are measured, for 50 to 1370 tokens
    (experiments/attention_paths.py, results/attention_paths.json); AMX was
    tried once, the GPU not at all.

    Args:
        q: queries (B, h, T, d), on the device and in the dtype of the call.
    """
    if q.device.type != "cpu" or q.dtype != torch.bfloat16:
        return True
    return HAS_AMX and not q.requires_grad


def _check(q: Tensor, k: Tensor, v: Tensor, rel_pos: Tensor | None) -> None:
    """Refuse what does not fit together."""
    check_shape("q", q, "B h T d")
    B, h, T, d = q.shape
    check_shape("k", k, "B h S d", B=B, h=h, d=d)
    S = k.shape[2]
    check_shape("v", v, "B h S d", B=B, h=h, S=S, d=d)
    check_positive(d=d, keys=S)
    check_floating(q=q)
    check_alike(q=q, k=k, v=v)
    if rel_pos is not None:
        check_shape("rel_pos", rel_pos, "T S d", T=T, S=S, d=d)
        check_alike(dtypes=False, q=q, rel_pos=rel_pos)


def _relative_logits(q: Tensor, rel_pos: Tensor) -> Tensor:
    """Products of each query with the vector of each offset."""
    rel_pos = rel_pos.to(q.dtype)
    return einsum(q, rel_pos, "b h i d, i j d -> b h i j")  # (B, h, T, T)


class Attention(nn.Module):
    """Multi-head self-attention: MSA of Eq. 2 and 8.

    Chapter 5. Parameters as in timm: one layer qkv, packed (three h d), and
    one layer proj.

    Args:
        embed_dim: D.
        num_heads: h; must divide D. Each head has d = D / h components.
        qkv_bias: whether queries, keys and values have a bias. Eq. 5 writes
            none; the released weights have one.
        proj_drop: dropout rate after proj.

    Raises:
        ValueError: if h does not divide D; the message gives both.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int = 8,
        qkv_bias: bool = True,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__()
        check_heads(embed_dim, num_heads)
        check_probability(proj_drop=proj_drop)
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim, bias=qkv_bias)
        self.proj = nn.Linear(embed_dim, embed_dim)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(
        self,
        x: Tensor,
        need_weights: bool = False,
        rel_pos: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Let tokens exchange information.

        Args:
            x: (B, T, D).
            need_weights: whether to return the attention weights, which
                takes the explicit path.
            rel_pos: relative positions (T, T, d), or None.

        Returns:
            (B, T, D), and the weights (B, h, T, T), or None if not asked.

        Raises:
            ValueError: if these are no tokens of width D.
        """
        check_tokens(x, self.qkv.weight)
        qkv = rearrange(
            self.qkv(x),
            "b t (three h d) -> three b h t d",
            three=3,
            h=self.num_heads,
        )
        weights = None
        if prefers_fused(qkv) and not need_weights:
            out = fused_attention(*qkv, rel_pos)  # (B, h, T, d)
        else:
            qkv = qkv.contiguous()  # saves a copy for each of the products
            out, weights = explicit_attention(*qkv, rel_pos)
        out = rearrange(out, "b h t d -> b t (h d)")  # (B, T, D)
        out = self.proj_drop(self.proj(out))
        return out, weights if need_weights else None
