"""Which map can you trust? Deletion, insertion, randomised weights.

    .venv/bin/python experiments/faithfulness.py

Ranks the patches of images by every map of the book, replaces them in that
order by four fills, and follows the score: the probability of the predicted
class for the book's model on test images of Fashion-MNIST; the cosine of the
class feature to the intact image's for the pretrained model on photographs.
Writes results/faithfulness.json. The curves run in bf16, the maps in
float32; what that changes in the areas is measured too.
"""

import argparse
from collections.abc import Callable, Iterable
from time import process_time

import torch
from machine import describe, keep_memory, save
from torch import Tensor

from vitlib import VisionTransformer
from vitlib.data import PHOTOGRAPHS, load_fashion_mnist, normalize, photograph
from vitlib.inspection import (
    area,
    attention_maps,
    bootstrap,
    cascade,
    cosine_to,
    deletion,
    fill_maps,
    gradient_maps,
    greedy_order,
    insertion,
    make_fills,
    model_free_maps,
    patch_order,
    probability,
    projection_on,
    random_order,
    rank_correlation,
)
from vitlib.inspection.targets import Target
from vitlib.pretrained import load
from vitlib.weights import load_model

SEED = 0
BATCH = 100
# Points of the curves, shares of the patches: closer where curves are steep.
SHARES = (0, 0.08, 0.18, 0.35, 0.6, 1)
FIXED = "mean"  # the fill of the maps that have to name one beforehand
GREEDY = 24  # images of the control that asks the model at every step
SANE = 24  # images of the test by randomised weights
PHOTO_SIZE = 140  # 10 x 10 patches of 14 pixels
FILL_METHODS = ("integrated gradients", "occlusion")
Maps = dict[str, Tensor]


def low() -> torch.autocast:
    """Half the bits where they double the speed: see "precision"."""
    return torch.autocast("cpu", torch.bfloat16)


def make_maps(
    model: VisionTransformer,
    images: Tensor,
    score: Target,
    slope: Target,
    fills: Maps,
) -> Maps:
    """Every map; those that need a fill, once for each."""
    maps = model_free_maps(images, model.config)
    maps |= attention_maps(model, images)
    maps |= gradient_maps(model, images, slope)
    for name, fill in fills.items():
        found = fill_maps(model, images, score, fill)
        maps |= {f"{key}, {name}": value for key, value in found.items()}
    return maps


def orders_for(maps: Maps, fill: str, seed: int) -> dict[str, Tensor]:
    """Method -> its order of the patches, where this fill is used."""
    orders = {}
    for name, found in maps.items():
        method, _, own = name.partition(", ")
        if method in FILL_METHODS:
            if own == FIXED:
                orders[method] = patch_order(found, seed)
            if own == fill:
                orders[f"{method}, same fill"] = patch_order(found, seed)
        else:
            orders[name] = patch_order(found, seed)
    orders["random"] = random_order(len(found), found[0].numel(), seed + 1)
    return orders


def both(
    model: VisionTransformer,
    images: Tensor,
    orders: dict[str, Tensor],
    score: Target,
    fill: Tensor,
) -> dict[str, Tensor]:
    """Deletion and insertion curves (2, B, S) of each method.

    All share their two ends, and equal orders their curves.
    """
    counts = steps(model)
    args, inner = (score, fill), counts[1:-1]
    first = next(iter(orders.values()))
    with low():
        ends = deletion(model, images, first, *args, [0, counts[-1]])
        intact, blank = ends.split(1, dim=1)
        found: dict[str, Tensor] = {}
        for method, order in orders.items():
            twin = method.removesuffix(", same fill")
            if twin in found and orders[twin].equal(order):
                found[method] = found[twin]
                continue
            gone = deletion(model, images, order, *args, inner)
            back = insertion(model, images, order, *args, inner)
            found[method] = torch.stack(
                [
                    torch.cat([intact, gone, blank], dim=1),
                    torch.cat([blank, back, intact], dim=1),
                ]
            )
    return found


def steps(model: VisionTransformer) -> list[int]:
    """How many patches are gone at the points of a curve."""
    N = model.config.num_patches
    return [round(N * share) for share in SHARES]


def summary(curves: Tensor, chance: Tensor, counts: list[int]) -> dict:
    """Curves (2, B, S) of a method and of random orders, as numbers."""
    gone, back = (area(curve, counts) for curve in curves)
    gone0, back0 = (area(curve, counts) for curve in chance)
    values = {
        "deletion": gone,
        "insertion": back,
        "gain": back - gone,
        "deletion less random": gone - gone0,
        "insertion less random": back - back0,
        "gain less random": (back - gone) - (back0 - gone0),
    }
    row = {k: rounded(bootstrap(v)) for k, v in values.items()}
    names = ("deletion curve", "insertion curve")
    means = curves.double().mean(dim=1).tolist()
    return row | dict(zip(names, map(rounded, means), strict=True))


def rounded(values: Iterable[float]) -> list[float]:
    """Four digits after the point are more than the intervals hold."""
    return [round(value, 4) for value in values]


def compare(
    model: VisionTransformer,
    images: Tensor,
    fills: Maps,
    targets: Callable[[slice], tuple[Target, Target]],
) -> tuple[dict, Maps]:
    """All methods by all fills: what the file says, and the gains (B,)."""
    counts = steps(model)
    parts: dict[tuple[str, str], list[Tensor]] = {}
    for start in range(0, len(images), BATCH):
        cut = slice(start, start + BATCH)
        own = {name: fill[cut] for name, fill in fills.items()}
        score, slope = targets(cut)
        maps = make_maps(model, images[cut], score, slope, own)
        for name, fill in own.items():
            orders = orders_for(maps, name, start)
            found = both(model, images[cut], orders, score, fill)
            for method, curve in found.items():
                parts.setdefault((name, method), []).append(curve)
        print(f"{start + len(images[cut])} images", flush=True)
    curves = {key: torch.cat(part, dim=1) for key, part in parts.items()}
    table: dict[str, dict] = {name: {} for name in fills}
    gains: dict[str, list[Tensor]] = {}
    for (fill, method), curve in curves.items():
        table[fill][method] = summary(curve, curves[fill, "random"], counts)
        gain = area(curve[1], counts) - area(curve[0], counts)
        gains.setdefault(method, []).append(gain)
    mean = {k: torch.stack(v).mean(dim=0) for k, v in gains.items()}
    return {
        "counts": counts,
        "images": len(images),
        "fills": table,
        "gain over all fills": {
            name: {
                "gain": rounded(bootstrap(gain)),
                "less random": rounded(bootstrap(gain - mean["random"])),
            }
            for name, gain in mean.items()
        },
        "pairs": {
            a: {b: rounded(bootstrap(mean[a] - mean[b])) for b in mean}
            for a in mean
        },
    }, mean


def greedy(
    model: VisionTransformer, images: Tensor, fill: Tensor, score: Target
) -> dict:
    """The control that asks the model at every step, on some images."""
    counts = steps(model)
    with low():
        order = greedy_order(model, images, score, fill)
    orders = {"greedy": order, "random": random_order(*order.shape, SEED)}
    curves = both(model, images, orders, score, fill)
    row = summary(curves["greedy"], curves["random"], counts)
    return {"images": len(images), "fill": FIXED} | row


def precision(
    model: VisionTransformer, images: Tensor, fill: Tensor, score: Target
) -> dict[str, float]:
    """What bf16 changes in the areas of a random order."""
    counts = steps(model)
    order = random_order(len(images), counts[-1])
    exact = area(deletion(model, images, order, score, fill, counts), counts)
    with low():
        rough = deletion(model, images, order, score, fill, counts)
    gap = area(rough, counts) - exact
    return {
        "images": len(images),
        "largest difference of an area": round(float(gap.abs().max()), 5),
        "difference of the mean area": round(float(gap.mean().abs()), 5),
    }


def sanity(
    model: VisionTransformer, images: Tensor, fill: Tensor, classes: Tensor
) -> dict[str, dict[str, list[float]]]:
    """Rank correlation of each map with that of destroyed weights."""
    score = probability(classes)

    def run(model: VisionTransformer) -> Maps:
        return make_maps(model, images, score, classes, {FIXED: fill})

    intact, rows = run(model), {}
    for step, copy in cascade(model, SEED):
        rows[step] = {
            name.removesuffix(f", {FIXED}"): rounded(
                bootstrap(rank_correlation(intact[name], found))
            )
            for name, found in run(copy).items()
        }
        print(step, flush=True)
    return rows


def book(count: int) -> dict:
    """The book's model on test images of Fashion-MNIST."""
    model, notes = load_model()
    test = load_fashion_mnist()[1]
    generator = torch.Generator().manual_seed(SEED)
    index = torch.randperm(len(test), generator=generator)[:count]
    stats = tuple(notes["mean"]), tuple(notes["std"])
    images = normalize(test.images[index], *stats)
    fills = make_fills(images, *stats, model.config.patch_size, SEED)
    with torch.no_grad():
        classes = model(images).argmax(dim=1)

    def targets(cut: slice) -> tuple[Target, Target]:
        return probability(classes[cut]), classes[cut]

    found, _ = compare(model, images, fills, targets)
    some, fill = slice(GREEDY), fills[FIXED]
    args = model, images[some], fill[some], probability(classes[some])
    found["greedy"] = greedy(*args)
    found["precision"] = precision(*args)
    some = slice(SANE)
    found["sanity images"] = min(SANE, count)
    found["sanity"] = sanity(model, images[some], fill[some], classes[some])
    right = (classes == test.labels[index]).double().mean()
    return {"accuracy": round(float(right), 4)} | found


def photographs() -> dict:
    """The pretrained model on the photographs: few, so take care."""
    model, notes = load("dinov2-type-s14", img_size=PHOTO_SIZE)
    raw = torch.stack([photograph(name, PHOTO_SIZE) for name in PHOTOGRAPHS])
    stats = tuple(notes["mean"]), tuple(notes["std"])
    images = normalize(raw, *stats)
    fills = make_fills(images, *stats, model.config.patch_size, SEED)
    with torch.no_grad():
        features, blank = model(images), model(fills[FIXED])

    def targets(cut: slice) -> tuple[Target, Target]:
        away = features[cut] - blank[cut]
        return cosine_to(features[cut]), projection_on(away)

    found, gains = compare(model, images, fills, targets)
    found["gain of each photograph"] = {
        name: dict(zip(PHOTOGRAPHS, rounded(gain.tolist()), strict=True))
        for name, gain in gains.items()
    }
    return {"weights": notes["name"], "img_size": PHOTO_SIZE} | found


def main() -> None:
    """Measure both and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=500, help="of the test")
    count = parser.parse_args().images
    keep_memory()
    results: dict[str, object] = {
        "about": "Faithfulness of maps: areas of deletion and insertion, "
        "shares of 1, and gain = insertion less deletion; each with the 95 % "
        "interval over images. No seed of training but one.",
        "machine": describe(),
        "seed": SEED,
        "fixed fill": FIXED,
    }
    for name, study in (
        ("book", lambda: book(count)),
        ("photographs", photographs),
    ):
        start = process_time()
        results[name] = study()
        results[name]["minutes"] = round((process_time() - start) / 60, 1)
        save("faithfulness", results)


if __name__ == "__main__":
    main()
