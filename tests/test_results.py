"""Reading what was measured, also while it is being measured."""

import json

import pytest

from vitlib import results


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "FOLDERS", (tmp_path,))
    return tmp_path


def test_missing_results_are_named_with_those_there_are(folder):
    (folder / "reference.json").write_text("{}", "utf-8")
    with pytest.raises(FileNotFoundError, match=r"found: reference\.json"):
        results.load_results("shuffle")


def test_best_runs_are_those_at_the_chosen_rate(folder):
    runs = [
        {"lr": 0.1, "seed": 0, "test": 0.7},
        {"lr": 0.2, "seed": 0, "test": 0.8},
        {"lr": 0.2, "seed": 1, "test": 0.9},
    ]
    arms = {
        "done": {"best_lr": 0.2, "runs": runs},
        "begun": {"best_lr": None, "runs": runs[:1]},
    }
    text = json.dumps({"arms": arms})
    (folder / "study.json").write_text(text, "utf-8")
    found = results.best_runs("study")
    assert [run["seed"] for run in found["done"]] == [0, 1]
    assert found["begun"] == []
    assert results.best_runs("other") == {}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"arms": ', "is damaged"),
        (b"\xff", "is damaged"),
        (b"[" * 100_000, "is damaged"),
        (b"[]", "must hold a dict of results; got a list"),
        (b"null", "got a NoneType"),
    ],
)
@pytest.mark.parametrize("read", [results.load_results, results.best_runs])
def test_damaged_results_are_named(read, content, words, folder):
    (folder / "study.json").write_bytes(content)
    with pytest.raises(ValueError, match=rf"study\.json .*{words}"):
        read("study")


@pytest.mark.parametrize("arms", [None, [], {"a": 1}, {"a": {"runs": [{}]}}])
def test_results_without_arms_are_named(arms, folder):
    (folder / "study.json").write_text(json.dumps({"arms": arms}))
    message = r"study\.json must hold arms, each with runs and best_lr; got"
    with pytest.raises(ValueError, match=message):
        results.best_runs("study")
    (folder / "study.json").write_text("{}")
    with pytest.raises(ValueError, match=message):
        results.best_runs("study")
