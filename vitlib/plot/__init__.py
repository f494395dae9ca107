"""All of the book's figures: arrays in, a matplotlib figure out.

Nothing here computes a result, and nothing calls show.
"""

from vitlib.plot._style import save, use_style
from vitlib.plot.charts import bars, curves, histograms, history, stack
from vitlib.plot.diagrams import diagram
from vitlib.plot.gallery import gallery
from vitlib.plot.maps import filters, tiles
from vitlib.plot.pictures import heatmaps, images, overlay, patches
from vitlib.plot.ranges import intervals

__all__ = [
    "bars",
    "curves",
    "diagram",
    "filters",
    "gallery",
    "heatmaps",
    "histograms",
    "history",
    "images",
    "intervals",
    "overlay",
    "patches",
    "save",
    "stack",
    "tiles",
    "use_style",
]
