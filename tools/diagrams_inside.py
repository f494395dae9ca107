"""Draw what is inside a block: the block itself, and its attention."""

# ruff: noqa: RUF001  (the signs of mathematics are meant)

from __future__ import annotations

from diagram_parts import strip
from drawing import Drawing


def block() -> Drawing:
    """Draw one pre-norm block: a stream, and two branches that add to it."""
    d = Drawing(
        "block",
        "One block of the encoder, pre-norm",
        "The stream of tokens runs from left to right and keeps its shape. A "
        "first branch leaves it, passes a LayerNorm and multi-head attention, "
        "and is added to the stream: Equation 2. A second branch leaves it, "
        "passes another LayerNorm and the MLP, D to 4D to D, and is added: "
        "Equation 3. Below, the shapes for the book's model and ViT-B/16.",
        780,
        400,
    )
    stream, branch = 190, 84
    d.text(28, stream - 12, "z_{ℓ−1}", size=15, bold=True)
    d.path((20, stream), (346, stream))
    d.path((374, stream), (704, stream))
    d.path((732, stream), (768, stream))
    for x in (360, 718):
        d.rect(x - 13, stream - 13, 26, 26, "plain", round=13)
        d.text(x, stream + 6, "+", size=18, bold=True)
    d.path((66, stream), (66, branch), (92, branch))
    d.box(94, branch - 24, 56, 48, "plain", "LN")
    d.path((151, branch), (176, branch))
    d.box(
        178,
        branch - 38,
        132,
        76,
        "head",
        "MSA",
        "tokens learn",
        "from each other",
    )
    d.path((311, branch), (360, branch), (360, stream - 15))
    d.path((420, stream), (420, branch), (442, branch))
    d.box(444, branch - 24, 56, 48, "plain", "LN")
    d.path((501, branch), (519, branch))
    d.box(
        521,
        branch - 38,
        158,
        76,
        "plain",
        "MLP",
        "D → 4D, GELU, 4D → D",
        "each token alone",
    )
    d.path((680, branch), (718, branch), (718, stream - 15))
    d.text(394, stream - 12, "z′_{ℓ}", size=15, bold=True)
    d.text(752, stream - 12, "z_{ℓ}", size=15, bold=True)
    d.text(205, stream + 34, "Eq. 2: z′_{ℓ} = MSA(LN(z_{ℓ−1})) + z_{ℓ−1}")
    d.text(565, stream + 34, "Eq. 3: z_{ℓ} = MLP(LN(z′_{ℓ})) + z′_{ℓ}")
    d.text(205, 28, "attention branch", size=12, kind="quiet")
    d.text(565, 28, "MLP branch", size=12, kind="quiet")
    columns = {205: "stream", 394: "stream", 600: "hidden", 722: "stream"}
    d.text(600, 262, "inside the MLP", size=12, kind="quiet")
    strip(d, 276, columns, "Book/4", "B/16")
    return d


T, D, H = 5, 8, 2  # the toy of chapter 5
# weights of two heads, in tenths: each row sums to 10
WEIGHTS = (
    ("61111", "16111", "11611", "11161", "11116"),
    ("22222", "52111", "15211", "11521", "11152"),
)
HEADS = ("patch", "head")


def heads() -> Drawing:
    """Draw multi-head attention with the toy tensors of chapter 5."""
    d = Drawing(
        "heads",
        "Multi-head attention: project, split, mix, join",
        "Five tokens of eight numbers, a matrix of five rows. One linear "
        "layer gives queries, keys and values. Their columns are split into "
        "two heads of four. In each head, queries times keys over the square "
        "root of d gives five by five scores, the softmax makes each row a "
        "set of weights, and weights times values gives five rows of four. "
        "The two heads are joined side by side, and a last linear layer "
        "mixes them.",
        780,
        372,
    )
    cell, middle = 10, 170
    half = T * cell / 2

    def tensor(x: float, y: float, kinds: list[str], label: str) -> None:
        d.grid(x, y - half, [kinds] * T, cell)
        d.text(x + len(kinds) * cell / 2, y - half - 9, label, bold=True)

    split = [kind for kind in HEADS for _ in range(D // H)]
    tensor(16, middle, ["plain"] * D, "z")
    d.path((102, middle), (146, middle))
    d.text(124, middle - 10, "qkv", size=12)
    for y, name in zip((-92, 0, 92), "qkv", strict=True):
        tensor(154, middle + y, split, name)
    for kind, y, table in zip(HEADS, (-62, 62), WEIGHTS, strict=True):
        lane = middle + y
        d.path((240, middle), (262, lane), (282, lane))
        mixed = [
            [f"{kind}-deep {int(w) / 7:.2f}" for w in row] for row in table
        ]
        tensor(290, lane, [kind + " 0.5"] * T, "q kᵀ / √d")
        d.path((346, lane), (402, lane))
        d.text(374, lane - 10, "softmax", size=12)
        d.grid(410, lane - half, mixed, cell)
        d.text(435, lane - half - 9, "weights", bold=True)
        d.path((466, lane), (502, lane))
        d.text(484, lane - 10, "· v", size=12)
        tensor(510, lane, [kind] * (D // H), "output")
        d.path((556, lane), (576, lane), (598, middle))
    d.text(410, middle - 124, "head 1", size=12, kind="quiet")
    d.text(410, middle + 124, "head 2", size=12, kind="quiet")
    tensor(604, middle, split, "joined")
    d.path((688, middle), (722, middle))
    d.text(704, middle - 10, "proj", size=12)
    d.text(728, middle + 5, "MSA(z)", bold=True, anchor="start", size=12)
    head = f"(B, {H}, {T}, {D // H})"
    columns = {
        56: ("(B, T, D)", f"(B, {T}, {D})"),
        194: ("(B, T, 3D)", f"(B, {T}, {3 * D})"),
        375: ("(B, h, T, T)", f"(B, {H}, {T}, {T})"),
        530: ("(B, h, T, d)", head),
        644: ("(B, T, D)", f"(B, {T}, {D})"),
    }
    for x, (letters, numbers) in columns.items():
        d.text(x, 322, letters, bold=True)
        d.text(x, 344, numbers)
    return d
