"""Chapter 10: where to train, and with how many bits.

Micikevicius et al. 2018 (arXiv:1710.03740) for training in half precision.
"""

import torch

from vitlib._checks import check_choice

DTYPES = {
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "float32": torch.float32,
}


def choose_device(name: str = "auto") -> torch.device:
    """Take a GPU where there is one, or the device that was asked for.

    Chapter 10.

    Args:
        name: "auto", or a device of PyTorch's: "cuda", "cuda:1", "mps",
            "cpu".

    Raises:
        ValueError: if PyTorch does not know the device, or it isn't there.
    """
    cuda = torch.cuda.is_available()
    mps = torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"unknown device {name!r}: {error}") from error
    here = {"cuda": cuda, "mps": mps, "cpu": True}
    if not here.get(device.type, False):
        found = ", ".join(kind for kind, there in here.items() if there)
        raise ValueError(f"no device {name!r} here; found: {found}")
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if device.index is not None and device.index >= count:
        raise ValueError(
            f"no device {name!r} here; {device.type} has {count}, numbered "
            "from 0"
        )
    return device


def has_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies bf16 faster than float32.

    Chapter 10. GPUs of compute capability 8.0 (A100) and up; CPUs with AMX
    or AVX512-BF16 instructions.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in names)


def choose_precision(
    device: torch.device, name: str = "auto"
) -> tuple[torch.dtype, str]:
    """Pick the type that the matrix products are computed in.

    Chapter 10. bf16 where the hardware has it, fp16 (which needs its
    gradients scaled) on older GPUs, such as Colab's T4, else float32.
    Weights and optimiser stay float32 always.

    Args:
        device: where the training runs.
        name: "auto", "bf16", "fp16" or "float32".

    Returns:
        The type, and why, in words for the log.

    Raises:
        ValueError: if the name is unknown, or fp16 is asked for off a GPU.
    """
    check_choice("precision", name, ("auto", *DTYPES))
    if name == "fp16" and device.type != "cuda":
        raise ValueError(
            f'precision "fp16" needs a GPU; the device is {device.type!r}'
        )
    if name != "auto":
        return DTYPES[name], "as asked"
    if has_bf16(device):
        return torch.bfloat16, "the hardware has bf16"
    if device.type == "cuda":
        return torch.float16, "a GPU without bf16"
    return torch.float32, "no bf16 instructions"
