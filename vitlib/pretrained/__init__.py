"""Chapter 11: weights that others trained, in the book's own model."""

import json
from pathlib import Path
from typing import Any

from vitlib._checks import check_choice
from vitlib.model import VisionTransformer
from vitlib.positions import RESIZE_MODES
from vitlib.pretrained._files import read_tensors
from vitlib.pretrained._fit import build, fit_head, infer_config
from vitlib.pretrained.hub import fetch
from vitlib.pretrained.layouts import detect, translate
from vitlib.pretrained.registry import REGISTRY, resize_mode
from vitlib.weights import BOOK_WEIGHTS, config_from_json

__all__ = ["load", "load_or_book"]


def load(
    name_or_path: str | Path,
    img_size: int | tuple[int, int] | None = None,
    num_classes: int | None = None,
    mode: str | None = None,
    num_heads: int | None = None,
) -> tuple[VisionTransformer, dict[str, Any]]:
    """Load a ViT that someone trained: by name, or from a file.

    Chapter 11. Layouts: this book's (save_model), timm, Hugging Face (ViT,
    Dinov2), torchvision, and the npz files of the paper's authors.

    Args:
        name_or_path: "book", a key of vitlib.pretrained.registry.REGISTRY,
            or a file.
        img_size: H = W in pixels, or (H, W); the positions are resized.
            None keeps the size of the file.
        num_classes: K; 0 drops the head, another K than the file's puts
            zeros in its place, None keeps what there is.
        mode: how to resize; see vitlib.positions.resize_positions. None
            takes the way of the model's makers, and bicubic for a file.
        num_heads: h, for files that do not say it.

    Returns:
        The model in eval mode, float32, and notes: what is known of it
        ("name", "source", "licence", "mean", "std", "parameters", ...), and
        "log", one line for each thing that was done to the weights.

    Raises:
        FileNotFoundError: if there is no such file.
        OSError: if a named file cannot be had; see hub.fetch.
        ValueError: says why the file is refused.
    """
    if mode is not None:
        check_choice("mode", mode, RESIZE_MODES)
    ours = {"name": str(name_or_path), "source": str(name_or_path)}
    if name_or_path in REGISTRY:
        path, entry = fetch(name_or_path)
        ours |= entry.notes
        if not entry.repo:
            del ours["source"]  # focus.prepare has put it into the file
        num_heads = entry.config.num_heads
    else:
        path = Path(name_or_path)
        if name_or_path == "book":
            path, ours["licence"] = BOOK_WEIGHTS, "MIT, as the book"
        if not path.is_file():
            raise FileNotFoundError(
                f"{name_or_path} is neither a file nor a known name: book, "
                f"{', '.join(REGISTRY)}"
            )
    model, more = load_file(path, num_classes, num_heads)
    # what the file says of itself does not replace what is known of it
    notes = {"licence": None, "mean": None, "std": None} | more | ours
    old = model.config.img_size
    if img_size not in (None, old):
        mode = mode or resize_mode(name_or_path)
        model = model.resized(img_size, mode)
        notes["log"].append(f"positions: {old} px to {img_size} px, {mode}")
    notes["parameters"] = sum(p.numel() for p in model.parameters())
    return model, notes


def load_file(
    path: str | Path, num_classes: int | None, num_heads: int | None
) -> tuple[VisionTransformer, dict[str, Any]]:
    """Read a file of any layout; arguments and returns as of load."""
    tensors, metadata = read_tensors(path)
    try:
        layout = detect(set(tensors), metadata)
        state, names, heads, log = translate(tensors, layout)
        notes: dict[str, Any] = {"layout": layout, "log": log}
        if layout == "vitlib":
            own = {key: json.loads(text) for key, text in metadata.items()}
            config = config_from_json(own.pop("config"))
            notes = own | notes
        else:
            config, lines = infer_config(state, heads or num_heads)
            log += lines
        config, lines = fit_head(state, config, num_classes)
        log += lines
        if config.num_classes != len(notes.get("classes") or ()):
            notes.pop("classes", None)  # of the head that went
        return build(state, config, names), notes
    except (
        KeyError, OverflowError, RuntimeError, TypeError, ValueError
    ) as error:  # fmt: skip
        lacks = "it lacks " if isinstance(error, KeyError) else ""
        raise ValueError(f"{path} was refused: {lacks}{error}") from error


def load_or_book(
    name: str, img_size: int | tuple[int, int] | None = None
) -> tuple[VisionTransformer, dict[str, Any]]:
    """Load a model by name, or the book's own where that cannot be had.

    Chapter 11. A line says so: the book's model sees grey images of 28x28
    pixels, whatever size was asked.

    Args:
        name: "book" or a key of vitlib.pretrained.registry.REGISTRY.
        img_size: as load takes it.

    Returns:
        As load does; notes["name"] says which model it is.

    Raises:
        ValueError: if there is no such name (the message lists them), or a
            file is not the one that was expected.
    """
    check_choice("name", name, ("book", *REGISTRY))
    try:
        return load(name, img_size)
    except (ImportError, OSError) as error:
        cause = str(error).partition("\n")[0]
        print(f"{name} is out of reach ({cause}): the book's own steps in")
        return load("book")
