"""Chapter 8: a trained model on disk, as safetensors.

Numbers and text only: nothing in such a file can run.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitlib._checks import check_choice, check_finite
from vitlib._whole import whole_file
from vitlib.config import ViTConfig
from vitlib.counts import parameter_counts
from vitlib.model import VisionTransformer

BOOK_WEIGHTS = Path(__file__).parent / "_weights" / "book.safetensors"
MOST = 2**24  # numbers of a table that any file may ask for
LEAST = 11  # tensors of a block; without the bias of q, k and v
DTYPES = ("torch.float16", "torch.bfloat16", "torch.float32", "torch.float64")


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
        ValueError: if a weight is NaN or infinite, or would be in dtype; if
            load_model could not read the file.
    """
    from safetensors.torch import save

    check_choice("dtype", str(dtype), DTYPES)
    if "config" in notes:
        raise ValueError("no note may be called config: the model's own is")
    model = getattr(model, "_orig_mod", model)  # torch.compile's
    state = {k: v.to(dtype).cpu() for k, v in model.state_dict().items()}
    for name, value in state.items():
        check_finite(value, name)
    check_places(state, model.config)
    state = {k: v.contiguous() for k, v in state.items()}
    notes["config"] = asdict(model.config)
    metadata = {name: json.dumps(value) for name, value in notes.items()}
    with whole_file(Path(path)) as draft:  # its own save_file hides files
        draft.write_bytes(save(state, metadata))


def check_places(state: dict[str, Tensor], config: ViTConfig) -> None:
    """Refuse tensors that the model of a configuration has no place for."""
    with torch.device("meta"):
        own = VisionTransformer(config).state_dict()
    for name in own | state:
        sizes = [tuple(x[name].shape) for x in (state, own) if name in x]
        if len(sizes) < 2 or sizes[0] != sizes[1]:
            raise ValueError(
                "the weights must be those of model.config; they differ in "
                f"{name}: {' is not '.join(map(str, sizes))}"
            )


def check_depth(config: ViTConfig, tensors: int) -> None:
    """Refuse more blocks than a file of so many tensors can fill."""
    if config.depth * LEAST > tensors:
        raise ValueError(
            f"depth={config.depth} asks for {LEAST} tensors or more a block; "
            f"the file has {tensors:,} in all"
        )


def check_notes(notes: dict[str, Any], config: ViTConfig) -> None:
    """Refuse classes, mean and std that do not fit the model; drop None."""
    for name in ("classes", "mean", "std"):
        if notes.get(name) is None:
            notes.pop(name, None)
    for name in notes.keys() & {"mean", "std"}:
        found = notes[name]
        number = found if isinstance(found, list) else [None]
        if len(number) != config.in_chans or not all(
            type(x) in (int, float) and abs(x) < 1e15 for x in number
        ):
            raise ValueError(
                f"its {name} must be {config.in_chans} numbers; got {found!r}"
            )
    found = notes.get("classes", [])
    if not isinstance(found, list) or not all(type(x) is str for x in found):
        raise ValueError(f"its classes must be names; got {found!r}")


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
        check_depth(config, len(state))
        check_notes(notes, config)
        model = VisionTransformer(config).float()
        model.load_state_dict({k: v.float() for k, v in state.items()})
    except (
        AttributeError, KeyError, OverflowError, RuntimeError,
        SafetensorError, TypeError, ValueError,
    ) as error:  # fmt: skip
        raise ValueError(
            f"{path} holds no model of this book: {error}"
        ) from error
    return model.eval(), notes
