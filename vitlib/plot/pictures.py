"""Pictures: images, their patches, and maps on one colour scale."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from vitlib._checks import check_patches
from vitlib.plot._style import Values, bare, check_some, panels, to_numpy


def _picture(image: Values) -> np.ndarray:
    """Bring an image (C, H, W), uint8 or 0-1, to what imshow takes."""
    array = np.moveaxis(to_numpy(image), 0, -1)  # (H, W, C)
    if array.dtype != np.uint8:
        if array.dtype.kind in "iu":
            raise ValueError(
                f"images must be uint8, or floats 0 to 1; got {array.dtype}"
            )
        array = array.clip(0, 1)
    return array[..., 0] if array.shape[-1] == 1 else array


def _show(ax: Axes, image: Values, label: str = "") -> None:
    """Draw one image (C, H, W) without axes, its label below."""
    array = _picture(image)
    ax.imshow(array, cmap="gray", vmin=0, vmax=_white(array))
    bare(ax, label)


def _white(array: np.ndarray) -> float:
    """The value of white, by the dtype."""
    return 255 if array.dtype == np.uint8 else 1.0


def _shared_scale(
    arrays: Sequence[np.ndarray], vmin: float | None, vmax: float | None
) -> tuple[float, float]:
    """Find the ends of one scale for all, where they are not given."""
    low = min(map(np.nanmin, arrays)) if vmin is None else vmin
    high = max(map(np.nanmax, arrays)) if vmax is None else vmax
    return low, high


def images(
    batch: Sequence[Values] | Tensor,
    labels: Sequence[str] = (),
    ncols: int | None = None,
) -> Figure:
    """Show images side by side.

    Args:
        batch: images (C, H, W), uint8 or floats from 0 to 1; sizes may
            differ.
        labels: a line below each.
        ncols: images a row; all in one row if None.

    Returns:
        The figure.
    """
    check_some(batch=batch)
    height, width = to_numpy(batch[0]).shape[1:]
    fig, axes = panels(len(batch), ncols, height / width)
    for index, (ax, image) in enumerate(zip(axes, batch, strict=True)):
        _show(ax, image, labels[index] if labels else "")
    return fig


def patches(image: Values, patch_size: int, gap: int | None = None) -> Figure:
    """Show an image with its patch grid, beside its patches set apart.

    Args:
        image: (C, H, W), uint8 or floats from 0 to 1.
        patch_size: P, in pixels.
        gap: white space between patches, in pixels; P / 4 if None.

    Returns:
        The figure.
    """
    array = _picture(image)
    height, width = array.shape[:2]
    check_patches(height, width, patch_size)
    gap = max(1, patch_size // 4) if gap is None else gap
    rows, columns = height // patch_size, width // patch_size
    step = patch_size + gap
    shape = rows * step - gap, columns * step - gap, *array.shape[2:]
    apart = np.full(shape, _white(array), array.dtype)
    for row in range(rows):
        for column in range(columns):
            y, x = row * patch_size, column * patch_size
            apart[
                row * step : row * step + patch_size,
                column * step : column * step + patch_size,
            ] = array[y : y + patch_size, x : x + patch_size]
    fig, (left, right) = panels(2, 2, height / width)
    grey = {"cmap": "gray", "vmin": 0, "vmax": _white(array)}
    left.imshow(array, **grey)
    bare(left, f"{height}x{width} pixels")
    for x in range(patch_size, width, patch_size):
        left.axvline(x - 0.5, color="white", linewidth=0.8)
    for y in range(patch_size, height, patch_size):
        left.axhline(y - 0.5, color="white", linewidth=0.8)
    right.imshow(apart, **grey)
    bare(right, f"{rows}x{columns} patches of {patch_size}x{patch_size}")
    return fig


def heatmaps(
    maps: Sequence[Values] | Tensor,
    labels: Sequence[str] = (),
    ncols: int | None = None,
    colorbar: str = "",
    vmin: float | None = None,
    vmax: float | None = None,
    cmap: str = "viridis",
    xlabel: str = "",
    ylabel: str = "",
) -> Figure:
    """Show matrices on one shared colour scale.

    Args:
        maps: matrices (rows, columns).
        labels: a line above each.
        ncols: matrices a row; all in one row if None.
        colorbar: what the colour means, with its unit.
        vmin: lower end of the scale; the smallest value if None.
        vmax: upper end of the scale; the largest value if None.
        cmap: matplotlib's name of the colour map; a diverging one wants
            vmin = -vmax.
        xlabel: meaning of the columns.
        ylabel: meaning of the rows.

    Returns:
        The figure.
    """
    arrays = [to_numpy(matrix) for matrix in maps]
    check_some(maps=arrays)
    rows, columns = arrays[0].shape
    single = len(arrays) == 1
    fig, axes = panels(len(arrays), ncols, 0.7 if single else rows / columns)
    low, high = _shared_scale(arrays, vmin, vmax)
    for index, (ax, array) in enumerate(zip(axes, arrays, strict=True)):
        picture = ax.imshow(array, vmin=low, vmax=high, cmap=cmap)
        ax.set(xlabel=xlabel, ylabel=ylabel)
        ax.grid(False)
        ax.spines[:].set_visible(False)
        if not single:
            ax.set(xticks=[], yticks=[])
        if labels:
            ax.set_title(labels[index])
    fig.colorbar(picture, ax=axes, label=colorbar, shrink=0.9)
    return fig


def overlay(
    image: Values,
    maps: Sequence[Values] | Tensor,
    labels: Sequence[str] = (),
    ncols: int | None = None,
    colorbar: str = "",
    vmin: float | None = None,
    vmax: float | None = None,
) -> Figure:
    """Lay maps over a greyed image, on one shared colour scale.

    Args:
        image: (C, H, W), uint8 or floats from 0 to 1.
        maps: grids (gh, gw), one value a patch; each patch keeps its edges.
        labels: a line below each.
        ncols: panels a row; all in one row if None.
        colorbar: what the colour means, with its unit.
        vmin: lower end of the scale; the smallest value if None.
        vmax: upper end of the scale; the largest value if None.

    Returns:
        The figure.
    """
    grids = [to_numpy(grid) for grid in maps]
    check_some(maps=grids)
    picture = _picture(image)
    grey = picture if picture.ndim == 2 else picture.mean(axis=-1)
    height, width = grey.shape
    fig, axes = panels(len(grids), ncols, height / width)
    low, high = _shared_scale(grids, vmin, vmax)
    for index, (ax, grid) in enumerate(zip(axes, grids, strict=True)):
        ax.imshow(grey, cmap="gray")
        shown = ax.imshow(
            grid,
            vmin=low,
            vmax=high,
            alpha=0.6,
            extent=(-0.5, width - 0.5, height - 0.5, -0.5),
        )
        bare(ax, labels[index] if labels else "")
    bar = fig.colorbar(shown, ax=axes, label=colorbar, shrink=0.9)
    bar.solids.set(alpha=1)
    return fig
