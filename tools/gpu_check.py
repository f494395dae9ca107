"""Does the training work on this GPU? One command, lines of pass or fail.

    .venv/bin/python tools/gpu_check.py --json

Trains Book/4 on the package's sample, in the precision that the engine
chooses and in float32, and compares what must be equal. Exit code 0 if all
checks pass, 1 if one fails. With --json the numbers go into
results/gpu_<device>.json: none is there yet, since no GPU was at hand when
the book was made, so until then nothing in it was measured on one.
"""

import argparse
import json
import platform
import re
import sys
import tempfile
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

import torch

from vitlib import create_model, explicit_attention, fused_attention
from vitlib.data import ImageDataset, load_sample
from vitlib.device import choose_device, choose_precision
from vitlib.distributed import local_device
from vitlib.train import TrainConfig, fit, predict
from vitlib.trainer import Trainer

RESULTS = Path(__file__).parents[1] / "results"
RECIPE = TrainConfig(epochs=5, flip=True, ema=0.99)
# Without a warm-up the first losses differ at once, if they do at all.
FLOAT32 = TrainConfig(precision="float32", warmup_epochs=0.0)


class Checks:
    """What was compared, how far apart it was, how far it may be."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def at_most(self, name: str, found: float, allowed: float) -> None:
        """Note a difference, and say whether it is small enough."""
        passed = found <= allowed  # not so for NaN
        row = {"check": name, "found": found, "allowed": allowed}
        self.rows.append(row | {"passed": passed})
        verdict = "pass" if passed else "FAIL"
        print(f"{verdict}  {name}: {found:.2g} (at most {allowed:g})")

    @property
    def passed(self) -> bool:
        """Whether all did."""
        return all(row["passed"] for row in self.rows)


def attention_gap(device: torch.device, dtype: torch.dtype) -> float:
    """Largest difference of the two attentions' outputs and gradients."""
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(3, 8, 4, 50, 32, generator=generator)
    results = []
    for path in (explicit_attention, fused_attention):
        x = qkv.to(device, dtype, copy=True).requires_grad_()
        out = path(*x)
        out = out[0] if isinstance(out, tuple) else out
        out.float().square().sum().backward()
        both = torch.cat([out.detach().flatten(), x.grad.flatten()])
        results.append(both.float())
    scale = results[0].abs().max()
    return float((results[0] - results[1]).abs().max() / scale)


def losses(
    device: torch.device, data: ImageDataset, config: TrainConfig, count: int
) -> torch.Tensor:
    """Losses of the first steps, on the CPU."""
    torch.manual_seed(0)
    trainer = Trainer(create_model("Book/4"), data, config, device)
    found = [trainer.update(*trainer.batch()) for _ in range(count)]
    return torch.stack(found).double().cpu()


def resume_gap(
    device: torch.device, data: ImageDataset, config: TrainConfig
) -> float:
    """Largest difference of logits with and without a stop on the way."""
    steps = len(data) // config.batch_size
    where = {"device": str(device), "save_steps": steps // 2}
    config = replace(config, epochs=2, ema=0.9, **where)
    held_out = data.subset(slice(0, 100))

    def run(folder: str | None, seed: int, stop: bool) -> torch.Tensor:
        def on_epoch(epoch: int, _: object) -> None:
            if stop and epoch == 1:
                raise InterruptedError

        torch.manual_seed(seed)
        model = create_model("Book/4")
        pair = data, held_out
        fit(model, pair, config, folder, quiet=True, on_epoch=on_epoch)
        return predict(model, held_out, config.mean, config.std)

    whole = run(None, seed=0, stop=False)
    with tempfile.TemporaryDirectory() as folder:
        try:
            run(folder, seed=0, stop=True)
        except InterruptedError:
            # other weights, in place of which it must take the stored ones
            resumed = run(folder, seed=1, stop=False)
    return float((whole - resumed).abs().max())


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest difference of two rows of losses, in parts of the second."""
    return float(((a - b).abs() / b).max())


def run_checks(
    device: torch.device, quick: bool, compiled: bool
) -> dict[str, Any]:
    """Compare, then train; print a line each."""
    checks = Checks()
    train, test = load_sample()
    base, recipe, count, floor = FLOAT32, RECIPE, 20, 0.65
    if quick:
        train = train.subset(slice(0, 160))
        test = test.subset(slice(0, 100))
        base, recipe = (
            replace(c, batch_size=16, epochs=2) for c in (base, recipe)
        )
        count, floor = 6, 0.0
    dtype, why = choose_precision(device)
    print(f"precision: {dtype}, since {why}")

    gap = attention_gap(device, torch.float32)
    checks.at_most("fused against explicit attention, float32", gap, 1e-5)
    if dtype != torch.float32:
        gap = attention_gap(device, dtype)
        checks.at_most(f"the same in {dtype}", gap, 0.02)
    here = losses(device, train, base, count)
    cpu = losses(torch.device("cpu"), train, base, min(count, 5))
    gap = relative(here[: len(cpu)], cpu)
    checks.at_most("losses in float32 against the CPU's", gap, 1e-3)
    parts = losses(device, train, replace(base, accumulate=4), count)
    checks.at_most("a batch in 4 parts", relative(parts, here), 1e-3)
    low = losses(device, train, replace(base, precision="auto"), count)
    gap = relative(low.mean(), here.mean())
    checks.at_most(f"mean loss in {dtype} against float32", gap, 0.02)
    small = train.subset(slice(0, count // 2 * base.batch_size))
    gap = resume_gap(device, small, base)
    checks.at_most("logits of a run that was stopped and resumed", gap, 0.01)
    if compiled:
        fast = losses(device, train, replace(base, compile=True), count)
        checks.at_most("compiled", relative(fast, here), 1e-3)

    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    recipe = replace(recipe, compile=compiled, device=str(device))
    torch.manual_seed(0)
    log = fit(create_model("Book/4"), (train, test), recipe)
    end = [record for record in log if record["event"] == "epoch"][-1]
    checks.at_most("error on the test images", 1 - end["accuracy"], 1 - floor)
    peak = torch.cuda.max_memory_allocated(device) if cuda else None
    speed = f"{end['images_per_second']:,.0f} images a second"
    memory = f", {peak / 2**20:,.0f} MiB at most" if cuda else ""
    print(f"{speed}, all that fit does included{memory}")
    return {
        "precision": str(dtype).removeprefix("torch."),
        "quick": quick,
        "config": asdict(recipe),
        "images_per_second": end["images_per_second"],
        "peak_bytes": peak,
        "accuracy": end["accuracy"],
        "checks": checks.rows,
        "passed": checks.passed,
    }


def describe(device: torch.device) -> dict[str, Any]:
    """The device and the versions."""
    about: dict[str, Any] = {"device": platform.machine()}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        about["device"] = properties.name
        about["capability"] = f"{properties.major}.{properties.minor}"
        about["memory_bytes"] = properties.total_memory
        about["cuda"] = torch.version.cuda or torch.version.hip
    about |= {"kind": device.type, "date": date.today().isoformat()}
    return about | {
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def store(about: dict[str, Any], results: dict[str, Any]) -> Path:
    """Write the numbers into the file of this device."""
    name = re.sub(r"\W+", "_", about["device"]).strip("_").lower()
    path = RESULTS / f"gpu_{name}.json"
    path.write_text(json.dumps(about | results, indent=2) + "\n")
    return path


def main(arguments: list[str] | None = None) -> int:
    """Run the checks; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--device", default="auto", help="auto, cuda, mps or cpu"
    )
    parser.add_argument(
        "--quick", action="store_true", help="few images, no accuracy asked"
    )
    parser.add_argument(
        "--compile", action="store_true", help="check torch.compile, too"
    )
    parser.add_argument(
        "--json", action="store_true", help="store results/gpu_<device>.json"
    )
    options = parser.parse_args(arguments)
    try:
        device = local_device(choose_device(options.device))
    except ValueError as error:
        parser.error(str(error))
    if device.type == "cpu":
        print("this is a CPU: its numbers say nothing of a GPU")
        if options.json:
            parser.error("--json keeps results of GPUs; this is a CPU")
    about = describe(device)
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    results = run_checks(device, options.quick, options.compile)
    if options.json:
        print(f"written to {store(about, results)}")
    print("all checks passed" if results["passed"] else "a check failed")
    return 0 if results["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
