"""Chapters 12 to 15: `python -m vitlib inspect`, a picture looked through."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitlib._inputs import reading
from vitlib._picture import MODES, read_picture
from vitlib._views import View, figures
from vitlib._whole import whole_folder
from vitlib.data import normalize
from vitlib.inspection import uniform_distance
from vitlib.model import VisionTransformer
from vitlib.pretrained import load
from vitlib.pretrained.registry import resize_mode

SEED = 0  # of the untrained control


def inspect(args: Namespace) -> dict[str, Any]:
    """Draw what a model does with a picture, beside an untrained one."""
    from vitlib import plot

    picture = Path(args.image)
    folder = Path(args.folder or f"inspect-{picture.stem}")
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ValueError(f"--folder {folder} exists and is no empty folder")
    model, notes = _model(args.weights, args.img_size)
    config = model.config
    P = config.patch_size
    size = (config.grid_size[0] * P, config.grid_size[1] * P)
    pixels, log = read_picture(picture, size, config.in_chans)
    x = normalize(pixels[None], notes["mean"], notes["std"])
    torch.manual_seed(SEED)
    views = {
        "trained": View(model, x),
        "untrained": View(VisionTransformer(config), x),
    }
    found = {
        "image": str(picture),
        "image_log": log,
        "img_size": list(size),
        "grid": list(config.grid_size),
        "weights": {k: v for k, v in notes.items() if k != "config"},
        "uniform_distance_px": uniform_distance(config.grid_size, P),
        **{name: view.numbers() for name, view in views.items()},
        "classes": _classes(model, views["trained"].tokens, notes),
    }
    with whole_folder(folder) as draft:
        plot.use_style()
        for name, figure in figures(pixels, views):
            plot.save(figure, draft / f"{name}.png")
        text = json.dumps(found, indent=2)
        (draft / "inspect.json").write_text(text, encoding="utf-8")
    files = sorted(str(path) for path in folder.iterdir())
    print(f"{picture} by {notes['name']}: wrote {', '.join(files)}")
    return {"folder": str(folder), "files": files, **found}


def _model(
    name: str, img_size: int | None
) -> tuple[VisionTransformer, dict[str, Any]]:
    """Load the weights; a file without mean and std gets the plain range."""
    with reading():
        model, notes = load(name)
    if img_size is not None:
        model = model.resized(img_size, resize_mode(name))
    if model.config.in_chans not in MODES:
        raise ValueError(
            f"{name} takes {model.config.in_chans} channels; a picture has "
            "1 or 3"
        )
    for key in ("mean", "std"):
        notes[key] = notes[key] or [0.5] * model.config.in_chans
    return model, notes


@torch.no_grad()
def _classes(
    model: VisionTransformer, tokens: Tensor, notes: dict[str, Any]
) -> list[dict[str, Any]]:
    """The five likeliest classes, where the model has a head."""
    if not model.config.num_classes:
        return []
    shares = model.forward_head(tokens)[0].softmax(dim=0)
    best = shares.topk(min(5, len(shares)))
    names = notes.get("classes") or [str(k) for k in range(len(shares))]
    return [
        {"class": names[k], "probability": p}
        for p, k in zip(*map(torch.Tensor.tolist, best), strict=True)
    ]
