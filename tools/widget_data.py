"""Write the data of the book's widgets from its models.

    python tools/widget_data.py [names]     default: all of them

Each widget has one file in `book/_static/widgets/data/`, a script that sets
`vitWidgets.data[name]`, so that a page can read it from the file system too.
Run it again whenever the weights or the snapshots change, then read the
chapters' sentences about the widgets again.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from typing import Any

import matplotlib as mpl
import nbformat
import torch
from hygiene import ROOT
from safetensors.torch import load_file
from widget_attention import EXPLORERS, PRETRAINED
from widget_pack import Widget, packed, picture

from vitlib import VARIANTS, ViTConfig, data, flops, parameter_counts
from vitlib import inspection as look
from vitlib.pretrained import load
from vitlib.results import results_file

FOLDER = ROOT / "book" / "_static" / "widgets" / "data"
PATCH_SIZES = (4, 7, 8, 14, 16, 28, 32, 56, 112)
DRAWS = 5  # orders of the pieces of each garment
TILES = 6  # of the pretrained table, every sixth place is compared


def attention(name: str) -> Widget:
    """An attention explorer."""
    (facts, arrays), images, titles = EXPLORERS[name]()
    pictures = [picture(image) for image in images]
    return {"images": pictures, "titles": titles, **facts, **packed(arrays)}


def patches(_: str) -> Widget:
    """Chapter 2: what the patch size of ViT-B costs, by formula."""
    rows = []
    for P in PATCH_SIZES:
        config = ViTConfig(patch_size=P)
        part = flops(config)
        rows.append(
            {
                "patch": P,
                "patches": config.num_patches,
                "numbers": config.in_chans * P * P,
                "pairs": config.num_tokens**2,
                "parameters": sum(parameter_counts(config).values()),
                "attention": part["attention weights"],
                "layers": part["qkv and proj"] + part["MLP"],
                "embedding": part["patch_embed"],
                "total": sum(part.values()),
            }
        )
    photo = picture(data.photograph("coffee"))
    return {"image": photo, "size": VARIANTS["B/16"].img_size, "rows": rows}


def positions(_: str) -> Widget:
    """Chapter 13: tiles over training, and of the pretrained table."""
    kept = load_file(results_file("snapshots.safetensors"))
    epochs = sorted(int(k[5:-10]) for k in kept if k.endswith(".pos_embed"))
    book = [kept[f"epoch{e}.pos_embed"][0, 1:].float() for e in epochs]
    film = torch.stack([look.position_similarity(t, (7, 7)) for t in book])
    model, _ = load(PRETRAINED)
    grid = model.config.grid_size
    other = look.position_similarity(look.grid_positions(model), grid)
    arrays = {"book": film, "pretrained": other[::TILES, ::TILES][None]}
    as_bytes = {k: (127 + 127 * v).round().byte() for k, v in arrays.items()}
    return {"epochs": epochs, "step": TILES, **packed(as_bytes)}


def digest(text: str) -> str:
    """Twelve characters that stand for a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def cells_of(name: str, *cells: str) -> str:
    """Return the source of some cells of a chapter."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4)
    source = {cell.id: cell.source for cell in notebook.cells}
    return "\n".join(source[cell] for cell in cells)


def chapter(name: str, *cells: str) -> dict[str, Any]:
    """Run some cells of a chapter, and return what they define."""
    names: dict[str, Any] = {}
    exec(cells_of(name, *cells), names)  # the book's own code
    return names


CELLS = "imports shuffle shuffle-garments fit-cnn fit-vit fit-bag fit-check"


def shuffle(_: str) -> Widget:
    """Chapter 1: what the chapter's own three models say of shuffled ones."""
    cells = [f"p01-{cell}" for cell in CELLS.split()]
    names = chapter("01_end_of_cnn", *cells)
    test, mix, models = names["test"], names["shuffle_pieces"], names["models"]
    first = [int((test.labels == k).nonzero()[0]) for k in range(10)]
    images = test.images[first]  # (10, 1, 28, 28)
    orders, arrangements = {}, [images]
    for grid in names["GRIDS"][1:]:
        number = torch.arange(grid * grid).unflatten(0, (grid, grid))
        side = 28 // grid
        index = number.repeat_interleave(side, 0).repeat_interleave(side, 1)
        index = index.expand(10, 1, 28, 28)
        mixed = [mix(index, grid, seed) for seed in range(DRAWS)]
        orders[f"order{grid}"] = torch.stack(mixed)[:, :, 0, ::side, ::side]
        arrangements += [mix(images, grid, seed) for seed in range(DRAWS)]
    x = data.normalize(torch.cat(arrangements), *data.FASHION_MNIST_STATS)
    says = []
    with torch.no_grad():
        for model in models.values():
            share = model.eval()(x).softmax(dim=-1)  # (16 * 10, K)
            says.append(share.unflatten(0, (-1, 10)))
    arrays = {"says": (255 * torch.stack(says)).round(), **orders}
    return {
        "cells": digest(cells_of("01_end_of_cnn", *cells)),
        "images": [picture(image) for image in images],
        "classes": list(test.classes),
        "models": list(models),
        "grids": list(names["GRIDS"]),
        "draws": DRAWS,
        "accuracy": {
            k: [round(v, 1) for v in s] for k, s in names["live"].items()
        },
        **packed({name: array.byte() for name, array in arrays.items()}),
    }


WIDGETS = {
    "shuffle": shuffle,
    "patches": patches,
    **dict.fromkeys(EXPLORERS, attention),
    "positions": positions,
}


def make(name: str) -> Widget:
    """Make a widget's data anew."""
    return WIDGETS[name](name)


def read(name: str) -> Widget:
    """Read a widget's data from its file."""
    text = (FOLDER / f"{name}.js").read_text(encoding="utf-8")
    return json.loads(text.partition(" = ")[2].rstrip(";\n"))


def main() -> None:
    """Write the files of the named widgets, or of all."""
    mpl.use("Agg")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or WIDGETS:
        text = json.dumps(make(name), separators=(",", ":"))
        path = FOLDER / f"{name}.js"
        path.write_text(f'vitWidgets.data["{name}"] = {text};\n', "utf-8")
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
