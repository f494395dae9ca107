"""Chapter 16: all maps of the book side by side, and what needs no model."""

import torch
from einops import reduce
from torch import Tensor

from vitlib._checks import check_images
from vitlib.config import ViTConfig
from vitlib.inspection.flow import flow
from vitlib.inspection.relevance import (
    attention_relevance,
    attention_x_gradient,
    class_map,
    input_gradient,
    integrated_gradients,
    occlusion,
)
from vitlib.inspection.rollout import rollout
from vitlib.inspection.targets import Target, eval_mode
from vitlib.model import VisionTransformer

IG_STEPS = 8


@torch.no_grad()
def attention_maps(
    model: VisionTransformer, images: Tensor
) -> dict[str, Tensor]:
    """Make the maps that only look at attention weights.

    Chapter 16. They know of no class: "attention, last layer" and
    "attention, all layers" (mean over heads, and over layers), "rollout"
    and "flow".

    Args:
        model: its mode is restored.
        images: (B, C, H, W), normalised.

    Returns:
        Name -> (B, gh, gw).
    """
    with eval_mode(model, images):
        _, weights = model(images, need_weights=True)
    mean = torch.stack(
        [reduce(w, "b h i j -> b i j", "mean") for w in weights]
    )
    matrices = {
        "attention, last layer": mean[-1],
        "attention, all layers": mean.mean(dim=0),
        "rollout": rollout(weights),
    }
    maps = {k: class_map(m, model.config) for k, m in matrices.items()}
    token = model.config.global_pool == "token"
    sources = (0,) if token else range(mean.shape[-1])
    maps["flow"] = class_map(flow(weights, sources), model.config).to(images)
    return maps


def gradient_maps(
    model: VisionTransformer, images: Tensor, target: Target
) -> dict[str, Tensor]:
    """Make the maps that ask for the score's gradient, and need no fill.

    Chapter 16. "gradient x input" measures the input from its mean, 0 after
    normalisation.

    Args:
        model: its mode is restored.
        images: (B, C, H, W), normalised.
        target: see scores.

    Returns:
        Name -> (B, gh, gw).
    """
    args = (model, images, target)
    return {
        "attention x gradient": attention_x_gradient(*args),
        "relevance": attention_relevance(*args),
        "gradient": input_gradient(*args),
        "gradient x input": integrated_gradients(*args),
    }


def fill_maps(
    model: VisionTransformer,
    images: Tensor,
    target: Target,
    fill: float | Tensor,
) -> dict[str, Tensor]:
    """Make the maps that measure a patch against what would replace it.

    Chapter 16.

    Args:
        model: its mode is restored.
        images: (B, C, H, W), normalised.
        target: see scores.
        fill: what stands for an absent patch, broadcast to the images.

    Returns:
        Name -> (B, gh, gw).
    """
    args = (model, images, target, fill)
    return {
        "integrated gradients": integrated_gradients(*args, steps=IG_STEPS),
        "occlusion": occlusion(*args),
    }


def model_free_maps(images: Tensor, config: ViTConfig) -> dict[str, Tensor]:
    """Make maps without looking at the model: what any other has to beat.

    Chapter 16. "centre": the nearer to the middle of the image, the more
    important. "brightness": the mean pixel value of each patch.

    Args:
        images: (B, C, H, W), normalised.
        config: of the model, for its grid.

    Returns:
        Name -> (B, gh, gw).
    """
    gh, gw = config.grid_size
    size = gh * config.patch_size, gw * config.patch_size
    check_images(images, config.in_chans, size)
    rows = torch.linspace(-1, 1, gh)[:, None]
    columns = torch.linspace(-1, 1, gw)[None]
    centre = -(rows.square() + columns.square()).to(images)
    bright = reduce(
        images, "b c (gh ph) (gw pw) -> b gh gw", "mean", gh=gh, gw=gw
    )
    return {"centre": centre.expand_as(bright), "brightness": bright}
