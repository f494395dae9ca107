"""The book's look, and what both kinds of figures need."""

from collections.abc import Sequence, Sized
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatterSciNotation
from torch import Tensor

from vitlib._whole import whole_file

STYLE = Path(__file__).parents[1] / "vitlib.mplstyle"
WIDTH = 6.4  # inches: the width of the book's text

Values = Tensor | np.ndarray | Sequence[float]


def use_style() -> None:
    """Draw everything that follows in the book's style."""
    plt.style.use(STYLE)


def to_numpy(values: Values) -> np.ndarray:
    """Bring a tensor, of any device and float type, to numpy."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        small = values.is_floating_point() and values.element_size() < 4
        values = values.float() if small else values  # numpy lacks bfloat16
    return np.asarray(values)


def check_some(**groups: Sized) -> None:
    """Refuse to draw nothing: ValueError names the first empty one."""
    for name, group in groups.items():
        if not len(group):
            raise ValueError(f"{name} must hold at least one; got none")


def panels(
    count: int, ncols: int | None, ratio: float = 1.0
) -> tuple[Figure, list[Axes]]:
    """Lay out count panels; ratio is one panel's height by its width."""
    ncols = min(ncols or count, count)
    nrows = -(-count // ncols)
    height = WIDTH / ncols * ratio * nrows + 0.25 * nrows
    fig, axes = plt.subplots(
        nrows, ncols, figsize=(WIDTH, height), squeeze=False
    )
    for ax in axes.flat[count:]:
        ax.set_visible(False)
    return fig, list(axes.flat[:count])


def bare(ax: Axes, label: str = "") -> None:
    """Take ticks, grid and frame away; keep a label below."""
    ax.set(xticks=[], yticks=[], xlabel=label)
    ax.grid(False)
    ax.spines[:].set_visible(False)


class PlainLog(LogFormatterSciNotation):
    """Write 0.1, 1 and 1,000 where powers of ten would only be longer."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """Label a tick, or leave it bare where matplotlib would."""
        label = super().__call__(x, pos)
        low, high = self.axis.get_view_interval()
        plain = label and low > 5e-5 and high < 1e6
        return f"{x:,g}" if plain else label


def log_axis(axis: Axis) -> None:
    """Make an axis logarithmic, with plain numbers where they are short."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_formatter(PlainLog())
    axis.set_minor_formatter(PlainLog())


def save(fig: Figure, path: str | Path) -> None:
    """Write a figure to a file, whole or not at all, and let go of it.

    Args:
        fig: what one of this package's functions returned.
        path: of the file; its suffix says the format.
    """
    path = Path(path)
    with whole_file(path) as draft:
        fig.savefig(draft, format=path.suffix[1:] or None)
    plt.close(fig)
