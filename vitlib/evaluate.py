"""Chapter 8: what a model says of images, over all of them."""

import math
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitlib._checks import check_positive
from vitlib._dataset import ImageDataset, normalize
from vitlib._modes import in_eval_mode
from vitlib._shapes import check_shape
from vitlib.distributed import rank_and_world, total

BATCH_SIZE = 500  # images at a time; the result does not depend on it


@torch.no_grad()
def predict(
    model: nn.Module,
    data: ImageDataset,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Tensor:
    """Compute the logits of every image, in eval mode and float32.

    Chapter 8.

    Args:
        model: images (B, C, H, W) to logits (B, K); its mode is restored.
        data: images.
        mean: pixel mean a channel, as in training.
        std: standard deviation a channel, likewise.

    Returns:
        float32 (B, K), on the CPU.
    """
    device = next(model.parameters(), torch.empty(0)).device
    with in_eval_mode(model):
        parts = [
            model(normalize(images.to(device), mean, std)).float().cpu()
            for images in data.images.split(BATCH_SIZE)
        ]
    return torch.cat(parts)


@torch.no_grad()
def evaluate(
    model: nn.Module,
    data: ImageDataset,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    autocast: AbstractContextManager | None = None,
    batch_size: int = BATCH_SIZE,
) -> dict[str, float]:
    """Count what a model gets right.

    Chapter 8. Sums over images, not means over batches: the last batch may
    be smaller. Under torchrun each process takes its share of every batch.

    Args:
        model: images (B, C, H, W) to logits (B, K); its mode is restored.
        data: images and labels.
        mean: pixel mean a channel, as in training.
        std: standard deviation a channel, likewise.
        autocast: precision of the forward pass; float32 if None.
        batch_size: images at a time, over all processes together.

    Returns:
        "accuracy", 0 to 1, "loss", the mean cross-entropy in nats, and
        "images", how many were counted.

    Raises:
        ValueError: if the logits are not one for each class of the data.
        FloatingPointError: if the loss is not finite.
    """
    check_positive(batch_size=batch_size)
    device = next(model.parameters(), torch.empty(0)).device
    rank, world = rank_and_world()
    # Apple's GPUs have no float64
    dtype = torch.float32 if device.type == "mps" else torch.float64
    sums = torch.zeros(2, dtype=dtype, device=device)
    with in_eval_mode(model):
        for index in torch.arange(len(data)).split(batch_size):
            # all processes must call the model equally often: lend an image
            # to the one that has none, and leave it out of the sums
            own = index[rank::world]
            images = data.images[own if len(own) else index[:1]].to(device)
            labels = data.labels[own].to(device)
            with autocast or nullcontext():
                logits = model(normalize(images, mean, std))
            sizes = {"B": len(images), "K": len(data.classes)}
            check_shape("logits", logits, "B K", **sizes)
            logits = logits.float()[: len(own)]
            sums[0] += (logits.argmax(1) == labels).sum()
            sums[1] += functional.cross_entropy(
                logits, labels, reduction="sum"
            )
    count = len(data)
    right, loss = (float(value) / count for value in total(sums))
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"the loss over {count} images is {loss}: logits of the model "
            "are NaN or infinite"
        )
    return {"accuracy": right, "loss": loss, "images": count}
