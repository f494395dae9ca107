"""Chapters 12 to 15: what one pass shows, in numbers and in figures."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from vitlib import inspection as look
from vitlib.model import VisionTransformer

COMPONENTS = 28  # as many as the paper's Figure 7 shows
TILES = 7  # rows of tiles at most; of a larger grid every k-th is drawn
SHUFFLES = 19
CLIP = 0.98  # of the values of maps lie within their colour scale


class View:
    """What one pass of a model over a picture shows of its attention."""

    def __init__(self, model: VisionTransformer, x: Tensor) -> None:
        self.model, self.config = model, model.config
        self.distances, self.token_shares = [], []  # (h,) a layer
        self.rollout, self.later = look.Rollout(), look.Rollout(skip=1)
        each = [self._measure, self.rollout]
        if self.config.depth > 1:
            each.append(self.later)
        self.tokens = look.stream(model, x, *each)

    def _measure(self, weights: Tensor) -> None:
        grid, P = self.config.grid_size, self.config.patch_size
        pixels = look.attention_distance(weights, grid, P)
        self.distances.append(pixels[0].tolist())
        if self.config.class_token:
            share = look.class_token_share(weights, grid)
            self.token_shares.append(share[0])
        self.last = weights[0]  # (h, T, T); the last layer's stays

    def maps(self, matrices: Tensor) -> Tensor:
        """Read (B, T, T) as maps (B, gh, gw), in uniform shares."""
        T = matrices.shape[-1]
        return look.class_map(matrices, self.config) * T

    def numbers(self) -> dict[str, Any]:
        """What goes into inspect.json; a row a layer, a column a head."""
        rolled = self.maps(self.rollout.result)[0]
        peak = int(rolled.argmax())
        return {
            "attention_distance_px": self.distances,
            "class_token_share": [s.tolist() for s in self.token_shares],
            "rollout_peak_in_uniform_shares": float(rolled.max()),
            "rollout_peak_row_column": list(divmod(peak, rolled.shape[1])),
            "filter_variance_explained": self.filters.explained.tolist(),
            "position_similarity": self._groups(),
        }

    @cached_property
    def filters(self):
        """The filters' principal components; the first ones."""
        rows = self.model.patch_embed.proj.weight.detach()
        found = look.principal_components(rows, self.config.in_chans)
        return type(found)(*(part[:COMPONENTS] for part in found))

    @cached_property
    def tiles(self) -> Tensor:
        """Similarity of positions, (gh, gw, gh, gw)."""
        table = look.grid_positions(self.model)
        return look.position_similarity(table, self.config.grid_size)

    @property
    def has_table(self) -> bool:
        """Whether there are positions to compare."""
        return self.config.pos_embed not in ("none", "relative")

    def _groups(self) -> dict[str, Any] | None:
        if not self.has_table:
            return None
        groups = look.similarity_groups(self.tiles, SHUFFLES)
        return {name: group._asdict() for name, group in groups.items()}


def figures(
    pixels: Tensor, views: Mapping[str, View]
) -> Iterator[tuple[str, Any]]:
    """Draw a picture's views, all on shared scales.

    Args:
        pixels: uint8 (C, H, W), what the models saw.
        views: name -> what a model's pass showed; the first is the one
            asked about, the others are its control.

    Yields:
        A name and a figure, one after another.
    """
    from vitlib import plot

    first = next(iter(views.values()))
    config, depth = first.config, first.config.depth
    yield "picture", plot.images([pixels])
    heads = {
        f"{name}, head {head}": grid
        for name, view in views.items()
        for head, grid in enumerate(view.maps(view.last), 1)
    }
    title = f"attention in layer {depth}, uniform = 1"
    yield "attention", _overlay(pixels, heads, title, config.num_heads)
    rolled = {}
    for name, view in views.items():
        rolled[name] = view.maps(view.rollout.result)[0]
        if view.later.result is not None:
            later = view.maps(view.later.result)[0]
            rolled[f"{name}, without layer 1"] = later
    yield "rollout", _overlay(pixels, rolled, "rollout, uniform = 1", 2)
    layers = list(range(1, depth + 1))
    dots = {
        name: (layers, torch.tensor(view.distances).T)  # (h, L)
        for name, view in views.items()
    }
    uniform = look.uniform_distance(config.grid_size, config.patch_size)
    yield (
        "distance",
        plot.curves(
            dots,
            "layer",
            "mean attention distance (pixels)",
            reference={"uniform attention": uniform},
        ),
    )
    groups = {
        name: look.component_pictures(view.filters.pictures)
        for name, view in views.items()
    }
    yield "filters", plot.filters(groups)
    if first.has_table:
        step = -(-max(config.grid_size) // TILES)
        tiles = [v.tiles[::step, ::step] for v in views.values()]
        options = {"colorbar": "cosine similarity", "vmin": -1, "vmax": 1}
        yield "positions", plot.tiles(tiles, list(views), **options)


def _overlay(
    pixels: Tensor, maps: Mapping[str, Tensor], title: str, heads: int
) -> Any:
    """Maps over the picture; the few largest values share the top colour."""
    from vitlib import plot

    grids = torch.stack(list(maps.values()))
    top = max(1.0, float(grids.quantile(CLIP)))
    columns = max(n for n in (1, 2, 3, 4) if heads % n == 0)
    return plot.overlay(
        pixels, grids, list(maps), columns, title, vmin=0, vmax=top
    )
