"""Charts: curves, bars and histograms, with units on their axes."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from vitlib.plot._style import WIDTH, Values, log_axis, to_numpy

MARKERS = "osD^vP"


def curves(
    series: Mapping[str, tuple[Values, Values]],
    xlabel: str,
    ylabel: str,
    log: str = "",
    reference: Mapping[str, float] | None = None,
    markers: bool = True,
    xticks: Sequence[float] = (),
) -> Figure:
    """Draw one line a series, told apart by colour and marker.

    Args:
        series: name -> (x, y); y may have several rows, such as one a
            seed: then the line is their mean, and each value is a dot. NaN
            stands for a value that is missing.
        xlabel: what x is, with its unit.
        ylabel: what y is, with its unit.
        log: axes with a logarithmic scale: "", "x", "y" or "xy".
        reference: name -> y of a dashed level, such as chance.
        markers: whether to mark the points; False for long series.
        xticks: the values written on the x axis; matplotlib's if empty.

    Returns:
        The figure.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 0.55 * WIDTH))
    for index, (name, (x, y)) in enumerate(series.items()):
        marker = MARKERS[index % len(MARKERS)] if markers else ""
        x, rows = to_numpy(x), np.atleast_2d(to_numpy(y))
        (line,) = ax.plot(x, np.nanmean(rows, 0), marker=marker, label=name)
        if len(rows) > 1:
            ax.plot(x, rows.T, ".", color=line.get_color(), alpha=0.6)
    levels = (reference or {}).items()
    for (name, level), dash in zip(levels, cycle(("--", ":", "-."))):
        ax.axhline(level, color="#5b6470", linestyle=dash, label=name)
    for axis in log:
        log_axis(getattr(ax, f"{axis}axis"))
    if len(xticks):
        ax.set_xticks(xticks, [f"{tick:,g}" for tick in xticks])
        ax.set_xticks([], minor=True)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if len(series) + len(reference or {}) > 1:
        ax.legend()
    return fig


def history(
    logs: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Figure:
    """Draw how runs went: loss in training, accuracy on held-out images.

    Args:
        logs: name -> the records that vitlib.train.fit returns, or
            vitlib.records.read_log reads.

    Returns:
        The figure, two panels side by side.
    """
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 0.42 * WIDTH))
    for index, (name, records) in enumerate(logs.items()):
        epochs = [r for r in records if r["event"] == "epoch"]
        scored = [r for r in epochs if "accuracy" in r]
        style = {"marker": MARKERS[index % len(MARKERS)], "label": name}
        for ax, rows, key, scale in (
            (axes[0], epochs, "train_loss", 1),
            (axes[1], scored, "accuracy", 100),
        ):
            y = [scale * row[key] for row in rows]
            ax.plot([row["epoch"] for row in rows], y, **style)
    axes[0].set(xlabel="epoch", ylabel="training loss (nats)")
    axes[1].set(xlabel="epoch", ylabel="held-out accuracy (%)")
    if len(logs) > 1:
        axes[0].legend()
    return fig


def bars(
    values: Mapping[str, float | Sequence[float]],
    xlabel: str,
    reference: Mapping[str, float] | None = None,
    decimals: int = 2,
    from_zero: bool = True,
) -> Figure:
    """Draw one horizontal bar a name, with its value written out.

    Args:
        values: name -> value, or several values, such as one a seed: then
            the bar is their mean, and each is a dot.
        xlabel: what the values are, with their unit.
        reference: name -> value of a dashed line, such as chance.
        decimals: digits after the point in the written values.
        from_zero: False draws a stroke at the end of each bar alone, on an
            axis that fits the values: for differences that bars would hide.

    Returns:
        The figure.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 0.8 + 0.34 * len(values)))
    stroke = {"color": "#0b6e8f", "markersize": 15, "markeredgewidth": 3}
    for row, value in enumerate(values.values()):
        points = np.atleast_1d(to_numpy(value))
        mean = points.mean()
        if from_zero:
            ax.barh(row, mean, color="#0b6e8f", height=0.62)
        else:
            ax.plot(mean, row, "|", **stroke)
        ax.annotate(
            f"{mean:,.{decimals}f}",
            (max(mean, points.max(), 0), row),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
        )
        if len(points) > 1:
            ax.plot(points, [row] * len(points), ".", color="#d1672c")
    for name, level in (reference or {}).items():
        ax.axvline(level, color="#5b6470", linestyle="--", label=name)
    if reference:
        fig.legend(loc="outside upper right")
    ax.set_yticks(range(len(values)), list(values))
    ax.set(xlabel=xlabel)
    ax.margins(x=0.14)
    ax.grid(axis="y", visible=not from_zero)
    ax.invert_yaxis()
    return fig


def stack(
    x: Values,
    parts: Mapping[str, Values],
    xlabel: str,
    ylabel: str,
    share: bool = False,
) -> Figure:
    """Draw parts of a whole, one on top of the other, along x.

    Args:
        x: where the whole was split.
        parts: name -> values, not negative, as many as x.
        xlabel: what x is, with its unit.
        ylabel: what the parts are, with their unit.
        share: whether to draw each part's share of the whole, 0 to 1.

    Returns:
        The figure.
    """
    heights = np.stack([to_numpy(part) for part in parts.values()])
    if share:
        heights = heights / heights.sum(axis=0)
    fig, ax = plt.subplots(figsize=(WIDTH, 0.55 * WIDTH))
    ax.stackplot(to_numpy(x), heights, labels=list(parts), alpha=0.9)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.margins(x=0)
    handles, names = ax.get_legend_handles_labels()
    fig.legend(
        handles[::-1], names[::-1], loc="outside right upper", frameon=False
    )
    return fig


def histograms(
    samples: Mapping[str, Values], xlabel: str, bins: int = 60
) -> Figure:
    """Draw the densities of samples over one another, with shared bins.

    Args:
        samples: name -> values of any shape.
        xlabel: what the values are, with their unit.
        bins: number of bins over the joint range.

    Returns:
        The figure.
    """
    arrays = {name: to_numpy(s).ravel() for name, s in samples.items()}
    edges = np.histogram_bin_edges(
        np.concatenate(list(arrays.values())), bins=bins
    )
    fig, ax = plt.subplots(figsize=(WIDTH, 0.5 * WIDTH))
    for name, array in arrays.items():
        ax.hist(array, edges, density=True, alpha=0.55, label=name)
    ax.set(xlabel=xlabel, ylabel="density")
    ax.legend()
    return fig
