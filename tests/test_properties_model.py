"""The encoder and the whole model for any input; see tests/drawn.py."""

import math
from dataclasses import replace

import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.drawn import (
    DTYPES,
    FLOATS,
    around,
    close,
    covers,
    outcome,
    refuses,
    same_on_meta,
    shapes,
    tensors,
)
from tests.test_properties import stretching
from vitlib import (
    VARIANTS,
    Attention,
    Block,
    DropPath,
    Mlp,
    VisionTransformer,
    ViTConfig,
    create_model,
    explicit_attention,
    flops,
    init_weights,
    parameter_counts,
    resize_positions,
)
from vitlib.attention import prefers_fused
from vitlib.init import cut_normal_

SEEDS = st.integers(0, 2**32)
SIDES = st.integers(1, 3)
TOKENS = st.sampled_from([1, 2, 5, 16, 18])
SIZES = st.sampled_from([-1, 0, 1, 2, 3, 4, 2.0, True, None])
SMALL = ("normal", "zeros", "tiny", "denormal")


def layer(kind, D, h, dtype=torch.float32, **options):
    """A layer for tokens of width D, with drawn weights."""
    if kind is Mlp:
        return Mlp(D, 2 * D).to(dtype)
    return kind(D, h, **options).to(dtype)


def tokens_of(made):
    return made[0] if isinstance(made, tuple) else made


@st.composite
def layers(draw, dtypes=(torch.float32,)):
    """One of the three layers, its width and number of heads."""
    torch.manual_seed(draw(SEEDS))
    h, d = draw(SIDES), draw(SIDES)
    kind = draw(st.sampled_from([Attention, Mlp, Block]))
    options = {"norm_first": draw(st.booleans())} if kind is Block else {}
    return layer(kind, h * d, h, draw(st.sampled_from(dtypes)), **options)


def width(module):
    return next(p for p in module.parameters() if p.ndim == 2).shape[1]


@covers(Attention, Mlp, Block)
@given(st.data(), layers(), st.integers(0, 3), TOKENS)
def test_tokens_are_a_set_and_images_know_nothing_of_others(
    data, module, B, T
):
    shape = (B, T, width(module))
    x = data.draw(tensors(shape, (torch.float32,), SMALL))
    found = tokens_of(module(x))
    assert (found.shape, found.dtype) == (x.shape, x.dtype)
    order = torch.randperm(T)
    close(tokens_of(module(x[:, order])), found[:, order].double(), 20, 1)
    for image, out in zip(x, found, strict=True):
        close(tokens_of(module(image[None]))[0], out.double(), 20, 1)
    close(tokens_of(module(x.contiguous())), found.double(), 20, 1)
    module.to("meta")
    same_on_meta(lambda x: tokens_of(module(x)), found, x)


@covers(Attention)
@given(st.data(), SIDES, SIDES, st.integers(0, 2), TOKENS, st.booleans())
def test_attention_is_the_formula_on_three_projections(data, h, d, B, T, rel):
    module = Attention(h * d, h).double()
    x = data.draw(tensors((B, T, h * d), (torch.float64,), SMALL))
    rel = data.draw(tensors((T, T, d), FLOATS, SMALL)) if rel else None
    q, k, v = (
        (x @ w.T + b).unflatten(2, (h, d)).transpose(1, 2)
        for w, b in zip(
            module.qkv.weight.chunk(3), module.qkv.bias.chunk(3), strict=True
        )
    )
    out, wanted = explicit_attention(q, k, v, rel)
    out = out.transpose(1, 2).flatten(2)
    out = out @ module.proj.weight.T + module.proj.bias
    for need in (False, True):
        found, weights = module(x, need, rel)
        close(found, out, 100, 1)
        assert (weights is None) == (not need)
    close(weights, wanted, 100, 1)
    assert (weights >= 0).all()
    close(weights.sum(-1), torch.ones_like(weights[..., 0]), 100)


@covers(Attention, Mlp, Block)
@given(tensors(around(3), DTYPES), layers(FLOATS))
def test_layers_refuse_what_are_no_tokens(x, module):
    dtype = next(module.parameters()).dtype
    fits = x.ndim == 3 and x.shape[2] == width(module) and x.dtype == dtype
    fits = fits and (x.shape[1] > 0 or isinstance(module, Mlp))
    assert refuses(module, x) == (not fits)
    assert refuses(module, x.detach().to("meta"))


@covers(Attention, Block, Mlp, DropPath)
@given(*[SIZES] * 2, st.sampled_from([-0.1, 0.0, 0.5, 1.0, math.nan]))
def test_layers_that_cannot_be_built(D, h, rate):
    whole = [type(n) is int and n > 0 for n in (D, h)]
    share = 0 <= rate < 1
    heads = all(whole) and D % h == 0
    assert refuses(Attention, D, h) == (not heads)
    assert refuses(Attention, D, h, True, rate) == (not (heads and share))
    assert refuses(Block, D, h, drop_path=rate) == (not (heads and share))
    assert refuses(Mlp, D, h) == (not all(whole))
    assert refuses(Mlp, D, h, rate) == (not (all(whole) and share))
    assert refuses(DropPath, rate) == (not share)
    for ratio in (0.0, -1.0, math.nan, math.inf):
        assert refuses(Block, 4, 2, ratio)


@covers(DropPath)
@given(tensors(around(3)), st.sampled_from([0.0, 0.3, 0.9]), SEEDS)
def test_a_dropped_path_is_zero_or_grown(x, rate, seed):
    torch.manual_seed(seed)
    path = DropPath(rate)
    found = outcome(path, x)
    assert (found is None) == (x.ndim != 3)
    if found is None:
        return
    assert (found.shape, found.dtype) == (x.shape, x.dtype)
    for one, other in zip(found, x, strict=True):
        wanted = other.detach().double() / (1 - rate)
        if one.any() or rate == 0:
            close(one, wanted)
    assert torch.equal(path.eval()(x), x)


@covers(prefers_fused)
@given(tensors((1, 2, 3, 4), DTYPES))
def test_only_bfloat16_on_a_cpu_is_better_explicit(q):
    low = q.dtype == torch.bfloat16
    assert prefers_fused(q) or low
    assert prefers_fused(q.detach().to("meta"))


CONFIG = {
    "img_size": [8, (4, 8), [4, 4], 0, (4,), 4.0, None],
    "patch_size": [1, 2, 4, 3, 0, -1, 2.0, True],
    "in_chans": [1, 3, 0, 1.5],
    "num_classes": [3, 0, -1, 2.5, True],
    "embed_dim": [8, 4, 6, 1, 0, -4, 8.0],
    "depth": [1, 2, 0, 1.0],
    "num_heads": [1, 2, 4, 3, 0],
    "mlp_ratio": [4.0, 0.5, 2, 0.0, -1.0, math.nan, math.inf, "4"],
    "qkv_bias": [True, False, 1, "no"],
    "patch_bias": [True, False, None],
    "class_token": [True, False, 0],
    "global_pool": ["token", "avg", "max", None],
    "pos_embed": ["none", "1d", "2d", "relative", "sincos", "3d"],
    "pos_std": [0.02, 0.0, -1.0, math.nan, math.inf, "a"],
    "representation_size": [0, 5, -1, 1.5],
    "drop_rate": [0.0, 0.2, 1.0, math.nan, "0"],
    "drop_path": [0.0, 0.2, -0.1, math.inf],
    "norm_first": [True, False, 2],
}
GOOD = {
    "img_size": [8, (4, 8), [8, 4]],
    "patch_size": [1, 2, 4],
    "in_chans": [1, 2],
    "num_classes": [0, 3],
    "embed_dim": [8, 24],
    "depth": [1, 2],
    "num_heads": [1, 2, 4],
    "mlp_ratio": [4.0, 0.5, 2],
    "qkv_bias": [True, False],
    "patch_bias": [True, False],
    "pos_embed": ["none", "1d", "2d", "relative", "sincos"],
    "representation_size": [0, 5],
    "norm_first": [True, False],
}


@st.composite
def configs(draw, **fixed):
    """Small models of every kind."""
    values = {k: draw(st.sampled_from(v)) for k, v in GOOD.items()} | fixed
    values["class_token"] = draw(st.booleans())
    pools = ["token", "avg"] if values["class_token"] else ["avg"]
    values["global_pool"] = draw(st.sampled_from(pools))
    return ViTConfig(**values)


@st.composite
def models(draw, **fixed):
    """A small model, all its weights drawn."""
    config = draw(configs(**fixed))
    torch.manual_seed(draw(SEEDS))
    model = VisionTransformer(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model.eval()


def size(model):
    P = model.config.patch_size
    return tuple(n * P for n in model.config.grid_size)


@covers(ViTConfig, VisionTransformer, parameter_counts, flops)
@given(
    st.fixed_dictionaries({k: st.sampled_from(v) for k, v in CONFIG.items()})
)
def test_a_configuration_that_stands_can_be_built_and_run(fields):
    base = {k: v[0] for k, v in CONFIG.items()}
    changes = [{name: value} for name, value in fields.items()]
    for change in [*changes, fields]:  # one at a time, then all
        config = outcome(ViTConfig, **(base | change))
        if config is None:
            continue
        with torch.device("meta"):
            model = VisionTransformer(config)
            images = torch.empty(2, config.in_chans, *size(model))
        K = config.num_classes
        width = config.representation_size or config.embed_dim
        assert model(images).shape == (2, K or width)


@covers(VisionTransformer, parameter_counts, flops)
@given(configs(), st.integers(-1, 3))
def test_what_a_model_holds_and_costs(config, B):
    model = VisionTransformer(config)
    counts = parameter_counts(config)
    assert sum(counts.values()) == sum(p.numel() for p in model.parameters())
    costs = outcome(flops, config, B)
    assert (costs is None) == (B < 1)
    if costs:
        assert all(n >= 0 for n in costs.values())
        one = flops(config)
        assert costs == {part: B * n for part, n in one.items()}


@covers(VisionTransformer)
@given(st.data(), models(), st.integers(1, 3))
def test_a_model_sees_each_image_alone(data, model, B):
    shape = (B, model.config.in_chans, *size(model))
    images = data.draw(tensors(shape, (torch.float32,), SMALL))
    logits = model(images)
    assert logits.shape[0] == B
    scale = logits.abs().max().item()
    again, weights = model(images, need_weights=True)
    close(again, logits.double(), 100, scale)
    assert len(weights) == model.config.depth
    for w in weights:
        close(w.sum(-1), torch.ones_like(w[..., 0]).double(), 10)
    for image, row in zip(images, logits, strict=True):
        close(model(image[None])[0], row.double(), 100, scale)
    close(model(images.contiguous()), logits.double(), 100, scale)
    tokens, none = model.forward_features(images)
    assert none == []
    close(model.forward_head(tokens), logits.double(), 100, scale)
    wide = model.double()(images.double())
    close(logits, wide, 1000, scale)
    same_on_meta(model.float().to("meta"), logits, images)


@covers(VisionTransformer)
@given(
    st.data(),
    models(img_size=8, pos_embed="none", patch_size=2),
    st.booleans(),
)
def test_without_positions_patches_are_a_set(data, model, weights):
    images = data.draw(
        tensors((2, model.config.in_chans, 8, 8), (torch.float32,), SMALL)
    )
    patches = images.unfold(2, 2, 2).unfold(3, 2, 2).flatten(2, 3)
    shuffled = patches[:, :, torch.randperm(16)].unflatten(2, (4, 4))
    shuffled = shuffled.permute(0, 1, 2, 4, 3, 5).flatten(4).flatten(2, 3)
    logits = model(images)
    close(model(shuffled), logits.double(), 100, logits.abs().max().item())


@covers(VisionTransformer)
@given(st.data(), models(), st.sampled_from(["nan", "inf", "huge"]))
def test_a_bad_pixel_spoils_its_image_alone(data, model, kind):
    shape = (2, model.config.in_chans, *size(model))
    images = data.draw(
        tensors(shape, (torch.float32,), ("normal",), ("plain",))
    )
    good = model(images)
    place = data.draw(st.tuples(*[st.integers(0, n - 1) for n in shape[1:]]))
    images[(0, *place)] = 3e38 if kind == "huge" else float(kind)
    for need in (False, True):
        found = model(images, need_weights=True)[0] if need else model(images)
        scale = good.abs().max().item()
        close(found[1], good[1].double(), 100, scale)
        if kind != "huge" and found.numel():
            assert found[0].isnan().all()


@covers(VisionTransformer)
@given(tensors(shapes(2, 5, 8), DTYPES), models(img_size=(4, 8)))
def test_a_model_refuses_what_are_no_images_for_it(images, model):
    C = model.config.in_chans
    fits = images.shape[1:] == (C, 4, 8) and len(images) > 0
    fits = fits and images.dtype == torch.float32
    assert refuses(model, images) == (not fits)
    assert refuses(model.forward_head, images)
    assert refuses(model, torch.empty(1, C, 4, 8, device="meta"))


@covers(VisionTransformer, resize_positions)
@given(models(), st.data())
def test_a_resized_model_has_the_same_weights(model, data):
    new = data.draw(st.sampled_from([8, (4, 12), 6, 0, 8.0, (8,), (8, 4)]))
    there = outcome(model.resized, new)
    sides = new if isinstance(new, tuple) else (new, new)
    fits = len(sides) == 2 and all(type(n) is int and n > 0 for n in sides)
    P = model.config.patch_size
    fits = fits and all(n % P == 0 for n in sides)
    same = fits and tuple(n // P for n in sides) == model.config.grid_size
    fits = fits and (same or model.config.pos_embed != "relative")
    assert (there is not None) == fits
    if not fits:
        return
    ours, theirs = model.state_dict(), there.state_dict()
    assert ours.keys() == theirs.keys()
    for name in ours:
        if name != "pos_embed" or same:
            assert torch.equal(ours[name], theirs[name])
    if model.config.pos_embed == "2d":  # a table of rows, one of columns
        olds, news = model.config.grid_size, there.config.grid_size
        halves = zip(ours["pos_embed"].split(olds), olds, news, strict=True)
        wanted = [
            stretching(old, new, "bicubic") @ half.double()
            for half, old, new in halves
        ]
        close(theirs["pos_embed"], torch.cat(wanted), 5, 3)
    images = torch.randn(1, model.config.in_chans, *sides)
    assert there(images).isfinite().all()


@covers(create_model)
@given(
    st.sampled_from([*VARIANTS, "B/15", "", None]),
    st.sampled_from([{}, {"depth": 1}, {"depth": 0}, {"num_heads": 7}]),
)
def test_models_by_name(name, fields):
    with torch.device("meta"):
        model = outcome(create_model, name, **fields)
    fits = name in VARIANTS and fields in ({}, {"depth": 1})
    assert (model is not None) == fits
    if fits:
        assert model.config == replace(VARIANTS[name], **fields)
        assert model.training


@covers(init_weights, cut_normal_)
@given(configs(), SEEDS, st.sampled_from([0.0, 0.02, 1.0]))
def test_the_first_weights(config, seed, std):
    model = VisionTransformer(config)
    torch.manual_seed(seed)
    init_weights(model, std)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    torch.manual_seed(seed)
    init_weights(model, std)
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name])
        assert value.isfinite().all()
        if "head" in name or name == "cls_token":
            assert not value.any()
        if "pos_embed" in name and std == 0:
            assert not value.any()
    D = 2 * model.patch_embed.proj.in_features**-0.5 / 0.8796
    assert model.patch_embed.proj.weight.abs().max() <= D * (1 + 1e-6)


@covers(cut_normal_, init_weights)
@given(
    tensors(shapes(), DTYPES, layouts=("plain",)),
    st.sampled_from([0.02, 0.0, 1.0, -1.0, math.nan, math.inf]),
)
def test_a_cut_normal_ends_and_is_cut(weight, std):
    fits = weight.is_floating_point() and 0 <= std < math.inf
    done = outcome(lambda: [cut_normal_(weight, std)])
    assert (done is not None) == fits
    done = outcome(lambda: [init_weights(Mlp(2, 2), std)])
    assert (done is not None) == (0 <= std < math.inf)
    if fits:
        assert weight.isfinite().all()
        assert (weight.abs() <= 2 * std * 1.01).all()
