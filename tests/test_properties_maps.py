"""Maps, targets and figures for any model and images; see tests/drawn.py.

And the census: every public function has a property, or a reason.
"""

import importlib
import inspect
import math
import pkgutil
from itertools import product
from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt

import vitlib
from tests.drawn import COUNT, close, covers, outcome, refuses, tensors, values
from tests.test_properties_model import SEEDS, models, size
from vitlib import inspection as ins
from vitlib import plot
from vitlib.inspection import relevance, targets

STATES = ("plain", "transposed", "offset", "channels_last")
HEADED = {"num_classes": 3}
MAPS = {"depth": 2, "embed_dim": 8, "mlp_ratio": 2, "norm_first": True}


def draw_images(data, model, B):
    shape = (B, model.config.in_chans, *size(model))
    return data.draw(tensors(shape, (torch.float32,), ("normal",), STATES))


@covers(
    ins.attention_maps,
    ins.gradient_maps,
    ins.fill_maps,
    ins.model_free_maps,
    ins.attention_x_gradient,
    ins.attention_relevance,
    ins.input_gradient,
    ins.integrated_gradients,
    ins.occlusion,
    targets.gradients,
)
@given(st.data(), models(patch_size=4, **HEADED, **MAPS), st.integers(0, 2))
def test_maps_know_one_image_and_leave_the_model_alone(data, model, target):
    images = draw_images(data, model, 2)
    model.train()
    state = {k: v.clone() for k, v in model.state_dict().items()}

    def all_maps(x):
        return (
            ins.attention_maps(model, x)
            | ins.gradient_maps(model, x, target)
            | ins.fill_maps(model, x, target, 0.0)
            | ins.model_free_maps(x, model.config)
        )

    found, first = all_maps(images), all_maps(images[:1])
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name])
    for name, maps in found.items():
        assert maps.shape == (2, *model.config.grid_size)
        assert not maps.requires_grad
        scale = maps.abs().max().item()
        close(maps[:1], first[name].double(), 200, scale)
    for name in ("attention x gradient", "relevance", "gradient"):
        assert (found[name] >= 0).all()


@covers(ins.occlusion, ins.input_gradient, relevance.class_map)
@given(st.data(), models(patch_size=4, **HEADED, **MAPS), st.integers(0, 2))
def test_two_maps_by_their_definition(data, model, target):
    model = model.double()
    images = draw_images(data, model, 1).double()
    leaf = images.clone().requires_grad_()
    (grad,) = torch.autograd.grad(model(leaf)[0, target], leaf)
    falls = ins.occlusion(model, images, target, 0.5)
    gradient = ins.input_gradient(model, images, target)
    for i, j in product(*map(range, model.config.grid_size)):
        box = (..., slice(4 * i, 4 * i + 4), slice(4 * j, 4 * j + 4))
        other = images.clone()
        other[box] = 0.5
        with torch.no_grad():
            fall = model(images)[0, target] - model(other)[0, target]
        assert math.isclose(falls[0, i, j], fall, abs_tol=1e-9)
        mean = grad[box].abs().mean()
        assert math.isclose(gradient[0, i, j], mean, abs_tol=1e-9)


@covers(relevance.class_map)
@given(models(patch_size=4), SEEDS, st.integers(1, 2))
def test_what_the_class_token_takes(model, seed, B):
    config = model.config
    T, prefix = config.num_tokens, int(config.class_token)
    matrix = values((B, T, T), "normal", seed)
    found = ins.class_map(matrix, config)
    row = matrix[:, prefix:, prefix:].mean(1)
    if config.global_pool == "token":
        row = matrix[:, 0, prefix:]
    close(found.flatten(1), row)
    assert refuses(ins.class_map, matrix[0], config)
    assert refuses(ins.class_map, matrix[:, :0], config)
    whole = config.global_pool == "avg"
    assert refuses(ins.class_map, matrix[:, :1], config) == (whole and T > 1)
    assert refuses(ins.class_map, matrix[:, :, 1:], config)


@covers(
    ins.scores,
    ins.probability,
    ins.cosine_to,
    ins.projection_on,
    targets.score_of,
    targets.eval_mode,
)
@given(st.data(), models(patch_size=4, depth=1), st.integers(1, 3))
def test_scores_are_read_from_the_outputs(data, model, B):
    images = draw_images(data, model, B)
    out = model(images).detach()
    wide = out.double()
    along = values(tuple(out.shape), "normal", data.draw(SEEDS)).float()
    close(
        ins.scores(model, images, ins.cosine_to(along)),
        torch.nn.functional.cosine_similarity(wide, along.double()),
        20,
        1,
    )
    unit = along.double() / along.double().norm(dim=1, keepdim=True)
    found = ins.scores(model, images, ins.projection_on(along))
    close(found, (wide * unit).sum(1), 20, wide.abs().max().item())
    K = out.shape[1]
    labels = torch.arange(B) % K
    for classes in (0, labels, -1, K, 0.5, torch.arange(B + 1) % K):
        plain = outcome(ins.scores, model, images, classes)
        odds = outcome(ins.scores, model, images, ins.probability(classes))
        fits = isinstance(classes, torch.Tensor) and len(classes) == B
        fits = fits or (isinstance(classes, int) and classes == 0)
        assert (odds is not None) == fits
        assert (plain is not None) == (fits and model.config.num_classes > 0)
        picked = [0] * B if isinstance(classes, int) else labels.tolist()
        if fits:
            wanted = wide.softmax(1)[range(B), picked]
            close(odds, wanted, 20, 1)
        if plain is not None:
            close(plain, wide[range(B), picked], 20, wide.abs().max().item())
    assert refuses(ins.scores, model, images, lambda x: x.sum())
    for bad in (images[0], images[:0], images[..., 1:], images.int()):
        for function in (ins.scores, ins.occlusion, ins.input_gradient):
            assert refuses(function, model, bad, ins.probability(0))
        assert refuses(ins.attention_maps, model, bad)
        assert refuses(ins.stream, model, bad)


@covers(ins.deletion, ins.insertion, ins.greedy_order)
@given(st.data(), models(patch_size=4, **HEADED, **MAPS), SEEDS)
def test_deleted_and_inserted_patches(data, model, seed):
    images = draw_images(data, model, 2)
    N = model.config.num_patches
    order = ins.random_order(2, N, seed)
    counts = list(range(N + 1))
    gone = ins.deletion(model, images, order, 0, 0.5, counts)
    back = ins.insertion(model, images, order.flip(1), 0, 0.5, counts)
    assert torch.equal(gone, back.flip(1))
    scale = gone.abs().max().item()
    close(gone[:, 0], model(images)[:, 0].double(), 100, scale)
    empty = model(torch.full_like(images, 0.5))[:, 0]
    close(gone[:, -1], empty.double(), 100, scale)
    for bad in (order[:1], order[:, 1:], order.clone().fill_(0)):
        if bad.shape != order.shape or N > 1:
            assert refuses(ins.deletion, model, images, bad, 0, 0.0, counts)
            assert refuses(ins.insertion, model, images, bad, 0, 0.0, counts)
    for bad in ([], [-1], [N + 1]):
        assert refuses(ins.deletion, model, images, order, 0, 0.0, bad)
    greedy = ins.greedy_order(model, images, 0, 0.5)
    assert greedy.sort()[0].tolist() == [list(range(N))] * 2
    falls = ins.occlusion(model, images, 0, 0.5).flatten(1)
    best = falls.gather(1, greedy[:, :1])[:, 0]
    close(best, falls.amax(1).double(), 100, scale)


@covers(ins.cascade)
@given(models(patch_size=4), SEEDS)
def test_destroyed_weights_are_the_same_numbers(model, seed):
    before = {k: v.clone() for k, v in model.named_parameters()}
    names = []
    for name, other in ins.cascade(model, seed):
        names.append(name)
        for key, value in other.named_parameters():
            assert torch.equal(
                value.flatten().sort()[0], before[key].flatten().sort()[0]
            )
    L = model.config.depth
    layers = [f"layer {i}" for i in range(L, 0, -1)]
    assert names == ["head", *layers, "embedding"]
    for key, value in model.named_parameters():
        assert torch.equal(value, before[key])


@covers(ins.stream, ins.grid_positions)
@given(st.data(), models(patch_size=4), st.integers(1, 2))
def test_the_stream_is_the_forward_pass(data, model, B):
    images, seen = draw_images(data, model, B), []
    found = ins.stream(model, images, seen.append)
    tokens, weights = model.forward_features(images, need_weights=True)
    assert torch.equal(found, tokens)
    assert all(map(torch.equal, seen, weights))
    assert len(seen) == len(weights)
    table = outcome(ins.grid_positions, model)
    kind = model.config.pos_embed
    assert (table is None) == (kind in ("none", "relative"))
    if table is not None:
        assert table.shape == (
            model.config.num_patches,
            model.config.embed_dim,
        )
        with torch.no_grad():
            plain = model.patch_embed(images)
            there = model.embed(images)[:, int(model.config.class_token) :]
        close(there - plain, table.double().expand_as(plain), 20, 3)


@covers(
    plot.images,
    plot.heatmaps,
    plot.overlay,
    plot.patches,
    plot.filters,
    plot.tiles,
    plot.gallery,
    plot.histograms,
    plot.curves,
)
@settings(max_examples=COUNT or 3)  # figures take their time
@given(st.data(), st.sampled_from([1, 3]), st.integers(1, 2))
def test_figures_show_the_numbers_they_get(data, C, count):
    kinds = ("normal", "zeros", "tiny")
    dtypes = (torch.float32, torch.bfloat16, torch.float64, torch.uint8)
    batch = data.draw(tensors((count, C, 4, 6), dtypes, kinds))
    maps = data.draw(tensors((count, 2, 3), dtypes, kinds))
    try:
        for figure in (
            plot.images(batch),
            plot.gallery(batch, {"row": maps}, "bar"),
            plot.overlay(batch[0], maps),
        ):
            shown = [ax.images[0].get_array() for ax in figure.axes[:count]]
            assert all(picture.shape[:2] == (4, 6) for picture in shown)
        figure = plot.heatmaps(maps)
        for ax, wanted in zip(figure.axes, maps, strict=False):
            array = torch.tensor(ax.images[0].get_array().data)
            assert torch.equal(array.float(), wanted.float())
        plot.patches(batch[0], 2)
        plot.filters({"one": batch[:, :, :4, :4]})
        plot.histograms({"one": batch.float()}, "values")
        plot.curves({"one": (range(3), maps[0])}, "x", "y")
        tile = data.draw(tensors((2, 3, 2, 3), dtypes, kinds))
        plot.tiles([tile])
    finally:
        plt.close("all")


MODULES = {
    "exercises": "they judge readers' answers: tests/test_exercises.py",
    "checkpoint": "files: tests/test_checkpoint.py, test_fuzz.py",
    "data": "files and downloads: tests/test_data.py, test_fuzz.py",
    "device": "names of devices: tests/test_device.py",
    "distributed": "processes: tests/test_distributed.py",
    "log": "files: tests/test_log.py",
    "pretrained": "files: tests/test_pretrained*.py, test_fuzz.py",
    "records": "files: tests/test_train.py, test_fuzz.py",
    "report": "files: tests/test_report.py",
    "results": "files: tests/test_results.py",
    "show": "text of the package: tests/test_show.py",
    "train": "whole runs: tests/test_train.py",
    "trainer": "whole runs: tests/test_train.py",
    "weights": "files: tests/test_weights.py, test_fuzz.py",
    "plot._style": "style and files: tests/test_plot.py",
    "plot.diagrams": "stored drawings: tests/test_diagrams.py",
}
FUNCTIONS = {
    "vitlib.optim.create_optimizers": "no tensor in: tests/test_optim.py",
    "vitlib.optim.decay_groups": "no tensor in: tests/test_optim.py",
    "vitlib.optim.update_average": "of two equal models: test_optim.py",
    "vitlib.recipe.TrainConfig": "no tensor in: tests/test_train.py",
    "vitlib.recipe.differences": "no tensor in: tests/test_train.py",
    "vitlib.plot.charts.bars": "lists of numbers: tests/test_plot.py",
    "vitlib.plot.charts.history": "records: tests/test_plot.py",
    "vitlib.plot.charts.stack": "lists of numbers: tests/test_plot.py",
    "vitlib.plot.ranges.intervals": "lists of numbers: test_plot.py",
    "vitlib.inspection.structure.Group": "what a function returns",
    "vitlib.inspection.waves.Waves": "what a function returns",
    "vitlib.inspection.filters.Components": "what a function returns",
}


def public():
    """Name every function and class that is for others' use."""
    found = set()
    for module in pkgutil.walk_packages(vitlib.__path__, "vitlib."):
        parts = module.name.split(".")[1:]
        if any(part.startswith("_") for part in parts) or parts[0] in MODULES:
            continue
        scope = importlib.import_module(module.name)
        for name, item in vars(scope).items():
            named = inspect.isfunction(item) or inspect.isclass(item)
            if not named or name.startswith("_"):
                continue
            own = item.__module__ == module.name
            if own or name in getattr(scope, "__all__", ()):
                found.add(f"{item.__module__}.{item.__qualname__}")
    for name in vitlib.__all__:
        item = getattr(vitlib, name)
        if callable(item):
            found.add(f"{item.__module__}.{item.__qualname__}")
    return {
        name
        for name in found
        if not any(name.startswith(f"vitlib.{m}.") for m in MODULES)
    }


def test_every_public_function_has_a_property_or_a_reason():
    covered = set()
    for file in sorted(Path(__file__).parent.glob("test_properties*.py")):
        module = importlib.import_module(f"tests.{file.stem}")
        for item in vars(module).values():
            covered |= getattr(item, "covers", set())
    names = public()
    assert len(names) > 90
    assert names - covered - FUNCTIONS.keys() == set()
    assert covered & FUNCTIONS.keys() == set()
    assert FUNCTIONS.keys() <= names
