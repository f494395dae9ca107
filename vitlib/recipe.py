"""Chapter 8: everything that a training run is told, in one place."""

from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from vitlib._checks import (
    check_choice,
    check_positive,
    check_probability,
    check_type,
)
from vitlib._dataset import normalize
from vitlib._sources import FASHION_MNIST_STATS
from vitlib.augment import (
    cutmix,
    mixup,
    one_hot,
    random_crop,
    random_erasing,
    random_flip,
)
from vitlib.device import DTYPES
from vitlib.optim import OPTIMIZERS

# What may change between stop and resume: it alters where and how fast the
# steps are computed, not which steps.
PLACE: dict[str, Any] = {"place": True}


@dataclass(frozen=True)
class TrainConfig:
    """A recipe. Vary one with dataclasses.replace.

    Chapter 8. Dosovitskiy et al. 2021 (arXiv:2010.11929), Table 3, names
    the ingredients; the values here suit small images.

    Attributes:
        epochs: passes over the training images.
        batch_size: images an update, over all processes together.
        optimizer: "adamw", "muon" (see vitlib.optim.create_optimizers), or
            "adam" with an L2 term (see chapter 9).
        lr: peak learning rate.
        min_lr: learning rate that the cosine falls to.
        warmup_epochs: epochs of linear rise, also in parts.
        betas: memories of AdamW's two averages.
        weight_decay: of matrices, in units of the learning rate.
        clip_grad: largest norm of the gradient; 0 leaves it as it is.
        label_smoothing: part of each target spread over all classes, 0-1.
        flip: whether to mirror half of the images.
        crop: largest random shift in pixels.
        erasing: share of images with a box of noise, 0-1.
        mixup: alpha of mixup; 0 leaves it out.
        cutmix: alpha of cutmix; 0 leaves it out. With both, either by
            chance, a batch at a time.
        ema: decay of the moving average of the weights, a step; 0 leaves
            it out. What is evaluated and kept at the end is the average.
        accumulate: parts that a batch is worked off in, one after another,
            to save memory.
        mean: pixel mean a channel, for pixels from 0 to 1.
        std: standard deviation a channel, likewise.
        seed: decides order, augmentation and stochastic depth.
        precision: "auto", "bf16", "fp16" or "float32".
        device: "auto", "cpu", "cuda", "mps".
        compile: whether to compile the model with torch.compile.
        channels_last: whether images lie in memory with channels last,
            which convolutions on GPUs prefer.
        fsdp: whether processes share the weights out (FSDP2) instead of
            holding a copy each (DDP).
        evaluate_every: epochs between evaluations; the last is always one.
        save_steps: steps between checkpoints; 0 makes it an epoch.

    Raises:
        ValueError: states the rule that was broken, and the values.
    """

    epochs: int = 20
    batch_size: int = 128
    optimizer: str = "adamw"
    lr: float = 1e-3
    min_lr: float = 1e-5
    warmup_epochs: float = 1.0
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.05
    clip_grad: float = 1.0
    label_smoothing: float = 0.1
    flip: bool = False
    crop: int = 0
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    ema: float = 0.0
    accumulate: int = 1
    mean: tuple[float, ...] = FASHION_MNIST_STATS[0]
    std: tuple[float, ...] = FASHION_MNIST_STATS[1]
    seed: int = 0
    precision: str = "auto"
    device: str = field(default="auto", metadata=PLACE)
    compile: bool = field(default=False, metadata=PLACE)
    channels_last: bool = field(default=False, metadata=PLACE)
    fsdp: bool = field(default=False, metadata=PLACE)
    evaluate_every: int = field(default=1, metadata=PLACE)
    save_steps: int = field(default=0, metadata=PLACE)

    def __post_init__(self) -> None:
        for f in fields(self):
            check_type(f.name, getattr(self, f.name), type(f.default))
        if len(self.betas) != 2:
            raise ValueError(f"betas must be two numbers; got {self.betas!r}")
        check_positive(
            epochs=self.epochs,
            batch_size=self.batch_size,
            accumulate=self.accumulate,
            evaluate_every=self.evaluate_every,
        )
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_choice("precision", self.precision, ("auto", *DTYPES))
        check_probability(
            label_smoothing=self.label_smoothing,
            erasing=self.erasing,
            ema=self.ema,
            beta1=self.betas[0],
            beta2=self.betas[1],
        )
        names = "lr min_lr weight_decay clip_grad mixup cutmix crop seed"
        for name in [*names.split(), "save_steps", "warmup_epochs"]:
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name} must be 0 or more; got {value!r}")
        limits = {"min_lr": "lr", "warmup_epochs": "epochs"}
        limits |= {"accumulate": "batch_size"}
        for name, limit in limits.items():
            value, most = getattr(self, name), getattr(self, limit)
            if value > most:
                raise ValueError(
                    f"{name} must not exceed {limit}; got {name}={value}, "
                    f"{limit}={most}"
                )


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Name the fields in which two recipes would take other steps.

    Chapter 8. Fields that only say where and how fast are left out.

    Args:
        old: fields by name, as a checkpoint holds them.
        new: likewise, of the run that asks.
    """
    place = {f.name for f in fields(TrainConfig) if f.metadata}
    return [
        f"{name}: {old.get(name)!r} in the checkpoint, {new.get(name)!r} now"
        for name in sorted(old.keys() | new.keys())
        if name not in place and old.get(name) != new.get(name)
    ]


def prepare(
    images: Tensor,
    labels: Tensor,
    num_classes: int,
    config: TrainConfig,
    dice: float,
) -> tuple[Tensor, Tensor]:
    """Turn bytes and labels into what the model sees and should say.

    Chapter 8. Moves in bytes, then normalises, then blends.

    Args:
        images: uint8 (B, C, H, W).
        labels: int64 (B,).
        num_classes: K.
        config: the recipe.
        dice: 0 to 1; decides between mixup and cutmix.

    Returns:
        float32 images (B, C, H, W), and targets (B, K).
    """
    if config.flip:
        images = random_flip(images)
    if config.crop:
        images = random_crop(images, config.crop)
    if config.erasing:
        images = random_erasing(images, config.erasing)
    x = normalize(images, config.mean, config.std)
    if config.channels_last:
        x = x.to(memory_format=torch.channels_last)
    targets = one_hot(labels, num_classes, config.label_smoothing)
    if config.mixup and (not config.cutmix or dice < 0.5):
        return mixup(x, targets, config.mixup)
    if config.cutmix:
        return cutmix(x, targets, config.cutmix)
    return x, targets
