"""Mosaics: filters side by side, similarity of positions as tiles."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from vitlib.plot._style import Values, bare, check_some, panels, to_numpy
from vitlib.plot.pictures import heatmaps


def _mosaic(pictures: np.ndarray, ncols: int, gap: float) -> np.ndarray:
    """Lay pictures (K, H, W, C) out in rows, gaps of one value between."""
    count, height, width, channels = pictures.shape
    nrows = -(-count // ncols)
    shape = nrows * (height + 1) - 1, ncols * (width + 1) - 1, channels
    out = np.full(shape, gap)
    for index, picture in enumerate(pictures):
        y, x = divmod(index, ncols)
        y, x = y * (height + 1), x * (width + 1)
        out[y : y + height, x : x + width] = picture
    return out


def filters(
    groups: Mapping[str, Values], ncols: int = 7, panel_columns: int = 2
) -> Figure:
    """Show groups of small pictures, one mosaic a group.

    Args:
        groups: name -> pictures (K, C, P, P) from 0 to 1, in reading order.
        ncols: pictures a row of a mosaic.
        panel_columns: mosaics a row of the figure.

    Returns:
        The figure.
    """
    check_some(groups=groups)
    mosaics = [
        _mosaic(np.moveaxis(to_numpy(group), 1, -1), ncols, 1.0)
        for group in groups.values()
    ]
    ratio = max(m.shape[0] / m.shape[1] for m in mosaics)
    fig, axes = panels(len(mosaics), panel_columns, ratio)
    for ax, name, mosaic in zip(axes, groups, mosaics, strict=True):
        grey = mosaic.shape[-1] == 1
        shown = mosaic[..., 0] if grey else mosaic
        ax.imshow(shown, cmap="gray", vmin=0, vmax=1)
        bare(ax, name)
    return fig


def tiles(
    maps: Sequence[Values], labels: Sequence[str] = (), **options: Any
) -> Figure:
    """Show similarities of positions as mosaics of tiles, on one scale.

    Args:
        maps: (r, c, gh, gw) each: the tile at row r and column c shows how
            alike one place is to every place of the grid.
        labels: a line above each mosaic.
        options: see heatmaps.

    Returns:
        The figure.
    """
    mosaics = []
    for tile in map(to_numpy, maps):
        pictures = np.concatenate(list(tile))[..., None]
        mosaics.append(_mosaic(pictures, tile.shape[1], np.nan)[..., 0])
    return heatmaps(mosaics, labels, **options)
