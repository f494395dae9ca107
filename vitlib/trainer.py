"""Chapter 8: the state of a run, and the step that moves it on.

Nothing here remembers how it came to its state: order, augmentation and
learning rate are functions of the seed and the step. So a run that resumes
at a step goes on as the one that was never stopped.
"""

from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vitlib._dataset import ImageDataset
from vitlib._guards import check_run
from vitlib.device import choose_precision
from vitlib.distributed import (
    collect_gradients,
    full_state,
    parallelize,
    rank_and_world,
)
from vitlib.evaluate import BATCH_SIZE, evaluate
from vitlib.optim import create_optimizers, learning_rate, update_average
from vitlib.recipe import TrainConfig, prepare


class Trainer:
    """A model, its optimiser, its average, and the step they are at.

    Chapter 8.

    Args:
        model: images (B, C, H, W) to logits (B, K); moved to the device.
            With config.fsdp a copy is trained, and finish fills the model.
        train: images to learn from.
        config: the recipe.
        device: where to train.

    Raises:
        ValueError: if data, recipe and number of processes do not fit
            together.
    """

    def __init__(
        self,
        model: nn.Module,
        train: ImageDataset,
        config: TrainConfig,
        device: torch.device,
    ) -> None:
        self.rank, self.world = rank_and_world()
        check_run(model, train, config, self.world)
        self.config, self.device = config, device
        self.identity = train.fingerprint()
        self.train = train.to(device)
        self.steps_per_epoch = len(train) // config.batch_size
        self.total_steps = config.epochs * self.steps_per_epoch
        self.save_steps = config.save_steps or self.steps_per_epoch
        self.warmup = round(config.warmup_epochs * self.steps_per_epoch)
        self.dtype, self.why = choose_precision(device, config.precision)
        self.given = model
        model = deepcopy(model) if config.fsdp else model
        self.model = model.to(device)
        if config.channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.average = deepcopy(model).eval() if config.ema else None
        if config.compile:
            model.compile()
        self.parallel = parallelize(model, device, config.fsdp)
        if self.average is not None and config.fsdp:
            parallelize(self.average, device, fsdp=True)
        how = config.lr, config.weight_decay, config.betas
        self.optimizers = create_optimizers(model, config.optimizer, *how)
        scale = self.dtype == torch.float16
        self.scaler = torch.amp.GradScaler(device.type, enabled=scale)
        self.step = 0
        self.loss_sum = 0.0  # of the epoch so far
        self._order: tuple[int, Tensor] = (-1, torch.empty(0))

    @property
    def lr(self) -> float:
        """Learning rate of the next update."""
        config = self.config
        return learning_rate(
            self.step, self.total_steps, self.warmup, config.lr, config.min_lr
        )

    def batch(self) -> tuple[Tensor, Tensor]:
        """This process's part of the next batch: bytes and labels."""
        epoch, place = divmod(self.step, self.steps_per_epoch)
        if self._order[0] != epoch:
            rng = np.random.default_rng([self.config.seed, epoch])
            order = torch.from_numpy(rng.permutation(len(self.train)))
            self._order = epoch, order.to(self.device)
        size = self.config.batch_size
        first = place * size + self.rank
        index = self._order[1][first : (place + 1) * size : self.world]
        return self.train.images[index], self.train.labels[index]

    def update(self, images: Tensor, labels: Tensor) -> Tensor:
        """Take one step down the gradient.

        Args:
            images: uint8 (B, C, H, W).
            labels: int64 (B,).

        Returns:
            The mean loss of the batch, on the device.
        """
        config, loss = self.config, torch.zeros((), device=self.device)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.lr
        self.model.train()
        rng = np.random.default_rng([config.seed, self.step, self.rank])
        cuda = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(cuda):
            torch.manual_seed(int(rng.integers(2**31)))
            done = 0
            for part, names in zip(
                images.chunk(config.accumulate),
                labels.chunk(config.accumulate),
                strict=True,
            ):
                done += len(part)
                with collect_gradients(self.parallel, done == len(images)):
                    part_loss = self.loss(part, names, rng.random())
                    part_loss = part_loss * (len(part) / len(images))
                    self.scaler.scale(part_loss).backward()
                loss += part_loss.detach()
        finite = True
        if config.clip_grad:
            for optimizer in self.optimizers:
                self.scaler.unscale_(optimizer)
            parameters = self.model.parameters()
            norm = nn.utils.clip_grad_norm_(parameters, config.clip_grad)
            if self.scaler.is_enabled():  # then one overflow spoils them all
                finite = bool(norm.isfinite())
        for optimizer in self.optimizers:
            if finite:
                self.scaler.step(optimizer)
            optimizer.zero_grad()
        self.scaler.update()
        self.step += 1
        if self.average is not None:
            # the first steps have little to average over, so they count less
            decay = min(config.ema, (1 + self.step) / (10 + self.step))
            update_average(self.average, self.model, decay)
        return loss

    def loss(self, images: Tensor, labels: Tensor, dice: float) -> Tensor:
        """Mean loss of a part of a batch: bytes and labels, augmented."""
        K = len(self.train.classes)
        x, targets = prepare(images, labels, K, self.config, dice)
        with self.autocast():
            logits = self.parallel(x)
        return functional.cross_entropy(logits.float(), targets)

    def autocast(self) -> AbstractContextManager:
        """Matrix products in the chosen type, the rest in float32."""
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def evaluate(self, data: ImageDataset) -> dict[str, float]:
        """Loss and accuracy of the average, or of the model itself."""
        config = self.config
        # four parts fit where one trains: nothing is kept for a backward pass
        size = min(BATCH_SIZE, 4 * config.batch_size // config.accumulate)
        how = config.mean, config.std, self.autocast(), size
        return evaluate(self.evaluated, data, *how)

    @property
    def evaluated(self) -> nn.Module:
        """The average, or without one the model itself."""
        return self.model if self.average is None else self.average

    def finish(self) -> None:
        """Leave the average, if there is one, in the model as given."""
        if self.evaluated is not self.given:
            self.given.load_state_dict(full_state(self.evaluated))


def describe(trainer: Trainer) -> dict[str, Any]:
    """What a log says first: where, how and what will be trained."""
    return {
        "device": str(trainer.device),
        "precision": str(trainer.dtype).removeprefix("torch."),
        "why": trainer.why,
        "processes": trainer.world,
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "images": len(trainer.train),
        "steps": trainer.total_steps,
        "config": asdict(trainer.config),
    }
