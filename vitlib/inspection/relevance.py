"""Chapter 16: which patches a score rests on.

Gradients and occlusion, as one map (B, gh, gw) an image. Chefer, Gur, Wolf
2021 (arXiv:2103.15679) for the gradient-weighted attention.
"""

import torch
from einops import rearrange, reduce
from torch import Tensor

from vitlib._checks import check_images, check_positive
from vitlib._shapes import check_floating, check_shape
from vitlib.config import ViTConfig
from vitlib.inspection.fills import fill_for, replace_patches
from vitlib.inspection.targets import Target, gradients, scores
from vitlib.model import VisionTransformer


def class_map(matrix: Tensor, config: ViTConfig) -> Tensor:
    """Read what the class token takes from each patch.

    Chapter 16. Where the head reads the mean of the patches, their mean row
    takes the class token's place.

    Args:
        matrix: (B, T, T), row i says what token i takes from each token.
        config: the model's.

    Returns:
        (B, gh, gw).
    """
    T, prefix = config.num_tokens, int(config.class_token)
    token = config.global_pool == "token"
    check_shape("matrix", matrix, "B S T", T=T, **({} if token else {"S": T}))
    check_floating(matrix=matrix)
    rows = matrix[:, :1] if token else matrix[:, prefix:]
    check_positive(rows=rows.shape[1])
    row = reduce(rows, "b i j -> b j", "mean")
    gh = config.grid_size[0]
    return rearrange(row[:, prefix:], "b (gh gw) -> b gh gw", gh=gh)


def attention_x_gradient(
    model: VisionTransformer, images: Tensor, target: Target
) -> Tensor:
    """Weight the last layer's attention by the score's gradient.

    Chapter 16. The mean over heads of (A * dscore/dA)+, (.)+ meaning that
    negative values become 0: the last layer of attention_relevance.

    Args:
        model: its mode is restored, its parameters' grad left alone.
        images: (B, C, H, W), normalised.
        target: see scores.

    Returns:
        (B, gh, gw), not negative.
    """
    return class_map(_weighted(model, images, target)[-1], model.config)


def attention_relevance(
    model: VisionTransformer, images: Tensor, target: Target
) -> Tensor:
    """Follow gradient-weighted attention through all layers.

    Chapter 16. Chefer et al. 2021 (arXiv:2103.15679), Eq. 1, 5 and 6, for
    self-attention: R = I, then R <- R + A' R for each layer from the first
    to the last, with A' the mean over heads of (A * dscore/dA)+.

    Differs: the same authors' first paper (arXiv:2012.09838) puts relevance
    propagated through every layer (LRP) where A stands here. The
    gradients of all layers need all layers' weights at once.

    Args:
        model: its mode is restored, its parameters' grad left alone.
        images: (B, C, H, W), normalised.
        target: see scores.

    Returns:
        (B, gh, gw), not negative.
    """
    layers = _weighted(model, images, target)
    total = torch.eye(layers[0].shape[-1]).to(layers[0])  # (T, T)
    for matrix in layers:
        total = total + matrix @ total  # (B, T, T)
    return class_map(total, model.config)


def input_gradient(
    model: VisionTransformer, images: Tensor, target: Target
) -> Tensor:
    """Average the size of the score's gradient over each patch's values.

    Chapter 16. Simonyan et al. 2014 (arXiv:1312.6034), who take the largest
    over channels, pixel by pixel. Arguments as in attention_relevance.

    Returns:
        (B, gh, gw), not negative.
    """
    grads = _gradient(model, images, target)
    return _per_patch(grads.abs(), model.config, "mean")


def integrated_gradients(
    model: VisionTransformer,
    images: Tensor,
    target: Target,
    fill: float | Tensor = 0.0,
    steps: int = 1,
) -> Tensor:
    """Estimate by gradients what each patch adds to the score.

    Chapter 16. Sundararajan et al. 2017 (arXiv:1703.01365): (image - fill)
    times the gradient averaged over `steps` points of the line between
    them (the middles of its equal parts), summed over the patch; in the
    limit all patches sum to score(image) - score(fill). One step takes the
    gradient at the image: then this is "gradient x input".

    Args:
        model: its mode is restored, its parameters' grad left alone.
        images: (B, C, H, W), normalised.
        target: see scores.
        fill: what stands for an absent patch, broadcast to the images.
        steps: number of gradients.

    Returns:
        (B, gh, gw), signed.
    """
    check_positive(steps=steps)
    check_images(images)
    images = images.detach()
    away = images - fill_for(images, fill).detach()
    places = [(i + 0.5) / steps for i in range(steps)] if steps > 1 else [1]
    grads = sum(
        _gradient(model, images - (1 - place) * away, target)
        for place in places
    )
    return _per_patch(away * grads / steps, model.config, "sum")


@torch.no_grad()
def occlusion(
    model: VisionTransformer,
    images: Tensor,
    target: Target,
    fill: float | Tensor = 0.0,
) -> Tensor:
    """Replace one patch at a time and see how far the score falls.

    Chapter 16. Zeiler and Fergus 2014 (arXiv:1311.2901). N + 1 passes over
    the batch.

    Args:
        model: its mode is restored.
        images: (B, C, H, W), normalised.
        target: see scores.
        fill: what replaces a patch, broadcast to the images.

    Returns:
        (B, gh, gw), signed: positive where the patch speaks for the score.
    """
    intact = scores(model, images, target)
    gh, gw = model.config.grid_size
    places = torch.eye(gh * gw, dtype=torch.bool, device=images.device)
    falls = [
        intact - scores(model, replace_patches(images, fill, mask), target)
        for mask in rearrange(places, "n (gh gw) -> n 1 gh gw", gh=gh)
    ]
    return rearrange(falls, "(gh gw) b -> b gh gw", gh=gh)


def _weighted(
    model: VisionTransformer, images: Tensor, target: Target
) -> list[Tensor]:
    """Each layer's mean over heads of (A * dscore/dA)+, (B, T, T)."""
    pairs = zip(*gradients(model, images, target, True), strict=True)
    return [
        reduce((a * grad).clamp(min=0).detach(), "b h i j -> b i j", "mean")
        for a, grad in pairs
    ]


def _gradient(
    model: VisionTransformer, images: Tensor, target: Target
) -> Tensor:
    """The gradient of each image's score by its pixels, (B, C, H, W)."""
    return gradients(model, images, target)[1][0]


def _per_patch(values: Tensor, config: ViTConfig, how: str) -> Tensor:
    """Reduce (B, C, H, W) over the values of each patch."""
    P = config.patch_size
    return reduce(values, "b c (gh ph) (gw pw) -> b gh gw", how, ph=P, pw=P)
