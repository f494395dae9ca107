"""Chapters 8 and 10: what the commands do, from options to numbers."""

import signal
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from vitlib._dataset import ImageDataset
from vitlib._inputs import KNOWN, load, model_config, read_model, split
from vitlib._options import given
from vitlib.device import choose_device
from vitlib.distributed import local_device, process_group
from vitlib.metrics import accuracy, calibration, confusion, wilson_interval
from vitlib.model import VisionTransformer
from vitlib.pretrained import load as load_weights
from vitlib.pretrained.registry import REGISTRY
from vitlib.train import TrainConfig, fit, predict
from vitlib.weights import save_model


def scores(
    model: nn.Module, data: ImageDataset, stats: dict[str, Any]
) -> dict[str, Any]:
    """Count what a model gets right, in float32; shares of 1."""
    logits = predict(model, data, stats["mean"], stats["std"])
    if not logits.isfinite().all():
        raise FloatingPointError("the model's outputs are not finite")
    share = accuracy(logits, data.labels)
    table = confusion(logits, data.labels).double()
    right = table.diagonal() / table.sum(dim=1)
    return {
        "images": len(data),
        "accuracy": share,
        "interval": list(wilson_interval(share, len(data))),
        "loss": float(functional.cross_entropy(logits, data.labels)),
        "calibration_error": calibration(logits, data.labels)[0],
        "classes": {
            name: None if value != value else value  # NaN: no such image
            for name, value in zip(data.classes, right.tolist(), strict=True)
        },
    }


def in_words(found: dict[str, Any]) -> str:
    """Test accuracy with its interval."""
    low, high = found["interval"]
    return (
        f"test accuracy {found['accuracy']:.2%} (95 % interval {low:.2%} to "
        f"{high:.2%}) on {found['images']:,} images"
    )


def train(args: Namespace) -> dict[str, Any]:
    """Train a model, write its weights, count what it gets right."""
    stats = KNOWN[args.data].stats._asdict()
    config = TrainConfig(**(stats | given(args, TrainConfig)))
    if args.held_out == 0 and args.evaluate_every is None:
        config = replace(config, evaluate_every=config.epochs)
    shape, words = model_config(args)
    name = f"{args.data}-{args.model.replace('/', '-')}"
    folder = Path(args.folder or Path("runs", name))
    device = local_device(choose_device(config.device))
    with process_group(device) as (rank, _):
        images, test = load(args, args.download)
        learn, look = split(args, images, test)
        print(f"{args.model} on {args.data}, run in {folder}{words}")
        torch.manual_seed(config.seed)
        model = VisionTransformer(shape)
        records = fit(model, (learn, look), config, folder)
        last = records[-1]
        if last["event"] == "stopped":
            raise KeyboardInterrupt(last["signal"] or signal.SIGTERM)
    if rank:
        return {}
    start = [r for r in records if r["event"] == "start"][-1]
    if start["step"] == start["steps"]:
        print("this run was complete; nothing is left to train")
    stats = {"mean": config.mean, "std": config.std}
    found = scores(model.to(device), test, stats)
    weights = folder / "model.safetensors"
    notes = {"data": args.data, "seed": config.seed, "classes": test.classes}
    notes["test_accuracy"] = found["accuracy"]
    save_model(model, weights, **stats, **notes)
    print(f"{in_words(found)}; wrote {weights}", flush=True)
    epochs = [r for r in records if r["event"] == "epoch"]
    return {
        "data": args.data,
        "model": args.model,
        "folder": str(folder),
        "weights": str(weights),
        "parameters": start["parameters"],
        "steps": start["steps"],
        "epochs": epochs,
        "test": found,
    }


def evaluate(args: Namespace) -> dict[str, Any]:
    """Count what stored weights get right."""
    device = choose_device(args.device)
    model, notes = read_model(args.file, args.data)
    _, test = load(args, args.download)
    found = scores(model.to(device), test, notes)
    print(f"{args.file} on {args.data}: {in_words(found)}")
    print(
        f"loss {found['loss']:.4f} nats, calibration error "
        f"{found['calibration_error']:.2%}"
    )
    for name, value in found["classes"].items():
        share = "no image" if value is None else f"{value:.1%}"
        print(f"  {name:<12}{share:>9}")
    return {"file": args.file, "data": args.data, "test": found}


def download(args: Namespace) -> dict[str, Any]:
    """Fetch a data set's files or a model's, and read them all."""
    if args.data in REGISTRY:
        if args.root or args.mirror:
            raise ValueError("--root and --mirror are for data sets")
        _, notes = load_weights(args.data)
        print(
            f"{args.data} is there and sound: {notes['parameters']:,} "
            f"parameters, {notes['licence']}, from {notes['source']}"
        )
        keys = ("name", "parameters", "licence", "source")
        return {key: notes[key] for key in keys}
    train, test = load(args, download=True)
    print(
        f"{args.data} is there and sound: {len(train):,} training and "
        f"{len(test):,} test images"
    )
    return {"data": args.data, "train": len(train), "test": len(test)}
