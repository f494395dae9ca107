"""vitlib.device: the machine decides, in words that the log repeats."""

import pytest
import torch

from vitlib.device import choose_device, choose_precision, has_bf16

CPU, CUDA, MPS = map(torch.device, ("cpu", "cuda", "mps"))


def machine(monkeypatch, capability=None, gpus=1, mps=False, bf16=()):
    """Pretend to be on a machine with such a GPU and such instructions."""
    patch = monkeypatch.setattr
    patch(torch.cuda, "is_available", lambda: capability is not None)
    patch(torch.cuda, "device_count", lambda: gpus)
    patch(torch.cuda, "get_device_capability", lambda _: capability)
    patch(torch.backends.mps, "is_available", lambda: mps)
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        patch(torch.cpu, name, lambda n=name: n in bf16, raising=False)


@pytest.mark.parametrize(
    ("here", "kind"),
    [
        ({}, "cpu"),
        ({"mps": True}, "mps"),
        ({"capability": (7, 5)}, "cuda"),
        ({"capability": (7, 5), "mps": True}, "cuda"),
    ],
)
def test_auto_takes_the_gpu_that_is_there(here, kind, monkeypatch):
    machine(monkeypatch, **here)
    assert choose_device() == torch.device(kind)


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:1", "mps"])
def test_a_device_by_name(name, monkeypatch):
    machine(monkeypatch, capability=(9, 0), gpus=2, mps=True)
    assert choose_device(name) == torch.device(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gpu", "unknown device 'gpu'"),
        ("", "unknown device ''"),
        ("cuda", "no device 'cuda' here; found: cpu"),
        ("mps", "no device 'mps' here; found: cpu"),
        ("meta", "no device 'meta' here; found: cpu"),
    ],
)
def test_refuses_a_device_that_is_not_here(name, message, monkeypatch):
    machine(monkeypatch)
    with pytest.raises(ValueError, match=message):
        choose_device(name)


def test_refuses_a_gpu_beyond_the_last(monkeypatch):
    machine(monkeypatch, capability=(9, 0), gpus=2)
    message = "no device 'cuda:2' here; cuda has 2, numbered from 0"
    with pytest.raises(ValueError, match=message):
        choose_device("cuda:2")


@pytest.mark.parametrize(
    ("device", "here", "dtype", "why"),
    [
        (CUDA, {"capability": (7, 5)}, torch.float16, "a GPU without bf16"),
        (CUDA, {"capability": (8, 0)}, torch.bfloat16, "hardware has bf16"),
        (CUDA, {"capability": (12, 0)}, torch.bfloat16, "hardware has bf16"),
        (MPS, {"mps": True}, torch.float32, "no bf16 instructions"),
        (CPU, {}, torch.float32, "no bf16 instructions"),
        (
            CPU,
            {"bf16": ("_is_avx512_bf16_supported",)},
            torch.bfloat16,
            "hardware has bf16",
        ),
        (
            CPU,
            {"bf16": ("_is_amx_tile_supported",)},
            torch.bfloat16,
            "hardware has bf16",
        ),
    ],
)
def test_auto_precision_follows_the_hardware(
    device, here, dtype, why, monkeypatch
):
    machine(monkeypatch, **here)
    found, reason = choose_precision(device)
    assert found == dtype
    assert why in reason


def test_a_pytorch_that_cannot_tell_means_no_bf16(monkeypatch):
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert not has_bf16(CPU)


@pytest.mark.parametrize("name", ["bf16", "fp16", "float32"])
def test_a_precision_that_was_asked_for(name, monkeypatch):
    machine(monkeypatch, capability=(7, 5))
    dtype, why = choose_precision(CUDA, name)
    assert str(dtype).removeprefix("torch.") in ("bfloat16", "float16", name)
    assert (dtype == torch.float16) == (name == "fp16")
    assert why == "as asked"


@pytest.mark.parametrize("device", [CPU, MPS])
def test_fp16_needs_a_gpu(device):
    with pytest.raises(ValueError, match=f"the device is '{device.type}'"):
        choose_precision(device, "fp16")


def test_unknown_precision_lists_the_known():
    message = "unknown precision 'half'; known: auto, bf16, fp16, float32"
    with pytest.raises(ValueError, match=message):
        choose_precision(CPU, "half")
