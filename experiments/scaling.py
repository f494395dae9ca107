"""How much faster two processes train than one, on this machine.

    .venv/bin/python experiments/scaling.py

The book's model and recipe with a global batch of 128, started by torchrun:
one process, two with DDP, two with FSDP2, one thread each. The three take
turns, so that whatever else the machine does meets all alike. Results go to
results/scaling.json.
"""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from statistics import median
from time import perf_counter

import torch
from machine import MALLOC, describe, save
from reference import MODEL, RECIPE

from vitlib import VisionTransformer
from vitlib.data import load_sample
from vitlib.distributed import process_group, wait_for_all
from vitlib.trainer import Trainer

ARMS = {"1": (1, False), "2 DDP": (2, False), "2 FSDP2": (2, True)}
# Images a second on two busy cores of an AMD EPYC, to say what it will cost.
EXPECTED = {"1": 450, "2 DDP": 400, "2 FSDP2": 95}
START = 7  # seconds until torchrun's processes train
WARM_UP = 5  # steps before the clock starts


def work(steps: int, fsdp: bool) -> None:
    """In a process of torchrun: train, and print images a second."""
    torch.set_num_threads(1)
    device = torch.device("cpu")
    with process_group(device) as (rank, _):
        config = replace(RECIPE, fsdp=fsdp, device="cpu")
        torch.manual_seed(0)
        trainer = Trainer(
            VisionTransformer(MODEL), load_sample()[0], config, device
        )
        for step in range(WARM_UP + steps):
            if step == WARM_UP:
                wait_for_all()
                start = perf_counter()
            trainer.update(*trainer.batch())
        wait_for_all()
        rate = steps * config.batch_size / (perf_counter() - start)
        precision = str(trainer.dtype).removeprefix("torch.")
        if rank == 0:
            print(json.dumps({"rate": rate, "precision": precision}))


def measure(steps: int, processes: int, fsdp: bool) -> dict:
    """Start torchrun, and read what its first process prints."""
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
        *("--nproc_per_node", str(processes), __file__, "--work"),
        *("--steps", str(steps), *(["--fsdp"] if fsdp else [])),
    ]
    environment = os.environ | MALLOC | {"OMP_NUM_THREADS": "1"}
    job = subprocess.run(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(job.stdout.splitlines()[-1])


def main() -> None:
    """Measure all, round by round."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=40, help="timed, a turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cost", action="store_true", help="print it only")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--fsdp", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        return work(args.steps, args.fsdp)
    torch.set_num_threads(1)  # as the processes do, for describe
    images = (args.steps + WARM_UP) * RECIPE.batch_size
    seconds = sum(START + images / rate for rate in EXPECTED.values())
    seconds *= args.rounds
    print(f"{args.rounds} rounds, about {seconds / 60:.0f} minutes, two cores")
    if args.cost:
        return None
    rates: dict[str, list[float]] = {name: [] for name in ARMS}
    for number in range(args.rounds):
        turn = list(ARMS) if number % 2 else list(ARMS)[::-1]
        for name in turn:
            found = measure(args.steps, *ARMS[name])
            rates[name].append(round(found["rate"], 1))
            print(f"round {number + 1}, {name}: {found['rate']:,.0f} images/s")
    one = rates["1"]
    ratios = {
        name: [round(x / y, 3) for x, y in zip(values, one, strict=True)]
        for name, values in rates.items()
    }
    path = save(
        "scaling",
        {
            "about": "images a second in training, by number of processes, "
            "one thread each, on one machine; ratios are to one process in "
            "the same round",
            "machine": describe(),
            "model": asdict(MODEL),
            "config": asdict(RECIPE),
            "precision": found["precision"],
            "steps": args.steps,
            "rounds": args.rounds,
            "images_per_second": rates,
            "ratios": ratios,
            "median_ratio": {n: median(r) for n, r in ratios.items()},
        },
    )
    print(f"wrote {path}")
    return None


if __name__ == "__main__":
    main()
