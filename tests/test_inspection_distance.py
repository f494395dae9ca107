"""Attention distance and the pass behind it: numpy and properties."""

import math
import weakref
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from vitlib import VisionTransformer, ViTConfig
from vitlib.inspection import (
    Rollout,
    attention_distance,
    class_token_share,
    layer_matrix,
    pixel_distances,
    stream,
    uniform_distance,
)

TINY = ViTConfig(
    img_size=(12, 16),
    patch_size=4,
    num_classes=3,
    embed_dim=16,
    depth=3,
    num_heads=2,
    pos_std=1.0,
)
GRID = (3, 4)
READERS = {
    "distance": partial(attention_distance, grid_size=GRID, patch_size=4),
    "share": partial(class_token_share, grid_size=GRID),
}
KINDS = {
    "as in the paper": {},
    "relative": {"pos_embed": "relative"},
    "2d": {"pos_embed": "2d"},
    "sincos": {"pos_embed": "sincos"},
    "post-norm": {"norm_first": False},
    "no class token": {"class_token": False, "global_pool": "avg"},
    "no positions": {"pos_embed": "none"},
}


def draw(T, B=2, h=3, seed=0, dtype=torch.float64):
    """Uneven attention weights (B, h, T, T)."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(B, h, T, T, generator=generator)
    return logits.to(dtype).softmax(dim=-1)


def build(seed=0, **changes):
    torch.manual_seed(seed)
    return VisionTransformer(replace(TINY, **changes)).eval()


def pictures(count=2, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, 12, 16, generator=generator)


def by_the_text(weights, grid, patch, class_token, include_self):
    """Average the distance from a query's pixel to all others, by weight.

    Written out from the captions of Figures 7 and 11, number by number.
    """
    weights = np.asarray(weights, dtype=np.float64)
    B, h, T, _ = weights.shape
    N = grid[0] * grid[1]
    prefix = T - N
    middles = [
        ((r + 0.5) * patch, (c + 0.5) * patch)
        for r in range(grid[0])
        for c in range(grid[1])
    ]
    out = np.zeros((B, h))
    for b in range(B):
        for head in range(h):
            for i in range(N):
                total, mass = 0.0, 0.0
                for j in range(N):
                    if i == j and not include_self:
                        continue
                    weight = weights[b, head, prefix + i, prefix + j]
                    total += weight * math.dist(middles[i], middles[j])
                    mass += weight
                if prefix and class_token == "ignore":
                    mass += weights[b, head, prefix + i, 0]
                out[b, head] += total / mass / N
    return out


@pytest.mark.parametrize("grid", [(3, 3), (2, 5), (4, 1)])
@pytest.mark.parametrize("prefix", [0, 1])
@pytest.mark.parametrize("class_token", ["renormalise", "ignore"])
@pytest.mark.parametrize("include_self", [True, False])
def test_as_the_text_says(grid, prefix, class_token, include_self):
    """Figures 7 (right) and 11, written out."""
    weights = draw(grid[0] * grid[1] + prefix)
    choice = class_token, include_self
    found = attention_distance(weights, grid, 7, *choice)
    expected = by_the_text(weights, grid, 7, *choice)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    single = attention_distance(weights.float(), grid, 7, *choice)
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single, expected, rtol=1e-5)


def test_choices_matter():
    weights = draw(13)
    found = {
        attention_distance(weights, GRID, 4, *choice)[0, 0].item()
        for choice in (
            ("renormalise", True),
            ("renormalise", False),
            ("ignore", True),
            ("ignore", False),
        )
    }
    assert len(found) == 4


@pytest.mark.parametrize(
    ("side", "patch", "with_self", "without"),
    [
        (224, 16, 116.49, 117.09),
        (224, 32, 115.50, 117.91),
        (224, 14, 116.57, 117.02),
        (32, 4, 16.55, 16.81),
    ],
)
@pytest.mark.parametrize("prefix", [0, 1])
def test_uniform(side, patch, with_self, without, prefix):
    grid = (side // patch, side // patch)
    T = grid[0] ** 2 + prefix
    weights = torch.full((1, 2, T, T), 1 / T, dtype=torch.float64)
    for include, expected in ((True, with_self), (False, without)):
        known = uniform_distance(grid, patch, include)
        assert known == pytest.approx(expected, abs=0.005)
        found = attention_distance(
            weights, grid, patch, "renormalise", include
        )
        torch.testing.assert_close(found, torch.full_like(found, known))


def test_pixel_distances():
    found = pixel_distances((2, 3), 5)
    assert found.shape == (6, 6)
    assert found[0].tolist() == pytest.approx(
        [0, 5, 10, 5, math.sqrt(50), math.sqrt(125)]
    )
    torch.testing.assert_close(found, found.mT)


def test_looking_at_oneself():
    weights = torch.eye(12).expand(2, 3, 12, 12)
    assert attention_distance(weights, GRID, 16).eq(0).all()


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("along", ["row", "column"])
def test_looking_one_patch_on(along, include_self):
    """Every patch looks at a neighbour; the last one looks back."""
    weights = torch.zeros(1, 1, 12, 12)
    for r in range(3):
        for c in range(4):
            to = (r, c + 1 if c < 3 else c - 1)
            if along == "column":
                to = (r + 1 if r < 2 else r - 1, c)
            weights[0, 0, 4 * r + c, 4 * to[0] + to[1]] = 1
    found = attention_distance(weights, GRID, 16, include_self=include_self)
    assert found.tolist() == [[16.0]]


def test_class_token_of_30_percent():
    N = 196
    weights = torch.zeros(1, 1, N + 1, N + 1, dtype=torch.float64)
    weights[..., 0] = 0.3
    weights[..., 1:] = 0.7 / N
    grid = (14, 14)
    scaled = attention_distance(weights, grid, 16)
    ignored = attention_distance(weights, grid, 16, "ignore")
    assert scaled.item() == pytest.approx(116.49, abs=0.005)
    assert ignored.item() == pytest.approx(0.7 * scaled.item())
    assert class_token_share(weights, grid).item() == pytest.approx(0.3)


def test_without_a_class_token_none_of_the_attention_goes_there():
    assert class_token_share(draw(12), GRID).abs().max() == 0


def test_the_class_tokens_own_row_does_not_count():
    weights = draw(13)
    other = weights.clone()
    other[:, :, 0] = draw(13, seed=5)[:, :, 0]
    for function in READERS.values():
        torch.testing.assert_close(function(weights), function(other))


@pytest.mark.parametrize("place", [0, "self"])
def test_nothing_left_to_look_at(place):
    weights = torch.zeros(1, 1, 13, 13)
    weights[..., 0] = 1
    if place == "self":
        weights = torch.eye(13).expand(1, 1, 13, 13)
    found = attention_distance(weights, GRID, 4, include_self=False)
    assert found.tolist() == [[0.0]]


def test_order_and_size_of_the_batch():
    weights = draw(13, B=128, dtype=torch.float32)
    whole = attention_distance(weights, GRID, 4)
    order = torch.randperm(128, generator=torch.Generator().manual_seed(0))
    assert torch.equal(
        attention_distance(weights[order], GRID, 4), whole[order]
    )
    for index in (0, 64, 127):
        alone = attention_distance(weights[index : index + 1], GRID, 4)
        torch.testing.assert_close(alone, whole[index : index + 1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounded_weights(dtype):
    exact = draw(197, dtype=torch.float32)
    found = attention_distance(exact.to(dtype), (14, 14), 16)
    assert found.dtype == torch.float32
    expected = attention_distance(exact, (14, 14), 16)
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=0)


def test_doubles_made_of_floats():
    weights = draw(1025, h=1, dtype=torch.float32).double()
    assert (weights.sum(dim=-1) - 1).abs().max() > 1e-8
    attention_distance(weights, (32, 32), 4)


def worse(kind):
    weights = draw(13)
    if kind == "logits":
        return weights.log()
    if kind == "dropout":
        weights[0, 0, 3, 4] = 0
    if kind == "negative":
        weights[0, 0, 3, :2] += torch.tensor([-1.0, 1.0])
    if kind == "nan":
        weights[1, 2, 3, 4] = math.nan
    if kind == "infinite":
        weights[1, 2, 3, 4] = math.inf
    if kind == "patches alone":
        return weights[..., 1:, 1:]
    return weights


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (None, "got NoneType: ask the model with need_weights=True"),
        (draw(13)[0], r"must be \(B, h, T, T\); got shape \(3, 13, 13\)"),
        (draw(13)[..., :12, :], r"got shape \(2, 3, 12, 13\)"),
        (draw(13)[:0], r"got shape \(0, 3, 13, 13\)"),
        (torch.eye(13).int().expand(1, 1, 13, 13), "got torch.int32"),
        (worse("logits"), "must be 0 or more and each row must sum to 1"),
        (worse("dropout"), "each row must sum to 1"),
        (worse("negative"), "must be 0 or more"),
        (worse("nan"), "weights must be finite; 1 of 1014 values"),
        (worse("infinite"), "weights must be finite; 1 of 1014 values"),
        (worse("patches alone"), "each row must sum to 1"),
    ],
)
def test_refuses_what_are_no_weights(read, weights, message):
    function = READERS[read]
    with pytest.raises(ValueError, match=message):
        function(weights)


@pytest.mark.parametrize(
    ("grid", "patch", "options", "message"),
    [
        ((3, 5), 4, {}, "3x5 has 15 tokens, or one more .* weights of 13"),
        ((2, 5), 4, {}, "2x5 has 10 tokens"),
        ((13, 0), 4, {}, "grid_size must be a positive integer or a pair"),
        ((3, 4), 0, {}, "patch_size must be a positive integer; got 0"),
        ((3, 4), 4, {"class_token": "drop"}, "known: renormalise, ignore"),
    ],
)
def test_refuses_options(grid, patch, options, message):
    with pytest.raises(ValueError, match=message):
        attention_distance(draw(13), grid, patch, **options)


@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS)
def test_stream_shows_what_the_model_returns(changes):
    model, seen, measured = build(**changes), [], []
    shape = (GRID, 4)
    tokens = stream(
        model,
        pictures(),
        seen.append,
        lambda weights: measured.append(attention_distance(weights, *shape)),
    )
    with torch.no_grad():
        expected, weights = model.forward_features(pictures(), True)
    torch.testing.assert_close(tokens, expected, rtol=0, atol=0)
    assert len(seen) == len(measured) == model.config.depth
    for found, layer, pixels in zip(seen, weights, measured, strict=True):
        assert torch.equal(found, layer)
        text = by_the_text(layer, *shape, "renormalise", True)
        np.testing.assert_allclose(pixels, text, rtol=1e-5)
        assert not found.requires_grad
    spread = torch.stack(measured)
    assert spread.std() > 0.01  # else the comparison would be empty


def test_stream_alone_or_in_a_batch():
    model, images = build(), pictures(128)
    whole, alone = [], []
    stream(model, images, whole.append)
    stream(model, images[5:6], alone.append)
    for one, many in zip(alone, whole, strict=True):
        torch.testing.assert_close(one, many[5:6])


@pytest.mark.parametrize("fails", [False, True])
def test_stream_restores_every_mode(fails):
    model = build(drop_rate=0.5, drop_path=0.5).train()
    model.blocks[1].eval()
    model.blocks[2].mlp.drop.eval()
    before = [module.training for module in model.modules()]
    assert len(set(before)) == 2

    def reducer(weights):
        assert not any(module.training for module in model.modules())
        if fails:
            raise RuntimeError("on purpose")

    if fails:
        with pytest.raises(RuntimeError, match="on purpose"):
            stream(model, pictures(), reducer)
    else:
        stream(model, pictures(), reducer)
    assert [module.training for module in model.modules()] == before


def test_stream_drops_nothing_out():
    model = build(drop_rate=0.5, drop_path=0.5).train()
    seen, again = [], []
    tokens = stream(model, pictures(), seen.append)
    torch.manual_seed(7)
    assert torch.equal(stream(model, pictures(), again.append), tokens)
    for one, other in zip(seen, again, strict=True):
        assert torch.equal(one, other)
    expected = model.eval().forward_features(pictures())[0]
    torch.testing.assert_close(tokens, expected, rtol=1e-5, atol=1e-5)


def test_stream_leaves_no_trace_in_the_model():
    model = build()
    before = {
        name: value.clone() for name, value in model.state_dict().items()
    }
    stream(model, pictures(), lambda weights: None)
    assert all(p.grad is None for p in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    for module in model.modules():
        assert not module._forward_hooks
        assert not any(
            isinstance(value, torch.Tensor) for value in vars(module).values()
        )


def test_stream_under_autocast():
    model, pixels = build(), {}
    for enabled in (False, True):
        found = pixels[enabled] = []
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            stream(
                model,
                pictures(),
                lambda w, f=found: f.append(attention_distance(w, GRID, 4)),
            )
    exact, rounded = map(torch.stack, (pixels[False], pixels[True]))
    assert rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(exact, rounded, rtol=0.02, atol=0)


def test_stream_lets_each_layer_go():
    """When a layer's weights come, the ones before are gone."""
    before = []

    def reducer(weights):
        assert [ref for ref in before if ref() is not None] == []
        before.append(weakref.ref(weights))

    stream(build(depth=5), pictures(), reducer)
    assert len(before) == 5
    assert before[-1]() is None


class Peak(TorchDispatchMode):
    """Counts the bytes of all tensors alive that were made inside."""

    def __init__(self):
        super().__init__()
        self.live, self.most = WeakIdKeyDictionary(), 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                self.live[storage] = storage.nbytes()
        self.most = max(self.most, sum(self.live.values()))
        return out


def most_bytes(job):
    """The most bytes alive in what a job makes, and what it returns."""
    with torch.no_grad(), Peak() as peak:
        out = job()
    return peak.most, out


def read_all(model, images, *, rolled):
    """One pass for the distances of all layers, and the rollout if asked."""
    found, grid = [], model.config.grid_size

    def measure(weights):
        found.append(attention_distance(weights, grid, 4))

    stream(model, images, measure, *[Rollout()] * rolled)
    return found


@pytest.mark.parametrize("pos_embed", ["1d", "relative"])
def test_peak_memory_is_the_pass_one_layer_and_the_results(pos_embed):
    """What is read costs one layer's weights, whatever the depth."""
    images = torch.randn(8, 1, 48, 48)
    matrix = 8 * 145**2 * 4  # bytes of (B, T, T), T = 145
    layer = 6 * matrix  # (B, h, T, T)
    changes = {"img_size": 48, "in_chans": 1, "embed_dim": 24, "num_heads": 6}
    spent = {}
    for depth in (1, 8):
        model = build(depth=depth, pos_embed=pos_embed, **changes)
        alone, _ = most_bytes(partial(model.forward_features, images))
        read = partial(read_all, model, images)
        distance, found = most_bytes(partial(read, rolled=False))
        assert len(found) == depth
        both, _ = most_bytes(partial(read, rolled=True))
        spent[depth] = distance - alone, both - alone
    if pos_embed == "1d":  # else two of the size: logits and what is added
        assert 0.5 * layer < spent[8][0] < 1.2 * layer
        assert spent[8][1] < 1.2 * layer + 2 * matrix
    assert spent[8][0] < spent[1][0] + 0.02 * layer
    assert spent[8][1] < spent[1][1] + 1.02 * matrix  # the layers below
    # the measure sees what a list of all would take
    keep = partial(model.forward_features, images, need_weights=True)
    most, (_, kept) = most_bytes(keep)
    assert len(kept) == 8
    assert most > 8 * layer


def test_reading_weights_makes_no_second_of_their_size():
    weights = draw(145, B=8, h=6, dtype=torch.float32)
    for read in (
        partial(attention_distance, grid_size=(12, 12), patch_size=4),
        partial(class_token_share, grid_size=(12, 12)),
        layer_matrix,
    ):
        # views count as the weights themselves: those, and less than half
        assert most_bytes(partial(read, weights))[0] < 1.5 * weights.nbytes


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(1, 3, 16, 12), "takes images of 12x16 pixels; got 16x12"),
        (torch.zeros(1, 1, 12, 16), "takes 3 channels"),
        (torch.zeros(3, 12, 16), r"must be \(B, C, H, W\)"),
        (torch.zeros(1, 3, 12, 16, dtype=torch.uint8), "floating point"),
        (torch.zeros(1, 3, 12, 16, device="meta"), "cpu and meta"),
    ],
)
def test_stream_refuses_images(images, message):
    model = build().train()
    with pytest.raises(ValueError, match=message):
        stream(model, images)
    assert model.training
