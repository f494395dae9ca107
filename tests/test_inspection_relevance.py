"""Maps of relevance, against numpy in float64 written from the papers."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from vitlib import VisionTransformer, ViTConfig
from vitlib.inspection import (
    attention_relevance,
    attention_x_gradient,
    class_map,
    cosine_to,
    input_gradient,
    integrated_gradients,
    occlusion,
    probability,
    projection_on,
    scores,
)

TINY = ViTConfig(
    img_size=(4, 6),
    patch_size=2,
    in_chans=2,
    num_classes=3,
    embed_dim=8,
    depth=2,
    num_heads=2,
    mlp_ratio=2.0,
    drop_rate=0.1,
)
METHODS = {
    "attention_relevance": attention_relevance,
    "attention_x_gradient": attention_x_gradient,
    "input_gradient": input_gradient,
    "integrated_gradients": integrated_gradients,
    "occlusion": occlusion,
}
every_method = pytest.mark.parametrize("name", METHODS)


def make_model(**fields):
    """A model whose every weight matters, in float64."""
    torch.manual_seed(0)
    model = VisionTransformer(replace(TINY, **fields)).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model.eval()


def make_images(batch=3):
    generator = torch.Generator().manual_seed(1)
    size = (batch, 2, 4, 6)
    return torch.randn(size, generator=generator, dtype=torch.float64)


@pytest.fixture
def model():
    return make_model()


@pytest.fixture
def images():
    return make_images()


CLASSES = torch.tensor([2, 0, 1])


# --- the same in numpy ----------------------------------------------------


def norm(x, state, name):
    centred = x - x.mean(-1, keepdims=True)
    unit = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
    return unit * state[f"{name}.weight"] + state[f"{name}.bias"]


def linear(x, state, name):
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def forward(state, image, bump=None, pool="token"):
    """One image (C, H, W) to logits and the weights of each layer.

    bump = (layer, head, query, key, amount) changes one weight after the
    softmax, and everything that follows.
    """
    P, h = TINY.patch_size, TINY.num_heads
    rows = []
    for top in range(0, 4, P):
        for left in range(0, 6, P):
            rows.append(image[:, top : top + P, left : left + P].ravel())
    x = linear(np.stack(rows), state, "patch_embed.proj")
    x = np.concatenate([state["cls_token"][0], x]) + state["pos_embed"][0]
    d = x.shape[1] // h
    found = []
    for layer in range(TINY.depth):
        block = f"blocks.{layer}"
        y = norm(x, state, f"{block}.norm1")
        qkv = linear(y, state, f"{block}.attn.qkv")
        heads, weights = [], []
        for head in range(h):
            q, k, v = (
                qkv[:, part * h * d + head * d :][:, :d] for part in range(3)
            )
            e = np.exp(q @ k.T / math.sqrt(d))
            A = e / e.sum(1, keepdims=True)
            if bump and bump[:2] == (layer, head):
                A[bump[2], bump[3]] += bump[4]
            weights.append(A)
            heads.append(A @ v)
        found.append(np.stack(weights))
        x = x + linear(np.concatenate(heads, 1), state, f"{block}.attn.proj")
        y = norm(x, state, f"{block}.norm2")
        y = linear(y, state, f"{block}.mlp.fc1")
        y = y * 0.5 * (1 + np.vectorize(math.erf)(y / math.sqrt(2)))
        x = x + linear(y, state, f"{block}.mlp.fc2")
    y = norm(x, state, "norm")
    y = y[0] if pool == "token" else y[1:].mean(0)
    return linear(y, state, "head"), found


def numpy_layers(state, image, target, pool="token"):
    """Mean over heads of (A * dlogit/dA)+, by finite differences."""
    _, found = forward(state, image, pool=pool)
    eps, layers = 1e-5, []
    for layer, weights in enumerate(found):
        grad = np.zeros_like(weights)
        for head, i, j in np.ndindex(*weights.shape):
            up, down = (
                forward(state, image, (layer, head, i, j, amount), pool)[0]
                for amount in (eps, -eps)
            )
            grad[head, i, j] = (up - down)[target] / (2 * eps)
        layers.append(np.maximum(weights * grad, 0).mean(0))
    return layers


def as_numpy(model):
    return {k: v.detach().numpy() for k, v in model.state_dict().items()}


@pytest.mark.parametrize("pool", ["token", "avg"])
def test_relevance_is_the_rule_of_the_paper(images, pool):
    model = make_model(global_pool=pool)
    state = as_numpy(model)
    found = attention_relevance(model, images, CLASSES)
    last = attention_x_gradient(model, images, CLASSES)
    for index, image in enumerate(images.numpy()):
        logits, weights = forward(state, image, pool=pool)
        np.testing.assert_allclose(
            logits, model(images)[index].detach().numpy(), atol=1e-9
        )
        np.testing.assert_allclose(weights[0].sum(-1), 1)
        layers = numpy_layers(state, image, int(CLASSES[index]), pool)
        R = np.eye(7)
        for layer in layers:
            R = R + layer @ R
        for maps, matrix in ((found, R), (last, layers[-1])):
            row = matrix[0] if pool == "token" else matrix[1:].mean(0)
            expected = row[1:].reshape(2, 3)
            assert expected.max() > 1e-4
            np.testing.assert_allclose(maps[index], expected, atol=1e-7)


def test_input_gradient_is_the_slope(model, images):
    found = input_gradient(model, images, CLASSES)
    times = integrated_gradients(model, images, CLASSES, fill=0.3)
    state, eps = as_numpy(model), 1e-5
    image, target = images[1].numpy(), int(CLASSES[1])
    grad = np.zeros_like(image)
    for place in np.ndindex(*image.shape):
        step = np.zeros_like(image)
        step[place] = eps
        up, down = (forward(state, image + s)[0] for s in (step, -step))
        grad[place] = (up - down)[target] / (2 * eps)
    for row in range(2):
        for column in range(3):
            cut = np.s_[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            size = np.abs(grad[cut]).mean()
            part = ((image[cut] - 0.3) * grad[cut]).sum()
            assert found[1, row, column] == pytest.approx(size, abs=1e-7)
            assert times[1, row, column] == pytest.approx(part, abs=1e-7)


def test_integrated_gradients_sum_to_the_difference(model, images):
    fill = torch.full_like(images, 0.3)
    found = integrated_gradients(model, images, CLASSES, fill, steps=400)
    difference = scores(model, images, CLASSES) - scores(model, fill, CLASSES)
    gap = found.sum(dim=(1, 2)) - difference.detach()
    assert gap.abs().max() < 1e-3 * difference.abs().max()
    one = integrated_gradients(model, images, CLASSES, fill)
    assert (one.sum(dim=(1, 2)) - difference).abs().max() > 0.01


def test_occlusion_is_the_fall_of_the_score(model, images):
    target = probability(CLASSES)
    found = occlusion(model, images, target, fill=0.7)
    state = as_numpy(model)

    def chance(image):
        e = np.exp(forward(state, image)[0])
        return (e / e.sum())[int(CLASSES[2])]

    image = images[2].numpy()
    for row in range(2):
        for column in range(3):
            hole = image.copy()
            hole[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = 0.7
            fall = chance(image) - chance(hole)
            assert found[2, row, column] == pytest.approx(fall, abs=1e-9)


# --- properties -----------------------------------------------------------


@every_method
def test_an_unused_patch_has_no_relevance(name, images):
    """No token attends to patch 4: it can reach the class token nowhere."""
    model = make_model(depth=1, qkv_bias=True)
    with torch.no_grad():
        model.pos_embed[0, :, 0] = -500
        model.pos_embed[0, 1 + 4, 0] = 500
        block = model.blocks[0]
        block.norm1.weight.fill_(1)
        block.attn.qkv.weight[8:16] = 0
        block.attn.qkv.weight[8:16, 0] = -400  # key: far away if positive
        block.attn.qkv.bias[:8] = 1  # query
        block.attn.qkv.weight[:8] = 0
    _, weights = model(images, need_weights=True)
    assert weights[0][..., 5].max() == 0
    found = METHODS[name](model, images, CLASSES)
    assert found.shape == (3, 2, 3)
    assert found[:, 1, 1].abs().max() < 1e-12
    assert found.abs().max() > 1e-6  # other patches have some


def test_a_linear_model_gives_the_parts_of_its_sum():
    """Without attention and MLP, and a mean for a head, patches add up."""
    model = make_model(depth=1, class_token=False, global_pool="avg")
    model.blocks[0].attn.proj.requires_grad_(False).weight.zero_()
    model.blocks[0].mlp.fc2.requires_grad_(False).weight.zero_()
    model.norm = torch.nn.Identity()
    images, fill = make_images(), 0.25
    rows = model.patch_embed.proj.weight.detach()  # (D, C*P*P)
    slope = model.head.weight.detach()[CLASSES] @ rows / 6  # (B, C*P*P)
    flat = images.unfold(2, 2, 2).unfold(3, 2, 2)
    flat = flat.permute(0, 2, 3, 1, 4, 5).flatten(3)  # (B, gh, gw, C*P*P)
    parts = ((flat - fill) * slope[:, None, None]).sum(-1)
    for method in (occlusion, integrated_gradients):
        found = method(model, images, CLASSES, fill)
        torch.testing.assert_close(found, parts)
    size = slope.abs().mean(1)[:, None, None].expand(3, 2, 3)
    found = input_gradient(model, images, CLASSES)
    torch.testing.assert_close(found, size)


@every_method
@pytest.mark.parametrize("kind", ["class", "probability", "cosine"])
def test_images_do_not_see_each_other(name, kind, model, images):
    features = model(images).detach() + 1

    def run(index):
        target = {
            "class": CLASSES[index],
            "probability": probability(CLASSES[index]),
            "cosine": cosine_to(features[index]),
        }[kind]
        return METHODS[name](model, images[index], target)

    together = run(torch.arange(3))
    torch.testing.assert_close(run(torch.tensor([2, 0, 1])),
                               together[[2, 0, 1]])  # fmt: skip
    torch.testing.assert_close(run(torch.tensor([1])), together[[1]])


@every_method
@pytest.mark.parametrize("frozen", [False, True])
def test_the_model_is_left_as_it_was(name, frozen, images):
    model = make_model().requires_grad_(not frozen).train()
    model.head.bias.grad = torch.full((3,), 7.0, dtype=torch.float64)
    before = images.clone()
    first = METHODS[name](model, images, 1)
    assert model.training
    assert not first.requires_grad
    assert images.equal(before)
    assert not images.requires_grad
    assert model.head.bias.grad.equal(torch.full((3,), 7.0).double())
    others = [p.grad for n, p in model.named_parameters() if n != "head.bias"]
    assert others == [None] * len(others)
    with torch.no_grad():  # dropout is off, and gradients are on
        torch.testing.assert_close(METHODS[name](model, images, 1), first)


@every_method
def test_the_mode_comes_back_after_an_error(name, model, images):
    model.train()
    with pytest.raises(ValueError, match="from 0 to 2"):
        METHODS[name](model, images, 3)
    assert model.training


def test_weights_have_gradients_on_the_explicit_path_only(model, images):
    images = images.requires_grad_()
    logits, weights = model(images, need_weights=True)
    grads = torch.autograd.grad(logits[:, 0].sum(), weights)
    assert all(grad.abs().sum() > 0 for grad in grads)
    _, kept = model.blocks[0](model.embed(images))
    assert kept is None


def test_a_cosine_needs_no_head(images):
    model = make_model(num_classes=0)
    target = cosine_to(model(images).detach())
    torch.testing.assert_close(
        scores(model, images, target), torch.ones(3).double()
    )
    fall = occlusion(model, images, target)
    assert (fall >= -1e-12).all()  # nothing is nearer to itself
    assert fall.max() > 1e-3
    with pytest.raises(ValueError, match="without a head has no class"):
        scores(model, images, 0)


def test_a_cosine_has_no_gradient_at_its_own_image(images):
    model = make_model(num_classes=0)
    features = model(images).detach()
    flat = input_gradient(model, images, cosine_to(features))
    assert flat.max() < 1e-12
    blank = model(torch.zeros_like(images)).detach()
    target = projection_on(features - blank)
    assert input_gradient(model, images, target).min() > 1e-6
    away = features - blank
    expected = (features * away).sum(1) / away.square().sum(1).sqrt()
    torch.testing.assert_close(scores(model, images, target), expected)


def test_class_map_reads_the_class_tokens_row():
    matrix = torch.arange(98.0).unflatten(0, (2, 7, 7))
    found = class_map(matrix, TINY)
    assert found[1].tolist() == [[50, 51, 52], [53, 54, 55]]
    average = class_map(matrix, replace(TINY, global_pool="avg"))
    assert average[0].tolist() == [[25.5, 26.5, 27.5], [28.5, 29.5, 30.5]]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (-1, "from 0 to 2, or 3 of them"),
        (torch.tensor([0, 1]), r"one an image; got tensor\(\[0, 1\]\)"),
        (torch.tensor([0.0, 1.0, 1.0]), "from 0 to 2"),
        (1.5, "from 0 to 2"),
        (lambda outputs: outputs, r"3 scores, one an image; got shape"),
        (lambda outputs: outputs.sum(), r"got shape \(\)"),
    ],
)
def test_bad_targets_are_refused(model, images, target, message):
    with pytest.raises(ValueError, match=message):
        scores(model, images, target)


def test_bad_images_are_refused(model, images):
    with pytest.raises(ValueError, match="takes images of 4x6 pixels"):
        attention_relevance(model, images[..., :4], 0)
    with pytest.raises(ValueError, match="steps must be a positive integer"):
        integrated_gradients(model, images, 0, steps=0)


def test_maps_of_images_with_a_gradient_have_none(model, images):
    leaf = images.clone().requires_grad_()
    fill = torch.zeros(1, dtype=images.dtype, requires_grad=True)
    for method in METHODS.values():
        assert not method(model, leaf, CLASSES).requires_grad
    found = integrated_gradients(model, leaf, CLASSES, fill, steps=2)
    assert not found.requires_grad


@every_method
@pytest.mark.parametrize("kind", ["classes", "projection", "cosine"])
def test_maps_are_the_same_in_inference_mode(name, kind, model, images):
    method = METHODS[name]

    def target():
        if kind == "classes":
            return CLASSES.clone()
        make = projection_on if kind == "projection" else cosine_to
        return make(torch.eye(3, dtype=images.dtype))

    expected = method(model, images, target())
    with torch.inference_mode():
        made = images.clone()
        within = method(model, made, target())
    after = method(model, made, target())
    assert torch.equal(within, expected)
    assert torch.equal(after, expected)


def test_one_vector_serves_all_images(model, images):
    one = torch.tensor([[1.0, 2.0, 3.0]], dtype=images.dtype)
    for target in (cosine_to, projection_on):
        found = scores(model, images, target(one))
        assert torch.equal(found, scores(model, images, target(one[[0] * 3])))
