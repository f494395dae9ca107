"""Arrays and pictures in a widget's data file, and back."""

from __future__ import annotations

import base64
import io
import zlib
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

Widget = dict[str, Any]


def packed(arrays: dict[str, Tensor]) -> Widget:
    """Join arrays of bytes: base64 of zlib, and the shape of each."""
    parts = [array.contiguous().numpy().tobytes() for array in arrays.values()]
    text = base64.b64encode(zlib.compress(b"".join(parts), 9)).decode()
    return {
        "shapes": {name: list(array.shape) for name, array in arrays.items()},
        "packed": text,
    }


def picture(image: Tensor) -> str:
    """An image (C, H, W) of bytes as a data address."""
    from PIL import Image

    array = rearrange(image, "c h w -> h w c").numpy().squeeze()
    file, kind = io.BytesIO(), "png" if len(array) < 100 else "jpeg"
    Image.fromarray(array).save(file, kind)
    text = base64.b64encode(file.getvalue()).decode()
    return f"data:image/{kind};base64,{text}"


def unpack(widget: Widget) -> dict[str, Tensor]:
    """Give back the arrays that packed joined."""
    raw = zlib.decompress(base64.b64decode(widget["packed"]))
    everything, arrays, start = (
        torch.frombuffer(bytearray(raw), dtype=torch.uint8),
        {},
        0,
    )
    for name, shape in widget["shapes"].items():
        size = torch.Size(shape).numel()
        arrays[name] = everything[start : start + size].reshape(shape)
        start += size
    return arrays
