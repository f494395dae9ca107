"""Arrange the diagrams for a phone: 360 units wide, text of 12 and more."""

# ruff: noqa: RUF001  (the signs of mathematics are meant)

from __future__ import annotations

from diagram_parts import SIDE, paper, picture, rows, shade, table
from drawing import Drawing


def patches() -> Drawing:
    """Draw two steps a line: squares above, their rows and tokens below."""
    d = paper(468)
    for x, y, head in (
        (82, 26, "image"),
        (268, 26, "squares"),
        (70, 214, "flat rows"),
        (304, 214, "tokens"),
    ):
        d.text(x, y, head, bold=True, size=15)
    picture(d, 28, 42, 36, 0)
    picture(d, 209, 38, 34, 8)
    d.path((150, 96), (196, 96))
    d.text(172, 86, "cut", size=12)
    d.path((268, 162), (268, 178), (70, 178), (70, 196))
    d.text(170, 172, "flatten", size=12)
    rows(d, 20, 230, 100)
    rows(d, 274, 230, 60)
    d.path((126, 286), (144, 286))
    d.box(148, 248, 76, 76, "head", "E", "P²C × D")
    d.path((230, 286), (266, 286))
    d.text(186, 344, "the same for", size=12, kind="quiet")
    d.text(186, 360, "every patch", size=12, kind="quiet")
    steps = {"image": "image", "flat rows": "patches", "tokens": "projected"}
    table(d, 386, steps, "Book/4", "Ti/16")
    return d


def token() -> Drawing:
    """Draw the sequence before and behind the encoder, one above the other."""
    d = paper(482)
    for top, title in (
        (34, "z_{0}: (B, T, D), T = N + 1"),
        (290, "z_{L}: (B, T, D)"),
    ):
        d.text(62, top - 8, title, bold=True, anchor="start")
        for n in range(SIDE**2 + 1):
            kind = "patch-deep" if n else "class"
            opacity = shade(n - 1) if n else 1
            x = 62 + 24 * n
            d.rect(x, top, 18, 60, kind, round=3, opacity=opacity)
            label = "N" if n == SIDE**2 else str(n)
            d.text(x + 9, top + 77, label, size=12, kind="quiet")
    d.path((71, 140), (71, 116))
    d.text(62, 156, "x_{class}, learned, the same", anchor="start")
    d.text(62, 174, "for every image", anchor="start")
    d.path((281, 116), (281, 170))
    d.box(
        222,
        174,
        118,
        70,
        "plain",
        "encoder",
        "every token",
        "sees every other",
    )
    d.path((281, 246), (281, 284))
    d.text(296, 392, "read by no one", size=12, kind="quiet")
    d.path((71, 374), (71, 440), (96, 440))
    d.box(100, 420, 60, 40, "plain", "LN")
    d.path((161, 440), (190, 440))
    d.box(194, 420, 70, 40, "plain", "head")
    d.path((265, 440), (292, 440))
    d.text(300, 445, "(B, K)", bold=True, anchor="start")
    return d


def model() -> Drawing:
    """Draw three steps above and four below, and the shapes as a table."""
    d = paper(604)
    for x, y, head, note in (
        (58, 24, "image", "pixels"),
        (176, 24, "patches", "chapter 2"),
        (296, 24, "tokens", "chapter 2"),
        (59, 222, "z_{0}", "ch. 3, 4: Eq. 1"),
        (153, 222, "encoder", "5, 6: Eq. 2, 3"),
        (240, 222, "y", "ch. 7: Eq. 4"),
        (318, 222, "logits", "chapter 7"),
    ):
        d.text(x, y, head, bold=True, size=15)
        d.text(x, y + 18, note, size=12, kind="quiet")
    picture(d, 22, 80, 24, 0)
    picture(d, 137, 77, 22, 6)
    rows(d, 268, 56, 56)
    d.path((98, 116), (132, 116))
    d.path((218, 116), (260, 116))
    d.path((296, 176), (296, 192), (8, 192), (8, 322), (28, 322))
    rows(d, 32, 256, 40, first=True)
    for n in range(SIDE**2 + 1):
        d.rect(75, 256 + 13 * n, 8, 10, "place", round=2)
    d.path((88, 322), (112, 322))
    for step in (8, 4, 0):
        d.rect(116 + step, 262 - step, 68, 132, "plain")
    for y, kind, word in ((272, "head", "MSA"), (338, "plain", "MLP")):
        d.box(124, y, 52, 40, kind, word)
    d.text(150, 329, "L blocks", size=12, kind="quiet")
    d.path((194, 322), (209, 322))
    d.rect(212, 317, 56, 10, "class", round=2)
    d.text(240, 306, "LN of", size=12)
    d.text(240, 345, "token 0", size=12)
    d.path((272, 322), (288, 322))
    for n, width in enumerate((18, 9, 50, 13, 6)):
        d.rect(294, 284 + 16 * n, width, 11, "plain")
    steps = {
        "image": "image",
        "patches": "patches",
        "tokens": "projected",
        "z_{0}": "stream",
        "encoder": "stream",
        "y": "token",
        "logits": "logits",
    }
    table(d, 436, steps, "Book/4", "B/16")
    return d
