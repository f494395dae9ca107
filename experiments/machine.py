"""What a result was measured on: written into every results file."""

import json
import os
import platform
import sys
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import torch

RESULTS = Path(__file__).parents[1] / "results"
# glibc hands large blocks back to the system and takes them again at every
# step, and then page faults are timed, not models: so all models keep theirs.
MALLOC = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**34),
    "MALLOC_TOP_PAD_": str(2**26),
}
PACKAGES = ["torch", "torchvision", "timm", "transformers", "vit-pytorch"]


def keep_memory() -> None:
    """Start this script again with MALLOC, unless it runs so already."""
    if not MALLOC.items() <= os.environ.items():
        command = [sys.executable, *sys.argv]
        os.execve(sys.executable, command, os.environ | MALLOC)


def _cpu() -> str:
    """The processor's name and its bf16 instructions."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(
        line.split(":", 1) for line in text.splitlines() if ":" in line
    )
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    flags = fields.get("flags", "").split()
    known = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in flags]
    name = fields.get("model name", platform.machine())
    return f"{name} ({', '.join(known) or 'no bf16 instructions'})"


def describe() -> dict[str, Any]:
    """The machine and the versions, as a results file states them."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "date": date.today().isoformat(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "malloc": MALLOC,
        "versions": versions,
    }


def peak() -> int:
    """Largest memory of this process so far, in kB (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0])


def compare(rates: dict[str, list[float]], ours: str) -> dict[str, dict]:
    """Median rate of each, and the ratio of ours to it, round by round."""
    rows = {}
    for name, values in rates.items():
        pairs = zip(rates[ours], values, strict=True)
        ratios = [mine / theirs for mine, theirs in pairs]
        rows[name] = {
            "images_per_second": round(median(values), 1),
            "range": [round(min(values), 1), round(max(values), 1)],
            f"{ours}_to_this": round(median(ratios), 3),
            "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)],
        }
    return rows


def save(name: str, results: dict[str, Any]) -> Path:
    """Write results/<name>.json, whole or not at all; return its path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    draft = path.with_suffix(".json.part")
    draft.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    draft.replace(path)
    return path
