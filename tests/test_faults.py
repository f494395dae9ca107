"""A write that fails, wherever, names the file and leaves what was there."""

import errno
import hashlib
import http.server
import os
import random
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
import torch
from matplotlib import pyplot as plt

from tests import tiny_run as tiny
from vitlib import VisionTransformer, ViTConfig, _claim, _whole, plot
from vitlib._download import obtain
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


def aged(path, days=2):
    then = time.time() - 86_400 * days
    os.utime(path, (then, then))
    return path


def test_drafts_of_writers_killed_long_ago_go(tmp_path):
    old, new, other, own = (
        tmp_path / f"{name}.part"
        for name in (
            "model.00000000",
            "model.89abcdef",
            "m.00000000",
            "model.v1",
        )
    )
    for path in (old, new, other, own):
        path.write_text("half")
    for path in (old, other, own):
        aged(path)
    weights(tmp_path / "model")
    assert {p.name for p in tmp_path.iterdir()} == {
        "model", new.name, other.name, own.name
    }  # fmt: skip
    (tmp_path / ".partial-old").mkdir()
    aged(tmp_path / ".partial-old")
    report(tmp_path / "report")
    assert not (tmp_path / ".partial-old").exists()


@pytest.mark.parametrize("way", ["plain", "link"])
def test_an_empty_folder_is_filled_and_stays(way, tmp_path):
    """It may be a mount, or the one that the user is in."""
    folder = tmp_path / "there"
    folder.mkdir()
    asked, before = folder, folder.stat().st_ino
    if way == "link":
        asked = tmp_path / "link"
        asked.symlink_to(folder)
    with _whole.whole_folder(asked) as draft:
        (draft / "one").write_text("1")
        assert not (folder / "one").exists()
    assert [p.name for p in folder.iterdir()] == ["one"]
    assert folder.stat().st_ino == before
    kept = pytest.raises(OSError, match="nothing of it was kept")
    with kept, _whole.whole_folder(folder) as draft:  # no longer empty
        (draft / "two").write_text("2")
    assert [p.name for p in folder.iterdir()] == ["one"]


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


# --- killed ---------------------------------------------------------------


def write_weights(path, version):
    torch.manual_seed(version)
    weights(path, 192)


def write_lines(path, version):
    line = {"event": "epoch", "step": version}
    write_log(path, [line] * 50_000)


# VITLIB_KILLS: how often the tests kill each writer.
KILLS = int(os.environ.get("VITLIB_KILLS", "6"))
KILLED = {"model.safetensors": write_weights, "log.jsonl": write_lines}


def forked(act):
    """Do something in a process of its own; return its number."""
    child = os.fork()
    if child:
        return child
    torch.set_num_threads(1)  # a fork has no pool of threads
    try:
        act()
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def kill(child):
    """Kill a process; say whether it was still alive."""
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1] == signal.SIGKILL


@pytest.mark.parametrize("name", KILLED)
def test_a_killed_writer_leaves_the_last_whole_file(name, tmp_path):
    whole = []
    for version in (0, 1):
        KILLED[name](tmp_path / "one", version)
        whole.append((tmp_path / "one").read_bytes())
    (tmp_path / "one").unlink()
    rng, drafts = random.Random(0), 0

    def write_on():
        for version in range(10**9):
            KILLED[name](tmp_path / name, version % 2)

    for life in range(KILLS):
        writer = forked(write_on)
        for _ in range(500):
            time.sleep(rng.uniform(0.01, 0.1))
            if list(tmp_path.glob("*.part" if life % 2 else name)):
                break  # every other one dies while it writes
        assert kill(writer)
        drafts += bool(list(tmp_path.glob("*.part")))
        if (tmp_path / name).exists():
            assert (tmp_path / name).read_bytes() in whole
    print(f"{name}: {KILLS} kills, {drafts} left a draft")
    assert drafts
    assert (tmp_path / name).exists()
    KILLED[name](tmp_path / name, 1)
    assert (tmp_path / name).read_bytes() == whole[1]


# --- one cache, several processes ------------------------------------------


class Slow(http.server.BaseHTTPRequestHandler):
    content = random.Random(0).randbytes(1 << 22)

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        try:
            for at in range(0, len(self.content), 1 << 16):
                self.wfile.write(self.content[at : at + (1 << 16)])
                time.sleep(0.01)
        except ConnectionError:
            pass  # its client was killed

    def log_message(self, *args):
        pass


def test_processes_share_a_cache_and_two_are_killed(tmp_path):
    digest = hashlib.sha256(Slow.content).hexdigest()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        urls = [f"http://127.0.0.1:{server.server_port}/"]

        def fetch():
            obtain("data", "", ["data"], {"data": digest}, urls, [tmp_path])

        fetchers = [forked(fetch) for _ in range(5)]
        while len(list(tmp_path.glob("*/data"))) < 5:
            time.sleep(0.001)
        assert all(kill(fetcher) for fetcher in fetchers[:2])
        ends = [os.waitpid(fetcher, 0)[1] for fetcher in fetchers[2:]]
        server.shutdown()
    assert ends == [0, 0, 0]
    assert (tmp_path / "data").read_bytes() == Slow.content


# --- one run folder, two runs ----------------------------------------------


def test_a_second_run_is_kept_out_of_a_folder(tmp_path):
    """Of this process and of another; the first goes on as if alone."""
    unbroken, log = tiny.train(tmp_path / "alone")
    folder, codes = tmp_path / "shared", []

    def second():
        with pytest.raises(BlockingIOError, match=r"another run .*shared"):
            tiny.train(folder, on_epoch=pytest.fail)

    def on_epoch(epoch, _):
        second()
        codes.append(os.waitpid(forked(second), 0)[1])

    weights, records = tiny.train(folder, on_epoch=on_epoch)
    assert codes == [0, 0, 0]
    assert [r["event"] for r in records] == [r["event"] for r in log]
    assert all(weights[name].equal(unbroken[name]) for name in unbroken)


def test_after_an_error_the_folder_is_free(tmp_path):
    def fail(epoch, _):
        raise RuntimeError(f"in epoch {epoch}")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="in epoch 0"):
            tiny.train(tmp_path, on_epoch=fail)


@pytest.mark.parametrize("system", ["Windows", "a disk without locks"])
def test_without_locks_a_run_goes_on(system, tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    module = (
        None
        if system == "Windows"
        else SimpleNamespace(flock=flock, LOCK_EX=2, LOCK_NB=4)
    )
    monkeypatch.setattr(_claim, "fcntl", module)
    assert tiny.train(tmp_path)[1][-1]["event"] == "end"


# --- a clock that goes backwards -------------------------------------------


def test_a_clock_that_goes_backwards_changes_nothing(tmp_path, monkeypatch):
    """A run is stopped; its files are of tomorrow when it goes on."""
    unbroken, log = tiny.train(tmp_path / "unbroken")
    now = iter(range(2_000_000_000, 0, -3600))
    monkeypatch.setattr(time, "time", lambda: float(next(now)))
    folder = tmp_path / "stopped"

    def stop(epoch, _):
        os.kill(os.getpid(), signal.SIGTERM)

    tiny.train(folder, on_epoch=stop)
    for path in folder.rglob("*"):
        os.utime(path, (4e9, 4e9))
    weights, resumed = tiny.train(folder)
    assert all(weights[name].equal(unbroken[name]) for name in unbroken)
    assert resumed[-1]["step"] == log[-1]["step"]
    seconds = [line["seconds"] for line in resumed if "seconds" in line]
    assert seconds == sorted(seconds)
