"""Chapter 10: one run on many processes, by PyTorch's own engine.

Li et al. 2020 (arXiv:2006.15704) for DDP; Zhao et al. 2023
(arXiv:2304.11277) for FSDP.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, distributed, nn


def in_group() -> bool:
    """Whether this process has joined others."""
    return distributed.is_available() and distributed.is_initialized()


def rank_and_world() -> tuple[int, int]:
    """This process's number, from 0, and how many there are."""
    if in_group():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def local_device(device: torch.device) -> torch.device:
    """The GPU of this process: torchrun numbers those of each machine."""
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    return device


@contextmanager
def process_group(device: torch.device) -> Iterator[tuple[int, int]]:
    """Join the processes that torchrun started, if it did; leave at the end.

    Chapter 10. NCCL between GPUs, gloo between CPUs; with GPUs both, so
    that a number on the CPU can be added up without waiting for the GPU.

    Yields:
        rank and world size; 0 and 1 without torchrun.
    """
    mine = "WORLD_SIZE" in os.environ and not distributed.is_initialized()
    if mine:
        gpu = device.type == "cuda"
        backend = "cpu:gloo,cuda:nccl" if gpu else "gloo"
        distributed.init_process_group(backend)
    try:
        yield rank_and_world()
    finally:
        if mine:
            distributed.destroy_process_group()


def parallelize(
    model: nn.Module, device: torch.device, fsdp: bool
) -> nn.Module:
    """Let the processes of the group train one model together.

    Chapter 10. DDP: every process has all weights, and gradients are
    averaged. FSDP2: every process keeps a part of weights, gradients and
    optimiser, and fetches a block when it needs one.

    Args:
        model: on its device; FSDP2 changes it in place.
        device: of this process.
        fsdp: which of the two.

    Returns:
        What to call in training; the model itself without a group.

    Raises:
        ValueError: if fsdp is asked for without torchrun.
    """
    if fsdp:
        if not in_group():
            raise ValueError("fsdp=True needs torchrun; see chapter 10")
        from torch.distributed.fsdp import fully_shard

        for block in getattr(model, "blocks", []):
            fully_shard(block)
        return fully_shard(model)
    if not in_group():
        return model
    ids = [device.index] if device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(model, device_ids=ids)


def collect_gradients(
    model: nn.Module, now: bool
) -> AbstractContextManager[None]:
    """Average gradients over processes after this backward pass, or later.

    Chapter 10. Parts of a batch add up in each process first, so that DDP
    sends once an update. FSDP2 sends after each: it has no room for all
    gradients.

    Args:
        model: what parallelize returned.
        now: whether this is the last part of a batch.
    """
    if isinstance(model, nn.parallel.DistributedDataParallel) and not now:
        return model.no_sync()
    return nullcontext()


def full_state(model: nn.Module) -> dict[str, Tensor]:
    """All weights by name, brought together where FSDP2 parts them.

    Chapter 10. Every process of the group must call it.
    """
    return {
        name: getattr(value, "full_tensor", lambda value=value: value)()
        for name, value in model.state_dict().items()
    }


def total(values: Tensor) -> Tensor:
    """Add up a tensor over all processes; each gets the sum."""
    if rank_and_world()[1] > 1:
        distributed.all_reduce(values)
    return values


def in_any_process(here: bool, device: torch.device) -> bool:
    """Whether it is so in any process; all get the same answer.

    Chapter 10.

    Args:
        here: whether it is so in this one.
        device: of this process; not waited for where gloo is at hand.
    """
    if rank_and_world()[1] == 1:
        return here
    if "gloo" in distributed.get_backend_config():
        device = torch.device("cpu")
    return bool(total(torch.tensor(float(here), device=device)))


def wait_for_all() -> None:
    """Go on when every process has come this far."""
    if rank_and_world()[1] > 1:
        distributed.barrier()
