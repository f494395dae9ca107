"""Draw the book's diagrams into `vitlib/_diagrams/`.

    python tools/diagrams.py

The shapes that they show come from the package's own configurations; the
tests compare them with what the models return.
"""

# ruff: noqa: RUF001  (the signs of mathematics are meant)

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import diagrams_narrow
import diagrams_narrow_inside
from diagram_parts import SIDE, picture, rows, shade, strip
from diagrams_inside import block, heads
from drawing import Drawing

FOLDER = Path(__file__).resolve().parents[1] / "vitlib" / "_diagrams"


def model() -> Drawing:
    """Draw the whole model, from pixels to logits."""
    d = Drawing(
        "model",
        "The whole Vision Transformer, from patches to logits",
        "From left to right: an image is cut into patches; one matrix makes "
        "each patch a token; a class token is put in front and positions are "
        "added; L blocks of the encoder keep the shape; token 0 is "
        "normalised; a linear head gives the logits. Under each step, the "
        "shape in letters, for the book's model and for ViT-B/16.",
        780,
        390,
    )
    centres = [62 + 109.5 * i for i in range(7)]
    heads = ("image", "patches", "tokens", "z_{0}", "encoder", "y", "logits")
    notes = (
        "pixels",
        "chapter 2",
        "chapter 2",
        "ch. 3, 4: Eq. 1",
        "5, 6: Eq. 2, 3",
        "ch. 7: Eq. 4",
        "chapter 7",
    )
    for x, head, note in zip(centres, heads, notes, strict=True):
        d.text(x, 30, head, bold=True, size=15)
        d.text(x, 49, note, size=12, kind="quiet")
    middle = 150
    for x in centres[:-1]:
        d.path((x + 42, middle), (x + 67, middle))
    picture(d, centres[0] - 36, middle - 36, 24, 0)
    picture(d, centres[1] - 39, middle - 39, 22, 6)
    rows(d, centres[2] - 28, middle - 57, 56)
    rows(d, centres[3] - 28, middle - 70, 50, first=True)
    for n in range(SIDE**2 + 1):
        d.rect(centres[3] + 25, middle - 70 + 13 * n, 8, 10, "place", round=2)
    for step in (8, 4, 0):
        d.rect(centres[4] - 36 + step, middle - 62 - step, 68, 132, "plain")
    for y, kind, word in ((-52, "head", "MSA"), (14, "plain", "MLP")):
        d.box(centres[4] - 28, middle + y, 52, 40, kind, word)
    d.text(centres[4] - 2, middle + 5, "L blocks", size=12, kind="quiet")
    d.rect(centres[5] - 28, middle - 5, 56, 10, "class", round=2)
    d.text(centres[5], middle - 16, "LN of token 0", size=12)
    for n, width in enumerate((18, 9, 50, 13, 6)):
        d.rect(centres[6] - 26, middle - 38 + 16 * n, width, 11, "plain")
    steps = ("image", "patches", "projected", "stream", "stream", "token")
    columns = dict(zip(centres, (*steps, "logits"), strict=True))
    strip(d, 262, columns, "Book/4", "B/16")
    return d


def patches() -> Drawing:
    """Draw the way from an image to tokens."""
    d = Drawing(
        "patches",
        "From an image to a sequence of tokens",
        "An image of nine patches is cut into squares, numbered 0 to 8 in "
        "reading order. Each square becomes one flat row of P times P times "
        "C numbers. The same matrix E turns every row into a token of D "
        "numbers. Shapes for the book's model and for ViT-Ti/16.",
        780,
        380,
    )
    top, middle = 60, 130
    centres = (90, 270, 450, 690)
    for x, head in zip(
        centres, ("image", "squares", "flat rows", "tokens"), strict=True
    ):
        d.text(x, 32, head, bold=True, size=15)
    picture(d, centres[0] - 54, middle - 54, 36, 0)
    picture(d, centres[1] - 59, middle - 59, 34, 8)
    rows(d, centres[2] - 50, top + 12, 100)
    rows(d, centres[3] - 30, top + 12, 60)
    for x0, x1 in ((154, 200), (340, 388), (510, 534), (616, 648)):
        d.path((x0, middle), (x1, middle))
    d.text(177, middle - 10, "cut", size=12)
    d.text(364, middle - 10, "flatten", size=12)
    d.box(538, middle - 38, 76, 76, "head", "E", "P²C × D")
    d.text(576, middle + 58, "the same for", size=12, kind="quiet")
    d.text(576, middle + 74, "every patch", size=12, kind="quiet")
    d.text(centres[1], top + 160, "N = HW / P²", size=12, kind="quiet")
    d.text(centres[2], top + 160, "reading order", size=12, kind="quiet")
    steps = dict(
        zip(
            (centres[0], *centres[2:]),
            ("image", "patches", "projected"),
            strict=True,
        )
    )
    strip(d, 250, steps, "Book/4", "Ti/16")
    return d


def token() -> Drawing:
    """Draw where the class token enters and where it is read."""
    d = Drawing(
        "token",
        "The class token: put in front, read at the end",
        "N patch tokens, numbered 1 to N, stand in a row, and the class "
        "token stands in front of them as number 0. All T = N + 1 tokens go "
        "through the encoder, in which every token sees every other. Behind "
        "it only token 0 is read: LayerNorm and a linear head turn it into "
        "K logits.",
        780,
        250,
    )
    for left in (30, 430):
        for n in range(SIDE**2 + 1):
            x = left + 24 * n
            kind = "patch-deep" if n else "class"
            opacity = shade(n - 1) if n else 1
            d.rect(x, 60, 18, 74, kind, round=3, opacity=opacity)
            label = "N" if n == SIDE**2 else str(n)
            d.text(x + 9, 152, label, size=12, kind="quiet")
    d.text(150, 34, "z_{0}: (B, T, D), T = N + 1", bold=True)
    d.text(550, 34, "z_{L}: (B, T, D)", bold=True)
    d.path((272, 97), (287, 97))
    d.box(
        289, 58, 118, 78, "plain", "encoder", "every token", "sees every other"
    )
    d.path((408, 97), (425, 97))
    d.path((39, 198), (39, 160))
    d.text(58, 204, "x_{class}, the same for every image,", anchor="start")
    d.text(58, 224, "learned", anchor="start")
    d.path((439, 160), (439, 204), (484, 204))
    d.box(486, 184, 60, 40, "plain", "LN")
    d.path((547, 204), (578, 204))
    d.box(580, 184, 70, 40, "plain", "head")
    d.path((651, 204), (682, 204))
    d.text(690, 209, "(B, K)", bold=True, anchor="start")
    d.text(660, 170, "read by no one", size=12, kind="quiet")
    return d


DIAGRAMS = (patches, token, heads, block, model)


def draw(make: Callable[[], Drawing]) -> Drawing:
    """Draw a diagram and its narrow form."""
    drawing = make()
    inside = make.__module__ == "diagrams_inside"
    module = diagrams_narrow_inside if inside else diagrams_narrow
    drawing.narrow = getattr(module, drawing.name)()
    return drawing


def main() -> None:
    """Write every diagram."""
    FOLDER.mkdir(exist_ok=True)
    for drawing in map(draw, DIAGRAMS):
        file = FOLDER / f"{drawing.name}.svg"
        file.write_text(drawing.svg(), encoding="utf-8")


if __name__ == "__main__":
    main()
