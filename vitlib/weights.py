"""Chapter 8: a trained model on disk, as safetensors.

Numbers and text only: nothing in such a file can run.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from vitlib._checks import check_finite
from vitlib._whole import whole_file
from vitlib.config import ViTConfig
from vitlib.counts import parameter_counts
from vitlib.model import VisionTransformer

BOOK_WEIGHTS = Path(__file__).parent / "_weights" / "book.safetensors"
MOST = 2**24  # numbers of a table that any file may ask for


def save_model(
    model: VisionTransformer,
    path: str | Path,
    dtype: torch.dtype = torch.float32,
    **notes: Any,
) -> None:
    """Write a model's weights and its configuration into one file.

    Chapter 8.

    Args:
        model: what to keep.
        path: of the file; replaced whole or not at all.
        dtype: of the weights in the file; float16 halves it.
        notes: what else the file should say, such as mean, std, classes;
            anything that JSON holds.

    Raises:
        OSError: if the file cannot be written; the one before it is whole.
        ValueError: if a weight is NaN or infinite, or would be in dtype.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    state = {k: v.to(dtype).cpu() for k, v in model.state_dict().items()}
    for name, value in state.items():
        check_finite(value, name)
    state = {k: v.contiguous() for k, v in state.items()}
    notes = {"config": asdict(model.config), **notes}
    metadata = {name: json.dumps(value) for name, value in notes.items()}
    with whole_file(Path(path)) as draft:
        try:
            save_file(state, draft, metadata)
        except SafetensorError as error:  # what it makes of a full disk
            raise OSError(str(error)) from error


def config_from_json(fields: dict[str, Any]) -> ViTConfig:
    """Make the configuration whose fields save_model wrote."""
    fields = dict(fields)
    if isinstance(fields["img_size"], list):  # JSON's pair
        fields["img_size"] = tuple(fields["img_size"])
    return ViTConfig(**fields)


def load_model(
    path: str | Path = BOOK_WEIGHTS,
) -> tuple[VisionTransformer, dict[str, Any]]:
    """Read a model that save_model wrote; by default the book's own.

    Chapter 8.

    Args:
        path: of the file.

    Returns:
        The model in eval mode, float32, and the notes.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, or not one of save_model's.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"no weights at {path}")
    try:
        with safe_open(path, "pt") as file:
            notes = {k: json.loads(v) for k, v in file.metadata().items()}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        config = config_from_json(notes["config"])
        there = sum(value.numel() for value in state.values())
        wanted = sum(parameter_counts(config).values())
        if wanted > 2 * there:  # before anything is built
            raise ValueError(
                f"its config asks for {wanted:,} parameters; the file has "
                f"{there:,} numbers"
            )
        table = config.num_tokens * config.embed_dim
        if config.pos_embed == "sincos" and table > 2 * there + MOST:
            raise ValueError(
                f"its config asks for {table:,} numbers of fixed positions; "
                f"the file has {there:,} in all"
            )
        model = VisionTransformer(config)
        model.load_state_dict({k: v.float() for k, v in state.items()})
    except (
        AttributeError, KeyError, OverflowError, RuntimeError,
        SafetensorError, TypeError, ValueError,
    ) as error:  # fmt: skip
        raise ValueError(
            f"{path} holds no model of this book: {error}"
        ) from error
    return model.eval(), notes
