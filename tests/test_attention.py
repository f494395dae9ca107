"""vitlib.attention: the two paths, and PyTorch's own."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import vitlib.attention
from vitlib.attention import Attention, explicit_attention, fused_attention
from vitlib.positions import relative_positions


def random_heads(seed=0, tokens=6, head_dim=8):
    generator = torch.Generator().manual_seed(seed)
    shape = (3, 2, 4, tokens, head_dim)
    return torch.randn(shape, generator=generator)  # q, k, v: (B, h, T, d)


def test_the_formula_entry_by_entry():
    """Eq. 6 and 7, written out."""
    q, k, v = random_heads()
    out, weights = explicit_attention(q, k, v)
    for i in range(6):
        scores = [
            math.exp(q[1, 2, i].dot(k[1, 2, j]) / math.sqrt(8))
            for j in range(6)
        ]
        row = torch.tensor(scores) / sum(scores)
        assert_close(weights[1, 2, i], row)
        assert_close(out[1, 2, i], row @ v[1, 2])


def test_rows_of_the_weights_sum_to_one():
    """Eq. 6."""
    _, weights = explicit_attention(*random_heads())
    assert weights.shape == (2, 4, 6, 6)
    assert weights.min() >= 0
    assert_close(weights.sum(dim=-1), torch.ones(2, 4, 6))


@pytest.mark.parametrize("tokens", [1, 6, 197, 1100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("relative", [False, True])
def test_weights_in_the_logits_place_are_the_same(tokens, dtype, relative):
    q, k, v = random_heads(tokens=tokens)[:, :1, :2].to(dtype)
    rel_pos = torch.randn(tokens, tokens, 8) if relative else None
    given = [t.clone() for t in (q, k, v)]
    in_place = explicit_attention(q, k, v, rel_pos)
    for one, other in zip((q, k, v), given, strict=True):
        assert torch.equal(one, other)
    apart = explicit_attention(q.clone().requires_grad_(), k, v, rel_pos)
    for one, other in zip(in_place, apart, strict=True):
        assert not one.requires_grad
        assert other.requires_grad
        assert torch.equal(one, other)


def test_gradients_equal_the_fused_paths():
    found = []
    for way in (explicit_attention, fused_attention):
        heads = random_heads(tokens=20).requires_grad_()
        out = way(*heads)
        (out[0] if isinstance(out, tuple) else out).square().sum().backward()
        found.append(heads.grad)
    assert_close(*found)


@pytest.mark.parametrize("relative", [False, True])
def test_explicit_equals_fused(relative):
    q, k, v = random_heads(tokens=20)
    rel_pos = relative_positions(torch.randn(39, 8)) if relative else None
    out, _ = explicit_attention(q, k, v, rel_pos)
    assert_close(fused_attention(q, k, v, rel_pos), out, rtol=0, atol=1e-5)


def test_relative_positions_add_the_querys_product():
    q, k, v = random_heads()
    rel_pos = torch.randn(6, 6, 8)
    _, weights = explicit_attention(q, k, v, rel_pos)
    i, j = 4, 2
    ratio = (weights[0, 1, i, j] / weights[0, 1, i, i]).log()
    keys = k[0, 1, j] + rel_pos[i, j] - k[0, 1, i] - rel_pos[i, i]
    assert_close(ratio, q[0, 1, i].dot(keys) / math.sqrt(8))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("heads", [1, 4])
def test_equals_torchs_multihead_attention(bias, heads):
    """Eq. 5 to 8: Appendix A as a whole."""
    torch.manual_seed(0)
    ours = Attention(16, heads, qkv_bias=bias)
    theirs = nn.MultiheadAttention(16, heads, bias=bias, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.qkv.weight)
        theirs.out_proj.weight.copy_(ours.proj.weight)
        if bias:
            theirs.in_proj_bias.copy_(ours.qkv.bias.normal_())
            theirs.out_proj.bias.copy_(ours.proj.bias)
        else:
            ours.proj.bias.zero_()
    x = torch.randn(2, 5, 16)
    out, weights = ours(x, need_weights=True)
    expected, expected_weights = theirs(x, x, x, average_attn_weights=False)
    assert_close(out, expected)
    assert_close(weights, expected_weights)


@pytest.mark.parametrize("fused", [True, False])
def test_weights_come_only_when_asked(fused, monkeypatch):
    monkeypatch.setattr(vitlib.attention, "prefers_fused", lambda q: fused)
    torch.manual_seed(0)
    attn, x = Attention(16, 4), torch.randn(2, 5, 16)
    out, nothing = attn(x)
    same, weights = attn(x, need_weights=True)
    assert nothing is None
    assert weights.shape == (2, 4, 5, 5)
    assert_close(out, same, rtol=0, atol=1e-5)


@pytest.mark.parametrize("fused", [True, False])
def test_each_path_is_taken_where_it_is_preferred(fused, monkeypatch):
    called = []
    monkeypatch.setattr(vitlib.attention, "prefers_fused", lambda q: fused)
    for name in ("explicit_attention", "fused_attention"):
        original = getattr(vitlib.attention, name)

        def spy(*args, name=name, original=original):
            called.append(name)
            return original(*args)

        monkeypatch.setattr(vitlib.attention, name, spy)
    Attention(16, 4)(torch.randn(2, 20, 16))
    assert called == ["fused_attention" if fused else "explicit_attention"]


@pytest.mark.parametrize(
    ("dtype", "training", "amx", "fused"),
    [
        (torch.float32, True, False, True),
        (torch.float32, False, True, True),
        (torch.bfloat16, True, False, False),
        (torch.bfloat16, True, True, False),
        (torch.bfloat16, False, False, False),
        (torch.bfloat16, False, True, True),
    ],
)
def test_the_path_on_a_cpu(dtype, training, amx, fused, monkeypatch):
    monkeypatch.setattr(vitlib.attention, "HAS_AMX", amx)
    q = torch.zeros(1, 1, 2, 4, dtype=dtype, requires_grad=training)
    assert vitlib.attention.prefers_fused(q) == fused


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_path_off_the_cpu_is_fused(dtype):
    q = torch.zeros(1, 1, 2, 4, dtype=dtype, device="meta")
    assert vitlib.attention.prefers_fused(q)


def test_autocast_takes_the_bf16_path(monkeypatch):
    seen = []
    monkeypatch.setattr(
        vitlib.attention, "prefers_fused", lambda q: seen.append(q) or True
    )
    with torch.autocast("cpu", torch.bfloat16):
        Attention(16, 4)(torch.randn(2, 20, 16))
    assert seen[0].dtype == torch.bfloat16
    assert seen[0].requires_grad


def test_permuting_the_tokens_permutes_the_outputs():
    torch.manual_seed(0)
    attn, x, order = Attention(16, 4), torch.randn(2, 5, 16), torch.randperm(5)
    assert_close(attn(x[:, order])[0], attn(x)[0][:, order])


@pytest.mark.parametrize("need_weights", [True, False])
def test_gradients_reach_all_parameters(need_weights):
    torch.manual_seed(0)
    attn = Attention(16, 4)
    attn(torch.randn(2, 5, 16), need_weights)[0].square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in attn.parameters())


@pytest.mark.parametrize(("width", "heads"), [(16, 3), (2, 4)])
def test_heads_that_do_not_divide_the_width_are_refused(width, heads):
    match = f"embed_dim={width}, num_heads={heads}"
    with pytest.raises(ValueError, match=match):
        Attention(width, heads)


@pytest.mark.parametrize("heads", [0, -1, 2.0])
def test_a_number_of_heads_that_is_none_is_refused(heads):
    with pytest.raises(ValueError, match="num_heads must be a positive int"):
        Attention(16, heads)


def test_dropout_follows_proj():
    torch.manual_seed(0)
    attn, x = Attention(16, 4, proj_drop=0.5), torch.randn(8, 5, 16)
    share = (attn(x)[0] == 0).float().mean()
    assert 0.4 < share < 0.6
    assert (attn.eval()(x)[0] != 0).all()
