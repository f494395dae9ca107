"""Charts of means with their intervals."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from vitlib.plot._style import WIDTH, check_some
from vitlib.plot.charts import MARKERS


def intervals(
    series: Mapping[str, Mapping[str, Sequence[float]]],
    xlabel: str,
    zero: str = "",
) -> Figure:
    """Draw a mean and its interval for each name, one colour a series.

    Args:
        series: series -> name -> (mean, low, high); the names of the first
            series give the rows, from the top.
        xlabel: what the values are, with their unit.
        zero: what a dashed line at 0 stands for; none if empty.

    Returns:
        The figure.
    """
    check_some(series=series)
    names = list(next(iter(series.values())))
    height = 0.7 + len(names) * (0.16 + 0.1 * len(series))
    fig, ax = plt.subplots(figsize=(WIDTH, height))
    apart = 0.7 / len(series)
    for index, (label, rows) in enumerate(series.items()):
        found = np.array([rows[name] for name in names])  # (rows, 3)
        y = np.arange(len(names)) + apart * (index - (len(series) - 1) / 2)
        ax.errorbar(
            found[:, 0],
            y,
            xerr=(found[:, 0] - found[:, 1], found[:, 2] - found[:, 0]),
            fmt=MARKERS[index % len(MARKERS)],
            markersize=4,
            elinewidth=1.6,
            label=label,
        )
    if zero:
        ax.axvline(0, color="#5b6470", linestyle="--", label=zero)
    if zero or len(series) > 1:
        fig.legend(loc="outside upper center", ncols=3)
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel=xlabel)
    ax.grid(axis="y", visible=False)
    ax.set_ylim(len(names) - 0.4, -0.6)  # from the top, none on the frame
    return fig
