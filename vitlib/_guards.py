"""What a run is checked for before its first step."""

import torch
from torch import Tensor, nn

from vitlib._dataset import ImageDataset, normalize
from vitlib._modes import in_eval_mode
from vitlib.recipe import TrainConfig


def check_run(
    model: nn.Module, train: ImageDataset, config: TrainConfig, world: int
) -> None:
    """Refuse model, data and recipe that cannot train together.

    Raises:
        ValueError: states the rule that was broken, and the values.
    """
    seen = train.labels.unique()
    if len(seen) < 2:
        raise ValueError(
            "training images must be of two classes at least; all "
            f"{len(train)} have label {int(seen)}"
        )
    if config.batch_size > len(train):
        raise ValueError(
            "batch_size must not exceed the number of training images; got "
            f"batch_size={config.batch_size}, {len(train)} images"
        )
    if config.batch_size % (world * config.accumulate):
        raise ValueError(
            "processes times accumulate must divide batch_size; got "
            f"{world} * {config.accumulate}, batch_size={config.batch_size}"
        )
    channels = train.images.shape[1]
    if not len(config.mean) == len(config.std) == channels:
        raise ValueError(
            f"mean and std must hold {channels} values, one a channel; got "
            f"mean={config.mean}, std={config.std}"
        )
    if not torch.is_grad_enabled():
        raise ValueError(
            "training needs gradients: call it outside torch.no_grad() and "
            "torch.inference_mode()"
        )
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError(
            "the model needs a parameter that requires a gradient; "
            f"{type(model).__name__} has none"
        )
    shape = tuple(first_logits(model, train, config).shape)
    if shape != (1, len(train.classes)):
        raise ValueError(
            f"the model must give {len(train.classes)} logits an image, one "
            f"for each class of the data; got shape {shape} for one image"
        )


@torch.no_grad()
def first_logits(
    model: nn.Module, train: ImageDataset, config: TrainConfig
) -> Tensor:
    """What the model says of the first image, in eval mode."""
    device = next(model.parameters()).device
    image = normalize(train.images[:1].to(device), config.mean, config.std)
    with in_eval_mode(model):
        return model(image)


def check_held_out(train: ImageDataset, held_out: ImageDataset) -> None:
    """Refuse images to evaluate on that are not of the training's kind.

    Raises:
        ValueError: states the rule that was broken, and the values.
    """
    ours, theirs = train.images.shape[1:], held_out.images.shape[1:]
    if ours != theirs:
        raise ValueError(
            "images to evaluate on must have the shape of the training "
            f"images, {tuple(ours)}; got {tuple(theirs)}"
        )
    if train.classes != held_out.classes:
        raise ValueError(
            "images to evaluate on must have the classes of the training "
            f"images, {train.classes}; got {held_out.classes}"
        )
