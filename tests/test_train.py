"""vitlib.train and what it stands on, in one process, on synthetic images."""

import os
import re
import subprocess
import sys
import textwrap
from copy import deepcopy
from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.testing import assert_close

from vitlib import VisionTransformer, ViTConfig, _rescue
from vitlib import evaluate as evaluate_module
from vitlib.baselines import SmallCNN
from vitlib.data import ImageDataset, normalize
from vitlib.metrics import accuracy
from vitlib.optim import decay_groups, learning_rate
from vitlib.recipe import differences, prepare
from vitlib.train import TrainConfig, evaluate, fit, predict
from vitlib.trainer import Trainer

CPU = torch.device("cpu")
CLASSES = ("left", "right", "top")
STATS = {"mean": (0.5,), "std": (0.5,)}
PLAIN = TrainConfig(
    epochs=3,
    batch_size=8,
    warmup_epochs=1.0,
    label_smoothing=0.0,
    precision="float32",
    **STATS,
)


def images(B=24, seed=0):
    """Noise of 8x8 pixels with one half bright: the class says which."""
    rng = np.random.default_rng(seed)
    pixels = torch.from_numpy(rng.integers(0, 100, (B, 1, 8, 8), np.uint8))
    labels = torch.arange(B) % 3
    for image, label in zip(pixels[:, 0], labels, strict=True):
        half = (image[:, :4], image[:, 4:], image[:4])[label]
        half += 100
    return ImageDataset(pixels, labels, CLASSES)


def vit(seed=0, **changes):
    """A small ViT of these images."""
    sizes = {"img_size": 8, "patch_size": 4, "in_chans": 1, "embed_dim": 16}
    sizes |= {"num_classes": 3, "depth": 2, "num_heads": 2}
    torch.manual_seed(seed)
    return VisionTransformer(ViTConfig(**(sizes | changes)))


def make_trainer(model=None, data=None, **changes):
    data = data or images()
    return Trainer(model or vit(), data, replace(PLAIN, **changes), CPU)


def steps(trainer, count):
    """Take so many steps; return their losses."""
    return [trainer.update(*trainer.batch()).item() for _ in range(count)]


def weights(model):
    """A copy of all weights, flat."""
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


# ---- the step


def test_the_step_is_the_loop_written_out():
    data, model = images(), vit()
    by_hand = deepcopy(model)
    trainer = make_trainer(model, data, lr=0.01, label_smoothing=0.1)
    losses = steps(trainer, 3)

    groups = decay_groups(by_hand, PLAIN.weight_decay)
    optimizer = torch.optim.AdamW(groups, betas=PLAIN.betas)
    order = np.random.default_rng([PLAIN.seed, 0]).permutation(24)
    for step in range(3):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, 9, 3, 0.01, PLAIN.min_lr)
        index = torch.from_numpy(order[8 * step : 8 * step + 8])
        x = (data.images[index].float() / 255 - 0.5) / 0.5
        loss = functional.cross_entropy(
            by_hand(x), data.labels[index], label_smoothing=0.1
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(by_hand.parameters(), PLAIN.clip_grad)
        optimizer.step()
        assert_close(losses[step], loss.item(), rtol=1e-5, atol=1e-6)
    # the key's bias has no gradient but rounding, whose sign Adam follows
    for (name, ours), theirs in zip(
        model.named_parameters(), by_hand.parameters(), strict=True
    ):
        if not name.endswith("qkv.bias"):
            assert_close(ours, theirs, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_a_batch_in_parts_is_the_same_batch(parts):
    results = []
    for accumulate in (1, parts):
        trainer = make_trainer(accumulate=accumulate, label_smoothing=0.1)
        # plain descent shows the gradient; Adam would blow rounding up
        sgd = torch.optim.SGD(trainer.model.parameters())
        trainer.optimizers = [sgd]
        losses = steps(trainer, 3)
        results.append((losses, weights(trainer.model)))
    (losses, one), (losses_of_parts, many) = results
    assert_close(losses_of_parts, losses, rtol=0, atol=1e-6)
    assert_close(many, one, rtol=0, atol=1e-6)


@pytest.mark.parametrize("clip", [0.5, 0.0])
def test_gradients_are_clipped_together(clip):
    trainer = make_trainer(clip_grad=clip)
    optimizer, norms = trainer.optimizers[0], []

    def note(*_):
        grads = [p.grad.flatten() for p in trainer.model.parameters()]
        norms.append(torch.cat(grads).norm().item())

    optimizer.register_step_pre_hook(note)
    steps(trainer, 1)
    if clip:
        assert_close(norms[0], clip, rtol=1e-4, atol=0.0)
    else:
        assert norms[0] > 0.6


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_overflow_under_fp16_skips_the_whole_step(optimizer, value):
    trainer = make_trainer(optimizer=optimizer)
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    weight = trainer.model.blocks[0].mlp.fc1.weight
    before = weights(trainer.model)
    spoil = weight.register_hook(lambda grad: grad * value)
    steps(trainer, 1)
    assert torch.equal(weights(trainer.model), before)
    assert trainer.scaler.get_scale() == 4.0
    spoil.remove()
    steps(trainer, 1)
    moved = weights(trainer.model)
    assert moved.isfinite().all()
    assert (moved != before).float().mean() > 0.9
    assert trainer.scaler.get_scale() == 4.0


def test_scaled_gradients_give_the_same_step():
    results = []
    for scale in (0.0, 1024.0):
        trainer = make_trainer(clip_grad=0.3)
        if scale:
            trainer.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        trainer.optimizers = [torch.optim.SGD(trainer.model.parameters())]
        steps(trainer, 3)
        results.append(weights(trainer.model))
    assert_close(results[1], results[0], rtol=0, atol=1e-6)


def test_the_average_follows_its_formula():
    trainer = make_trainer(ema=0.6)
    average = weights(trainer.model)
    for step in range(1, 10):
        steps(trainer, 1)
        decay = min(0.6, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weights(trainer.model)
    assert decay == 10 / 19  # the ramp; later on the decay itself
    assert_close(weights(trainer.average), average, rtol=1e-5, atol=1e-6)
    assert not trainer.average.training
    assert trainer.evaluated is trainer.average
    trainer.finish()
    assert torch.equal(weights(trainer.model), weights(trainer.average))


@pytest.mark.parametrize("seed", [0, 5])
def test_same_seed_same_losses(seed):
    everything = {"flip": True, "crop": 1, "erasing": 0.2, "mixup": 0.3}
    everything |= {"cutmix": 1.0, "seed": seed}
    runs = []
    for draws in range(2):
        model = vit(drop_path=0.3, drop_rate=0.1)
        torch.manual_seed(draws)  # what else is drawn makes no difference
        runs.append(steps(make_trainer(model, **everything), 3))
    assert runs[0] == runs[1]
    other = make_trainer(
        vit(drop_path=0.3), **(everything | {"seed": seed + 1})
    )
    assert steps(other, 3) != runs[0]


def test_a_model_in_eval_mode_is_trained_in_training_mode():
    trainer = make_trainer(vit(drop_path=0.5).eval())
    modes = []
    trainer.model.blocks[1].register_forward_hook(
        lambda *call: modes.append(call[0].training)
    )
    steps(trainer, 2)
    assert modes == [True, True]


def test_a_step_leaves_the_random_state_alone():
    trainer = make_trainer(vit(drop_path=0.5), mixup=0.5, crop=1)
    before = torch.get_rng_state()
    steps(trainer, 2)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_epoch_shows_every_image_once_in_its_own_order():
    data = images()
    data.images[:, 0, 0, 0] = torch.arange(24)  # a number on each
    trainer = make_trainer(data=data)
    orders = []
    for _ in range(2):
        seen = []
        for _ in range(3):
            pixels, labels = trainer.batch()
            numbers = pixels[:, 0, 0, 0].long()
            assert torch.equal(labels, data.labels[numbers])
            seen += numbers.tolist()
            trainer.step += 1
        orders.append(seen)
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(24))
    assert orders[0] != orders[1] != sorted(orders[1])


def test_the_rest_of_an_epoch_is_left_out():
    trainer = make_trainer(data=images(30))
    assert trainer.steps_per_epoch == 3
    assert trainer.total_steps == 9


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_one_batch_is_learned_by_heart(optimizer):
    config = replace(PLAIN, epochs=60, lr=0.01, optimizer=optimizer)
    data, model = images(8), vit()
    log = fit(model, (data, data), config, quiet=True)
    epochs = [record for record in log if record["event"] == "epoch"]
    assert epochs[0]["train_loss"] > 0.5
    assert epochs[-1]["train_loss"] < 0.05
    assert epochs[-1]["accuracy"] == 1.0


def test_bf16_stays_near_float32():
    losses = [
        steps(make_trainer(precision=name), 3) for name in ("float32", "bf16")
    ]
    assert losses[0] != losses[1]
    # bf16 keeps 8 bits of a number; the losses are near ln 3
    assert_close(losses[1], losses[0], rtol=0.02, atol=0.0)


def test_training_reaches_every_parameter():
    model = vit(pos_embed="2d", drop_path=0.1)
    before = {k: v.clone() for k, v in model.named_parameters()}
    steps(make_trainer(model), 3)
    for name, parameter in model.named_parameters():
        assert not torch.equal(parameter, before[name]), name
        assert parameter.isfinite().all()


def test_other_images_are_recognised_after_a_while():
    model = SmallCNN(num_classes=3, width=4)
    config = replace(PLAIN, epochs=6, lr=0.01, ema=0.9)
    log = fit(model, (images(96), images(30, seed=1)), config, quiet=True)
    assert log[-2]["accuracy"] > 0.9
    logits = predict(model, images(30, seed=1), **STATS)
    assert accuracy(logits, images(30).labels) == log[-2]["accuracy"]


# ---- fit


def test_fit_returns_its_records_and_calls_back():
    called = []
    config = replace(PLAIN, evaluate_every=2, ema=0.5)
    model = vit()

    def note(epoch, evaluated):
        called.append((epoch, evaluated is model, evaluated.training))

    log = fit(model, (images(), images(9, 1)), config, None, True, note)
    assert [record["event"] for record in log] == [
        "start",
        *["epoch"] * 3,
        "end",
    ]
    assert ["accuracy" in record for record in log[1:4]] == [False, True, True]
    assert [record["step"] for record in log] == [0, 3, 6, 9, 9]
    assert log[0]["precision"] == "float32"
    assert log[0]["config"]["lr"] == config.lr
    assert called == [(epoch, False, False) for epoch in range(4)]


def test_fit_without_an_average_evaluates_the_model():
    seen = []
    model = vit()
    fit(
        model,
        (images(), images()),
        replace(PLAIN, epochs=1),
        quiet=True,
        on_epoch=lambda _, evaluated: seen.append(evaluated is model),
    )
    assert seen == [True, True]


# ---- what is seen of the images


def test_a_recipe_without_augmentation_only_normalises():
    data = images()
    x, targets = prepare(data.images, data.labels, 3, PLAIN, 0.0)
    assert torch.equal(x, normalize(data.images, **STATS))
    assert torch.equal(targets, functional.one_hot(data.labels, 3).float())


@pytest.mark.parametrize(
    ("recipe", "dice", "blended"),
    [
        ({"mixup": 1.0}, 0.9, True),
        ({"cutmix": 1.0}, 0.1, False),
        ({"mixup": 1.0, "cutmix": 1.0}, 0.1, True),
        ({"mixup": 1.0, "cutmix": 1.0}, 0.9, False),
    ],
)
def test_the_dice_choose_between_mixup_and_cutmix(recipe, dice, blended):
    pixels = torch.zeros(8, 1, 8, 8, dtype=torch.uint8)
    pixels[:4] = 255  # each white image meets a black one
    config = replace(PLAIN, **recipe)
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    x, targets = prepare(pixels, labels, 3, config, dice)
    grey = (x.abs() < 0.999).any()  # cutmix leaves black and white
    assert bool(grey) == blended
    assert_close(targets.sum(1), torch.ones(8))
    assert_close(targets[:, 0], (x.mean((1, 2, 3)) + 1) / 2)


def test_a_part_held_out_is_disjoint_and_has_every_class():
    data = images(60)
    data.images[:, 0, 0, 0] = torch.arange(60)
    rest, part = data.split(12, seed=3)
    numbers = [set(d.images[:, 0, 0, 0].tolist()) for d in (rest, part)]
    assert not numbers[0] & numbers[1]
    assert numbers[0] | numbers[1] == set(range(60))
    assert torch.bincount(part.labels).tolist() == [4, 4, 4]
    assert torch.equal(part.images, data.split(12, seed=3)[1].images)
    assert not torch.equal(part.images, data.split(12, seed=4)[1].images)
    for d in (rest, part):
        assert torch.equal(d.labels, data.labels[d.images[:, 0, 0, 0].long()])


def test_a_part_held_out_keeps_the_shares_of_uneven_classes():
    labels = torch.tensor([0] * 50 + [1] * 30 + [2] * 20)
    pixels = torch.zeros(100, 1, 2, 2, dtype=torch.uint8)
    data = ImageDataset(pixels, labels, CLASSES)
    for count in (10, 33, 50):
        held_out = data.split(count)[1]
        shares = torch.bincount(held_out.labels, minlength=3)
        expected = torch.tensor([0.5, 0.3, 0.2]) * count
        assert (shares - expected).abs().max() <= 1


@pytest.mark.parametrize("count", [0, 24, -1, 2.5])
def test_split_refuses(count):
    message = f"count must lie between 0 and 24, .*; got {count}"
    with pytest.raises(ValueError, match=message):
        images().split(count)


def test_the_fingerprint_changes_with_any_byte():
    data = images()
    prints = {data.fingerprint(), images().fingerprint()}
    assert len(prints) == 1
    for place in ((0, 0, 0, 0), (23, 0, 7, 7)):
        pixels = data.images.clone()
        pixels[place] ^= 1
        prints.add(replace(data, images=pixels).fingerprint())
    labels = data.labels.clone()
    labels[5] = (labels[5] + 1) % 3
    prints.add(replace(data, labels=labels).fingerprint())
    prints.add(replace(data, classes=("a", "b", "c")).fingerprint())
    turned = data.images.mT.contiguous().clone()
    prints.add(replace(data, images=turned).fingerprint())
    assert len(prints) == 6


# ---- evaluation


@pytest.mark.parametrize("size", [1, 7, 24, 500])
def test_evaluation_does_not_depend_on_the_batches(size, monkeypatch):
    data, model = images(25), vit(drop_path=0.5, drop_rate=0.5)
    nn.init.normal_(model.head.weight)  # zeros at the start
    expected = predict(model, data, **STATS)
    monkeypatch.setattr(evaluate_module, "BATCH_SIZE", size)
    logits = predict(model, data, **STATS)
    assert_close(logits, expected, rtol=1e-5, atol=1e-6)
    scores = evaluate(model, data, **STATS, batch_size=size)
    assert scores["accuracy"] == accuracy(logits, data.labels)
    loss = functional.cross_entropy(logits, data.labels).item()
    assert_close(scores["loss"], loss, rtol=1e-5, atol=1e-6)
    assert scores["images"] == 25


def test_evaluation_needs_no_more_memory_than_training():
    sizes = []
    model = vit()
    model.register_forward_hook(lambda *call: sizes.append(len(call[2])))
    trainer = make_trainer(model, accumulate=2)
    sizes.clear()
    trainer.evaluate(images(40))
    assert sizes == [16, 16, 8]


@pytest.mark.parametrize("mode", [True, False])
def test_evaluation_restores_the_mode(mode):
    model = vit().train(mode)
    evaluate(model, images(), **STATS)
    predict(model, images(), **STATS)
    assert {module.training for module in model.modules()} == {mode}


@pytest.mark.parametrize("function", [evaluate, predict])
def test_evaluation_restores_each_module_whatever_happens(function):
    model = vit().train()
    model.blocks[0].eval()
    before = [module.training for module in model.modules()]
    function(model, images(), **STATS)
    assert [module.training for module in model.modules()] == before
    model.register_forward_hook(lambda *call: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        function(model, images(), **STATS)
    assert [module.training for module in model.modules()] == before


@pytest.mark.parametrize(
    ("K", "words"), [(0, r"got shape \(24, 16\)"), (5, "5"), (2, "2")]
)
def test_evaluation_wants_a_logit_for_each_class(K, words):
    message = rf"logits must be \(B, K\) with B = 24, K = 3; .*{words}"
    with pytest.raises(ValueError, match=message):
        evaluate(vit(num_classes=K), images(), **STATS)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_evaluation_of_broken_weights_is_refused(value):
    model = vit()
    nn.init.constant_(model.norm.bias, value)
    message = "the loss over 24 images is nan: logits of the model are NaN or"
    with pytest.raises(FloatingPointError, match=message):
        evaluate(model, images(), **STATS)


def test_a_model_without_parameters_is_evaluated():
    model = nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(3))
    assert predict(model, images(), **STATS).shape == (24, 3)
    assert evaluate(model, images(), **STATS)["images"] == 24


def test_the_small_cnn():
    model = SmallCNN(in_chans=2, num_classes=5, width=4)
    logits = model(torch.randn(3, 2, 9, 11))
    assert logits.shape == (3, 5)
    logits.square().sum().backward()
    assert all(p.grad.any() for p in model.parameters())
    kernels = 9 * (2 * 4 + 4 * 8 + 8 * 16 + 16 * 16)
    norms, head = 2 * (4 + 8 + 16 + 16), 16 * 5 + 5
    assert sum(p.numel() for p in model.parameters()) == kernels + norms + head


def test_the_small_cnn_says_which_dtype_it_takes():
    message = "images, weights must share a dtype; got torch.float64, torch.f"
    with pytest.raises(ValueError, match=message):
        SmallCNN()(torch.zeros(1, 1, 8, 8).double())


# ---- what is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs must be a positive integer; got 0"),
        ({"epochs": 2.0}, "epochs must be an integer; got 2.0"),
        ({"epochs": True}, "epochs must be an integer; got True"),
        ({"batch_size": "128"}, "batch_size must be an integer; got '128'"),
        ({"batch_size": 0}, "batch_size must be a positive integer; got 0"),
        ({"accumulate": 0}, "accumulate must be a positive integer; got 0"),
        ({"evaluate_every": 0}, "evaluate_every must be a positive"),
        ({"optimizer": "sgd"}, "unknown optimizer 'sgd'; known: adamw, muon"),
        ({"precision": "half"}, "unknown precision 'half'; known: auto, bf16"),
        ({"lr": float("nan")}, "lr must be 0 or more; got nan"),
        ({"lr": float("inf")}, "lr must be 0 or more; got inf"),
        ({"lr": -1.0}, "lr must be 0 or more; got -1.0"),
        ({"lr": "0.1"}, "lr must be a number; got '0.1'"),
        ({"lr": True}, "lr must be a number; got True"),
        ({"lr": None}, "lr must be a number; got None"),
        ({"flip": 1}, "flip must be True or False; got 1"),
        ({"compile": "no"}, "compile must be True or False; got 'no'"),
        ({"crop": 1.5}, "crop must be an integer; got 1.5"),
        ({"crop": -1}, "crop must be 0 or more; got -1"),
        ({"seed": -1}, "seed must be 0 or more; got -1"),
        ({"device": 0}, "device must be a string; got 0"),
        ({"ema": 1.0}, r"ema must lie in \[0, 1\); got 1.0"),
        ({"label_smoothing": -0.1}, r"label_smoothing must lie in \[0, 1\)"),
        ({"erasing": float("nan")}, r"erasing must lie in \[0, 1\); got nan"),
        ({"betas": (0.9,)}, r"betas must be two numbers; got \(0.9,\)"),
        ({"betas": (0.9, 1.0)}, r"beta2 must lie in \[0, 1\); got 1.0"),
        ({"betas": 0.9}, "betas must be a tuple of numbers; got 0.9"),
        ({"mean": ("a",)}, "each value of mean must be a number; got 'a'"),
        ({"std": ()}, r"std must be a tuple of numbers; got \(\)"),
        ({"min_lr": 1.0}, "min_lr must not exceed lr; got min_lr=1.0, lr=0.0"),
        (
            {"warmup_epochs": 4.0},
            "warmup_epochs must not exceed epochs; got warmup_epochs=4.0, e",
        ),
        (
            {"accumulate": 9},
            "accumulate must not exceed batch_size; got accumulate=9, batch_",
        ),
    ],
)
def test_a_recipe_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        replace(PLAIN, **change)


def other_data(**changes):
    return replace(images(), **changes)


@pytest.mark.parametrize(
    ("model", "data", "change", "message"),
    [
        (
            vit(),
            other_data(labels=torch.ones(24, dtype=torch.int64)),
            {},
            "two classes at least; all 24 have label 1",
        ),
        (vit(), images(6), {}, "images; got batch_size=8, 6 images"),
        (
            vit(),
            images(),
            {"accumulate": 3},
            r"must divide batch_size; got 1 \* 3, batch_size=8",
        ),
        (
            vit(),
            images(),
            {"mean": (0.5, 0.5), "std": (0.5, 0.5)},
            r"mean and std must hold 1 values.* got mean=\(0.5, 0.5\)",
        ),
        (vit(), images(), {"std": (0.0,)}, r"1e-15; got .*std=\(0.0,\)"),
        (
            vit(num_classes=2),
            images(),
            {},
            r"give 3 logits an image.*; got shape \(1, 2\)",
        ),
        (
            SmallCNN(num_classes=10, width=2),
            images(),
            {},
            r"give 3 logits an image.*; got shape \(1, 10\)",
        ),
        (vit(img_size=12), images(), {}, "takes images of 12x12 pixels; got"),
        (vit(in_chans=3), images(), {}, "takes 3 channels; got images with 1"),
        (
            vit().requires_grad_(False),
            images(),
            {},
            "needs a parameter that requires a gradient; VisionTransformer",
        ),
        (vit(), images(), {"precision": "fp16"}, "needs a GPU; the device"),
        (vit(), images(), {"device": "cuda:99"}, "no device 'cuda:99' here"),
        (vit(), images(), {"fsdp": True}, "needs torchrun"),
    ],
)
def test_a_run_refuses(model, data, change, message, tmp_path):
    config = replace(PLAIN, **change)
    before = weights(model)
    with pytest.raises(ValueError, match=message):
        fit(model, (data, images()), config, tmp_path, quiet=True)
    assert torch.equal(weights(model), before)
    assert not list(tmp_path.glob("step-*"))


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_a_run_without_gradients_is_refused(off, tmp_path):
    with off(), pytest.raises(ValueError, match="training needs gradients"):
        fit(vit(), (images(), images()), PLAIN, tmp_path, quiet=True)
    assert not list(tmp_path.glob("step-*"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"images": torch.zeros(24, 3, 8, 8, dtype=torch.uint8)},
            r"the training images, \(1, 8, 8\); got \(3, 8, 8\)",
        ),
        (
            {"images": torch.zeros(24, 1, 8, 9, dtype=torch.uint8)},
            r"the training images, \(1, 8, 8\); got \(1, 8, 9\)",
        ),
        ({"classes": tuple("abcd")}, r"'top'\); got \('a', 'b', 'c', 'd'\)"),
    ],
)
def test_images_to_evaluate_on_must_be_of_the_same_kind(change, message):
    with pytest.raises(ValueError, match=message):
        fit(vit(), (images(), other_data(**change)), PLAIN, quiet=True)


def test_the_first_look_at_the_model_changes_nothing():
    model = SmallCNN(num_classes=3, width=2)
    model[1].eval()  # a part that is kept from learning statistics
    modes = [module.training for module in model.modules()]
    state = deepcopy(model.state_dict())
    before = torch.get_rng_state()
    make_trainer(model)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), before)
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name])


def test_only_what_changes_the_steps_makes_another_run():
    place = {f.name for f in fields(TrainConfig) if f.metadata}
    assert place == {
        "device",
        "compile",
        "channels_last",
        "fsdp",
        "evaluate_every",
        "save_steps",
    }
    assert differences({"lr": 1, "device": "cpu"}, {"lr": 1}) == []
    [fault] = differences({"lr": 1, "device": "cpu"}, {"lr": 2, "device": "x"})
    assert fault == "lr: 1 in the checkpoint, 2 now"


# ---- what goes wrong on the way


class Trap(nn.Module):
    """A model that works for some training calls, then does something."""

    def __init__(self, calls, act):
        super().__init__()
        self.inner, self.calls, self.act = vit(), calls, act

    def forward(self, x):
        logits = self.inner(x)
        if self.training:
            self.calls -= 1
            if self.calls < 0:
                return self.act(self, logits)
        return logits


def kept(folder):
    """Steps of the checkpoints in a folder."""
    return [int(path.name[5:]) for path in sorted(folder.glob("step-*"))]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(("every", "left"), [(0, [3]), (1, [3, 4])])
def test_a_loss_that_is_not_finite_stops_the_run(value, every, left, tmp_path):
    model = Trap(4, lambda _, logits: logits * value)
    message = (
        r"the loss is nan at step 5 \(learning rate .*\); the last finite "
        r"one was [\d.]+ at step 4; try a lower lr"
    )
    config = replace(PLAIN, save_steps=every)
    with pytest.raises(FloatingPointError, match=message):
        fit(model, (images(), images()), config, tmp_path, quiet=True)
    assert kept(tmp_path) == left


def test_weights_that_broke_are_not_kept(tmp_path):
    def spoil(model, logits):
        # the loss is finite, its gradient is not
        broken = (logits - logits.detach()).abs().sqrt()
        return logits + 0 * broken

    config = replace(PLAIN, save_steps=1)
    with pytest.raises(
        FloatingPointError, match=r"is not finite after step 2"
    ):
        fit(Trap(1, spoil), (images(), images()), config, tmp_path, quiet=True)
    assert kept(tmp_path) == [1]
    # at the end of an epoch the evaluation finds them first
    folder = tmp_path / "epoch"
    with pytest.raises(FloatingPointError, match="24 images is nan"):
        fit(Trap(2, spoil), (images(), images()), config, folder, quiet=True)
    assert kept(folder) == [1, 2]


def out_of_memory(limit, text):
    """A model that takes at most so many images."""

    def act(_, logits):
        if len(logits) > limit:
            raise RuntimeError(text)
        return logits

    return Trap(0, act)


CUDA_SAYS = "CUDA out of memory. Tried to allocate 2.00 GiB.\nMore of it"


@pytest.mark.parametrize(
    ("limit", "accumulate", "advice"),
    [
        (7, 1, "8 images at a time; 4 fit: set batch_size=4, or accumulate=2"),
        (3, 1, "8 images at a time; 2 fit: set batch_size=2, or accumulate=4"),
        (1, 2, "4 images at a time; 1 fit: set batch_size=1, or accumulate=8"),
        (0, 1, "not even one image fits: take a smaller model"),
    ],
)
@pytest.mark.parametrize(
    "text",
    [
        CUDA_SAYS,
        "DefaultCPUAllocator: can't allocate memory: you tried 9 bytes",
        "DefaultCPUAllocator: not enough memory: you tried 9 bytes",
        "MPS backend out of memory (MPS allocated: 9 GB)",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate",
    ],
)
def test_out_of_memory_says_which_batch_would_fit(
    limit, accumulate, advice, text, tmp_path
):
    model = out_of_memory(limit, text)
    config = replace(PLAIN, accumulate=accumulate)
    first = text.splitlines()[0]
    with pytest.raises(MemoryError) as caught:
        fit(model, (images(), images()), config, tmp_path, quiet=True)
    said = str(caught.value)
    assert said.startswith("step 1 ran out of memory on cpu")
    assert advice in said
    assert said.endswith(f"({first})")
    assert kept(tmp_path) == []


def test_the_advice_is_right():
    config = replace(PLAIN, batch_size=12)
    model = out_of_memory(5, CUDA_SAYS)
    with pytest.raises(MemoryError, match=r"; 3 fit: .*, or accumulate=4 to"):
        fit(model, (images(), images()), config, quiet=True)
    for change in ({"batch_size": 3}, {"accumulate": 4}):
        model = out_of_memory(5, CUDA_SAYS)
        better = replace(config, epochs=1, warmup_epochs=0.0, **change)
        fit(model, (images(), images()), better, quiet=True)


def test_pytorchs_own_error_is_known():
    assert _rescue.ran_out(torch.cuda.OutOfMemoryError(CUDA_SAYS))
    assert _rescue.ran_out(MemoryError())
    assert not _rescue.ran_out(RuntimeError("shapes do not match"))


def test_other_errors_pass():
    def act(_, logits):
        raise RuntimeError("a fault of the model's own")

    with pytest.raises(RuntimeError, match="a fault of the model's own"):
        fit(Trap(0, act), (images(), images()), PLAIN, quiet=True)


def test_many_processes_get_advice_without_a_trial():
    config = replace(PLAIN, accumulate=2)
    trainer = SimpleNamespace(config=config, world=2, step=4, device=CPU)
    said = _rescue.advice(trainer)
    assert "step 5 ran out of memory on cpu with 2 images a process" in said
    assert "a larger accumulate than 2" in said


@pytest.mark.skipif(sys.platform != "linux", reason="limits are Linux's")
def test_the_memory_of_a_cpu_really_ends():
    code = """
        import resource, torch
        from torch import nn
        from vitlib.data import ImageDataset
        from vitlib.train import TrainConfig, fit

        class Wide(nn.Module):
            def __init__(self):
                super().__init__()
                self.head = nn.Linear(1, 2)

            def forward(self, x):  # 4 MiB an image, and its gradient
                return self.head(x.mean((2, 3))[:, :, None].expand(
                    -1, 2**size, 1).mul(1.0).mean(1))

        torch.set_num_threads(1)
        pixels = torch.zeros(64, 1, 8, 8, dtype=torch.uint8)
        data = ImageDataset(pixels, torch.arange(64) % 2, ("a", "b"))
        config = TrainConfig(epochs=1, batch_size=64, warmup_epochs=0,
                             mean=(0.5,), std=(0.5,), precision="float32")
        size = 2
        fit(Wide(), (data, data), config, quiet=True)  # loads what it needs
        size = 20
        used = int(open("/proc/self/statm").read().split()[0])
        used *= resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 3 * 2**25, -1))
        fit(Wide(), (data, data), config, quiet=True)
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("MemoryError: step 1 ran out of memory on cpu")
    assert "64 images at a time" in last
    assert re.search(r"; (8|16) fit: set batch_size=\1, or accumulate=", last)
