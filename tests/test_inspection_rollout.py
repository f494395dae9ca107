"""Rollout and flow: numpy from the paper's text, and what must hold."""

import time
from collections import deque

import numpy as np
import pytest
import torch

import vitlib
from vitlib import data
from vitlib.inspection import (
    Rollout,
    class_map,
    flow,
    layer_matrix,
    rollout,
    stream,
    upsample,
)
from vitlib.weights import load_model


def draw(L=3, B=2, h=4, T=5, seed=0, sharp=2.0, dtype=torch.float32):
    """Attention weights of L layers, (B, h, T, T) each."""
    generator = torch.Generator().manual_seed(seed)
    logits = sharp * torch.randn(L, B, h, T, T, generator=generator)
    return list(logits.double().softmax(dim=-1).to(dtype))


def uniform(L, T, B=1, h=2):
    return [torch.full((B, h, T, T), 1 / T) for _ in range(L)]


def identity(L, T, B=1, h=2):
    return [torch.eye(T).expand(B, h, T, T) for _ in range(L)]


def numpy_rollout(layers, share=0.5, fuse=np.mean, first=0):
    """Abnar & Zuidema 2020, Eq. 1, image by image and row by row.

    A = 0.5 W + 0.5 I with the rows normalised; the rollout of a layer is
    A times the rollout of the layer below it.
    """
    found = []
    for image in range(len(layers[0])):
        below = None
        for layer in layers[first:]:
            heads = layer[image].double().numpy()
            T = heads.shape[-1]
            A = np.zeros((T, T))
            for i in range(T):
                row = fuse(heads[:, i, :], axis=0)
                row = row / row.sum()
                A[i] = (1 - share) * row + share * np.eye(T)[i]
                A[i] /= A[i].sum()
            below = A if below is None else A @ below
        found.append(below)
    return np.stack(found)


def pipes_of(layers, image=0, share=0.5):
    """Edges {(from, to): capacity} from the last layer's tokens down."""
    edges = {}
    L, T = len(layers), layers[0].shape[-1]
    for step, layer in enumerate(reversed(layers)):
        A = (1 - share) * layer[image].double().numpy().mean(axis=0)
        A = A + share * np.eye(T)
        for i in range(T):
            for j in range(T):
                if A[i, j] > 0:
                    edges[(L - step, i), (L - step - 1, j)] = A[i, j]
    return edges


def largest_flow(edges, source, sink):
    """Edmonds & Karp 1972: shortest paths with room, until none is left."""
    room = dict(edges)
    near = {}
    for a, b in edges:
        room.setdefault((b, a), 0.0)
        near.setdefault(a, []).append(b)
        near.setdefault(b, []).append(a)
    total = 0.0
    while True:
        came = {source: None}
        queue = deque([source])
        while queue and sink not in came:
            a = queue.popleft()
            for b in near[a]:
                if b not in came and room[a, b] > 1e-12:
                    came[b] = a
                    queue.append(b)
        if sink not in came:
            return total
        path, b = [], sink
        while came[b] is not None:
            path.append((came[b], b))
            b = came[b]
        step = min(room[edge] for edge in path)
        for a, b in path:
            room[a, b] -= step
            room[b, a] += step
        total += step


# ---- rollout


@pytest.mark.parametrize("share", [0.5, 0.0, 1.0, 0.3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rollout_equals_the_paper_in_numpy(share, dtype):
    """Figure 6 and Appendix D.8, after Abnar & Zuidema 2020."""
    layers = draw(dtype=dtype)
    found = rollout(layers, residual=share)
    expected = numpy_rollout(layers, share)
    atol = 1e-6 if dtype == torch.float32 else 1e-12
    assert found.dtype == dtype
    np.testing.assert_allclose(found.double(), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("fuse", ["max", "min"])
def test_other_fusions_equal_numpy_and_rows_still_sum_to_1(fuse):
    layers = draw()
    found = rollout(layers, fuse=fuse)
    expected = numpy_rollout(layers, fuse=getattr(np, fuse))
    np.testing.assert_allclose(found.double(), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.sum(dim=-1), torch.ones(2, 5))
    assert (found - rollout(layers)).abs().max() > 0.01


def test_heads_that_share_nothing_leave_the_token_itself():
    one, other = torch.eye(3), torch.eye(3).roll(1, dims=1)
    heads = torch.stack([one, other])[None]  # least of both: 0 everywhere
    torch.testing.assert_close(
        layer_matrix(heads, residual=0, fuse="min")[0], torch.eye(3)
    )


def test_other_fusions_are_said_not_to_be_the_papers():
    text = " ".join(layer_matrix.__doc__.split())
    assert '"max" and "min" are not' in text
    assert "no longer the papers' rollout" in " ".join(Rollout.__doc__.split())


@pytest.mark.parametrize("T", [1, 2, 50])
@pytest.mark.parametrize("options", [{}, {"residual": 0.2}, {"fuse": "max"}])
def test_rows_sum_to_1(T, options):
    found = rollout(draw(L=12, T=T), **options)
    assert found.min() >= 0
    torch.testing.assert_close(found.sum(dim=-1), torch.ones(2, T))


def test_rounded_weights_do_not_leak():
    layers = draw(L=12, T=50, dtype=torch.bfloat16)
    found = rollout(layers)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.sum(dim=-1), torch.ones(2, 50))


def test_rollout_of_identity_is_identity():
    found = rollout(identity(L=5, T=4))
    torch.testing.assert_close(found[0], torch.eye(4))


@pytest.mark.parametrize(("L", "share"), [(1, 0.5), (6, 0.5), (3, 0.2)])
def test_rollout_of_uniform_attention_has_a_closed_form(L, share):
    T = 7  # (s I + (1 - s) U)^L with U U = U is s^L I + (1 - s^L) U
    found = rollout(uniform(L, T), residual=share)[0]
    kept = share**L
    expected = kept * torch.eye(T) + (1 - kept) / T
    torch.testing.assert_close(found, expected)


def test_residual_1_keeps_tokens_and_0_leaves_attention_alone():
    layers = draw()
    kept = rollout(layers, residual=1)
    torch.testing.assert_close(kept, torch.eye(5).expand(2, 5, 5))
    first, second, third = (layer.mean(dim=1) for layer in layers)
    bare = rollout(layers, residual=0)
    torch.testing.assert_close(bare, third @ second @ first)


def test_skip_leaves_the_first_layers_out():
    layers = draw(L=4)
    for skip in (1, 3):
        found = rollout(layers, skip=skip)
        torch.testing.assert_close(found, rollout(layers[skip:]))
        expected = numpy_rollout(layers, first=skip)
        np.testing.assert_allclose(found.double(), expected, atol=1e-6)


def test_the_order_of_layers_matters():
    """The last layer asks token 1; the first gives 1 what 2 holds."""
    first = torch.eye(3)[[0, 2, 1]].expand(1, 1, 3, 3)  # 1 asks 2
    last = torch.eye(3)[[1, 1, 1]].expand(1, 1, 3, 3)  # all ask 1
    found = rollout([first, last], residual=0)[0]
    assert found.tolist() == [[0, 0, 1]] * 3
    layers = draw()
    wrong = rollout(layers[::-1])
    assert (rollout(layers) - wrong).abs().max() > 0.01


def test_rows_are_receivers_and_columns_inputs():
    weights = torch.eye(3).repeat(1, 1, 1, 1)
    weights[0, 0, 0] = torch.tensor([0.0, 0.0, 1.0])  # token 0 asks token 2
    found = rollout([weights], residual=0)[0]
    assert found[0].tolist() == [0, 0, 1]
    assert found[:, 0].tolist() == [0, 0, 0]


def test_every_image_alike_and_in_any_order():
    layers = draw(B=3)
    whole = rollout(layers)
    for image in range(3):
        alone = rollout([layer[image : image + 1] for layer in layers])
        torch.testing.assert_close(alone[0], whole[image])
    turned = rollout([layer[[2, 0, 1]] for layer in layers])
    torch.testing.assert_close(turned, whole[[2, 0, 1]])


def test_the_order_of_heads_does_not_matter():
    layers = draw()
    turned = [layer[:, [2, 0, 3, 1]] for layer in layers]
    torch.testing.assert_close(rollout(turned), rollout(layers))


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return vitlib.create_model("Book/4", depth=3, embed_dim=32).eval()


@pytest.mark.parametrize("skip", [0, 1])
def test_streaming_equals_the_list(small, skip):
    images = torch.randn(4, 1, 28, 28)
    kept, rolled = [], Rollout(skip=skip)
    stream(small, images, kept.append, rolled)
    torch.testing.assert_close(rolled.result, rollout(kept, skip=skip))
    assert rolled.layers == 3
    assert Rollout().result is None


def test_streaming_under_autocast_multiplies_in_full_precision(small):
    layers = draw(L=12, T=50)
    with torch.autocast("cpu", torch.bfloat16):
        found = rollout(layers)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, rollout(layers))
    rolled = Rollout()
    with torch.autocast("cpu", torch.bfloat16):
        stream(small, torch.randn(2, 1, 28, 28), rolled)
    sums = rolled.result.sum(dim=-1)
    torch.testing.assert_close(sums, torch.ones(2, 50))


def test_without_a_class_token_the_mean_of_patches_is_the_source():
    config = vitlib.ViTConfig(
        img_size=8, patch_size=4, class_token=False, global_pool="avg"
    )
    rolled = rollout(draw(T=4))
    expected = rolled.mean(dim=1).unflatten(1, (2, 2))
    torch.testing.assert_close(class_map(rolled, config), expected)


# ---- upsample


def test_nearest_repeats_each_value():
    maps = torch.arange(6.0).unflatten(0, (1, 2, 3))
    found = upsample(maps, (4, 6))
    rows = maps.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    torch.testing.assert_close(found, rows)


def test_bilinear_has_half_pixel_centres():
    maps = torch.tensor([[[0.0, 4.0]]])
    found = upsample(maps, (1, 4), "bilinear")
    # centres at (k + 0.5) / 2 - 0.5 = -0.25, 0.25, 0.75, 1.25; edges held
    torch.testing.assert_close(found, torch.tensor([[[0.0, 1.0, 3.0, 4.0]]]))


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_upsampling_keeps_flat_maps_and_the_batch(mode):
    maps = torch.tensor([2.0, 3.0])[:, None, None].expand(2, 7, 7)
    found = upsample(maps, (28, 28), mode)
    assert found.shape == (2, 28, 28)
    torch.testing.assert_close(found[:, 5, 5], torch.tensor([2.0, 3.0]))
    assert found[0].std() < 1e-6


@pytest.mark.parametrize(
    ("maps", "mode", "message"),
    [
        (torch.zeros(7, 7), "nearest", r"\(B, gh, gw\).*\(7, 7\)"),
        (torch.zeros(1, 1, 7, 7), "nearest", r"\(1, 1, 7, 7\)"),
        (torch.zeros(1, 7, 7).int(), "nearest", "floating point.*int32"),
        (torch.zeros(0, 7, 7), "nearest", r"\(0, 7, 7\)"),
        (torch.zeros(1, 7, 7), "cubic", "'cubic'; known: nearest, bilinear"),
    ],
)
def test_upsampling_refuses(maps, mode, message):
    with pytest.raises(ValueError, match=message):
        upsample(maps, (28, 28), mode)


# ---- flow


@pytest.mark.parametrize("share", [0.5, 0.1, 0.0])
@pytest.mark.parametrize(("L", "T"), [(1, 4), (2, 4), (3, 5), (4, 3)])
def test_flow_equals_edmonds_and_karp(L, T, share):
    layers = draw(L=L, B=2, T=T, seed=L + T, sharp=3.0)
    found = flow(layers, sources=(0, T - 1), residual=share)
    assert found.shape == (2, 2, T)
    for image in range(2):
        edges = pipes_of(layers, image, share)
        for row, source in enumerate((0, T - 1)):
            for sink in range(T):
                one = largest_flow(edges, (L, source), (0, sink))
                assert abs(found[image, row, sink].item() - one) < 1e-6


def test_flow_equals_a_linear_program():
    from scipy.optimize import linprog

    layers = draw(L=3, B=1, T=4, sharp=3.0)
    edges = pipes_of(layers)
    names = list(edges)
    inner = {(level, i) for level in (1, 2) for i in range(4)}
    kept = np.array(
        [[(b == node) - (a == node) for a, b in names] for node in inner]
    )
    for sink in range(4):
        into = np.array([float(b == (0, sink)) for a, b in names])
        others = [(0, i) for i in range(4) if i != sink]
        others += [(3, i) for i in range(1, 4)]  # no other start or end
        bounds = [
            (0, 0 if a in others or b in others else edges[a, b])
            for a, b in names
        ]
        best = linprog(-into, A_eq=kept, b_eq=np.zeros(8), bounds=bounds)
        assert abs(flow(layers)[0, 0, sink].item() + best.fun) < 1e-6


def test_flow_never_exceeds_a_cut():
    """Any set of tokens with the source and without the sink is a cut."""
    L, T = 4, 6
    layers = draw(L=L, B=1, T=T, sharp=3.0)
    found = flow(layers, range(T))[0]
    A = [layer_matrix(layer)[0].double() for layer in layers]
    generator = torch.Generator().manual_seed(0)
    tightest = torch.full((T, T), float("inf")).double()
    for _ in range(50):
        drawn = torch.rand(L + 1, T, generator=generator) < 0.5
        for source in range(T):
            for sink in range(T):
                side = drawn.clone()
                side[L] = torch.arange(T) == source
                side[0] = torch.arange(T) != sink
                cut = sum(
                    A[level][side[level + 1]][:, ~side[level]].sum()
                    for level in range(L)
                )
                assert found[source, sink] <= cut + 1e-6
                tightest[source, sink] = min(tightest[source, sink], cut)
    assert (tightest < 1.5).any()  # the cuts drawn are no empty bounds
    out, into = A[-1].sum(dim=1), A[0].sum(dim=0)
    assert (found <= torch.minimum(out[:, None], into) + 1e-6).all()


def test_flow_of_identity_stays_in_its_own_column():
    found = flow(identity(L=3, T=4), sources=range(4))[0]
    torch.testing.assert_close(found, torch.eye(4).double())


@pytest.mark.parametrize("share", [0.5, 0.2])
@pytest.mark.parametrize("L", [1, 2, 5])
def test_flow_of_uniform_attention_has_a_closed_form(L, share):
    """Through two layers T paths of (1 - s) / T; through more, all of it."""
    T = 6
    found = flow(uniform(L, T), residual=share)[0, 0]
    own, other = {
        1: (share + (1 - share) / T, (1 - share) / T),
        2: (1, 1 - share),
        5: (1, 1),
    }[L]
    expected = torch.tensor([own] + [other] * (T - 1)).double()
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_rounding_to_whole_numbers_stays_within_its_bound():
    layers = draw(L=4, B=1, T=6, sharp=3.0, dtype=torch.float64)
    edges = pipes_of(layers)
    bound = 4 * 6**2 / 2**31
    for sink in range(6):
        exact = largest_flow(edges, (4, 0), (0, sink))
        found = flow(layers)[0, 0, sink].item()
        assert abs(found - exact) <= bound + 1e-10


def test_a_single_pipe_is_off_by_half_a_unit_at_most():
    pipe = torch.tensor([[2 / 3, 1 / 3], [0.5, 0.5]], dtype=torch.float64)
    found = flow([pipe[None, None]], residual=0)[0, 0]
    assert (found - pipe[0]).abs().max() <= 0.5001 / 2**30


def test_flow_is_between_0_and_1_and_not_rollout():
    layers = draw(L=4, T=6)
    found = flow(layers)[:, 0]
    assert found.min() >= 0
    assert found.max() <= 1 + 1e-6
    # a path's room is its narrowest pipe; rollout multiplies the pipes
    assert (found >= rollout(layers)[:, 0].double() - 1e-6).all()
    assert (found.sum(dim=-1) > 1.5).all()


def test_flow_of_every_image_alike():
    layers = draw(B=3)
    whole = flow(layers, (0, 2))
    for image in range(3):
        alone = flow([layer[image : image + 1] for layer in layers], (0, 2))
        torch.testing.assert_close(alone[0], whole[image])


# ---- refusals, of both

BAD = [
    ("logits", lambda w: [w[0], w[1] * 3], "must sum to 1"),
    ("negative", lambda w: [w[0], 2 * w[1] - 0.2], "0 or more"),
    ("missing", lambda w: [w[0], None], "NoneType.*need_weights=True"),
    ("one image", lambda w: [w[0][0], w[1][0]], r"\(4, 5, 5\)"),
    ("other T", lambda w: [w[0], draw(T=6)[0]], "same B and T; got 2 and 5"),
    ("other B", lambda w: [w[0], w[1][:1]], "2 and 5, then 1 and 5"),
    ("device", lambda w: [w[0], w[1].to("meta")], "cpu and meta"),
    ("meta first", lambda w: [w[0].to("meta"), w[1]], "must hold numbers"),
    ("NaN", lambda w: [w[0], w[1] * float("nan")], "NaN"),
    ("integers", lambda w: [w[0].long()], "floating point"),
]


@pytest.mark.parametrize("function", [rollout, flow])
@pytest.mark.parametrize(
    ("break_it", "message"),
    [bad[1:] for bad in BAD],
    ids=[bad[0] for bad in BAD],
)
def test_refuses(function, break_it, message):
    with pytest.raises(ValueError, match=message):
        function(break_it(draw(L=2)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda w: rollout([]), "got 0 layers, skip=0"),
        (lambda w: rollout(w, skip=3), "got 3 layers, skip=3"),
        (lambda w: rollout(w, skip=-1), "skip must be 0 or more; got -1"),
        (lambda w: rollout(w, residual=1.5), r"\[0, 1\]; got 1.5"),
        (lambda w: rollout(w, fuse="median"), "'median'; known: mean, max"),
        (lambda w: flow([]), "at least one layer"),
        (lambda w: flow(w, (5,)), r"from 0 to 4; got \[5\]"),
        (lambda w: flow(w, (-1,)), r"got \[-1\]"),
        (lambda w: flow(w, ()), r"got \[\]"),
        (lambda w: flow(w, (True,)), r"from 0 to 4; got \[True\]"),
        (lambda w: flow(w, (0, 0.5)), r"from 0 to 4; got \[0, 0.5\]"),
        (lambda w: flow(w, ("0",)), r"from 0 to 4; got \['0'\]"),
    ],
)
def test_refuses_options(call, message):
    with pytest.raises(ValueError, match=message):
        call(draw())


def test_flow_of_the_books_model_takes_under_a_fifth_of_a_second():
    """From the class token to all patches of an image; CPU time."""
    model, notes = load_model()
    test = data.load_sample()[1].subset(slice(0, 1))
    images = data.normalize(test.images, notes["mean"], notes["std"])
    kept = []
    stream(model, images, kept.append)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        flow(kept)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.2
