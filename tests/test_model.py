"""vitlib.config, counts, init and model: the whole ViT."""

import math
import re
from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from vitlib import (
    VARIANTS,
    VisionTransformer,
    ViTConfig,
    create_model,
    flops,
    parameter_counts,
    resize_positions,
)
from vitlib.init import cut_normal_
from vitlib.positions import KINDS

# with the head, without it: google-research/vision_transformer's test of
# its models, timm and torchvision agree; S/14 and Book/4 by the closed form
COUNTS = {
    "Ti/16": (5_717_416, 5_524_416),
    "S/16": (22_050_664, 21_665_664),
    "B/16": (86_567_656, 85_798_656),
    "B/32": (88_224_232, 87_455_232),
    "L/16": (304_326_632, 303_301_632),
    "L/32": (306_535_400, 305_510_400),
    "H/14": (632_045_800, 630_764_800),
    "S/14": (22_046_976, 22_046_976),
    "Book/4": (1_199_882, 1_198_592),
}

TINY = ViTConfig(
    img_size=(8, 12),
    patch_size=4,
    in_chans=2,
    num_classes=5,
    embed_dim=16,
    depth=2,
    num_heads=4,
)
OPTIONS = [{"pos_embed": kind} for kind in KINDS] + [
    {"global_pool": "avg"},
    {"global_pool": "avg", "class_token": False},
    {"pos_embed": "sincos", "class_token": False, "global_pool": "avg"},
    {"pos_embed": "relative", "class_token": False, "global_pool": "avg"},
    {"patch_bias": False, "qkv_bias": False},
    {"representation_size": 24},
    {"num_classes": 0},
    {"norm_first": False},
    {"mlp_ratio": 2.5},
]


def tiny(**options):
    """A small model whose every parameter is random, in eval mode."""
    torch.manual_seed(0)
    model = VisionTransformer(replace(TINY, **options)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def images(count=2, size=(8, 12)):
    return torch.randn(count, 2, *size, generator=torch.manual_seed(1))


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


# Counts


def test_every_variant_has_a_count():
    assert VARIANTS.keys() == COUNTS.keys()


@pytest.mark.parametrize("name", VARIANTS)
def test_exact_parameter_counts(name):
    """Table 1, exactly."""
    with torch.device("meta"):
        model = VisionTransformer(VARIANTS[name])
    with_head, without = COUNTS[name]
    assert count(model) == with_head
    assert count(model) - count(model.head) == without
    assert sum(parameter_counts(model.config).values()) == with_head


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_closed_form_counts_every_option(options):
    """Table 1, by formula."""
    model = tiny(**options)
    counts = parameter_counts(model.config)
    assert sum(counts.values()) == count(model)
    assert counts["head"] == count(model.head)
    assert counts["patch_embed"] == count(model.patch_embed)
    blocks = counts["attention"] + counts["MLP"]
    assert blocks + counts["norms of the blocks"] == count(model.blocks)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_flops_equal_torchs_counter(options):
    model = tiny(**options)
    with FlopCounterMode(display=False) as counter:
        model(images(3), need_weights=True)
    expected = sum(flops(model.config, batch_size=3).values())
    assert counter.get_total_flops() == expected


@pytest.mark.parametrize("name", ["Ti/16", "B/32", "S/14"])
def test_flops_of_variants_equal_torchs_counter(name):
    config = VARIANTS[name]
    with torch.device("meta"):
        model = VisionTransformer(config)
        batch = torch.empty(1, 3, config.img_size, config.img_size)
        with FlopCounterMode(display=False) as counter:
            model(batch, need_weights=True)
    assert counter.get_total_flops() == sum(flops(config).values())


# The forward pass


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_shapes_and_gradients(options):
    model = tiny(**options)
    logits, weights = model(images(), need_weights=True)
    tokens = model.config.num_tokens
    assert logits.shape == (2, model.config.num_classes or 16)
    assert [w.shape for w in weights] == [(2, 4, tokens, tokens)] * 2
    logits.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_the_state_dict_carries_timms_names():
    parts = ["norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"]
    block = [f"{part}.{kind}" for part in parts for kind in ("weight", "bias")]
    expected = {"cls_token", "pos_embed", "norm.weight", "norm.bias"}
    expected |= {"patch_embed.proj.weight", "patch_embed.proj.bias"}
    expected |= {"head.weight", "head.bias"}
    expected |= {f"blocks.{i}.{name}" for i in range(2) for name in block}
    assert set(tiny().state_dict()) == expected


def test_eq_1_to_4_by_hand():
    """Eq. 1 to 4, written out."""
    model = tiny()
    x = model.patch_embed(images())
    x = torch.cat([model.cls_token.expand(2, 1, 16), x], dim=1)
    x = x + model.pos_embed
    for block in model.blocks:
        x = block.attn(block.norm1(x))[0] + x
        x = block.mlp(block.norm2(x)) + x
    y = model.norm(x)[:, 0]
    assert_close(model(images()), model.head(y))


def test_avg_reads_the_patches_only():
    model = tiny(global_pool="avg")
    tokens, _ = model.forward_features(images())
    expected = model.head(tokens[:, 1:].mean(dim=1))
    assert_close(model(images()), expected)


def test_the_tanh_layer_stands_before_the_head():
    """The MLP head of Figure 1, at pre-training."""
    model = tiny(representation_size=24)
    tokens, _ = model.forward_features(images())
    fc = model.pre_logits.fc
    expected = model.head(torch.tanh(fc(tokens[:, 0])))
    assert_close(model(images()), expected)


def test_weights_do_not_change_the_logits():
    model = tiny()
    logits, _ = model(images(), need_weights=True)
    assert_close(model(images()), logits, rtol=0, atol=1e-5)
    assert model.forward_features(images())[1] == []


@pytest.mark.parametrize("kind", KINDS)
def test_only_none_is_blind_to_the_order_of_patches(kind):
    model = tiny(pos_embed=kind)
    whole = images()
    swapped = whole.clone()  # exchange the first and the last patch
    swapped[..., :4, :4] = whole[..., 4:, 8:]
    swapped[..., 4:, 8:] = whole[..., :4, :4]
    blind = torch.allclose(model(whole), model(swapped), atol=1e-5)
    assert blind == (kind == "none")


@pytest.mark.parametrize("kind", ["2d", "sincos"])
def test_fixed_and_split_positions_leave_the_class_token_alone(kind):
    model = tiny(pos_embed=kind)
    x = torch.zeros(1, 7, 16)
    added = model._add_positions(x)
    assert added[0, 0].abs().sum() == 0
    assert (added[0, 1:].abs().sum(dim=1) > 0).all()


def test_positions_are_added_after_the_class_token_joins():
    """Eq. 1."""
    model = tiny()
    x = torch.zeros(1, 7, 16)
    assert torch.equal(model._add_positions(x), model.pos_embed)


def test_an_image_is_not_touched_by_its_neighbours_in_the_batch():
    model, batch = tiny(), images(4)
    assert_close(model(batch)[1:2], model(batch[1:2]), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "stream"),
    [(torch.bfloat16, torch.bfloat16), (torch.float16, torch.float32)],
)
@pytest.mark.parametrize("kind", ["1d", "2d", "sincos"])
def test_the_stream_under_autocast(dtype, stream, kind):
    model, seen = tiny(pos_embed=kind), []
    for block in model.blocks:
        block.register_forward_hook(
            lambda block, inputs, out: seen.append(out[0].dtype)
        )
    with torch.autocast("cpu", dtype):
        logits = model(images())
    assert seen == [stream] * 2
    assert_close(logits.float(), model(images()), rtol=0, atol=0.2)


def test_drop_path_grows_linearly_with_depth():
    model = VisionTransformer(replace(TINY, depth=5, drop_path=0.4))
    rates = [block.drop_path1.rate for block in model.blocks]
    assert_close(rates, [0.0, 0.1, 0.2, 0.3, 0.4])
    assert rates == [block.drop_path2.rate for block in model.blocks]
    single = VisionTransformer(replace(TINY, depth=1, drop_path=0.4))
    assert single.blocks[0].drop_path1.rate == 0


def test_dropout_follows_the_positions_and_the_linear_layers():
    model = VisionTransformer(replace(TINY, drop_rate=0.3))
    rates = [model.pos_drop.p, model.blocks[0].attn.proj_drop.p]
    assert [*rates, model.blocks[1].mlp.drop.p] == [0.3] * 3


def test_dropout_acts_on_the_sum_of_patches_and_positions():
    model = tiny(drop_rate=0.5).train()
    seen = []
    model.blocks[0].register_forward_pre_hook(
        lambda block, inputs: seen.append(inputs[0])
    )
    model(images(16))
    share = (seen[0] == 0).float().mean()
    assert 0.4 < share < 0.6


# The start


def test_the_initial_loss_is_ln_k():
    torch.manual_seed(0)
    model = create_model("Book/4", num_classes=37)
    logits = model(torch.randn(64, 1, 28, 28))
    loss = cross_entropy(logits, torch.randint(37, (64,)))
    assert abs(loss.item() / math.log(37) - 1) < 0.01


def test_each_weight_starts_as_the_released_code_has_it():
    torch.manual_seed(0)
    config = replace(TINY, embed_dim=256, representation_size=64)
    model = VisionTransformer(config)
    block = model.blocks[0]
    spread = {  # standard deviations; Xavier's is sqrt(2 / (in + out))
        block.attn.proj.weight: math.sqrt(2 / 512),
        block.attn.qkv.weight[256:512]: math.sqrt(2 / 512),
        block.mlp.fc1.weight: math.sqrt(2 / 1280),
        block.mlp.fc2.weight: math.sqrt(2 / 1280),
        block.mlp.fc1.bias: 1e-6,
        model.pos_embed: 0.02,
        model.patch_embed.proj.weight: math.sqrt(1 / 32),
        model.pre_logits.fc.weight: math.sqrt(1 / 256),
    }
    for weight, expected in spread.items():
        five_errors = 5 / math.sqrt(2 * weight.numel())
        assert abs(weight.std().item() / expected - 1) < five_errors
    bound = math.sqrt(6 / 512)  # uniform, so no larger value
    assert block.attn.qkv.weight.abs().max() <= bound
    for zero in (
        model.cls_token,
        model.head.weight,
        model.head.bias,
        model.patch_embed.proj.bias,
        block.attn.qkv.bias,
        block.attn.proj.bias,
    ):
        assert zero.abs().sum() == 0
    wide = VisionTransformer(replace(config, pos_std=0.5))
    assert abs(wide.pos_embed.std().item() / 0.5 - 1) < 0.08


@pytest.mark.parametrize("shape", [(192, 768), (64, 3, 16, 16)])
def test_the_cut_normal_is_the_same_in_every_pytorch(shape):
    torch.manual_seed(0)
    found = torch.empty(shape)
    cut_normal_(found, 0.5)
    assert found.abs().max() <= 1.0
    assert abs(found.std().item() / (0.8796 * 0.5) - 1) < 0.01
    if re.match(r"2\.1[345]\.", torch.__version__):
        torch.manual_seed(0)
        theirs = torch.nn.init.trunc_normal_(
            torch.empty(shape), std=0.5, a=-1, b=1
        )
        assert torch.equal(found, theirs)


def test_one_batch_overfits():
    torch.manual_seed(0)
    model = VisionTransformer(TINY)
    batch, labels = images(16), torch.arange(16) % 5
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(150):
        loss = cross_entropy(model(batch), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05


# Other sizes


@pytest.mark.parametrize("kind", ["none", "1d", "2d", "sincos"])
def test_resized_takes_another_image_size(kind):
    model = tiny(pos_embed=kind)
    larger = model.resized((16, 12))
    assert larger.config.grid_size == (4, 3)
    assert larger(images(size=(16, 12))).shape == (2, 5)
    assert not larger.training
    same = model.resized((8, 12))
    assert torch.equal(same(images()), model(images()))
    assert model.config.img_size == (8, 12)


def test_resized_stretches_the_positions_and_nothing_else():
    model = tiny()
    larger = model.resized((16, 12), mode="bilinear")
    expected = resize_positions(model.pos_embed, (2, 3), (4, 3), "bilinear")
    assert_close(larger.pos_embed, expected)
    state = larger.state_dict()
    for name, value in model.state_dict().items():
        if name != "pos_embed":
            assert torch.equal(state[name], value)


def test_resized_stretches_rows_and_columns_of_2d():
    model = tiny(pos_embed="2d")
    with torch.no_grad():
        model.pos_embed[:2] = torch.tensor([[0.0], [3.0]])
        model.pos_embed[2:] = 1.0
    larger = model.resized((16, 12), mode="bilinear")
    rows = larger.pos_embed[:4, 0]
    assert_close(rows, torch.tensor([0.0, 1.0, 2.0, 3.0]))
    assert_close(larger.pos_embed[4:], torch.ones(3, 8))


def test_resized_keeps_dtype_and_its_own_copy():
    model = tiny().double()
    larger = model.resized((16, 12))
    assert larger.norm.weight.dtype == torch.float64
    larger.head.weight.data.zero_()
    assert model.head.weight.abs().sum() > 0


def test_relative_positions_cannot_be_resized():
    model = tiny(pos_embed="relative")
    with pytest.raises(ValueError, match="grid of 4x3 has offsets that 2x3"):
        model.resized((16, 12))
    assert torch.equal(model.resized((8, 12))(images()), model(images()))


# Bad input


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"img_size": (9, 12)}, "must divide.*H=9, W=12, P=4"),
        ({"img_size": 0}, "img_size must be a positive integer"),
        ({"patch_size": 0}, "patch_size must be a positive integer; got 0"),
        ({"num_heads": 3}, "embed_dim=16, num_heads=3"),
        ({"in_chans": 0}, "in_chans must be a positive integer; got 0"),
        ({"depth": 0}, "depth must be a positive integer; got 0"),
        ({"depth": 2.0}, r"depth must be a positive integer; got 2\.0"),
        ({"num_classes": -1}, "num_classes must be 0 or more; got -1"),
        ({"representation_size": -2}, "representation_size must be 0 or"),
        ({"mlp_ratio": 0.01}, r"at least 1; got 0\.01 \* 16"),
        ({"pos_std": -1.0}, r"pos_std must be >= 0 and finite; got -1\.0"),
        ({"pos_std": math.nan}, "pos_std must be >= 0 and finite; got nan"),
        ({"drop_rate": 1.0}, r"drop_rate must lie in \[0, 1\); got 1\.0"),
        ({"drop_path": -0.1}, r"drop_path must lie in \[0, 1\)"),
        ({"global_pool": "max"}, "'max'; known: token, avg"),
        (
            {"pos_embed": "3d"},
            "'3d'; known: none, 1d, 2d, relative, sincos",
        ),
        ({"class_token": False}, '"token" needs class_token=True'),
        (
            {"embed_dim": 6, "num_heads": 2, "pos_embed": "sincos"},
            "multiple of 4; got embed_dim=6",
        ),
        (
            {"embed_dim": 5, "num_heads": 1, "pos_embed": "2d"},
            "multiple of 2; got embed_dim=5",
        ),
    ],
)
def test_configs_that_break_a_rule_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        replace(TINY, **options)


def test_configs_are_frozen():
    with pytest.raises(FrozenInstanceError):
        TINY.depth = 3


def test_an_unknown_variant_is_refused_with_the_known():
    match = r"unknown variant 'B/17'; known: Ti/16, S/16.*Book/4"
    with pytest.raises(ValueError, match=match):
        create_model("B/17")


def test_create_model_changes_single_fields():
    model = create_model("Book/4", num_classes=3, depth=1)
    assert (len(model.blocks), model.head.out_features) == (1, 3)
    assert model.training
    assert model.config == replace(VARIANTS["Book/4"], num_classes=3, depth=1)


@pytest.mark.parametrize(
    ("batch", "match"),
    [
        (torch.zeros(1, 2, 12, 8), "images of 8x12 pixels; got 12x8"),
        (torch.zeros(1, 3, 8, 12), "takes 2 channels; got images with 3"),
        (torch.zeros(0, 2, 8, 12), "must not be empty"),
        (torch.zeros(1, 2, 8, 12, dtype=torch.uint8), "floating point"),
    ],
)
def test_wrong_images_are_refused(batch, match):
    with pytest.raises(ValueError, match=match):
        tiny()(batch)


@pytest.mark.parametrize("wide", ["images", "model"])
def test_autocast_leaves_float64_alone(wide):
    model, x = tiny().eval(), images()
    if wide == "model":
        model = model.double()
    else:
        x = x.double()
    message = "images, weights must share a dtype; got"
    with (
        torch.autocast("cpu", torch.bfloat16),
        pytest.raises(ValueError, match=message),
    ):
        model(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert model.double()(x.double()).isfinite().all()
