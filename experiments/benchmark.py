"""Images per second and peak memory, beside the peers, in one run.

    .venv-peers/bin/python experiments/benchmark.py

Eight cells: two models, inference and training, float32 and bf16 autocast.
Within a cell all models take turns, in an order that rotates, so that a
machine whose speed drifts treats them alike. Each round gives one ratio of
vitlib to each peer. Writes results/benchmark.json.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from time import perf_counter

import torch
from machine import compare, describe, keep_memory, peak, save
from peers import PEERS
from torch import nn
from torch.nn.functional import cross_entropy

import vitlib.attention
from vitlib import VARIANTS, VisionTransformer
from vitlib.config import ViTConfig

SHAPES = {"Book/4": 128, "Ti/16": 16}  # images a batch
CELLS = list(product(SHAPES, ["inference", "training"], ["float32", "bf16"]))


class OnePath(nn.Module):
    """vitlib with one attention path, whatever it would prefer."""

    def __init__(self, config: ViTConfig, fused: bool) -> None:
        super().__init__()
        self.model, self.fused = VisionTransformer(config), fused

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Classify images (B, C, H, W): (B, K)."""
        kept = vitlib.attention.prefers_fused
        vitlib.attention.prefers_fused = lambda q: self.fused
        try:
            return self.model(images)
        finally:
            vitlib.attention.prefers_fused = kept


def like_simple_vit(config: ViTConfig) -> nn.Module:
    """Leave out what SimpleViT leaves out: class token, bias of qkv."""
    return VisionTransformer(
        replace(
            config,
            class_token=False,
            global_pool="avg",
            pos_embed="sincos",
            qkv_bias=False,
        )
    )


MODELS: dict[str, Callable[[ViTConfig], nn.Module]] = {
    "vitlib": VisionTransformer,
    "vitlib, like SimpleViT": like_simple_vit,
    "vitlib, fused": lambda config: OnePath(config, fused=True),
    "vitlib, explicit": lambda config: OnePath(config, fused=False),
    **PEERS,
}


def make_step(
    name: str, shape: str, mode: str, dtype: str
) -> Callable[[], None]:
    """One batch through one model: what is timed."""
    torch.manual_seed(0)
    config = VARIANTS[shape]
    model = MODELS[name](config).train(mode == "training")
    side = (config.img_size, config.img_size)
    images = torch.randn(SHAPES[shape], config.in_chans, *side)
    labels = torch.randint(config.num_classes, (SHAPES[shape],))
    bf16 = torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bf16")

    def infer() -> None:
        with torch.inference_mode(), bf16:
            model(images)

    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def train() -> None:
        with bf16:
            loss = cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return infer if mode == "inference" else train


def time_cell(cell: tuple[str, str, str], rounds: int) -> dict:
    """Time all models in turn; at least half a second a turn."""
    batch_size = SHAPES[cell[0]]
    steps = {name: make_step(name, *cell) for name in MODELS}
    for step in steps.values():
        step()
    start = perf_counter()
    steps["vitlib"]()
    repeats = max(1, round(0.5 / (perf_counter() - start)))
    rates: dict[str, list[float]] = {name: [] for name in MODELS}
    names = list(MODELS)
    for turn in range(rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            start = perf_counter()
            for _ in range(repeats):
                steps[name]()
            seconds = perf_counter() - start
            rates[name].append(repeats * batch_size / seconds)
    return compare(rates, "vitlib")


def peak_memory(name: str, cell: tuple[str, str, str]) -> float:
    """MB that three steps add to a fresh process that made the model."""
    command = [sys.executable, __file__, "--memory", name, *cell]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def print_memory(name: str, *cell: str) -> None:
    """Run in that process."""
    step = make_step(name, *cell)
    before = peak()
    for _ in range(3):
        step()
    print((peak() - before) / 1024)


def main() -> None:
    """Measure every cell and write the results as they come."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="a cell")
    parser.add_argument("--memory", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory:
        print_memory(*args.memory)
        return
    keep_memory()
    results = {
        "what": "images per second; vitlib_to_this: ratio of vitlib to the "
        "model in the same round, the median of all rounds; MB: memory "
        "that three steps add to a fresh process",
        "machine": describe(),
        "rounds": args.rounds,
        "batch_size": SHAPES,
        "cells": {},
    }
    for cell in CELLS:
        rows = time_cell(cell, args.rounds)
        results["cells"][", ".join(cell)] = rows
        print(json.dumps({", ".join(cell): rows}, indent=1), flush=True)
        save("benchmark", results)
    for cell, name in product(CELLS, ["vitlib", *PEERS]):
        row = results["cells"][", ".join(cell)][name]
        row["MB"] = round(peak_memory(name, cell))
    print(save("benchmark", results))


if __name__ == "__main__":
    main()
