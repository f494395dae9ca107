"""The attention explorers' data: what models see, image by image."""

from __future__ import annotations

from typing import Any

import torch
from einops import reduce
from torch import Tensor

from vitlib import VisionTransformer, data
from vitlib import inspection as look
from vitlib.pretrained import load

PRETRAINED = "dinov2-type-s14"
STEPS = 63  # levels of a weight: few, so that all 72 heads fit a page


def levels(rows: Tensor) -> Tensor:
    """Weights in steps of their row's largest; their sum undoes it."""
    return (STEPS * rows / rows.amax(dim=-1, keepdim=True)).round()


def by_block(rows: Tensor, side: int, block: int) -> Tensor:
    """Average queries (..., N, n) over squares of block x block patches."""
    pattern = "... (gh a gw b) n -> ... (gh gw) n"
    small = side // block
    return reduce(rows, pattern, "mean", gh=small, a=block, b=block, gw=small)


def with_class_row(matrix: Tensor, side: int, block: int) -> Tensor:
    """The class token's row, then the patches' rows, block by block."""
    patches = by_block(matrix[..., 1:, :], side, block)
    return torch.cat([matrix[..., :1, :], patches], dim=-2)


class Seen:
    """Give it to stream: keeps of each layer what an explorer shows.

    Args:
        model: whose weights come.
        block: see by_block.
        mean: whether to keep the mean over the heads, and single heads of
            layer 1 alone, in place of all heads.
    """

    def __init__(self, model: VisionTransformer, block: int, mean: bool):
        self.grid, self.patch = model.config.grid_size, model.config.patch_size
        self.pixels = look.pixel_distances(self.grid, self.patch).float()
        self.block, self.mean, self.layer = block, mean, 0
        self.names, self.rows, self.far, self.reach = [], [], [], []

    def __call__(self, weights: Tensor) -> None:
        """Take the next layer's weights (B, h, T, T)."""
        self.layer += 1
        heads = list(range(1, weights.shape[1] + 1))
        if self.mean:  # named head 0
            heads = [0, *heads] if self.layer == 1 else [0]
            every = weights.mean(dim=1, keepdim=True)
            weights = torch.cat([every, weights], dim=1)[:, : len(heads)]
        self.names += [[self.layer, head] for head in heads]
        rows = weights[..., 1:, 1:]
        reach = (rows * self.pixels).sum(dim=-1, keepdim=True)
        reach = reach / rows.sum(dim=-1, keepdim=True)  # (B, h, N, 1)
        side = self.grid[0]
        self.reach.append(by_block(reach, side, self.block)[..., 0])
        self.rows.append(levels(with_class_row(weights, side, self.block)))
        self.far.append(
            look.attention_distance(weights, self.grid, self.patch)
        )


def see(
    model: VisionTransformer,
    images: Tensor,
    block: int,
    mean: bool,
    skips: tuple[int, ...],
) -> tuple[Seen, dict[str, Tensor]]:
    """Run one model; return what was seen, and its arrays (B, ...)."""
    seen = Seen(model, block, mean)
    rolls = [look.Rollout(skip=skip) for skip in skips]
    look.stream(model, images, seen, *rolls)
    rolled = torch.stack([roll.result for roll in rolls], dim=1)
    arrays = {
        "attention": torch.cat(seen.rows, dim=1),  # (B, maps, 1 + Q, T)
        "rollout": levels(with_class_row(rolled, seen.grid[0], block)),
        "reach": (255 * torch.cat(seen.reach, dim=1) / seen.pixels.max()),
        "far": torch.cat(seen.far, dim=1),  # (B, maps), in pixels
    }
    return seen, arrays


def explorer(
    models: dict[str, VisionTransformer],
    images: Tensor,
    block: int = 1,
    mean: bool = False,
    skips: tuple[int, ...] = (0,),
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return an explorer's facts and arrays, by image, model and map."""
    runs = [see(m, images, block, mean, skips) for m in models.values()]
    seen = runs[0][0]
    arrays = {
        name: torch.stack([run[1][name] for run in runs], dim=1)
        for name in runs[0][1]
    }
    facts = {
        "models": list(models),
        "maps": seen.names,
        "side": seen.grid[0],
        "block": block,
        "patch": seen.patch,
        "longest": seen.pixels.max().item(),
        "uniform": look.uniform_distance(seen.grid, seen.patch),
        "far": arrays.pop("far").double().mul(100).round().div(100).tolist(),
        "skips": list(skips),
    }
    return facts, {name: a.round().byte() for name, a in arrays.items()}


def garments(count: int = 4) -> tuple[Tensor, list[str]]:
    """The first test pictures of as many classes, and their names."""
    test = data.load_sample()[1]
    places = [
        int((test.labels == k).nonzero()[0]) for k in (9, 0, 8, 5)[:count]
    ]
    return test.images[places], [test.classes[test.labels[p]] for p in places]


def photographs(*names: str) -> tuple[Tensor, list[str]]:
    """Photographs of 224 pixels, bytes, and their credits."""
    pixels = torch.stack([data.photograph(name, 224) for name in names])
    return pixels, [data.PHOTOGRAPHS[name].credit for name in names]


def book_and_twin() -> tuple[dict, Tensor, list[str], tuple]:
    """Chapter 5: the book's model beside one that was never trained."""
    model, notes = load("book")
    torch.manual_seed(0)
    models = {
        "trained": model,
        "untrained": VisionTransformer(model.config).eval(),
    }
    images, names = garments()
    x = data.normalize(images, notes["mean"], notes["std"])
    return explorer(models, x), images, names


def pretrained(*names: str, **options: Any) -> tuple[tuple, Tensor, list[str]]:
    """Chapters 14 and 15: the pretrained model on photographs."""
    model, notes = load(PRETRAINED, 224)
    pixels, credits = photographs(*names)
    x = data.normalize(pixels, notes["mean"], notes["std"])
    found = explorer({"pretrained": model}, x, block=2, **options)
    return found, pixels.float().mean(dim=1, keepdim=True).byte(), credits


EXPLORERS = {
    "attention-05": book_and_twin,
    "attention-14": lambda: pretrained("astronaut"),
    "attention-15": lambda: pretrained(
        "chelsea", "flower", mean=True, skips=(0, 1)
    ),
}
