"""What looking inside costs: seconds and memory, beside the usual ways.

    .venv/bin/python experiments/inspection_speed.py

All that is compared takes turns in one process. The usual ways are written
here from the published ideas, no code copied, and give the same numbers
where they mean the same: the distance of Keras' example on ViT
representations (numpy, a loop over all pairs of patches for each layer), the
rollout of jacobgil/vit-explain (image by image, the least attention thrown
away), and flow on networkx, as Abnar & Zuidema published it. Writes
results/inspection_speed.json.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median
from time import perf_counter

import networkx
import numpy as np
import torch
from machine import MALLOC, describe, keep_memory, peak, save
from networkx.algorithms.flow import edmonds_karp
from torch import Tensor

from vitlib import VARIANTS, VisionTransformer
from vitlib.data import load_sample, normalize
from vitlib.inspection import (
    Rollout,
    attention_distance,
    flow,
    layer_matrix,
    rollout,
    stream,
)
from vitlib.weights import load_model

GRID, P = (14, 14), 16


def keras_style(weights: list[Tensor]) -> list[np.ndarray]:
    """Distances by head, image and layer; rows are not scaled to 1."""
    found = []
    for layer in weights:
        patches = layer.numpy()[..., 1:, 1:]
        N = patches.shape[-1]
        side = int(N**0.5)
        pixels = np.zeros((N, N))
        for i in range(N):
            for j in range(N):
                gap = [i // side - j // side, i % side - j % side]
                pixels[i, j] = P * np.linalg.norm(gap)
        found.append((patches * pixels).sum(axis=-1).mean(axis=-1))
    return found


def vit_explain_style(weights: list[Tensor], discard: float) -> list[Tensor]:
    """One image after the other; the class token's row of the product."""
    maps = []
    for index in range(len(weights[0])):
        product = torch.eye(weights[0].shape[-1])
        for layer in weights:
            fused = layer[index].mean(dim=0)
            flat = fused.flatten()
            least = flat.topk(int(len(flat) * discard), largest=False).indices
            flat[least[least != 0]] = 0
            matrix = (fused + torch.eye(len(fused))) / 2
            product = matrix / matrix.sum(dim=-1, keepdim=True) @ product
        maps.append(product[0])
    return maps


def networkx_style(weights: list[Tensor], sinks: range) -> list[float]:
    """Flows of one image from the class token to some input tokens."""
    pipes = networkx.DiGraph()
    for depth, layer in enumerate(weights):
        matrix = layer_matrix(layer)[0]
        for i, row in enumerate(matrix.tolist()):
            for j, capacity in enumerate(row):
                pipes.add_edge((depth + 1, i), (depth, j), capacity=capacity)
    value = partial(networkx.maximum_flow_value, flow_func=edmonds_karp)
    return [value(pipes, (len(weights), 0), (0, sink)) for sink in sinks]


def take_turns(
    jobs: dict[str, Callable[[], object]], rounds: int, ours: str
) -> dict[str, dict]:
    """Seconds of each, and as multiples of ours, round by round."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    names = list(jobs)
    for job in jobs.values():
        job()  # once to warm up
    for turn in range(rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            start = perf_counter()
            jobs[name]()
            seconds[name].append(perf_counter() - start)
    rows = {}
    for name, values in seconds.items():
        pairs = zip(values, seconds[ours], strict=True)
        times = [this / mine for this, mine in pairs]
        rows[name] = {
            "seconds": round(median(values), 4),
            f"times_{ours.replace(' ', '_')}": round(median(times), 3),
            "range": [round(min(times), 3), round(max(times), 3)],
        }
        print(f"{name:34} {rows[name]}", flush=True)
    return rows


def inspect(
    model: VisionTransformer, images: Tensor, distance: bool, rolled: bool
) -> None:
    """One pass over all images in batches of 32, with these reducers."""
    for batch in images.split(32):
        kept, reducers = [], [Rollout()] if rolled else []
        if distance:
            measure = partial(attention_distance, grid_size=GRID, patch_size=P)
            reducers.append(lambda w: kept.append(measure(w)))  # noqa: B023
        stream(model, batch, *reducers)


def time_stream(count: int, rounds: int) -> dict:
    """ViT-S/16: the pass with its weights made, and with them read."""
    model = VisionTransformer(VARIANTS["S/16"])
    run = partial(inspect, model, torch.randn(count, 3, 224, 224))
    jobs = {
        "attention alone": partial(run, False, False),
        "distance": partial(run, True, False),
        "rollout": partial(run, False, True),
        "distance and rollout": partial(run, True, True),
    }
    return take_turns(jobs, rounds, "attention alone")


def time_peers(count: int, rounds: int) -> dict:
    """The same tensors, ViT-S/16's, read by the usual ways and by ours."""
    model, weights = VisionTransformer(VARIANTS["S/16"]), []
    stream(model, torch.randn(count, 3, 224, 224), weights.append)

    def distances() -> list[Tensor]:
        return [attention_distance(w, GRID, P) for w in weights]

    ignored = [attention_distance(w, GRID, P, "ignore") for w in weights]
    for mine, theirs in zip(ignored, keras_style(weights), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4)
    torch.testing.assert_close(
        rollout(weights)[:, 0], torch.stack(vit_explain_style(weights, 0))
    )
    rows = {"images": count}
    jobs = {"vitlib": distances, "Keras": partial(keras_style, weights)}
    rows["distance"] = take_turns(jobs, rounds, "vitlib")
    jobs = {
        "vitlib": partial(rollout, weights),
        "vit-explain": partial(vit_explain_style, weights, 0.9),
        "vit-explain, nothing discarded": partial(
            vit_explain_style, weights, 0.0
        ),
    }
    rows["rollout"] = take_turns(jobs, rounds, "vitlib")
    return rows


def time_flow(sinks: int, rounds: int) -> dict:
    """The book's model, one garment: flow from the class token."""
    model, stats = load_model()
    images = load_sample()[1].images[:1]
    weights: list[Tensor] = []
    images = normalize(images, stats["mean"], stats["std"])
    stream(model, images, weights.append)
    T = weights[0].shape[-1]
    some = range(1, T, max(1, T // sinks))[:sinks]
    start = perf_counter()
    theirs = networkx_style(weights, some)
    each = (perf_counter() - start) / len(some)
    mine = flow(weights)[0, 0]
    np.testing.assert_allclose(mine[list(some)], theirs, atol=1e-4)
    rows = take_turns({"vitlib": partial(flow, weights)}, rounds, "vitlib")
    rows["networkx"] = {
        "seconds": round(each * T, 2),
        "sinks_timed": len(some),
        "sinks": T,
        "times_vitlib": round(each * T / rows["vitlib"]["seconds"]),
    }
    print(rows["networkx"], flush=True)
    return rows


def print_memory(side: int, count: int) -> None:
    """MB of this fresh process: before, and at the most, in one pass."""
    config = replace(VARIANTS["S/14"], img_size=side)
    model = VisionTransformer(config)
    images, kept = torch.randn(count, 3, side, side), []
    before = peak()
    measure = partial(
        attention_distance, grid_size=config.grid_size, patch_size=14
    )
    stream(model, images, lambda w: kept.append(measure(w)), Rollout())
    layer = count * config.num_heads * config.num_tokens**2 * 4
    print(before / 1024, peak() / 1024, layer / 2**20)


def memory(side: int, count: int) -> dict:
    """The same, of ViT-S/14, in a process that was not told to keep it."""
    command = [sys.executable, __file__, "--memory", str(side), str(count)]
    plain = {k: v for k, v in os.environ.items() if k not in MALLOC}
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=plain
    )
    before, most, layer = map(float, done.stdout.split())
    return {
        "side": side,
        "images": count,
        "process_MB": round(most),
        "of_that_the_pass_MB": round(most - before),
        "one_layers_weights_MB": round(layer),
        "in_layers": round((most - before) / layer, 2),
    }


def main() -> None:
    """Measure all and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--side", type=int, default=518, help="for memory")
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.manual_seed(0)
    if args.memory:
        print_memory(*map(int, args.memory))
        return
    keep_memory()
    results = {"memory, ViT-S/14": memory(args.side, 8)}
    print(results, flush=True)
    few = max(1, args.images // 8)
    results |= {
        "stream, ViT-S/16": time_stream(args.images, args.rounds),
        "same tensors, ViT-S/16": time_peers(few, args.rounds),
        "flow, Book/4": time_flow(max(1, args.images // 16), args.rounds),
    }
    about = "seconds, medians over rounds; times_x: multiples of x's time"
    about += " in the same round; MB: 2^20 bytes"
    head = {"about": about, "machine": describe(), "rounds": args.rounds}
    path = save("inspection_speed", head | {"images": args.images} | results)
    print(path)


if __name__ == "__main__":
    main()
