"""Chapters 2 to 5 for any input: the right answer, or a rule that it broke.

Long search: see tests/drawn.py.
"""

import math

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.drawn import (
    DTYPES,
    FLOATS,
    TAME,
    WILD,
    around,
    close,
    covers,
    outcome,
    refuses,
    same_on_meta,
    shapes,
    tensors,
    values,
)
from vitlib import (
    PatchEmbed,
    combine_2d,
    explicit_attention,
    fused_attention,
    patchify,
    pool,
    prepend_token,
    relative_positions,
    resize_positions,
    sincos_2d,
    unpatchify,
)

SIDES = st.integers(1, 3)
NEW = st.sampled_from([1, 3, 2, 6])
TOKENS = st.sampled_from([1, 2, 3, 15, 16, 17])
ANY_SIZE = st.sampled_from([-1, 0, 1, 2, 3, 4, 2.0, True, None])


@st.composite
def image_batches(draw, P, dtypes=DTYPES, kinds=TAME + WILD):
    """Images that patches of P pixels cover, perhaps none of them."""
    B, C = draw(st.integers(0, 3)), draw(st.integers(1, 3))
    H, W = P * draw(SIDES), P * draw(SIDES)
    return draw(tensors((B, C, H, W), dtypes, kinds))


def cut(images, P):
    """Patches by plain slicing, in reading order."""
    H, W = images.shape[2:]
    corners = [(y, x) for y in range(0, H, P) for x in range(0, W, P)]
    parts = [images[:, :, y : y + P, x : x + P] for y, x in corners]
    return torch.stack([part.flatten(1) for part in parts], dim=1)


@covers(patchify, unpatchify)
@given(st.data(), SIDES)
def test_patches_are_the_slices_and_go_back_exactly(data, P):
    images = data.draw(image_batches(P))
    patches = patchify(images, P)
    assert torch.equal(patches.nan_to_num(7), cut(images, P).nan_to_num(7))
    grid = images.shape[2] // P, images.shape[3] // P
    back = unpatchify(patches, P, grid)
    assert back.dtype == images.dtype
    assert torch.equal(back.nan_to_num(7), images.nan_to_num(7))
    same_on_meta(patchify, patches, images, P)
    same_on_meta(unpatchify, back, patches, P, grid)


@covers(patchify)
@given(tensors(shapes(), DTYPES), ANY_SIZE)
def test_patchify_takes_whole_patches_alone(images, P):
    fits = images.ndim == 4 and type(P) is int and P > 0
    fits = fits and all(n and n % P == 0 for n in images.shape[2:])
    assert refuses(patchify, images, P) == (not fits)


@covers(unpatchify)
@given(tensors(shapes(), DTYPES), ANY_SIZE, ANY_SIZE, ANY_SIZE)
def test_unpatchify_takes_whole_grids_alone(patches, P, rows, columns):
    sizes = P, rows, columns
    fits = patches.ndim == 3
    fits = fits and all(type(n) is int and n > 0 for n in sizes)
    fits = fits and patches.shape[1] == rows * columns
    fits = fits and patches.shape[2] % P**2 == 0
    assert refuses(unpatchify, patches, P, (rows, columns)) == (not fits)


@covers(PatchEmbed)
@given(st.data(), SIDES, st.integers(1, 5), st.booleans())
def test_patch_embedding_is_a_convolution(data, P, D, bias):
    images = data.draw(image_batches(P, FLOATS))
    B, C, *size = images.shape
    embed = PatchEmbed(tuple(size), P, C, D, bias).to(images.dtype)
    tokens = outcome(embed, images)
    assert (tokens is None) == (B == 0)
    if tokens is None:
        return
    weight = embed.proj.weight.reshape(D, C, P, P).double()
    shift = embed.proj.bias.double() if bias else None
    wanted = torch.nn.functional.conv2d(images.double(), weight, shift, P)
    wanted = wanted.flatten(2).mT
    whole = cut(images, P).isfinite().all(dim=2)  # by patch
    known = tokens.isfinite()
    if images.nan_to_num(0, 0, 0).abs().max() < 1000:
        assert torch.equal(known, whole[..., None].expand_as(known))
    scale = images.nan_to_num(0, 0, 0).abs().max().item()
    close(tokens[known], wanted[known], 10, scale)


@covers(prepend_token)
@given(st.data(), shapes(3, 3), st.sampled_from(FLOATS))
def test_token_stands_first_and_the_rest_stays(data, shape, dtype):
    x = data.draw(tensors(shape, (dtype,), TAME + WILD))
    token = data.draw(tensors((1, 1, shape[2]), FLOATS, TAME + WILD))
    found = prepend_token(x, token)
    assert found.dtype == dtype
    assert found.shape == (shape[0], shape[1] + 1, shape[2])
    assert torch.equal(found[:, 1:].nan_to_num(7), x.nan_to_num(7))
    for row in found[:, 0]:
        wanted = token[0, 0].to(dtype)
        assert torch.equal(row.nan_to_num(7), wanted.nan_to_num(7))
    same_on_meta(prepend_token, found, x, token)


@covers(prepend_token)
@given(tensors(shapes()), tensors(shapes()))
def test_token_must_fit(x, token):
    fits = x.ndim == 3 and token.shape == (1, 1, x.shape[-1])
    assert refuses(prepend_token, x, token) == (not fits)


@example(torch.zeros(2, 1, 3), "avg", 1)  # no patch
@example(torch.zeros(2, 0, 3), "avg", 0)
@covers(pool)
@given(
    tensors(
        st.sampled_from([(2, 3, 2), (2, 1, 3), (2, 0, 2)]) | around(3),
        DTYPES,
        TAME + WILD,
    ),
    st.sampled_from(["avg", "token", "max"]),
    st.sampled_from([1, 0, -1, 2]),
)
def test_pooling_is_the_first_or_the_mean(x, how, prefix):
    found = outcome(pool, x, how, prefix)
    fits = x.ndim == 3 and x.is_floating_point() and how != "max"
    fits = fits and prefix in (0, 1)
    fits = fits and (
        prefix == 1 and x.shape[1] > 0
        if how == "token"
        else x.shape[1] > prefix
    )
    assert (found is not None) == fits
    if not fits:
        return
    if how == "token":
        assert torch.equal(found.nan_to_num(7), x[:, 0].nan_to_num(7))
        return
    patches = x.double()[:, prefix:]
    wanted = sum(patches.unbind(1)) / patches.shape[1]
    bad = ~patches.isfinite().all(dim=1)
    assert not found[bad].isfinite().any()
    kept = found.isfinite()
    scale = (
        patches[patches.isfinite()].abs().max().item()
        if bad.numel() and patches.isfinite().any()
        else 0
    )
    close(found[kept], wanted[kept], scale=scale)
    if scale < 1000:
        assert torch.equal(kept, ~bad)


@covers(combine_2d)
@given(tensors(around(2)), tensors(around(2)))
def test_positions_of_two_tables(rows, columns):
    found = outcome(combine_2d, rows, columns)
    fits = rows.ndim == columns.ndim == 2
    fits = fits and rows.shape[1] == columns.shape[1]
    assert (found is not None) == fits
    if fits:
        half = rows.shape[1]
        pairs = [(r, c) for r in rows for c in columns]
        assert found.shape == (len(pairs), 2 * half)
        for place, (row, column) in zip(found, pairs, strict=True):
            assert torch.equal(place[:half], row.to(found))
            assert torch.equal(place[half:], column.to(found))
        same_on_meta(combine_2d, found, rows, columns)


@covers(sincos_2d)
@given(ANY_SIZE, ANY_SIZE, st.sampled_from([-4, 0, 2, 4, 8, 12, 8.0, None]))
def test_sines_and_cosines(rows, columns, D):
    table = outcome(sincos_2d, (rows, columns), D)
    fits = all(type(n) is int and n > 0 for n in (rows, columns, D))
    fits = fits and D % 4 == 0
    assert (table is not None) == fits
    if not fits:
        return
    wanted = []
    for place in range(rows * columns):
        for at in divmod(place, columns):
            angles = [at / 10_000 ** (4 * k / D) for k in range(D // 4)]
            wanted += map(math.sin, angles)
            wanted += map(math.cos, angles)
    wanted = torch.tensor(wanted, dtype=torch.float64)
    close(table.flatten(), wanted)


@covers(relative_positions)
@given(tensors(around(2, 7), DTYPES, TAME + WILD))
def test_relative_positions_are_looked_up_by_offset(table):
    found = outcome(relative_positions, table)
    fits = table.ndim == 2 and len(table) % 2 == 1
    assert (found is not None) == fits
    if fits:
        T = (len(table) + 1) // 2
        assert found.shape == (T, T, table.shape[1])
        for i in range(T):
            for j in range(T):
                wanted = table[i - j + T - 1].nan_to_num(7)
                assert torch.equal(found[i, j].nan_to_num(7), wanted)
        same_on_meta(relative_positions, found, table)


def keys(x, a):
    """Keys 1981: the cubic kernel."""
    x = x.abs()
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return torch.where(x < 1, near, torch.where(x < 2, far, 0))


def stretching(old, new, mode):
    """The matrix (new, old) that one axis is multiplied with."""
    i, j = torch.arange(new).double(), torch.arange(old).double()
    if mode == "bilinear":  # corners on corners
        at = i * (old - 1) / max(new - 1, 1)
        return (1 - (at[:, None] - j).abs()).clamp(min=0)
    at = (i + 0.5) * old / new - 0.5
    if mode == "bicubic":  # a kernel as wide as a new place
        wide = max(old / new, 1)
        rows = keys((j - at[:, None]) / wide, -0.5)
        return rows / rows.sum(dim=1, keepdim=True)
    rows = torch.zeros(new, old, dtype=torch.float64)
    for row, x in zip(rows, at, strict=True):
        for k in range(math.floor(x) - 1, math.floor(x) + 3):
            row[min(max(k, 0), old - 1)] += keys(x - k, -0.75)
    return rows


@covers(resize_positions)
@given(
    st.data(),
    st.tuples(SIDES, SIDES),
    st.tuples(NEW, NEW),
    st.sampled_from(["bicubic", "bicubic-plain", "bilinear"]),
    st.integers(0, 1),
)
def test_resized_positions_are_two_matrix_products(
    data, old, new, mode, prefix
):
    shape = (1, old[0] * old[1] + prefix, data.draw(st.integers(1, 3)))
    table = data.draw(tensors(shape))
    found = resize_positions(table, old, new, mode)
    assert torch.equal(found[:, :prefix], table[:, :prefix])
    grid = table[0, prefix:].double().unflatten(0, old)
    down, across = (stretching(*n, mode) for n in zip(old, new, strict=True))
    wanted = torch.einsum("yr,xc,rcd->yxd", down, across, grid).flatten(0, 1)
    scale = table.abs().max().item()
    close(found[0, prefix:], wanted, 5, scale=scale)
    same_on_meta(resize_positions, found, table, old, new, mode)


@covers(resize_positions)
@given(SIDES, SIDES, st.integers(2, 6), SIDES, st.integers(0, 9))
def test_a_grid_of_one_column_keeps_its_rows(gh, gw, rows, D, seed):
    """PyTorch's antialiased kernel repeats the first one."""
    table = values((1, gh * gw, D), "normal", seed)
    found = resize_positions(table, (gh, gw), (rows, 1))
    grid = table[0].unflatten(0, (gh, gw))
    across = stretching(gw, 1, "bicubic")[0]
    down = stretching(gh, rows, "bicubic")
    wanted = torch.einsum("yr,c,rcd->yd", down, across, grid)
    torch.testing.assert_close(found[0], wanted, atol=1e-6, rtol=0)


@covers(resize_positions)
@given(
    tensors(shapes(), DTYPES, TAME + WILD),
    st.tuples(ANY_SIZE, ANY_SIZE),
    st.tuples(ANY_SIZE, ANY_SIZE),
    st.sampled_from(["bicubic", "nearest"]),
)
def test_positions_that_do_not_fit_are_refused(table, old, new, mode):
    whole = all(type(n) is int and n > 0 for n in old + new)
    fits = whole and mode != "nearest" and table.is_floating_point()
    fits = fits and table.ndim == 3 and len(table) == 1
    fits = fits and table.shape[1] - old[0] * old[1] in (0, 1)
    fits = fits and table.shape[2] > 0
    assert refuses(resize_positions, table, old, new, mode) == (not fits)


def plain_attention(q, k, v, rel_pos):
    """Eq. 6 and 7 by loops over queries, in float64."""
    q, k, v = q.double(), k.double(), v.double()
    B, h, T, d = q.shape
    weights = q.new_zeros(B, h, T, T)
    for i in range(T):
        for j in range(T):
            key = k[:, :, j] if rel_pos is None else k[:, :, j] + rel_pos[i, j]
            weights[:, :, i, j] = (q[:, :, i] * key).sum(-1) / d**0.5
    weights = weights - weights.amax(-1, keepdim=True)
    weights = weights.exp() / weights.exp().sum(-1, keepdim=True)
    return (weights[..., None] * v[:, :, None]).sum(3), weights


@covers(explicit_attention, fused_attention)
@given(
    st.data(),
    st.tuples(st.integers(0, 2), SIDES, TOKENS, SIDES),
    st.sampled_from(FLOATS),
    st.booleans(),
)
def test_both_attentions_are_the_formula(data, shape, dtype, relative):
    kinds = ("normal", "zeros", "tiny", "denormal")
    q, k, v = (data.draw(tensors(shape, (dtype,), kinds)) for _ in range(3))
    T, d = shape[2:]
    rel = data.draw(tensors((T, T, d), FLOATS, kinds)) if relative else None
    wanted, wanted_weights = plain_attention(q, k, v, rel)
    out, weights = explicit_attention(q, k, v, rel)
    scale = v.abs().max().item() if v.numel() else 0
    close(out, wanted, 8, scale)
    close(weights, wanted_weights, 8, 1.0)
    close(fused_attention(q, k, v, rel), wanted, 8, scale)
    same_on_meta(fused_attention, out, q, k, v, rel)


@covers(explicit_attention, fused_attention)
@given(st.data(), shapes(4, 4))
def test_attention_refuses_what_does_not_fit(data, shape):
    other = (*shape[:2], 20, *shape[3:])  # as many keys as one likes
    other = data.draw(
        st.sampled_from([shape, other, shape[1:], (*shape[:3], 5)])
    )
    q = data.draw(tensors(shape, (torch.float32, torch.int64)))
    k = data.draw(tensors(other, (torch.float32, torch.float64)))
    v = data.draw(tensors(st.sampled_from([shape, other]), (torch.float32,)))
    fits = k.shape == v.shape and k.shape[:2] == shape[:2]
    fits = fits and k.shape[3:] == shape[3:] and 0 not in k.shape[2:]
    fits = fits and q.dtype == k.dtype == v.dtype
    for function in (explicit_attention, fused_attention):
        assert refuses(function, q, k, v) == (not fits)


@covers(explicit_attention, fused_attention)
@given(st.data(), st.tuples(SIDES, SIDES, TOKENS, SIDES))
def test_a_bad_number_shows_wherever_it_is_read(data, shape):
    q, k, v = (
        data.draw(tensors(shape, (torch.float32,), ("normal",), ("plain",)))
        for _ in range(3)
    )
    which = data.draw(st.sampled_from("qkv"))
    i = data.draw(st.integers(0, shape[2] - 1))
    {"q": q, "k": k, "v": v}[which][0, 0, i, 0] = math.nan
    lost = torch.zeros(shape, dtype=torch.bool)
    if which == "q":
        lost[0, 0, i] = True
    elif which == "k":
        lost[0, 0] = True
    else:
        lost[0, 0, :, 0] = True
    assert torch.equal(explicit_attention(q, k, v)[0].isnan(), lost)
    assert torch.equal(fused_attention(q, k, v).isnan(), lost)
