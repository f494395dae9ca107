"""vitlib.optim: what decays, how fast it learns, and the average."""

import math
from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from vitlib import VisionTransformer, ViTConfig
from vitlib.baselines import SmallCNN
from vitlib.optim import (
    create_optimizers,
    decay_groups,
    learning_rate,
    update_average,
)

BETAS = (0.9, 0.95)


def tiny(**fields):
    """A ViT of 8x8 grey images."""
    sizes = {"img_size": 8, "patch_size": 4, "in_chans": 1}
    sizes |= {"num_classes": 3, "embed_dim": 8, "depth": 2, "num_heads": 2}
    return VisionTransformer(ViTConfig(**(sizes | fields)))


def names_of(model, group):
    """Names of a group's parameters."""
    names = {id(p): name for name, p in model.named_parameters()}
    return {names[id(p)] for p in group["params"]}


@pytest.mark.parametrize("kind", ["none", "1d", "2d", "relative", "sincos"])
@pytest.mark.parametrize("pool", ["token", "avg"])
def test_matrices_decay_and_nothing_else(kind, pool):
    model = tiny(pos_embed=kind, global_pool=pool, representation_size=4)
    decayed, others = decay_groups(model, 0.3)
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.3, 0.0)
    matrices = {"patch_embed.proj.weight", "pre_logits.fc.weight"}
    matrices |= {"head.weight"} | {
        f"blocks.{i}.{layer}.weight"
        for i in range(2)
        for layer in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    }
    assert names_of(model, decayed) == matrices
    every = {name for name, _ in model.named_parameters()}
    assert names_of(model, others) == every - matrices
    assert len(decayed["params"]) + len(others["params"]) == len(every)


def test_a_cnn_decays_its_kernels_only():
    model = SmallCNN(width=2)
    decayed, others = decay_groups(model, 0.3)
    assert all(p.ndim in (2, 4) for p in decayed["params"])
    assert all(p.ndim == 1 for p in others["params"])
    assert len(decayed["params"]) == 5
    assert len(others["params"]) == 9


def test_frozen_parameters_are_left_out():
    model = tiny()
    model.head.requires_grad_(False)
    names = [names_of(model, group) for group in decay_groups(model, 0.1)]
    assert not {"head.weight", "head.bias"} & set.union(*names)


def test_adamw_is_torchs_own_with_both_groups():
    model = tiny()
    [optimizer] = create_optimizers(model, "adamw", 0.1, 0.3, BETAS)
    assert type(optimizer) is torch.optim.AdamW
    decays = [group["weight_decay"] for group in optimizer.param_groups]
    assert decays == [0.3, 0.0]
    assert {group["betas"] for group in optimizer.param_groups} == {BETAS}


def test_adam_decays_everything_through_the_gradient():
    """Not what the decay of Table 3 means."""
    model = nn.Linear(1, 1)
    with torch.no_grad():
        model.weight.fill_(5.0)
        model.bias.fill_(-5.0)
    [optimizer] = create_optimizers(model, "adam", 0.1, 0.3, BETAS)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    # only the L2 term pushes, and Adam makes it a full step of lr
    assert_close(model.weight.item(), 4.9, rtol=0, atol=1e-6)
    assert_close(model.bias.item(), -4.9, rtol=0, atol=1e-6)


def test_muon_takes_the_blocks_and_adamw_the_rest():
    model = tiny()
    muon, adam = create_optimizers(model, "muon", 0.1, 0.3, BETAS)
    found = [names_of(model, group) for group in muon.param_groups]
    assert found == [
        {
            name
            for name, p in model.named_parameters()
            if name.startswith("blocks.") and p.ndim == 2
        }
    ]
    rest = [names_of(model, group) for group in adam.param_groups]
    assert rest[0] == {"patch_embed.proj.weight", "head.weight"}
    every = {name for name, _ in model.named_parameters()}
    assert set.union(*found, *rest) == every
    assert sum(map(len, found + rest)) == len(every)


def test_muons_step_is_a_rotation_as_large_as_adams():
    torch.manual_seed(0)
    model = tiny(embed_dim=16)
    muon, _ = create_optimizers(model, "muon", 0.01, 0.0, BETAS)
    weight = model.blocks[0].attn.proj.weight
    before = weight.detach().clone()
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    muon.step()
    values = torch.linalg.svdvals((before - weight).detach())
    # Newton and Schulz bring the singular values near one, not to it:
    # between 0.68 and 1.13 for Jordan's coefficients
    scaled = values / (0.01 * 0.2 * math.sqrt(16))
    assert 0.6 < scaled.min() < scaled.max() < 1.3


def test_muon_refuses_a_model_without_blocks():
    with pytest.raises(ValueError, match=r"model\.blocks; SmallCNN has none"):
        create_optimizers(SmallCNN(width=2), "muon", 0.1, 0.3, BETAS)


def test_unknown_optimizer_lists_the_known():
    with pytest.raises(ValueError, match="unknown optimizer 'sgd'; known: ad"):
        create_optimizers(tiny(), "sgd", 0.1, 0.3, BETAS)


def test_schedule_at_its_corners():
    def rate(step):
        return learning_rate(step, total=110, warmup=10, peak=2.0, floor=0.5)

    assert_close(rate(0), 0.2)
    assert_close(rate(4), 1.0)
    assert rate(9) == 2.0  # the last of the warm-up
    assert rate(10) == 2.0  # the cosine starts at its top
    assert_close(rate(60), 1.25)  # half way down
    assert 0.5 < rate(109) < 0.501  # the last step still moves
    rises = [rate(step + 1) - rate(step) for step in range(109)]
    assert all(rise > 0 for rise in rises[:9])
    assert all(rise < 0 for rise in rises[10:])


@pytest.mark.parametrize(("warmup", "first"), [(0, 3.0), (1, 3.0), (5, 0.6)])
def test_schedule_with_little_or_nothing_but_warmup(warmup, first):
    rates = [learning_rate(s, 5, warmup, peak=3.0) for s in range(5)]
    assert_close(rates[0], first)
    assert max(rates) == 3.0
    assert min(rates) > 0


@pytest.mark.parametrize(
    ("step", "total", "warmup"), [(-1, 5, 0), (5, 5, 0), (0, 5, 6), (0, 0, 0)]
)
def test_schedule_refuses_steps_outside_the_run(step, total, warmup):
    values = f"got step={step}, total={total}, warmup={warmup}"
    with pytest.raises(ValueError, match=values):
        learning_rate(step, total, warmup, 1.0)


def test_average_is_its_formula():
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    average = deepcopy(model)
    written = {k: v.double() for k, v in model.state_dict().items()}
    for decay in (0.5, 0.9, 0.99):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        update_average(average, model, decay)
        for name, value in model.state_dict().items():
            written[name] = decay * written[name] + (1 - decay) * value
    for name, value in average.state_dict().items():
        assert_close(value, written[name].float(), rtol=1e-6, atol=1e-6)


def test_average_copies_buffers_and_leaves_the_model():
    model, average = SmallCNN(width=2), SmallCNN(width=2)
    model(torch.randn(4, 1, 8, 8))  # moves the running statistics
    before = deepcopy(model.state_dict())
    update_average(average, model, 0.9)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    for kept, current in zip(average.buffers(), model.buffers(), strict=True):
        assert torch.equal(kept, current)
        assert kept is not current


@pytest.mark.parametrize("decay", [2.0, 1.0, -0.1, math.nan])
def test_average_refuses_what_is_no_decay(decay):
    layer = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"decay must lie in \[0, 1\); got"):
        update_average(layer, layer, decay)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (nn.Linear(3, 1), r"\(2, 3\) and \(1, 3\)"),
        (nn.Linear(3, 2, bias=False), r"\(2,\) and \(0,\)"),
    ],
)
def test_average_refuses_another_model(other, words):
    average = nn.Linear(3, 2)
    before = deepcopy(average.state_dict())
    message = f"average and model must have the same shapes; got {words}"
    with pytest.raises(ValueError, match=message):
        update_average(average, other, 0.5)
    for name, value in average.state_dict().items():
        assert torch.equal(value, before[name])
