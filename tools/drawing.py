"""Draw the book's diagrams as SVG: text as text, colours for both modes.

Each element carries its light colours as attributes, for viewers that drop
styles, and a class whose colours a style sheet in the file changes in the
dark: by the system's setting, or by the theme of a page that inlines it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from ink import FONT, SHAPES, WORDS, style


def spans(words: str) -> str:
    """Turn _{low} and ^{high} into smaller text, below and above the line."""
    parts = re.split(r"([_^])\{(.+?)\}", words)
    found, shift = [f"<tspan>{escape(parts[0])}</tspan>"], 0.0
    for mark, small, rest in zip(*[iter(parts[1:])] * 3, strict=True):
        move = 0.3 if mark == "_" else -0.4
        found.append(
            f'<tspan dy="{move:+}em" font-size="72%">{escape(small)}</tspan>'
        )
        shift = -0.72 * move
        if rest:
            found.append(f'<tspan dy="{shift:+.2f}em">{escape(rest)}</tspan>')
    return "".join(found) if len(parts) > 1 else escape(words)


@dataclass
class Drawing:
    """One diagram: its name, its words for those who do not see it."""

    name: str
    title: str
    about: str
    width: int
    height: int
    parts: list[str] = field(default_factory=list)
    narrow: Drawing | None = None  # the same for a phone, in its pixels

    def rect(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        kind: str,
        *,
        round: float = 4,
        opacity: float = 1,
        stroke: float = 1,
    ) -> None:
        """Draw a rectangle from its upper left corner."""
        fill, line, *_ = SHAPES[kind]
        faint = f' fill-opacity="{opacity:g}"' if opacity < 1 else ""
        self.parts.append(
            f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" '
            f'height="{height:g}" rx="{round:g}" fill="{fill}" '
            f'stroke="{line}" stroke-width="{stroke:g}"{faint}/>'
        )

    def grid(
        self, x: float, y: float, kinds: list[list[str]], cell: float = 10
    ) -> None:
        """Draw a tensor as cells; each row lists the kinds of its cells."""
        for i, row in enumerate(kinds):
            for j, kind in enumerate(row):
                name, _, opacity = kind.partition(" ")
                self.rect(
                    x + j * cell,
                    y + i * cell,
                    cell,
                    cell,
                    name,
                    round=0,
                    opacity=float(opacity or 1),
                    stroke=0.5,
                )

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = 13,
        kind: str = "ink",
        bold: bool = False,
        anchor: str = "middle",
    ) -> None:
        """Write one line; y is its base."""
        weight = ' font-weight="700"' if bold else ""
        self.parts.append(
            f'<text class="{kind}" x="{x:g}" y="{y:g}" font-size="{size:g}" '
            f'text-anchor="{anchor}" fill="{WORDS[kind][0]}"{weight}>'
            f"{spans(words)}</text>"
        )

    def box(
        self, x: float, y: float, w: float, h: float, kind: str, *lines: str
    ) -> None:
        """Draw a rectangle with centred lines, the first of them bold."""
        self.rect(x, y, w, h, kind, round=6)
        top = y + h / 2 - 8 * (len(lines) - 1) + 5
        for i, line in enumerate(lines):
            self.text(
                x + w / 2,
                top + 17 * i,
                line,
                bold=not i,
                size=12 if i else 14,
            )

    def path(self, *points: tuple[float, float], tip: bool = True) -> None:
        """Draw a line through points, with the tip of an arrow at its end."""
        *_, (x0, y0), (x1, y1) = points
        steps = " L".join(f"{x:g} {y:g}" for x, y in points)
        line = SHAPES["line"][1]
        self.parts.append(
            f'<path class="line" d="M{steps}" fill="none" stroke="{line}" '
            'stroke-width="1.5"/>'
        )
        if not tip:
            return
        length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
        u, v = (x1 - x0) / length, (y1 - y0) / length
        corners = " ".join(
            f"{x1 - 8 * u + s * v:g},{y1 - 8 * v - s * u:g}" for s in (4, -4)
        )
        self.parts.append(
            f'<polygon class="tip" points="{x1:g},{y1:g} {corners}" '
            f'fill="{line}" stroke="{line}"/>'
        )

    def group(self) -> str:
        """Return everything drawn, on a ground of its own."""
        ground = Drawing("", "", "", 0, 0)
        ground.rect(0.5, 0.5, self.width - 1, self.height - 1, "ground")
        return "\n".join([*ground.parts, *self.parts])

    def svg(self) -> str:
        """Return the file; in a page on a phone, it shows its narrow form."""
        name, small = f"vit-{self.name}", self.narrow
        return f"""\
<svg xmlns="http://www.w3.org/2000/svg" class="vit-diagram" role="img" \
data-name="{self.name}" aria-labelledby="{name}-title {name}-desc" \
viewBox="0 0 {self.width} {self.height}" preserveAspectRatio="xMidYMin" \
font-family="{FONT}">
<title id="{name}-title">{escape(self.title)}</title>
<desc id="{name}-desc">{escape(self.about)}</desc>
<style>
{style()}
@media screen and (max-width: 576px){{
html [data-name="{self.name}"]{{aspect-ratio:{small.width}/{small.height}}}
html .vit-diagram .wide{{display:none}}
html .vit-diagram .narrow{{display:inline}}
}}
</style>
<g class="wide">
{self.group()}
</g>
<g class="narrow" display="none" \
transform="scale({self.width / small.width:.5f})">
{small.group()}
</g>
</svg>
"""
