"""All maps side by side are the maps that each function makes alone.

And what is left out of a call has the value that its docstring gives.
"""

import inspect

import pytest
import torch

from vitlib import VisionTransformer, ViTConfig
from vitlib.attention import Attention
from vitlib.encoder import Block, DropPath, Mlp
from vitlib.inspection import (
    Rollout,
    attention_distance,
    attention_maps,
    attention_relevance,
    attention_x_gradient,
    bootstrap,
    cascade,
    fill_maps,
    flow,
    gradient_maps,
    input_gradient,
    integrated_gradients,
    layer_matrix,
    make_fills,
    model_free_maps,
    occlusion,
    patch_order,
    position_similarity,
    random_order,
    replace_patches,
    rollout,
    scores,
    shuffled_filters,
    similarity_groups,
    strongest_waves,
    uniform_distance,
    upsample,
)
from vitlib.patches import PatchEmbed
from vitlib.positions import resize_positions

close = torch.testing.assert_close
CLASSES = torch.tensor([2, 0, 1])


def make_model(**fields):
    """A model whose every weight matters, in float64."""
    torch.manual_seed(0)
    config = ViTConfig((4, 6), 2, 2, 3, 8, 2, num_heads=2, **fields)
    model = VisionTransformer(config).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model.eval()


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, 2, 4, 6, generator=generator).double()


@pytest.mark.parametrize("pool", ["token", "avg"])
def test_attention_maps(pool, images):
    model = make_model(global_pool=pool).train()
    found = attention_maps(model, images)
    assert model.training
    assert not any(maps.requires_grad for maps in found.values())
    with torch.no_grad():
        _, weights = model.eval()(images, need_weights=True)
    mean = [w.mean(dim=1) for w in weights]  # (B, 7, 7) each
    eye = torch.eye(7).double()
    first, second = ((m + eye) / 2 for m in mean)

    def read(matrix):
        row = matrix[:, 0] if pool == "token" else matrix[:, 1:].mean(dim=1)
        return row[:, 1:].unflatten(1, (2, 3))

    def through(image, source, sink):
        """Two layers: what passes by way of each token in between."""
        above, below = second[image, source], first[image, :, sink]
        return torch.minimum(above, below).sum()

    sources = [0] if pool == "token" else range(7)
    flows = torch.tensor(
        [
            [[through(b, i, j) for j in range(7)] for i in sources]
            for b in range(3)
        ],
        dtype=torch.float64,
    )
    expected = {
        "attention, last layer": read(mean[1]),
        "attention, all layers": read((mean[0] + mean[1]) / 2),
        "rollout": read(second @ first),
        "flow": read(flows),
    }
    assert list(found) == list(expected)
    for name, maps in expected.items():
        assert found[name].dtype == torch.float64
        close(found[name], maps, rtol=1e-6, atol=1e-6, msg=name)
    assert attention_maps(model.float(), images.float())["flow"].dtype == (
        torch.float32
    )


def test_gradient_maps(images):
    model = make_model()
    found = gradient_maps(model, images, CLASSES)
    expected = {
        "attention x gradient": attention_x_gradient(model, images, CLASSES),
        "relevance": attention_relevance(model, images, CLASSES),
        "gradient": input_gradient(model, images, CLASSES),
    }
    leaf = images.requires_grad_()
    slope = torch.autograd.grad(scores(model, leaf, CLASSES).sum(), leaf)[0]
    times = (images * slope).detach().unfold(2, 2, 2).unfold(3, 2, 2)
    expected["gradient x input"] = times.sum(dim=(1, 4, 5))
    assert list(found) == list(expected)
    for name, maps in expected.items():
        close(found[name], maps, msg=name)


def test_fill_maps(images):
    model, fill = make_model(), 0.3
    found = fill_maps(model, images, CLASSES, fill)
    expected = {
        "integrated gradients": integrated_gradients(
            model, images, CLASSES, fill, steps=8
        ),
        "occlusion": occlusion(model, images, CLASSES, fill),
    }
    assert list(found) == list(expected)
    for name, maps in expected.items():
        close(found[name], maps, msg=name)
    elsewhere = fill_maps(model, images, CLASSES, 0.0)
    assert all(not elsewhere[name].equal(found[name]) for name in found)


def test_model_free_maps():
    images = torch.randn(3, 2, 6, 8, dtype=torch.float64)
    config = ViTConfig((6, 8), 2, 2, 3, 8, num_heads=2)
    found = model_free_maps(images, config)
    assert list(found) == ["centre", "brightness"]
    bright = images.unfold(2, 2, 2).unfold(3, 2, 2).mean(dim=(1, 4, 5))
    close(found["brightness"], bright)
    # rows at -1, 0 and 1, columns at -1, -1/3, 1/3 and 1
    row = torch.tensor([-1, -1 / 9, -1 / 9, -1], dtype=torch.float64)
    close(
        found["centre"], torch.stack([row - 1, row, row - 1]).expand(3, 3, 4)
    )
    with pytest.raises(ValueError, match="2 channels"):
        model_free_maps(images[:, :1], config)


# --- what is left out --------------------------------------------------------

IMAGES = torch.rand(4, 1, 8, 8)
LAYERS = torch.rand(2, 1, 2, 5, 5).softmax(dim=-1)
TABLE = torch.randn(16, 8)
TIES = torch.zeros(2, 3, 3)
TILES = position_similarity(TABLE, (4, 4))
DEFAULTS = [
    (bootstrap, (IMAGES[0, 0, 0],), {"draws": 10_000, "seed": 0}),
    (make_fills, (IMAGES, (0.5,), (0.2,), 4), {"seed": 0}),
    (shuffled_filters, (TABLE,), {"seed": 0}),
    (patch_order, (TIES,), {"seed": 0}),
    (random_order, (2, 9), {"seed": 0}),
    (similarity_groups, (TILES,), {"permutations": 199, "seed": 0}),
    (strongest_waves, (TABLE, (4, 4)), {"permutations": 99, "seed": 0}),
    (
        layer_matrix,
        (LAYERS[0],),
        {"residual": 0.5, "fuse": "mean", "like": None},
    ),
    (rollout, (LAYERS,), {"residual": 0.5, "fuse": "mean", "skip": 0}),
    (flow, (LAYERS,), {"sources": (0,), "residual": 0.5}),
    (upsample, (TIES + IMAGES[:2, 0, :3, :3], (6, 6)), {"mode": "nearest"}),
    (
        attention_distance,
        (LAYERS[0], (2, 2), 4),
        {"include_self": True, "class_token": "renormalise"},
    ),
    (resize_positions, (TABLE[None], (4, 4), (6, 6)), {"mode": "bicubic"}),
]


@pytest.mark.parametrize(("function", "args", "options"), DEFAULTS)
def test_what_is_left_out(function, args, options):
    found, expected = function(*args), function(*args, **options)
    close(found, expected, rtol=0, atol=0)
    given = inspect.signature(function).parameters.values()
    optional = {p.name for p in given if p.default is not p.empty}
    assert optional == options.keys()


def test_a_cascade_starts_from_seed_0():
    model = make_model()
    for left, right in zip(cascade(model), cascade(model, 0), strict=True):
        assert left[0] == right[0]
        close(left[1].state_dict(), right[1].state_dict(), rtol=0, atol=0)


def test_a_rollout_leaves_out_no_layer():
    rolled = Rollout()
    for layer in LAYERS:
        rolled(layer)
    close(rolled.result, rollout(LAYERS, 0.5, "mean", 0), rtol=0, atol=0)


# --- where a small change would not be seen by eye ------------------------


def test_each_wave_is_found_by_its_own_number_of_cycles():
    """On a grid that is not square, with a cosine at each frequency."""
    rows, columns = torch.arange(6)[:, None] / 6, torch.arange(5)[None] / 5
    waves = [(i, j) for i in range(6) for j in range(5) if i or j]
    table = torch.stack(
        [torch.cos(2 * torch.pi * (i * rows + j * columns)) for i, j in waves],
        dim=-1,
    ).double()
    found = strongest_waves(table.flatten(0, 1), (6, 5), permutations=9)
    expected = [[min(i, 6 - i), min(j, 5 - j)] for i, j in waves]
    assert found.cycles.tolist() == expected
    close(found.share, torch.ones(29).double(), atol=1e-6, rtol=0)


def test_two_steps_of_integrated_gradients_are_at_the_quarters():
    model = make_model()
    images = torch.randn(3, 2, 4, 6, dtype=torch.float64)
    grads = []
    for place in (0.25, 0.75):
        leaf = (place * images).requires_grad_()
        total = scores(model, leaf, CLASSES).sum()
        grads.append(torch.autograd.grad(total, leaf)[0])
    parts = images * (grads[0] + grads[1]) / 2
    parts = parts.unfold(2, 2, 2).unfold(3, 2, 2).sum(dim=(1, 4, 5))
    close(integrated_gradients(model, images, CLASSES, steps=2), parts)


def test_a_row_without_any_least_weight_keeps_itself():
    apart = torch.eye(3).flip(0)[None]
    heads = torch.stack([torch.eye(3)[None], apart], dim=1)  # agree on token 1
    close(layer_matrix(heads, 0.25, "min"), torch.eye(3)[None])


def test_a_fill_takes_the_images_type():
    images = torch.zeros(2, 1, 4, 4, dtype=torch.float64)
    mask = torch.tensor([[[True, False], [False, True]]])
    for fill in (1, 1.5, torch.tensor(1.5), torch.ones(1, 1, 4, 4).half()):
        found = replace_patches(images, fill, mask)
        assert found.dtype == torch.float64
        value = float(torch.as_tensor(fill).flatten()[0])
        pixels = mask.repeat_interleave(2, 1).repeat_interleave(2, 2)
        close(found[1, 0], pixels[0].double() * value)


def test_scores_of_16_bits_are_float32():
    model, images = make_model().bfloat16(), torch.rand(3, 2, 4, 6)
    found = scores(model, images.bfloat16(), CLASSES)
    assert found.dtype == torch.float32


def test_the_parts_of_the_model_start_from_the_papers_sizes():
    """ViT-B/16 at 224 pixels, where a size is left out."""
    sizes = {
        "PatchEmbed": (PatchEmbed, {"img_size": 224, "patch_size": 16,
                       "in_chans": 3, "embed_dim": 768, "bias": True}),
        "DropPath": (DropPath, {"rate": 0.0}),
        "Mlp": (Mlp, {"drop": 0.0}),
    }  # fmt: skip
    for name, (kind, expected) in sizes.items():
        required = {"Mlp": (8, 16)}.get(name, ())
        left, given = kind(*required), kind(*required, **expected)
        assert repr(left) == repr(given), name
    assert PatchEmbed().grid_size == (14, 14)
    block = Block(16, 4)
    assert block.mlp.fc1.out_features == 64
    assert Attention(16).num_heads == 8
    assert Attention(16).head_dim == 2


@pytest.mark.parametrize("norm_first", [True, False])
def test_relative_positions_reach_the_attention(norm_first):
    block = Block(8, 2, norm_first=norm_first).eval()
    x, rel_pos = torch.randn(2, 5, 8), torch.randn(5, 5, 4)
    out, weights = block(x, need_weights=True, rel_pos=rel_pos)
    plain, others = block(x, need_weights=True)
    assert (weights - others).abs().max() > 1e-3
    assert (out - plain).abs().max() > 1e-4
    close(block(x, rel_pos=rel_pos)[0], out)


def test_a_uniform_distance_counts_the_patch_itself():
    args = ((3, 4), 2)
    assert uniform_distance(*args) == uniform_distance(*args, True)
    alone = uniform_distance(*args, include_self=False)
    assert alone == pytest.approx(uniform_distance(*args) * 12 / 11)
    assert uniform_distance((1, 2), 2, include_self=False) == 2
