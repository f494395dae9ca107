"""A write that fails, wherever, names the file and leaves what was there."""

import os
import subprocess

import pytest
import torch
from matplotlib import pyplot as plt

from vitlib import VisionTransformer, ViTConfig, _whole, plot
from vitlib.pretrained import hub
from vitlib.records import write_log
from vitlib.report import Section, write_report
from vitlib.weights import load_model, save_model


def weights(path, size=64):
    save_model(
        VisionTransformer(ViTConfig(8, 4, 1, 3, size, 2, num_heads=2)), path
    )


def log(path):
    write_log(path, [{"event": "epoch", "step": n} for n in range(20_000)])


def figure(path):
    shown, axes = plt.subplots(figsize=(8, 8))
    axes.imshow(torch.rand(99, 99).numpy())
    try:
        plot.save(shown, path)
    finally:
        plt.close(shown)


def report(path):
    write_report(path, "Mine", [Section("Long", "words " * 50_000)])


WRITERS = {
    "model.safetensors": weights,
    "log.jsonl": log,
    "figure.svg": figure,
    "report": report,
}


@pytest.fixture(params=["size=48k", "ro"])
def disk(request, tmp_path):
    """A disk that is too small, or that may only be read."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48k", "none", str(folder)]
    if os.name != "posix" or os.getuid() or subprocess.run(mount).returncode:
        pytest.skip("this account may not mount a disk")
    for name in WRITERS.keys() - {"report"}:
        (folder / name).write_bytes(b"before")
    if request.param == "ro":
        again = ["mount", "-o", "remount,ro", str(folder)]
        subprocess.run(again, check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("name", WRITERS)
def test_a_disk_that_takes_no_more(name, disk):
    before = {p.name: p.read_bytes() for p in disk.iterdir()}
    told = rf"{name} was not written: .*(No space left|Read-only)"
    with pytest.raises(OSError, match=told):
        WRITERS[name](disk / name)
    assert {p.name: p.read_bytes() for p in disk.iterdir()} == before


@pytest.mark.parametrize("name", WRITERS)
def test_it_is_put_in_place_by_a_rename(name, tmp_path, monkeypatch):
    """What a kill just before the rename leaves is not under the name."""
    path, seen = tmp_path / name, []

    def die(draft, target):
        seen.append((draft.exists(), target.exists()))
        raise SystemExit

    monkeypatch.setattr(_whole.Path, "replace", die)
    with pytest.raises(SystemExit):
        WRITERS[name](path)
    assert seen == [(True, False)]
    assert not list(tmp_path.iterdir())


def test_two_that_write_one_file_do_not_mix(tmp_path):
    path = tmp_path / "model"
    with _whole.whole_file(path) as first, _whole.whole_file(path) as second:
        first.write_text("first")
        second.write_text("second")
        assert first != second
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_log_sweeps_what_a_killed_run_left(tmp_path):
    (tmp_path / "log.jsonl.0123abcd.part").write_text("half")
    log(tmp_path / "log.jsonl")
    assert [p.name for p in tmp_path.iterdir()] == ["log.jsonl"]


def test_first_seen_commits_survive_a_failure(tmp_path, monkeypatch):
    monkeypatch.setenv("VITLIB_CACHE", str(tmp_path))
    hub._remember("who/vit", "a")
    monkeypatch.setattr(_whole.os, "fsync", lambda fd: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        hub._remember("who/vit", "b")
    assert hub._first_seen() == {"who/vit": "a"}
    assert [p.name for p in tmp_path.iterdir()] == ["revisions.json"]


def test_a_huge_table_is_refused_before_it_is_built(tmp_path, monkeypatch):
    config = ViTConfig(8, 4, 1, 3, 8, 1, num_heads=2, pos_embed="sincos")
    model = VisionTransformer(config)
    save_model(model, tmp_path / "fine")
    assert load_model(tmp_path / "fine")[0].config == config
    model.config = ViTConfig(
        40_000, 4, 1, 3, 8, 1, num_heads=2, pos_embed="sincos"
    )
    save_model(model, tmp_path / "huge")
    monkeypatch.setattr(
        "vitlib.weights.VisionTransformer", lambda config: pytest.fail("built")
    )
    with pytest.raises(ValueError, match="800,000,008 numbers of fixed"):
        load_model(tmp_path / "huge")
