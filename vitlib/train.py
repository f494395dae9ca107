"""Chapters 8 and 10: the training loop, and what one step of it does."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

from torch import nn

from vitlib._dataset import ImageDataset
from vitlib._guards import check_held_out
from vitlib._rescue import check_weights, update
from vitlib.checkpoint import open_checkpoints
from vitlib.device import choose_device
from vitlib.distributed import in_any_process, local_device, process_group
from vitlib.evaluate import evaluate, predict
from vitlib.log import Log
from vitlib.recipe import TrainConfig
from vitlib.trainer import Trainer

__all__ = ["TrainConfig", "evaluate", "fit", "predict"]


def fit(
    model: nn.Module,
    data: tuple[ImageDataset, ImageDataset],
    config: TrainConfig | None = None,
    folder: str | Path | None = None,
    quiet: bool = False,
    on_epoch: Callable[[int, nn.Module], None] | None = None,
) -> list[dict[str, Any]]:
    """Train a model, and keep it safe on the way.

    Chapter 8. Under torchrun every process calls this alike; see chapter
    10. A folder with checkpoints of the same run is taken up again where
    it stopped, and then goes on bit for bit as if it had not.

    Args:
        model: images (B, C, H, W) to logits (B, K). Trained in place; at
            the end it holds the averaged weights if config.ema is set.
            With config.fsdp a copy is trained, and its weights get here at
            the end only.
        data: images to learn from, and images to evaluate on.
        config: the recipe.
        folder: where checkpoints and log.jsonl go; None keeps neither.
        quiet: whether to print nothing.
        on_epoch: called with the number of epochs done and the model that
            is evaluated, at 0 and after each. A run that was killed between
            this and its next checkpoint calls again for the same epoch.
            With config.fsdp the model holds a part of the weights.

    Returns:
        The records of the log, those before a resume included: each start,
        one an epoch, each stop, the end.

    Raises:
        KeyboardInterrupt: after Ctrl-C or a notebook's stop button, once
            the step is done and saved; SIGTERM ends the call alone.
        ValueError: before the first step, if data and recipe do not fit
            together, or the folder holds another run.
        OSError: before the first step, if the folder cannot be written to
            or another run is at work in it; later, if the disk is full: the
            checkpoints there stay whole.
        FloatingPointError: if the loss is not finite; says what to try.
        MemoryError: if a batch does not fit; says which would.
    """
    config = config or TrainConfig()
    device = local_device(choose_device(config.device))
    with process_group(device) as (rank, _), stop_signal() as stopped:
        check_held_out(*data)
        trainer = Trainer(model, data[0], config, device)
        with (
            open_checkpoints(folder, trainer) as store,
            Log(folder, trainer, quiet or rank > 0) as log,
        ):
            if on_epoch and trainer.step == 0:
                on_epoch(0, trainer.evaluated)
            while trainer.step < trainer.total_steps:
                log.step(update(trainer))
                if trainer.step % trainer.steps_per_epoch == 0:
                    epoch = log.epoch(partial(trainer.evaluate, data[1]))
                    if on_epoch:
                        on_epoch(epoch, trainer.evaluated)
                stop = in_any_process(bool(stopped), device)
                last = trainer.step == trainer.total_steps
                if stop or last or trainer.step % trainer.save_steps == 0:
                    log.check_finite()
                    check_weights(trainer)
                    store.save()
                if stop:
                    log.stopped(stopped)
                    if signal.SIGINT in stopped:  # no cell after this one
                        raise KeyboardInterrupt(signal.SIGINT)
                    break
            else:
                trainer.finish()
                log.end()
    return log.records


@contextmanager
def stop_signal() -> Iterator[list[int]]:
    """Note SIGINT (Ctrl-C) and SIGTERM instead of dying of them.

    Yields:
        A list, empty until a signal comes, then with its number. A second
        signal does what it always did.
    """
    seen: list[int] = []
    before: dict[int, Any] = {}

    def note(number: int, _: Any) -> None:
        seen.append(number)
        for kind, handler in before.items():
            signal.signal(kind, handler or signal.SIG_DFL)

    if current_thread() is main_thread():
        for kind in (signal.SIGINT, signal.SIGTERM):
            before[kind] = signal.signal(kind, note)
    try:
        yield seen
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler or signal.SIG_DFL)
