"""What several of the book's diagrams share: shapes, a picture, its rows."""

from __future__ import annotations

from drawing import Drawing

from vitlib.config import VARIANTS, ViTConfig

SIDE = 3  # patches a side, where a picture is drawn


def shapes(config: ViTConfig) -> dict[str, tuple[int | str, ...]]:
    """Return the shape at each step; the batch is the letter B."""
    c = config
    row = c.in_chans * c.patch_size**2
    return {
        "image": ("B", c.in_chans, c.img_size, c.img_size),
        "patches": ("B", c.num_patches, row),
        "projected": ("B", c.num_patches, c.embed_dim),
        "stream": ("B", c.num_tokens, c.embed_dim),
        "hidden": ("B", c.num_tokens, 4 * c.embed_dim),
        "token": ("B", c.embed_dim),
        "logits": ("B", c.num_classes),
    }


LETTERS = {
    "image": "(B, C, H, W)",
    "patches": "(B, N, P²C)",
    "projected": "(B, N, D)",
    "stream": "(B, T, D)",
    "hidden": "(B, T, 4D)",
    "token": "(B, D)",
    "logits": "(B, K)",
}


def strip(
    d: Drawing, y: float, columns: dict[float, str], *variants: str
) -> None:
    """Write the shape at each step: in letters, then a line a model."""
    rows = {"shape": LETTERS}
    for name in variants:
        known = shapes(VARIANTS[name])
        label = name if "Book" in name else f"ViT-{name}"
        rows[label] = {
            step: f"({', '.join(map(str, shape))})"
            for step, shape in known.items()
        }
    for label, known in rows.items():
        d.text(14, y, label, size=12, kind="quiet", anchor="start")
        for x, step in columns.items():
            d.text(x, y + 17, known[step], bold=known is LETTERS)
        y += 41


def paper(height: int) -> Drawing:
    """Return an empty drawing for a phone, in its pixels."""
    return Drawing("", "", "", 360, height)


def table(d: Drawing, y: float, steps: dict[str, str], *variants: str) -> None:
    """Write the same shapes for a phone: a line a step, a column a model."""
    columns = {"shape": LETTERS}
    for name in variants:
        label = name if "Book" in name else f"ViT-{name}"
        columns[label] = {
            step: f"({', '.join(map(str, shape))})"
            for step, shape in shapes(VARIANTS[name]).items()
        }
    for n, name in enumerate(steps, start=1):
        d.text(14, y + 21 * n, name, size=12, kind="quiet", anchor="start")
    places = (113, 208, 306)
    for x, (label, known) in zip(places, columns.items(), strict=True):
        d.text(x, y, label, size=12, kind="quiet")
        for n, step in enumerate(steps.values(), start=1):
            d.text(x, y + 21 * n, known[step], size=12, bold=known is LETTERS)


def picture(d: Drawing, x: float, y: float, cell: float, gap: float) -> None:
    """Draw an image of nine patches, numbered in reading order."""
    for n in range(SIDE**2):
        i, j = divmod(n, SIDE)
        at = x + j * (cell + gap), y + i * (cell + gap)
        d.rect(*at, cell, cell, "patch-deep", round=2, opacity=shade(n))
        if cell > 20:
            d.text(at[0] + cell / 2, at[1] + cell / 2 + 5, str(n), size=12)


def shade(n: int) -> float:
    """Return how strong patch n is drawn, so that patches can be told."""
    i, j = divmod(n, SIDE)
    return (0.4, 0.25, 0.12)[abs(i - j)]


def rows(
    d: Drawing, x: float, y: float, width: float, *, first: bool = False
) -> None:
    """Draw a row for each patch, and the class token in front if asked."""
    for n in range(-first, SIDE**2):
        kind = "class" if n < 0 else "patch-deep"
        opacity = 1 if n < 0 else shade(n)
        d.rect(x, y, width, 10, kind, round=2, opacity=opacity)
        y += 13
