"""Draw the README's figure: `python tools/readme_figure.py`."""

from __future__ import annotations

from hygiene import ROOT

from vitlib import data, plot

PATCH_SIZE = 32  # a 7x7 grid, as in the paper's Figure 7


def main() -> None:
    """Draw a photograph beside its patches, and store the picture."""
    plot.use_style()
    image = data.photograph("chelsea", size=224)
    figure = plot.patches(image, PATCH_SIZE)
    path = ROOT / "book" / "_static" / "readme.png"
    figure.savefig(path, metadata={"Software": None})
    print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
