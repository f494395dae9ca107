"""The photographs that scikit-image and scikit-learn carry, with credits.

Rank 0: imports nothing from the package.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor


class Photograph(NamedTuple):
    """A photograph that an installed package carries.

    Attributes:
        title: what it shows.
        author: whom to credit.
        licence: under which terms, as the package states them.
        source: the address the package gives; empty where it gives none.
        package: the package to install for it.
        file: its path from the folder of installed packages.
    """

    title: str
    author: str
    licence: str
    source: str
    package: str
    file: str

    @property
    def credit(self) -> str:
        """One line for a caption."""
        where = f", {self.source}" if self.source else ""
        return f"{self.title}: {self.author}, {self.licence}{where}"


# Credits: docstrings of skimage.data and sklearn/datasets/images/README.txt.
# That README names china.jpg's author for flower.jpg too, yet its links for
# flower.jpg lead to the pages of vultilion, who is credited here.
PHOTOGRAPHS = {
    "astronaut": Photograph(
        "The astronaut Eileen Collins",
        "NASA",
        "public domain",
        "https://flic.kr/p/r9qvLn",
        "scikit-image",
        "skimage/data/astronaut.png",
    ),
    "chelsea": Photograph(
        "Chelsea the cat",
        "Stefan van der Walt",
        "CC0",
        "",
        "scikit-image",
        "skimage/data/chelsea.png",
    ),
    "coffee": Photograph(
        "A cup of coffee, courtesy of Pikolo Espresso Bar",
        "Rachel Michetti",
        "CC0",
        "",
        "scikit-image",
        "skimage/data/coffee.png",
    ),
    "rocket": Photograph(
        "Launch of DSCOVR on a Falcon 9",
        "SpaceX",
        "public domain",
        "https://www.flickr.com/photos/spacexphotos/16511594820/",
        "scikit-image",
        "skimage/data/rocket.jpg",
    ),
    "china": Photograph(
        "A pagoda in China",
        "danielbuechele",
        "CC BY 2.0",
        "https://www.flickr.com/photos/danielbuechele/6061409035/",
        "scikit-learn",
        "sklearn/datasets/images/china.jpg",
    ),
    "flower": Photograph(
        "A dahlia",
        "vultilion",
        "CC BY 2.0",
        "https://www.flickr.com/photos/vultilion/6056698931/",
        "scikit-learn",
        "sklearn/datasets/images/flower.jpg",
    ),
}


def read_photograph(entry: Photograph, size: tuple[int, int]) -> Tensor:
    """Read one, cover the size with it, and cut out the middle.

    Args:
        entry: a value of PHOTOGRAPHS.
        size: (H, W) in pixels.

    Returns:
        uint8 (3, H, W).

    Raises:
        ImportError: if the package that carries it is not installed.
    """
    import numpy as np
    from PIL import Image, ImageOps

    package, _, path = entry.file.partition("/")
    found = find_spec(package)  # where it lies, without importing it
    if found is None or found.origin is None:
        raise ImportError(
            f"{path} is part of {entry.package}: pip install {entry.package}"
        )
    with Image.open(Path(found.origin).parent / path) as image:
        # Bicubic over the whole footprint of a pixel: no aliasing.
        fitted = ImageOps.fit(
            image.convert("RGB"), (size[1], size[0]), Image.Resampling.BICUBIC
        )
    pixels = torch.from_numpy(np.array(fitted))  # (H, W, 3)
    return rearrange(pixels, "h w c -> c h w").contiguous()
