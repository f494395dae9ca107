"""Any picture that a person names, as the 8-bit tensor a model can take.

Rank 0: imports nothing from the package.
"""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image

# EPS and others that start a program are not read.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# A small file can claim far more. Reading so many takes about 1 GB of memory
# from a palette, 1.5 GB from RGB, 2 GB with transparency and 3 GB from 16
# bits or floats: Pillow keeps 4 bytes a pixel, and two or three copies.
MAX_PIXELS = 100_000_000
MODES = {1: "L", 3: "RGB"}


class BrokenPictureError(OSError):
    """A file that should be a picture cannot be decoded."""


def read_picture(
    path: str | Path, size: tuple[int, int], channels: int
) -> tuple[Tensor, list[str]]:
    """Read a picture, cover the size with it, and cut out the middle.

    Args:
        path: of the file.
        size: (H, W) in pixels.
        channels: 1 for grey, 3 for colour.

    Returns:
        uint8 (channels, H, W), and one line for each thing done to it.

    Raises:
        ValueError: if there is no such file, or the picture is too large.
        BrokenPictureError: if the file is damaged or no picture.
    """
    from PIL import Image, ImageOps

    Image.init()  # or only some of the formats are known
    path, log = Path(path), []
    if not path.is_file():
        raise ValueError(f"no picture at {path}")
    try:
        with warnings.catch_warnings():
            # the size is checked below, before anything is decoded
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(path, formats=FORMATS)
        with opened as image:
            log.append(f"{image.format}, {image.width}x{image.height} pixels")
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            if getattr(image, "n_frames", 1) > 1:
                log.append(f"first of {image.n_frames} frames taken")
            image.load()
            turned = ImageOps.exif_transpose(image)
            if image.getexif().get(0x0112, 1) != 1:  # the tag Orientation
                log.append("turned as its EXIF data say")
            plain = _flat(turned, log).convert(MODES[channels])
            fitted = ImageOps.fit(
                plain, (size[1], size[0]), Image.Resampling.BICUBIC
            )
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{path} is too large: at most {MAX_PIXELS:,} pixels are read; "
            "make it smaller first"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # damaged files break decoders anywhere
        raise BrokenPictureError(
            f"{path} is damaged or no picture ({', '.join(FORMATS)}): {error}"
        ) from error
    log.append(f"middle cut out and resized to {size[0]}x{size[1]} pixels")
    pixels = torch.from_numpy(np.array(fitted))
    layout = "h w -> 1 h w" if channels == 1 else "h w c -> c h w"
    return rearrange(pixels, layout).contiguous(), log


def _flat(image: "Image", log: list[str]) -> "Image":
    """Bring any mode to 8 bits without transparency."""
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        log.append(f"mode {image.mode} brought to 8 bits")
        return _eight_bits(image)
    if image.has_transparency_data:
        log.append("transparent parts laid on white")
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _eight_bits(image: "Image") -> "Image":
    """Scale 16-bit grey, or floats from 0 to 1, to 0 to 255."""
    from PIL import Image

    values = np.asarray(image).astype(np.float64)
    low, high = values.min(), values.max()
    if image.mode.startswith("I"):
        full = 255 if high <= 255 and image.mode == "I" else 65535
    else:
        full = 1
    if not 0 <= low <= high <= full:  # NaN, too
        raise ValueError(
            f"its values go from {low} to {high}, expected 0 to {full}"
        )
    return Image.fromarray((values * (255 / full)).round().astype(np.uint8))
