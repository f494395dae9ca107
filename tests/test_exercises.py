"""Exercises grade themselves, and say what is wrong in words."""

import re
from pathlib import Path
from unittest import mock

import nbformat
import pytest
import torch
from torch.nn import functional as F

import vitlib
from vitlib.exercises import Exercise, exercises, fault

ROOT = Path(__file__).resolve().parents[1]
EXERCISES = exercises()
WRONG = [
    (name, words) for name, one in EXERCISES.items() for words in one.wrong
]


@pytest.mark.parametrize("name", EXERCISES)
def test_the_right_answer_is_right(name):
    verdict = vitlib.check(name, EXERCISES[name].right)
    assert verdict
    assert repr(verdict) == f"{name}: right."


@pytest.mark.parametrize(("name", "words"), WRONG)
def test_a_likely_wrong_answer_gets_its_words(name, words):
    verdict = vitlib.check(name, EXERCISES[name].wrong[words])
    assert not verdict
    assert repr(verdict) == f"{name}: not yet. {words}"


@pytest.mark.parametrize("name", EXERCISES)
def test_an_exercise_is_told_in_full(name):
    one = EXERCISES[name]
    assert 2 <= len(one.wrong) <= 6
    for words in (one.hint, *one.wrong):
        assert re.fullmatch(r"[A-Z].{15,}[.?]", words), words
        assert len(words) < 240
    assert repr(vitlib.check(name)) == f"{name} asks for {one.asks}"
    assert repr(vitlib.check(name, hint=True)) == f"{name}, hint: {one.hint}"


def test_chapters_ask_for_and_solve_what_can_be_graded():
    asked, solved = set(), set()
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            found = set(re.findall(r'check\(\s*"(\d\d-\d)"', cell.source))
            assert all(name[:2] == path.name[:2] for name in found)
            if cell.cell_type == "markdown":
                asked |= found
            elif "hide-cell" in cell.metadata.get("tags", []):
                solved |= found
    assert asked == solved == set(EXERCISES)


# Written apart from the cases, as a reader might write them.


def causal_loop(q, k, v):
    out = torch.zeros_like(v)
    for i in range(q.shape[2]):
        row = q[:, :, i : i + 1] @ k[:, :, : i + 1].transpose(2, 3)
        weights = (row / q.shape[-1] ** 0.5).softmax(-1)
        out[:, :, i] = (weights @ v[:, :, : i + 1])[:, :, 0]
    return out


def causal_blind_to_itself(q, k, v):
    mask = torch.ones(q.shape[2], q.shape[2]).tril(-1).bool()
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def patches_by_unfold(images, patch_size, stride):
    x = images.unfold(2, patch_size, stride).unfold(3, patch_size, stride)
    return x.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


def patches_row_of_images(images, patch_size, stride):
    return F.unfold(images, patch_size, stride=stride)


def pool_without_root(z, query):
    weights = torch.einsum("bnd,d->bn", z, query).softmax(1)
    return torch.einsum("bn,bnd->bd", weights, z)


def product_by_table(down, across, embed_dim):
    table = vitlib.sincos_2d((8, 8), embed_dim).unflatten(0, (8, 8))
    return (table[4, 4] * table[4 - down, 4 - across]).sum()


def biased_sum(q, k, slope, sign):
    bias = torch.zeros(49, 49)
    for i in range(49):
        for j in range(49):
            bias[i, j] = ((i // 7 - j // 7) ** 2 + (i % 7 - j % 7) ** 2) ** 0.5
    logits = torch.einsum("id,jd->ij", q, k) / q.shape[1] ** 0.5
    return torch.softmax(logits + sign * slope * bias, 1)


def asks_the_mode(model):
    assert model.training


def centred_by_hand(table, axis):
    grids = {12: (3, 4), 49: (7, 7)}
    t = F.normalize(table - table.mean(axis, keepdim=True), dim=1)
    grid = grids[len(table)]
    return (t @ t.T).unflatten(1, grid).unflatten(0, grid)


def near_share(weights, close, first):
    rows = weights[:, :, first:, first:]
    rows = rows / rows.sum(3, keepdim=True)
    return (rows * close).sum(3).mean((0, 2))


def left(parts, order):
    return torch.stack([parts[order[k:]].sum() for k in range(len(order) + 1)])


READERS = [
    ("05-2", causal_loop, "right."),
    (
        "05-2",
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v),
        "It has no mask",
    ),
    (
        "05-2",
        lambda q, k, v: F.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=1.0
        ),
        "The scale is missing",
    ),
    (
        "05-2",
        lambda q, k, v: F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=torch.ones(q.shape[2], q.shape[2]).triu().bool(),
        ),
        "Its mask is transposed",
    ),
    (
        "05-2",
        lambda q, k, v: causal_loop(q, k, v).mT,
        "Its shape is (1, 2, 4, 5), not (1, 2, 5, 4): it is transposed.",
    ),
    ("02-2", patches_by_unfold, "right."),
    ("02-2", patches_row_of_images, "The patches stand in the last axis"),
    ("02-1", {"tokens": 577}, "It gives a dict, where a tuple"),
    ("02-1", (577, 577**2, 4), "Wrong at place 3 of 3."),
    ("02-1", [577, 577 * 577, 3.163], "right."),
    ("01-2", lambda p, g: 28 % (g * p) == 0, "right."),
    ("01-2", lambda p, g: 28 // g == p, "It asks for pieces of exactly one"),
    ("01-2", lambda p, g: p <= 28 // g, "It gives True, where False is"),
    ("03-3", pool_without_root, "The scale is missing"),
    ("03-3", lambda z, q: z.mean(1), "It is off by up to"),
    ("03-5", (50, 49), "The head reads one token"),
    ("04-2", product_by_table, "right."),
    ("04-3", lambda q, k, s: biased_sum(q, k, s, -1), "right."),
    ("04-3", lambda q, k, s: biased_sum(q, k, s, 1), "The sign is wrong"),
    ("06-1", lambda D: 12 * D * D + 13 * D, "right."),
    ("06-1", lambda D: 8 * D * D + 13 * D, "It is too small."),
    ("06-3", lambda x, w: F.rms_norm(x, w.shape, w, 1e-6), "right."),
    ("06-3", lambda x, w: F.layer_norm(x, w.shape, w), "It takes the mean"),
    ("06-5", lambda block, x: block(x), "It gives a tuple, where a Tensor"),
    ("07-1", 632_044_520, "The class token has a position, too"),
    ("07-1", 632_045_801, "It is too large."),
    ("07-2", lambda m, z: m.forward_head(m.norm(z)), "right."),
    ("07-2", lambda m, z: m.head(m.norm(z).mean(1)), "The class token is in"),
    ("08-2", lambda m, n: float(m.sum() / len(m)), "It counts each batch"),
    ("09-2", asks_the_mode, "right."),
    ("10-3", lambda g, n: torch.stack(g).mean(0), "That is the plain mean"),
    ("11-3", 1.0986, "right."),
    ("12-3", lambda v: v.rsqrt() / v.rsqrt().mean(), "right."),
    ("12-3", lambda v: v.rsqrt(), "The gains are not scaled"),
    ("13-3", lambda t, s: centred_by_hand(t, 0), "right."),
    ("13-3", lambda t, s: centred_by_hand(t, 1), "It takes each position's"),
    ("14-4", lambda w, c: near_share(w, c, 1), "right."),
    ("14-4", lambda w, c: near_share(w, c, 0), "It ends with RuntimeError"),
    ("16-1", lambda p, o: torch.trapz(left(p, o)) / len(p), "right."),
    ("16-1", lambda p, o: torch.trapz(left(p, o)), "It sums the trapezoids"),
    ("16-1", lambda p, o: left(p, o)[1:].mean(), "It leaves out the intact"),
    ("17-2", lambda g, s: g % 4 == 0, "Under 'about the share'"),
    ("17-2", lambda g, s: torch.rand(len(g)) < s, "Images of one group are"),
    (
        "17-3",
        lambda t: float(t.diag().sum() / t.sum()),
        "That is the accuracy",
    ),
]


@pytest.mark.parametrize(("name", "answer", "words"), READERS)
def test_what_a_reader_might_write(name, answer, words):
    found = repr(vitlib.check(name, answer)).removeprefix(f"{name}: ")
    assert found.removeprefix("not yet. ").startswith(words)


SQUARE = Exercise(
    asks="soft(x, scale)",
    hint="Read the words.",
    right=lambda x, scale: (x / scale).softmax(dim=-1),
    wrong={},
    cases=lambda: [
        (torch.randn(5, 5), 2.0),
        (torch.randn(3, 4), 1.0),
        (torch.randn(2, 3), 3.0),
    ],
)


def spoils_its_input(x, scale):
    x /= scale
    return x.softmax(dim=-1)


GENERAL = [
    (lambda x, s: (x / s).softmax(-1).T, "It is transposed"),
    (lambda x, s: 3 * (x / s).softmax(-1), "for a factor of 3: look for"),
    (lambda x, s: 1 + (x / s).softmax(-1), "a constant that is added"),
    (lambda x, s: -(x / s).softmax(-1), "Its sign is wrong"),
    (lambda x, s: (x / s).softmax(0), "It sums to 1 over axis 0"),
    (lambda x, s: (x / s).softmax(-1)[:, 1:], "(5, 4), not (5, 5)."),
    (lambda x, s: (x / s).softmax(-1)[None], "axis of size 1 is too many"),
    (lambda x, s: (x / s).softmax(-1).flip(0), "in another order"),
    (lambda x, s: (x / s).softmax(-1) / 0, "It holds NaN or infinity"),
    (lambda x, s: (x / s).softmax(-1) ** 2, "It is off by up to 0."),
    (lambda x, s: None, "It returns None: is a return missing?"),
    (lambda x, s: "0.2", "It gives a str, where a Tensor is asked for."),
    (lambda x, s: 1 / 0, "ends with ZeroDivisionError: division by zero."),
    (lambda x: x, "ends with TypeError: "),
    (lambda x, s: x.softmax(-1), "[5, 5], 2.0; 1 of 3 cases are right."),
    (spoils_its_input, "the input was changed in place"),
    (torch.ones(5, 5), "Pass the function itself: soft(x, scale)."),
]


@pytest.mark.parametrize(("answer", "words"), GENERAL)
def test_what_happens_to_any_answer_has_words(answer, words):
    words = words.replace("[5, 5]", "a tensor (5, 5)")
    found = fault(SQUARE, answer)
    assert words in found
    assert len(found) < 200
    assert fault(SQUARE, SQUARE.right) == ""


class Broken:
    """Whatever is asked of it, it breaks."""

    def __eq__(self, other):
        raise KeyError

    __hash__ = None


class DumbError(Exception):
    def __str__(self):
        raise KeyError


def ends_dumb(x, scale):
    raise DumbError


ODD = [
    (lambda x, s: (x / s).softmax(-1) + 1j, "It is no real number, and no"),
    (lambda x, s: (x / s).softmax(-1).to_sparse(), "It is no real number"),
    (
        lambda x, s: torch.nested.as_nested_tensor(x, layout=torch.jagged),
        "It gives a NestedTensor, where a Tensor is asked",
    ),
    (lambda x, s: (x / s).softmax(-1).to("meta"), "It is no real number"),
    (lambda x, s: 10**400, "It gives a int, where a Tensor is asked for."),
    (lambda x, s: Broken(), "It gives a Broken, where a Tensor is asked"),
    (ends_dumb, "It ends with DumbError: no message."),
]


@pytest.mark.parametrize(("answer", "words"), ODD)
def test_odd_answers_have_words(answer, words):
    assert fault(SQUARE, answer).startswith(words)


@pytest.mark.parametrize(
    ("right", "answer", "words"),
    [
        (True, 10**5000, "It gives no message, where True is right."),
        (3, 10**400, "It is no real number, and no plain tensor of them."),
        (3, 3 + 5j, "It gives a complex, where a int is asked for."),
        ("three", Broken(), "It gives a Broken, where a str is asked for."),
        (3, mock.ANY, "It gives a _ANY, where a int is asked for."),
    ],
    ids=["huge", "large", "complex", "broken", "any"],
)
def test_odd_values_have_words(right, answer, words):
    exercise = Exercise(asks="a value", hint="", right=right, wrong={})
    assert fault(exercise, answer) == words


def test_a_number_with_an_imaginary_part_is_wrong():
    right = EXERCISES["08-1"].right
    assert vitlib.check("08-1", right)
    assert not vitlib.check("08-1", right + 5j)


def test_a_value_is_not_a_function():
    assert "Pass the value: (tokens" in repr(vitlib.check("02-1", max))


def test_an_unknown_exercise_lists_the_known_ones():
    with pytest.raises(ValueError, match="no exercise '05-9' to grade; ") as e:
        vitlib.check("05-9", max)
    assert str(e.value).endswith(", ".join(EXERCISES))


def test_grading_leaves_the_random_numbers_alone():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    vitlib.check("05-2", lambda q, k, v: torch.randn_like(q))
    assert torch.equal(torch.rand(1), expected)


def test_a_long_message_is_cut():
    def long(x, scale):
        raise RuntimeError("much too long " * 50)

    found = fault(SQUARE, long)
    assert found.startswith("It ends with RuntimeError: much too long ")
    assert len(found) < 200
