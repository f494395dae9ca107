"""vitlib.encoder: the MLP, stochastic depth and the block."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from vitlib.encoder import Block, DropPath, Mlp


def copy_to_torch(block):
    """PyTorch's own encoder layer with the block's weights."""
    attn, mlp = block.attn, block.mlp
    layer = nn.TransformerEncoderLayer(
        attn.qkv.in_features,
        attn.num_heads,
        mlp.fc1.out_features,
        dropout=0.0,
        activation="gelu",
        layer_norm_eps=1e-6,
        batch_first=True,
        norm_first=block.norm_first,
    )
    pairs = {
        "self_attn.in_proj_": attn.qkv,
        "self_attn.out_proj.": attn.proj,
        "linear1.": mlp.fc1,
        "linear2.": mlp.fc2,
        "norm1.": block.norm1,
        "norm2.": block.norm2,
    }
    state = {
        name + part: getattr(module, part)
        for name, module in pairs.items()
        for part in ("weight", "bias")
    }
    layer.load_state_dict(state)
    return layer


def random_block(**options):
    """A block whose every parameter is random."""
    torch.manual_seed(0)
    block = Block(16, 4, **options)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return block


@pytest.mark.parametrize("norm_first", [True, False])
def test_equals_torchs_encoder_layer(norm_first):
    """Eq. 2 and 3."""
    block = random_block(norm_first=norm_first)
    x = torch.randn(2, 5, 16)
    out, weights = block(x)
    assert weights is None
    assert_close(out, copy_to_torch(block)(x), rtol=1e-5, atol=1e-5)


def test_layer_norm_uses_the_released_eps():
    block = Block(16, 4)
    assert block.norm1.eps == block.norm2.eps == 1e-6


def test_the_mlp_works_on_each_token_alone():
    """Eq. 3."""
    torch.manual_seed(0)
    mlp, x = Mlp(16, 64), torch.randn(2, 5, 16)
    changed = x.clone()
    changed[:, 2] += 1
    moved = (mlp(changed) - mlp(x)).abs().sum(dim=(0, 2)) > 0
    assert moved.tolist() == [False, False, True, False, False]


def test_gelu_is_the_exact_one():
    mlp = Mlp(1, 1)
    with torch.no_grad():
        for layer in (mlp.fc1, mlp.fc2):
            layer.weight.fill_(1)
            layer.bias.zero_()
    x = torch.tensor([[[1.5]]], dtype=torch.float32)
    expected = 0.5 * x * (1 + torch.erf(x / 2**0.5))
    assert_close(mlp(x), expected)


def test_block_returns_weights_when_asked():
    block, x = random_block(), torch.randn(2, 5, 16)
    out, weights = block(x, need_weights=True)
    assert weights.shape == (2, 4, 5, 5)
    assert_close(out, block(x)[0], rtol=0, atol=1e-5)


def test_block_passes_relative_positions_on():
    block, x = random_block(), torch.randn(2, 5, 16)
    out, _ = block(x, rel_pos=torch.randn(5, 5, 4))
    assert not torch.allclose(out, block(x)[0])


def test_drop_path_drops_whole_images_and_keeps_the_mean():
    torch.manual_seed(0)
    drop, x = DropPath(0.25), torch.ones(20_000, 2, 3)
    out = drop(x)
    per_image = out[:, 0, 0]
    assert torch.equal(out, per_image[:, None, None].expand_as(out))
    kept = torch.tensor(1 / 0.75)
    assert all(
        value == 0 or torch.isclose(value, kept)
        for value in per_image.unique()
    )
    assert abs(per_image.mean() - 1) < 0.02
    assert torch.equal(drop.eval()(x), x)


def test_both_branches_have_drop_path():
    torch.manual_seed(0)
    block = random_block(drop_path=0.999).train()
    x = torch.randn(4, 5, 16)
    assert torch.equal(block(x)[0], x)


def test_dropout_is_on_in_training_only():
    block, x = random_block(drop=0.5), torch.randn(2, 5, 16)
    block.train()
    assert not torch.allclose(block(x)[0], block(x)[0])
    block.eval()
    assert torch.equal(block(x)[0], block(x)[0])
    drops = [block.attn.proj_drop, block.mlp.drop]
    assert [drop.p for drop in drops] == [0.5, 0.5]


def test_gradients_reach_all_parameters():
    block = random_block()
    block(torch.randn(2, 5, 16))[0].square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in block.parameters())


@pytest.mark.parametrize("rate", [-0.1, 1.0, 2])
def test_rates_outside_zero_to_one_are_refused(rate):
    match = rf"must lie in \[0, 1\); got {rate}"
    with pytest.raises(ValueError, match=f"rate {match}"):
        DropPath(rate)
    with pytest.raises(ValueError, match=f"drop {match}"):
        Block(16, 4, drop=rate)
    with pytest.raises(ValueError, match=f"drop_path {match}"):
        Block(16, 4, drop_path=rate)


def test_a_hidden_layer_of_no_width_is_refused():
    with pytest.raises(ValueError, match=r"must be at least 1; got 0 \* 16"):
        Block(16, 4, mlp_ratio=0)
