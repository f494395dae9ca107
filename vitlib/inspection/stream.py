"""Chapter 14: one pass that shows every layer's attention, and keeps none."""

from collections.abc import Callable

import torch
from torch import Tensor

from vitlib._modes import in_eval_mode
from vitlib._shapes import check_tensor
from vitlib.model import VisionTransformer


@torch.no_grad()
def stream(
    model: VisionTransformer,
    images: Tensor,
    *reducers: Callable[[Tensor], object],
) -> Tensor:
    """Run a model and hand each layer's attention weights on.

    Chapter 14. The weights of all layers at once are the largest thing
    there is: L * h * T^2 numbers an image. Here each layer's are given to
    the reducers and dropped before the next layer's are made.

    Args:
        model: runs in eval mode, without dropout; its mode is restored.
        images: (B, C, H, W), normalised.
        reducers: called with the weights (B, h, T, T), layer by layer; each
            keeps what it needs, as a Rollout does, or a list's append.

    Returns:
        The tokens that model.forward_features returns, (B, T, D).

    Raises:
        ValueError: if the images do not fit the model, or lie elsewhere.
    """
    check_tensor(images=images)
    home = model.norm.weight.device
    if images.device != home:
        raise ValueError(
            "model and images must be on one device; got "
            f"{home} and {images.device}"
        )
    with in_eval_mode(model):
        x, rel_pos = model.embed(images), model.relative()
        for block in model.blocks:
            x, weights = block(x, need_weights=True, rel_pos=rel_pos)
            for reduce_layer in reducers:
                reduce_layer(weights)
            del weights  # before the next layer's are made
        return model.norm(x)
