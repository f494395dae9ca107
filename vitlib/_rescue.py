"""Chapter 10: what to do when memory ends, or a step breaks the weights."""

import torch
from torch import Tensor

from vitlib.trainer import Trainer

# What PyTorch's allocators say: of a GPU's, Linux's and Windows' memory.
SIGNS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "ALLOC_FAILED",
    "Storage size calculation overflowed",
)


def ran_out(error: Exception) -> bool:
    """Whether an error says that memory ran out.

    PyTorch has a class for it on GPUs, but none on CPUs.
    """
    return isinstance(error, MemoryError) or any(
        sign in str(error) for sign in SIGNS
    )


def update(trainer: Trainer) -> Tensor:
    """Take the run's next step; if memory ends, find out what would fit.

    Returns:
        The mean loss of the batch, on the device.

    Raises:
        MemoryError: says which batch size would fit.
    """
    try:
        return trainer.update(*trainer.batch())
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
        cause = str(error).splitlines()[0][:200]
    # out here, the tensors of the failed step are gone
    raise MemoryError(f"{advice(trainer)} ({cause})")


def advice(trainer: Trainer) -> str:
    """Try halves of the batch until one fits, and name it."""
    config = trainer.config
    size = config.batch_size // config.accumulate // trainer.world
    text = f"step {trainer.step + 1} ran out of memory on {trainer.device}"
    if trainer.world > 1:  # the other processes are not here to try it with
        return (
            f"{text} with {size} images a process: try a smaller batch_size, "
            f"or a larger accumulate than {config.accumulate}"
        )
    tried = size
    while size > 1:
        size //= 2
        if fits(trainer, size):
            parts = next(
                parts
                for parts in range(config.accumulate, config.batch_size + 1)
                if config.batch_size % parts == 0
                and config.batch_size // parts <= size
            )
            return (
                f"{text} with {tried} images at a time; {size} fit: set "
                f"batch_size={size}, or accumulate={parts} to work the batch "
                f"of {config.batch_size} off in parts"
            )
    return (
        f"{text}; not even one image fits: take a smaller model, larger "
        "patches or smaller images"
    )


def fits(trainer: Trainer, size: int) -> bool:
    """Whether so many images go forward and backward, with all else."""
    parameters = list(trainer.model.parameters())
    for parameter in parameters:
        parameter.grad = None
    if trainer.device.type == "cuda":
        torch.cuda.empty_cache()
    try:
        # the averages of AdamW, which are made in the first step
        spare = [
            torch.empty_like(parameter)
            for parameter in (() if trainer.step else 2 * parameters)
        ]
        data = trainer.train
        loss = trainer.loss(data.images[:size], data.labels[:size], 0.0)
        loss.backward()
        del spare
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
        return False
    return True


def check_weights(trainer: Trainer) -> None:
    """Refuse to keep weights that are not finite.

    Raises:
        FloatingPointError: names the step and a parameter.
    """
    for name, parameter in trainer.model.named_parameters():
        part = getattr(parameter, "to_local", lambda own=parameter: own)()
        if not part.isfinite().all():
            raise FloatingPointError(
                f"{name} is not finite after step {trainer.step}, though the "
                "loss before it was: try a lower lr, clip_grad=1 or "
                'precision "float32"; the checkpoint before it is kept'
            )
