"""Arrange the diagrams of a block and of its attention for a phone."""

# ruff: noqa: RUF001  (the signs of mathematics are meant)

from __future__ import annotations

from diagram_parts import paper, table
from diagrams_inside import HEADS, WEIGHTS, D, H, T
from drawing import Drawing


def block() -> Drawing:
    """Draw the two branches one below the other."""
    d = paper(510)
    for top, head, before, after, words in (
        (
            0,
            "attention branch",
            "z_{ℓ−1}",
            "z′_{ℓ}",
            ("MSA", "tokens learn", "from each other"),
        ),
        (
            212,
            "MLP branch",
            "z′_{ℓ}",
            "z_{ℓ}",
            ("MLP", "D → 4D, GELU, 4D → D", "each token alone"),
        ),
    ):
        branch, stream = top + 70, top + 156
        d.text(170, top + 22, head, size=12, kind="quiet")
        d.text(12, stream - 12, before, size=15, bold=True, anchor="start")
        d.path((12, stream), (296, stream))
        d.path((324, stream), (350, stream))
        d.rect(297, stream - 13, 26, 26, "plain", round=13)
        d.text(310, stream + 6, "+", size=18, bold=True)
        d.text(340, stream - 12, after, size=15, bold=True)
        d.path((56, stream), (56, branch), (70, branch))
        d.box(72, branch - 24, 44, 48, "plain", "LN")
        d.path((117, branch), (129, branch))
        kind = "plain" if top else "head"
        d.box(131, branch - 38, 150, 76, kind, *words)
        d.path((282, branch), (310, branch), (310, stream - 15))
    d.text(170, 190, "Eq. 2: z′_{ℓ} = MSA(LN(z_{ℓ−1})) + z_{ℓ−1}")
    d.text(170, 402, "Eq. 3: z_{ℓ} = MLP(LN(z′_{ℓ})) + z′_{ℓ}")
    steps = {"stream": "stream", "in MLP": "hidden"}
    table(d, 444, steps, "Book/4", "B/16")
    return d


def heads() -> Drawing:
    """Draw the toy of chapter 5 with smaller cells; the heads join below."""
    d = paper(424)
    cell, middle = 7, 122
    half = T * cell / 2

    def tensor(x: float, y: float, kinds: list[str], label: str) -> None:
        d.grid(x, y - half, [kinds] * T, cell)
        d.text(
            x + len(kinds) * cell / 2, y - half - 7, label, size=12, bold=True
        )

    split = [kind for kind in HEADS for _ in range(D // H)]
    tensor(10, middle, ["plain"] * D, "z")
    d.path((70, middle), (94, middle))
    d.text(82, middle - 8, "qkv", size=12)
    for y, name in zip((-68, 0, 68), "qkv", strict=True):
        tensor(98, middle + y, split, name)
    for kind, y, weights in zip(HEADS, (-46, 46), WEIGHTS, strict=True):
        lane = middle + y
        d.path((157, middle), (168, lane), (180, lane))
        mixed = [
            [f"{kind}-deep {int(w) / 7:.2f}" for w in row] for row in weights
        ]
        tensor(184, lane, [kind + " 0.5"] * T, "q kᵀ / √d")
        d.path((222, lane), (252, lane))
        d.text(237, lane + 34, "softmax", size=12)
        d.grid(256, lane - half, mixed, cell)
        d.text(273, lane - half - 7, "weights", size=12, bold=True)
        d.path((294, lane), (312, lane))
        d.text(303, lane - 7, "· v", size=12)
        tensor(316, lane, [kind] * (D // H), "output")
        d.path((345, lane), (352, lane), tip=False)
    d.path((352, middle - 46), (352, 252), (316, 252))
    tensor(256, 252, split, "joined")
    d.path((252, 252), (214, 252))
    d.text(233, 244, "proj", size=12)
    d.text(206, 256, "MSA(z)", bold=True, anchor="end")
    d.text(300, middle - 90, "head 1", size=12, kind="quiet")
    d.text(300, middle + 84, "head 2", size=12, kind="quiet")
    head = f"(B, {H}, {T}, {D // H})"
    steps = {
        "z": ("(B, T, D)", f"(B, {T}, {D})"),
        "q, k and v": ("(B, T, 3D)", f"(B, {T}, {3 * D})"),
        "weights": ("(B, h, T, T)", f"(B, {H}, {T}, {T})"),
        "output": ("(B, h, T, d)", head),
        "joined": ("(B, T, D)", f"(B, {T}, {D})"),
    }
    for n, (name, (letters, numbers)) in enumerate(steps.items()):
        y = 312 + 22 * n
        d.text(14, y, name, size=12, kind="quiet", anchor="start")
        d.text(170, y, letters, bold=True)
        d.text(290, y, numbers)
    return d
