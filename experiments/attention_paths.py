"""Explicit against fused attention: which is faster, where.

    .venv/bin/python experiments/attention_paths.py

Times the module Attention of width 192 with 3 heads (Ti) on both paths, in
turn, for sequences of 50 to 1370 tokens; writes results/attention_paths.json,
which vitlib.attention.prefers_fused rests on.
"""

import argparse
from collections.abc import Callable
from itertools import product
from statistics import median
from time import perf_counter

import torch
from machine import describe, keep_memory, save

import vitlib.attention
from vitlib import Attention

TOKENS = {50: 64, 197: 16, 785: 4, 1370: 2}  # T: images a batch


def make_step(tokens: int, mode: str, dtype: str) -> Callable[[], None]:
    """One pass through one attention layer."""
    torch.manual_seed(0)
    attn = Attention(192, 3)
    x = torch.randn(TOKENS[tokens], tokens, 192)
    bf16 = torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bf16")

    def infer() -> None:
        with torch.inference_mode(), bf16:
            attn(x)

    def train() -> None:
        with bf16:
            out, _ = attn(x)
        out.sum().backward()

    return infer if mode == "inference" else train


def compare(step: Callable[[], None], rounds: int) -> dict[str, float]:
    """Milliseconds of both paths, and the median ratio of their rounds."""
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(rounds + 1):  # the first warms up
        for fused, times in seconds.items():
            vitlib.attention.prefers_fused = lambda q, fused=fused: fused
            start = perf_counter()
            for _ in range(3):
                step()
            times.append((perf_counter() - start) / 3)
    fused, explicit = seconds[True][1:], seconds[False][1:]
    ratios = [f / e for f, e in zip(fused, explicit, strict=True)]
    return {
        "fused_ms": round(1e3 * median(fused), 2),
        "explicit_ms": round(1e3 * median(explicit), 2),
        "fused_to_explicit": round(median(ratios), 2),
    }


def main() -> None:
    """Measure all cells and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="a cell")
    rounds = parser.parse_args().rounds
    keep_memory()
    cells = {}
    modes = product(["inference", "training"], ["float32", "bf16"], TOKENS)
    for mode, dtype, tokens in modes:
        name = f"{mode}, {dtype}, {tokens} tokens"
        cells[name] = compare(make_step(tokens, mode, dtype), rounds)
        print(name, cells[name], flush=True)
    results = {"machine": describe(), "rounds": rounds, "cells": cells}
    save("attention_paths", results)


if __name__ == "__main__":
    main()
