"""vitlib.weights and vitlib.results: what a file holds, and what not."""

import json
import os

import pytest
import torch
from torch.testing import assert_close

from vitlib import VisionTransformer, ViTConfig, results, weights
from vitlib.data import load_sample
from vitlib.evaluate import evaluate
from vitlib.weights import BOOK_WEIGHTS, load_model, save_model

pytest.importorskip("safetensors")


def tiny(**fields):
    """A ViT of 8x12 grey images."""
    sizes = {"img_size": (8, 12), "patch_size": 4, "in_chans": 1}
    sizes |= {"num_classes": 3, "embed_dim": 8, "depth": 1, "num_heads": 2}
    torch.manual_seed(0)
    model = VisionTransformer(ViTConfig(**(sizes | fields)))
    torch.nn.init.normal_(model.head.weight, std=0.1)  # zeros at the start
    return model


@pytest.mark.parametrize("kind", ["none", "1d", "2d", "relative", "sincos"])
def test_a_model_comes_back_as_it_was(kind, tmp_path):
    model = tiny(pos_embed=kind).eval()
    path = tmp_path / "model.safetensors"
    save_model(model, path, mean=(0.5,), classes=("a", "b"))
    loaded, notes = load_model(path)
    assert loaded.config == model.config
    assert not loaded.training
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    x = torch.randn(2, 1, 8, 12)
    assert torch.equal(loaded(x), model(x))
    assert notes["mean"] == [0.5]
    assert notes["classes"] == ["a", "b"]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_float16_halves_the_file_and_little_else(tmp_path):
    model = tiny(embed_dim=64).eval()
    full, half = tmp_path / "full", tmp_path / "half"
    save_model(model, full)
    save_model(model, half, torch.float16)
    assert half.stat().st_size < 0.6 * full.stat().st_size
    loaded, _ = load_model(half)
    assert loaded.head.weight.dtype == torch.float32
    x = torch.randn(4, 1, 8, 12)
    # float16 keeps 11 bits of a number; the logits are of size one
    assert_close(loaded(x), model(x), rtol=2e-3, atol=2e-3)
    assert not torch.equal(loaded(x), model(x))


def test_broken_weights_are_not_kept(tmp_path):
    model = tiny()
    path = tmp_path / "model"
    save_model(model, path)
    before = path.read_bytes()
    with torch.no_grad():
        model.head.bias[1] = float("nan")
    message = r"head\.bias must be finite; 1 of 3 values are NaN"
    with pytest.raises(ValueError, match=message):
        save_model(model, path)
    assert path.read_bytes() == before


def test_weights_too_large_for_float16_are_not_kept(tmp_path):
    model = tiny()
    with torch.no_grad():
        model.head.bias[1] = 1e6
    with pytest.raises(ValueError, match=r"head\.bias must be finite"):
        save_model(model, tmp_path / "model", torch.float16)


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "model"
    save_model(tiny(), path)
    before = path.read_bytes()
    with pytest.raises(TypeError, match="JSON"):
        save_model(tiny(), path, note=object())
    assert path.read_bytes() == before


def damage(path, how):
    """Change a file that save_model wrote."""
    from safetensors.torch import load_file, save_file

    if how == "cut off":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "other":
        path.write_bytes(b"not weights at all")
    elif how == "no notes":
        save_file(load_file(path), path)
    elif how == "other config":
        config = {"img_size": 8, "patch_size": 3}
        notes = {"config": json.dumps(config)}
        save_file(load_file(path), path, notes)
    else:
        state = load_file(path)
        del state["head.bias"]
        config = {"config": json.dumps({"img_size": 8, "patch_size": 4})}
        save_file(state, path, config)


@pytest.mark.parametrize(
    "how", ["cut off", "other", "no notes", "other config", "no bias"]
)
def test_a_damaged_file_is_named(how, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(tiny(), path)
    damage(path, how)
    with pytest.raises(ValueError, match=r"model\.safetensors holds no mod"):
        load_model(path)


def test_others_may_read_what_the_umask_lets_them(tmp_path):
    before = os.umask(0o022)
    try:
        save_model(tiny(), tmp_path / "model")
    finally:
        os.umask(before)
    assert (tmp_path / "model").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("notes", "message"),
    [
        ({"classes": 5}, "its classes must be names; got 5"),
        ({"classes": {"0": 0}}, "its classes must be names"),
        ({"classes": [1, 1, 1]}, "its classes must be names"),
        ({"mean": "x"}, "its mean must be 1 numbers; got 'x'"),
        ({"mean": [[1]]}, "its mean must be 1 numbers"),
        ({"mean": [10**400]}, "its mean must be 1 numbers"),
        ({"std": {"a": 1}}, "its std must be 1 numbers"),
        ({"std": [1.0, 1.0]}, "its std must be 1 numbers"),
    ],
)
def test_notes_that_do_not_fit_are_refused(notes, message, tmp_path):
    save_model(tiny(), tmp_path / "model", **notes)
    with pytest.raises(ValueError, match=f"holds no model.*{message}"):
        load_model(tmp_path / "model")


def test_notes_that_say_nothing_are_dropped(tmp_path):
    save_model(tiny(), tmp_path / "model", classes=None, mean=None, std=[0.5])
    notes = load_model(tmp_path / "model")[1]
    assert notes.keys() & {"classes", "mean", "std"} == {"std"}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no weights at .*nowhere"):
        load_model(tmp_path / "nowhere")


def test_the_books_own_weights():
    model, notes = load_model()
    assert len(notes["classes"]) == model.config.num_classes == 10
    assert len(notes["mean"]) == len(notes["std"]) == 1
    assert BOOK_WEIGHTS.stat().st_size <= 4_000_000
    _, test = load_sample()
    scores = evaluate(model, test, notes["mean"], notes["std"])
    # the card states the accuracy on all 10,000 test images
    assert abs(scores["accuracy"] - notes["test_accuracy"]) < 0.015


@pytest.mark.parametrize(
    "dtype", [torch.int32, torch.bool, torch.float8_e4m3fn, "float16"]
)
def test_weights_are_kept_as_floats_that_can_be_read(dtype, tmp_path):
    with pytest.raises(ValueError, match=r"unknown dtype .*; known: torch\."):
        save_model(tiny(), tmp_path / "model", dtype)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_floats_come_back(dtype, tmp_path):
    save_model(tiny(), tmp_path / "model", dtype)
    assert load_model(tmp_path / "model")[0].head.weight.dtype == torch.float32


def test_a_compiled_model_is_kept_as_the_model(tmp_path):
    model = tiny().eval()
    save_model(torch.compile(model), tmp_path / "model")
    loaded, _ = load_model(tmp_path / "model")
    x = torch.randn(2, 1, 8, 12)
    assert torch.equal(loaded(x), model(x))


def test_the_config_is_no_note(tmp_path):
    with pytest.raises(ValueError, match="no note may be called config"):
        save_model(tiny(), tmp_path / "model", config={"depth": 3})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (torch.nn.Linear(8, 5), r"head\.weight: \(5, 8\) is not \(3, 8\)$"),
        (torch.nn.Identity(), r"head\.weight: \(3, 8\)$"),
    ],
)
def test_a_head_that_the_config_does_not_know_is_not_kept(
    layer, words, tmp_path
):
    model = tiny()
    model.head = layer
    with pytest.raises(ValueError, match=words):
        save_model(model, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_saving_leaves_the_random_numbers_alone(tmp_path):
    model = tiny()
    before = torch.get_rng_state()
    save_model(model, tmp_path / "model")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_config_deeper_than_its_file_is_not_built(tmp_path, monkeypatch):
    from safetensors.torch import save_file

    config = {"img_size": 8, "patch_size": 4, "in_chans": 1, "embed_dim": 1}
    config |= {"depth": 5000, "num_heads": 1, "mlp_ratio": 1}
    path = tmp_path / "model.safetensors"
    notes = {"config": json.dumps(config)}
    save_file({"junk": torch.zeros(99_999)}, path, notes)
    monkeypatch.setattr(weights, "VisionTransformer", None)
    message = "depth=5000 asks for 11 tensors or more a block; the file has 1"
    with pytest.raises(ValueError, match=message):
        load_model(path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_weights_are_float32_whatever_the_default(dtype, tmp_path):
    model = tiny().eval()
    save_model(model, tmp_path / "model")
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(dtype)
        loaded, _ = load_model(tmp_path / "model")
    finally:
        torch.set_default_dtype(before)
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
        assert loaded.state_dict()[name].dtype == torch.float32


def test_results_are_found_in_order(monkeypatch, tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "one.json").write_text(f'{{"from": "{name}"}}')
    (tmp_path / "second" / "two.json").write_text("{}")
    folders = (tmp_path / "none", tmp_path / "first", tmp_path / "second")
    monkeypatch.setattr(results, "FOLDERS", folders)
    assert results.load_results("one") == {"from": "first"}
    assert results.results_file("two.json").parent.name == "second"
    message = r"no results 'three\.json'; found: one\.json, one.*two\.json"
    with pytest.raises(FileNotFoundError, match=message):
        results.load_results("three")


def test_without_results_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(results, "FOLDERS", (tmp_path,))
    with pytest.raises(FileNotFoundError, match="found: none"):
        results.load_results("reference")


def test_results_of_the_repository_are_found():
    assert results.load_results("benchmark")
