"""Chapter 16: the one number whose cause a map is to show."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from einops import rearrange, repeat
from torch import Tensor
from torch.nn import functional

from vitlib._checks import check_images, check_tensor
from vitlib._modes import in_eval_mode
from vitlib.model import VisionTransformer

Target = int | Tensor | Callable[[Tensor], Tensor]


def probability(classes: int | Tensor) -> Target:
    """Target: the probability of a class, an int or one an image (B,)."""
    return lambda outputs: _pick(outputs.softmax(dim=1), classes)


def cosine_to(features: Tensor) -> Target:
    """Target: the cosine of the outputs to features (B, D).

    Chapter 16. For models without a head: with the features of the intact
    images it says how much of them is left. It is largest at those images,
    so its gradient is 0 there: for maps by gradients take projection_on.
    """
    return lambda outputs: functional.cosine_similarity(
        outputs, _fitting(features, outputs)
    )


def projection_on(directions: Tensor) -> Target:
    """Target: how far the outputs reach along directions (B, D).

    Chapter 16. For models without a head: with the features of the intact
    images less those of blank ones, it says what sets an image apart.
    """

    def reach(outputs: Tensor) -> Tensor:
        unit = functional.normalize(_fitting(directions, outputs), dim=1)
        return (outputs * unit).sum(dim=1)

    return reach


def scores(model: VisionTransformer, images: Tensor, target: Target) -> Tensor:
    """Compute the score that the target names, in eval mode.

    Chapter 16.

    Args:
        model: its mode is restored.
        images: (B, C, H, W), normalised.
        target: a class, or one an image (B,): then the score is its logit;
            or a function from the model's outputs (B, K) to scores (B,).

    Returns:
        (B,).

    Raises:
        ValueError: if a class is not one of the model's, or the function
            does not give one score an image.
    """
    with eval_mode(model, images):
        return score_of(model, model(images), target)


@contextmanager
def eval_mode(model: VisionTransformer, images: Tensor) -> Iterator[None]:
    """Check the images, then hold the model in eval mode."""
    config = model.config
    gh, gw = config.grid_size
    size = gh * config.patch_size, gw * config.patch_size
    check_images(images, config.in_chans, size)
    with in_eval_mode(model):
        yield


def score_of(
    model: VisionTransformer, outputs: Tensor, target: Target
) -> Tensor:
    """Reduce outputs (B, K) to the scores (B,) that the target names."""
    if outputs.dtype in (torch.bfloat16, torch.float16):
        outputs = outputs.float()  # what differs is small
    if not callable(target):
        if not model.config.num_classes:
            raise ValueError(
                "a model without a head has no class scores; give a "
                "function of its outputs, such as cosine_to(features)"
            )
        return _pick(outputs, target)
    score = target(outputs)
    check_tensor(**{"what the target gives": score})
    if score.shape != outputs.shape[:1]:
        raise ValueError(
            f"the target must give {len(outputs)} scores, one an image; got "
            f"shape {tuple(score.shape)}"
        )
    return score


def gradients(
    model: VisionTransformer,
    images: Tensor,
    target: Target,
    of_weights: bool = False,
) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Differentiate the scores by the pixels, or by each layer's weights.

    Works under torch.no_grad and torch.inference_mode, too.

    Returns:
        [images] or the weights (B, h, T, T), and the gradient by each.

    Raises:
        ValueError: if the target has no gradient.
    """
    with (
        eval_mode(model, images),
        torch.inference_mode(False),
        torch.enable_grad(),
    ):
        # a leaf that asks for its gradient, also in frozen models
        leaf = images.detach().clone().requires_grad_()
        if of_weights:
            outputs, places = model(leaf, need_weights=True)
        else:
            outputs, places = model(leaf), [leaf]
        total = score_of(model, outputs, target).sum()
        if not total.requires_grad:
            raise ValueError(
                "the target has no gradient: it must be differentiable in "
                "the model's outputs"
            )
        return places, torch.autograd.grad(total, places)


def _fitting(vectors: Tensor, outputs: Tensor) -> Tensor:
    """Refuse vectors that do not fit the outputs (B, D); copy them."""
    B, D = outputs.shape
    check_tensor(vectors=vectors)
    if vectors.shape not in ((B, D), (1, D)):
        raise ValueError(
            f"the target's vectors must be ({B}, {D}), as the outputs; got "
            f"shape {tuple(vectors.shape)}"
        )
    # a copy: with what inference mode made, there could be no gradient
    return vectors.to(outputs.device, copy=True)


def _pick(outputs: Tensor, classes: int | Tensor) -> Tensor:
    """Take the column of each image's class from (B, K)."""
    B, K = outputs.shape
    try:  # a copy, as in _fitting
        index = torch.as_tensor(classes, device=outputs.device).clone()
    except (TypeError, ValueError, RuntimeError):
        index = torch.empty(0)
    if index.ndim == 0:
        index = repeat(index, "-> b", b=B)
    whole = index.dtype == torch.int64
    if (
        index.shape != (B,)
        or not whole
        or not 0 <= min(index) <= max(index) < K
    ):
        raise ValueError(
            f"the target must be a class from 0 to {K - 1}, or {B} of them, "
            f"one an image; got {classes}"
        )
    return outputs.gather(1, rearrange(index, "b -> b 1"))[:, 0]
