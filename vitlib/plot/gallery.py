"""Pictures in a row, and below each what was made of it."""

from collections.abc import Mapping, Sequence

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from vitlib.plot._style import WIDTH, Values, bare, check_some, to_numpy
from vitlib.plot.pictures import _shared_scale, _show


def gallery(
    pictures: Sequence[Values],
    rows: Mapping[str, Sequence[Values]],
    colorbar: str,
    vmin: float | None = 0,
    vmax: float | None = None,
) -> Figure:
    """Show pictures, and rows of their maps on one shared colour scale.

    Args:
        pictures: (C, H, W) each, uint8 or floats from 0 to 1.
        rows: name -> one map (rows, columns) a picture.
        colorbar: what the colour means, with its unit.
        vmin: lower end of the scale; the smallest value if None.
        vmax: upper end of the scale; the largest value if None. Values
            above share its colour, and the bar ends in an arrow.

    Returns:
        The figure.
    """
    check_some(pictures=pictures, rows=rows)
    maps = [[to_numpy(one) for one in row] for row in rows.values()]
    flat = [one for row in maps for one in row]
    low, high = _shared_scale(flat, vmin, vmax)
    height, width = to_numpy(pictures[0]).shape[1:]
    count = len(pictures)
    panel = 0.88 * WIDTH / count * height / width + 0.1
    fig, axes = plt.subplots(
        1 + len(maps),
        count,
        figsize=(WIDTH, panel * (1 + len(maps))),
        squeeze=False,
    )
    for ax, picture in zip(axes[0], pictures, strict=True):
        _show(ax, picture)
    for line, name, row in zip(axes[1:], rows, maps, strict=True):
        for ax, one in zip(line, row, strict=True):
            shown = ax.imshow(one, vmin=low, vmax=high)
            bare(ax)
        line[0].set_ylabel(name)
    extend = "max" if max(one.max() for one in flat) > high else "neither"
    fig.colorbar(
        shown, ax=axes, label=colorbar, shrink=0.9, aspect=30, extend=extend
    )
    return fig
