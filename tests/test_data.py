"""Data: the sample, the full sets, downloads and their faults, photographs."""

import dataclasses
import errno
import gzip
import hashlib
import http.server
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zlib
from pathlib import Path

import make_sample
import pooch
import pytest
import torch
from einops import rearrange
from torch.nn import functional as F

from vitlib import _download, _formats, _photographs, data, pretrained
from vitlib.data import ImageDataset

FULL = data.SYSTEM_FOLDER
needs_full = pytest.mark.skipif(
    not (FULL / "train-images-idx3-ubyte.gz").is_file(),
    reason=f"needs all of Fashion-MNIST in {FULL} "
    "(Debian: apt-get install dataset-fashion-mnist)",
)
TRAIN_IMAGES = "train-images-idx3-ubyte.gz"
TRAIN_LABELS = "train-labels-idx1-ubyte.gz"
ARCHIVE = "cifar-10-binary.tar.gz"


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def idx(ndim, shape, values):
    header = struct.pack(f">{1 + len(shape)}I", 0x0800 + ndim, *shape)
    return header + bytes(values)


@pytest.fixture(autouse=True)
def _own_places(monkeypatch, tmp_path):
    """No test reads or writes the user's cache, and none waits."""
    monkeypatch.setenv("VITLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(_download, "WAIT", 0.0)


@pytest.fixture
def fashion(monkeypatch, tmp_path):
    """A set of Fashion-MNIST's form, 20 + 10 images: name -> packed file."""
    monkeypatch.setattr(data, "SYSTEM_FOLDER", tmp_path / "system")
    contents = {}
    for split, size in (("train", 20), ("t10k", 10)):
        pixels = [(i * 7 + size) % 256 for i in range(size * 28 * 28)]
        contents[f"{split}-images-idx3-ubyte.gz"] = idx(
            3, (size, 28, 28), pixels
        )
        contents[f"{split}-labels-idx1-ubyte.gz"] = idx(
            1, (size,), [i % 10 for i in range(size)]
        )
    packed = {name: gzip.compress(c) for name, c in contents.items()}
    source = data.FASHION_MNIST._replace(
        files={name: sha256(c) for name, c in contents.items()},
        downloads={name: sha256(p) for name, p in packed.items()},
    )
    monkeypatch.setattr(data, "FASHION_MNIST", source)
    return packed


@pytest.fixture
def cifar(monkeypatch):
    """A set of CIFAR-10's form, 6 files of 4 images: name -> file."""
    files = {
        name: b"".join(
            bytes([(k + i) % 10]) + bytes([k, i, 255] * 1024) for i in range(4)
        )
        for k, name in enumerate(data.CIFAR10.files)
    }
    use_cifar(monkeypatch, files, tar(files))
    return files


def use_cifar(monkeypatch, files, archive):
    source = data.CIFAR10._replace(
        files={name: sha256(content) for name, content in files.items()},
        downloads={ARCHIVE: sha256(archive)},
    )
    monkeypatch.setattr(data, "CIFAR10", source)


def tar(files, extra=()):
    """An archive like the published one, with extra members put first."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as out:
        for member in extra:
            out.addfile(member)
        top = tarfile.TarInfo("cifar-10-batches-bin")
        top.type = tarfile.DIRTYPE
        out.addfile(top)
        for name, content in {**files, "batches.meta.txt": b"cat"}.items():
            member = tarfile.TarInfo(f"{top.name}/{name}")
            member.size = len(content)
            out.addfile(member, io.BytesIO(content))
    # the same bytes each time: no second of the day in them
    return gzip.compress(packed.getvalue(), compresslevel=1, mtime=0)


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def left(folder):
    """Every path below a folder, to show what a fault left behind."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


class Server(http.server.ThreadingHTTPServer):
    """A server on this machine that misbehaves as told, file by file."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.faults, self.asked = {}, {}, []
        self.stop = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/some/folder"

    def handle_error(self, request, client_address):
        pass  # a client that hangs up is part of these tests


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.removeprefix("/some/folder/")
        self.server.asked.append(name)
        faults = self.server.faults.get(name, [])
        fault = faults.pop(0) if faults else None
        if name not in self.server.files or isinstance(fault, int):
            self.send_error(fault or 404)
            return
        content = self.server.files[name]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if fault == "cut":
            self.wfile.write(content[: len(content) // 2])
        elif fault == "stall":
            self.server.stop.wait(20)
        elif fault == "alter":
            self.wfile.write(content[:-1] + b"?")
        else:
            self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with Server() as server:
        serve = threading.Thread(target=server.serve_forever, args=(0.01,))
        serve.start()
        yield server
        server.stop.set()
        server.shutdown()
        serve.join()


# --- the sample ------------------------------------------------------------


def test_sample_is_stratified_and_small():
    train, test = data.load_sample()
    for part, each in ((train, 1000), (test, 200)):
        assert part.images.shape == (10 * each, 1, 28, 28)
        assert part.images.dtype == torch.uint8
        assert torch.bincount(part.labels).tolist() == [each] * 10
        assert part.classes[0] == "T-shirt/top"
        assert part.classes[9] == "Ankle boot"
    files = list(data.SAMPLE_FOLDER.iterdir())
    assert sum(file.stat().st_size for file in files) <= 6_000_000


def test_sample_has_no_image_twice():
    train, test = data.load_sample()
    pictures = [
        image.tobytes()
        for part in (train, test)
        for image in part.images.numpy()
    ]
    assert len(set(pictures)) == len(pictures) == 12_000


def test_sample_files_match_what_stands_beside_them():
    origin = json.loads((data.SAMPLE_FOLDER / "sample.json").read_text())
    assert origin["seed"] == make_sample.SEED
    assert set(origin["files"]) == set(data.FASHION_MNIST.files)
    for name, sums in origin["files"].items():
        packed = (data.SAMPLE_FOLDER / name).read_bytes()
        assert sha256(packed) == sums["file_sha256"]
        assert sha256(gzip.decompress(packed)) == sums["content_sha256"]
        published = data.FASHION_MNIST.files[name]
        assert sums["full_content_sha256"] == published
    licence = (data.SAMPLE_FOLDER / "LICENSE").read_text()
    assert "MIT License" in licence
    assert "Zalando" in licence


@needs_full
def test_drawing_the_sample_again_gives_the_same_bytes(tmp_path):
    make_sample.make_sample(FULL, tmp_path)
    origin = json.loads((data.SAMPLE_FOLDER / "sample.json").read_text())
    same_zlib = origin["packed_with_zlib"] == zlib.ZLIB_RUNTIME_VERSION
    for name in data.FASHION_MNIST.files:
        kept = (data.SAMPLE_FOLDER / name).read_bytes()
        drawn = (tmp_path / name).read_bytes()
        assert gzip.decompress(drawn) == gzip.decompress(kept)
        assert drawn == kept or not same_zlib
    assert left(tmp_path) == left(data.SAMPLE_FOLDER)


# --- the full set ----------------------------------------------------------


@needs_full
def test_full_set_and_its_statistics():
    train, test = data.load_fashion_mnist(FULL)
    assert torch.bincount(train.labels).tolist() == [6000] * 10
    assert torch.bincount(test.labels).tolist() == [1000] * 10
    pixels = train.images.double() / 255
    stats = data.FASHION_MNIST_STATS
    assert round(pixels.mean().item(), 4) == stats.mean[0]
    assert round(pixels.std().item(), 4) == stats.std[0]


@needs_full
@pytest.mark.parametrize(
    ("name", "size", "made", "md5"),
    [
        (TRAIN_IMAGES, 26421880, -21, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        (TRAIN_LABELS, 29515, -21, "25c81989df183df01b3e8a0aad5dffbe"),
        (
            "t10k-images-idx3-ubyte.gz",
            *(4422102, 0, "bef4ecab320f06d8554ea6380940ec79"),
        ),
        (
            "t10k-labels-idx1-ubyte.gz",
            *(5148, 0, "bb300cfdad3c16e7a12a480ee83cd310"),
        ),
    ],
)
def test_system_copy_is_what_the_authors_packed(name, size, made, md5):
    """Debian took name and time out of the gzip header: put them back."""
    bare = (FULL / name).read_bytes()
    inner = name.removesuffix(".gz").encode() + b"\0"
    if len(bare) + len(inner) != size:
        pytest.skip(f"this copy of {name} was packed anew")
    header = b"\x1f\x8b\x08\x08" + struct.pack("<I", 1504176627 + made)
    packed = header + b"\0\x03" + inner + bare[10:]
    assert hashlib.md5(packed).hexdigest() == md5  # the authors' README
    assert sha256(packed) == data.FASHION_MNIST.downloads[name]
    assert sha256(gzip.decompress(packed)) == data.FASHION_MNIST.files[name]


# --- ImageDataset and normalize --------------------------------------------


def small(**changes):
    fields = {
        "images": torch.arange(5 * 12)
        .to(torch.uint8)
        .unflatten(0, (5, 3, 2, 2)),
        "labels": torch.tensor([0, 1, 2, 1, 0]),
        "classes": ("a", "b", "c"),
    }
    return ImageDataset(**{**fields, **changes})


def test_dataset_subset_keeps_pairs():
    whole = small()
    assert len(whole) == 5
    for index in ([3, 1], (3, 1), [-2, 1], torch.tensor([3, 1])):
        part = whole.subset(index)
        assert part.images.equal(whole.images[[3, 1]])
        assert part.labels.tolist() == [1, 1]
    assert whole.subset(slice(1, 3)).labels.tolist() == [1, 2]
    assert whole.subset(whole.labels == 0).labels.tolist() == [0, 0]
    assert whole.to("cpu").images.equal(whole.images)
    assert "(5, 3, 2, 2)" in repr(whole)
    with pytest.raises(dataclasses.FrozenInstanceError):
        whole.labels = whole.labels


@pytest.mark.parametrize(
    "index", [[0.5], [99], [-6], torch.tensor([99]), [True], ["a"]]
)
def test_dataset_refuses_places_it_has_not(index):
    with pytest.raises(ValueError, match="index must choose among 5 images"):
        small().subset(index)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": torch.zeros(5, 3, 2, 2)}, "must be uint8.*float32"),
        ({"images": small().images[0]}, r"B, C, H, W.*\(3, 2, 2\)"),
        (
            {"images": small().images[:0], "labels": small().labels[:0]},
            "at least 1",
        ),
        ({"labels": torch.tensor([0, 1])}, r"\(5,\).*\(2,\)"),
        ({"labels": small().labels.int()}, "int64.*int32"),
        ({"classes": ("a", "b")}, "0 to 1.*0 to 2"),
        ({"labels": small().labels - 1}, "0 to 2.*-1 to 1"),
    ],
)
def test_dataset_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        small(**changes)


def test_normalize_is_its_formula():
    images = small().images
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 0.125)
    result = data.normalize(images, mean, std)
    assert result.dtype == torch.float32
    for channel in range(3):
        expected = (images[:, channel] / 255 - mean[channel]) / std[channel]
        torch.testing.assert_close(result[:, channel], expected)
    assert images.equal(small().images)  # the bytes are left as they were


def test_normalize_stays_on_the_device():
    images = torch.empty(2, 3, 4, 4, dtype=torch.uint8, device="meta")
    result = data.normalize(images, *data.IMAGENET_STATS)
    assert result.device.type == "meta"
    assert result.shape == images.shape


def test_sample_normalizes_to_zero_mean_and_unit_variance():
    train, _ = data.load_sample()
    x = data.normalize(train.images, *data.FASHION_MNIST_STATS)
    assert abs(x.mean()) < 0.02
    assert abs(x.std() - 1) < 0.02


@pytest.mark.parametrize(
    ("images", "stats", "message"),
    [
        (torch.zeros(2, 3, 4, 4), data.IMAGENET_STATS, "uint8.*float32"),
        (small().images[0], data.IMAGENET_STATS, r"\(3, 2, 2\)"),
        (small().images, data.FASHION_MNIST_STATS, "3 channels.*0.286"),
        (small().images, ((0.5,) * 3, (0.5,)), "3 channels"),
        (small().images, ((0.5,) * 3, (0.5, 0.0, 0.5)), "at least 1e-15"),
        # 0 in float32
        (small().images, ((0.5,) * 3, (0.5, 1e-46, 0.5)), "at least 1e-15"),
        (small().images, ((0.5,) * 3, (1e-39,) * 3), "at least 1e-15"),
        (small().images, ((1e39,) * 3, (0.5,) * 3), "less than 1e15"),
    ],
)
def test_normalize_refuses(images, stats, message):
    with pytest.raises(ValueError, match=message):
        data.normalize(images, *stats)


# --- photographs -----------------------------------------------------------


@pytest.mark.parametrize("name", data.PHOTOGRAPHS)
def test_photograph(name):
    image = data.photograph(name, (96, 64))
    assert image.shape == (3, 96, 64)
    assert image.dtype == torch.uint8
    assert image.float().std() > 20
    assert data.photograph(name).shape == (3, 224, 224)
    entry = data.PHOTOGRAPHS[name]
    assert entry.author in entry.credit
    assert entry.licence in entry.credit


def test_photograph_of_its_own_size_is_the_file():
    from skimage.data import astronaut

    image = data.photograph("astronaut", 512)
    pixels = torch.from_numpy(astronaut().copy())
    assert image.equal(rearrange(pixels, "h w c -> c h w"))


def test_photograph_is_the_middle_resized_with_antialias():
    whole = data.photograph("coffee", (400, 600))
    middle = whole[None, :, :, 100:500].float()
    small = data.photograph("coffee", 50).float()

    def gap(antialias):
        return (
            F.interpolate(
                middle, (50, 50), mode="bicubic", antialias=antialias
            )
            .clamp(0, 255)
            .sub(small)
            .abs()
            .mean()
        )

    assert gap(antialias=True) < 0.5
    assert gap(antialias=False) > 3


def test_photograph_refuses(monkeypatch):
    with pytest.raises(ValueError, match="'dog'; known: astronaut, chelsea"):
        data.photograph("dog")
    with pytest.raises(ValueError, match="size must be a positive"):
        data.photograph("china", 0)
    monkeypatch.setattr(_photographs, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install scikit-learn"):
        data.photograph("china")


# --- files that are not what they should be --------------------------------


def damage(name, change):
    """How a fault is made: change the content, then pack it again."""
    return name, lambda packed: gzip.compress(change(gzip.decompress(packed)))


DAMAGED = {
    "truncated": ((TRAIN_IMAGES, lambda p: p[:-50]), "cut short"),
    "header only": ((TRAIN_IMAGES, lambda p: p[:5]), "cut short"),
    "bytes flipped": (
        (TRAIN_IMAGES, lambda p: p[:-8] + bytes(8)),
        "damaged",
    ),
    "a web page": (
        (TRAIN_IMAGES, lambda p: b"<html>not found</html>"),
        "magic number 0x3c68746d, expected 0x00000803",
    ),
    "empty": ((TRAIN_IMAGES, lambda p: b""), "magic number 0x, expected"),
    "labels for images": (
        damage(TRAIN_IMAGES, lambda c: idx(1, (20,), [0] * 20)),
        "magic number 0x00000801, expected 0x00000803",
    ),
    "header cut": (damage(TRAIN_IMAGES, lambda c: c[:10]), "wrong length"),
    "one byte less": (
        damage(TRAIN_IMAGES, lambda c: c[:-1]),
        r"wrong length: 15695 bytes.*16 \+ 20 \* 28 \* 28",
    ),
    "one byte more": (damage(TRAIN_IMAGES, lambda c: c + b"1"), "length"),
    "no images": (
        damage(TRAIN_IMAGES, lambda c: idx(3, (0, 28, 28), [])),
        "wrong length",
    ),
    "one pixel changed": (
        damage(TRAIN_IMAGES, lambda c: c[:-1] + b"?"),
        "not hold the published data.*SHA-256",
    ),
    "a label of 10": (
        damage(TRAIN_LABELS, lambda c: c[:-1] + b"\x0a"),
        "label out of range: 10 at image 19, where 0 to 9",
    ),
    "a label changed": (
        damage(TRAIN_LABELS, lambda c: c[:-1] + b"\x01"),
        "SHA-256",
    ),
    "labels too few": (
        damage(TRAIN_LABELS, lambda c: idx(1, (19,), [1] * 19)),
        "19 labels for 20 images",
    ),
}


@pytest.mark.parametrize("fault", DAMAGED)
def test_damaged_file_is_named(fault, fashion, tmp_path):
    (name, change), message = DAMAGED[fault]
    folder = write(tmp_path / "mine", fashion)
    data.load_fashion_mnist(folder)
    (folder / name).write_bytes(change(fashion[name]))
    with pytest.raises(ValueError, match=message) as caught:
        data.load_fashion_mnist(folder)
    assert str(caught.value).startswith(str(folder / name))
    assert "delete it and load again with download=True" in str(caught.value)
    (folder / name).write_bytes(fashion[name])
    assert len(data.load_fashion_mnist(folder)[0]) == 20


def test_a_gzip_bomb_is_not_unpacked(fashion, tmp_path):
    """A small file that would fill the memory."""
    folder = write(tmp_path, fashion)
    bomb = gzip.compress(bytes(1 << 24)) * 256  # 4 MB hold 4 GB
    (folder / TRAIN_IMAGES).write_bytes(bomb)
    with pytest.raises(ValueError, match="holds more than 268,435,456 bytes"):
        data.load_fashion_mnist(folder)


def test_idx_values_arrive_in_order(fashion, tmp_path):
    train, test = data.load_fashion_mnist(write(tmp_path, fashion))
    content = gzip.decompress(fashion[TRAIN_IMAGES])[16:]
    assert bytes(train.images.flatten().tolist()) == content
    assert train.labels.tolist() == [i % 10 for i in range(20)]
    assert len(test) == 10


def test_other_packing_of_the_same_data_is_accepted(fashion, tmp_path):
    again = {
        n: gzip.compress(gzip.decompress(p), 1) for n, p in fashion.items()
    }
    assert again[TRAIN_IMAGES] != fashion[TRAIN_IMAGES]
    data.load_fashion_mnist(write(tmp_path / "gz", again))
    plain = {name: gzip.decompress(p) for name, p in fashion.items()}
    data.load_fashion_mnist(write(tmp_path / "plain", plain))


def test_missing_files_are_named_with_their_folder(fashion, tmp_path):
    with pytest.raises(FileNotFoundError, match="is no folder") as caught:
        data.load_fashion_mnist(tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in str(caught.value)
    folder = write(tmp_path / "half", fashion)
    (folder / TRAIN_LABELS).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        data.load_fashion_mnist(folder)
    assert f"{folder} lacks {TRAIN_LABELS}\n" in str(caught.value)
    assert "download=True" in str(caught.value)


def test_folders_are_searched_in_order(fashion, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        data.load_fashion_mnist()
    cache = tmp_path / "cache" / "fashion-mnist"
    assert str(tmp_path / "system") in str(caught.value)
    assert str(cache) in str(caught.value)
    assert "dataset-fashion-mnist" in str(caught.value)
    write(cache, fashion)
    assert len(data.load_fashion_mnist()[0]) == 20
    write(tmp_path / "system", {**fashion, TRAIN_IMAGES: b"bad"})
    with pytest.raises(ValueError, match="system"):
        data.load_fashion_mnist()
    data.load_fashion_mnist(cache)  # a folder that is named goes first


def test_cache_follows_the_environment(monkeypatch):
    assert _download.cache_folder() == Path(os.environ["VITLIB_CACHE"])
    monkeypatch.delenv("VITLIB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert _download.cache_folder() == Path("/somewhere/vitlib")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert _download.cache_folder() == Path.home() / ".cache" / "vitlib"


def test_without_a_home_a_cache_must_be_named(monkeypatch, tmp_path):
    """As in a container whose user has no entry and no HOME."""
    pwd = pytest.importorskip("pwd")  # Windows asks elsewhere

    def nobody(_):
        raise KeyError("uid not found")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("HOME", "VITLIB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for load in (data.load_fashion_mnist, data.load_cifar10):
        with pytest.raises(OSError, match="Set VITLIB_CACHE to a folder"):
            load()
        with pytest.raises(FileNotFoundError, match="was not found"):
            load(tmp_path)
    notes = pretrained.load_or_book("dinov2-type-s14")[1]
    assert notes["name"] == "book"


# --- CIFAR-10 --------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "cifar-10-batches-bin"])
def test_cifar_records_are_read_in_order(below, cifar, tmp_path):
    write(tmp_path / below, cifar)
    train, test = data.load_cifar10(tmp_path)
    assert train.images.shape == (20, 3, 32, 32)
    assert test.images.shape == (4, 3, 32, 32)
    assert train.labels.tolist() == [
        (k + i) % 10 for k in range(5) for i in range(4)
    ]
    assert test.labels.tolist() == [5, 6, 7, 8]
    content = cifar["data_batch_3.bin"][3073 + 1 : 2 * 3073]
    assert bytes(train.images[9].flatten().tolist()) == content
    assert train.classes[0] == "airplane"
    assert train.classes[9] == "truck"


def test_cifar_of_true_size(monkeypatch, tmp_path):
    record = bytes(range(256)) * 12
    files = {
        name: b"".join(bytes([i % 10]) + record for i in range(10_000))
        for name in data.CIFAR10.files
    }
    assert {len(content) for content in files.values()} == {30_730_000}
    monkeypatch.setattr(_formats, "check_sum", lambda *args: None)
    train, test = data.load_cifar10(write(tmp_path, files))
    assert torch.bincount(train.labels).tolist() == [5000] * 10
    assert torch.bincount(test.labels).tolist() == [1000] * 10
    assert train.images[:, 2, 31, 31].eq(255).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c[:-1], "12291 bytes are not whole records of 3073"),
        (lambda c: b"", "0 bytes"),
        (lambda c: b"\x0b" + c[1:], "out of range: 11 at image 0"),
        (lambda c: c[:-1] + b"?", "SHA-256"),
    ],
)
def test_damaged_cifar_file_is_named(change, message, cifar, tmp_path):
    name = "data_batch_4.bin"
    write(tmp_path, {**cifar, name: change(cifar[name])})
    with pytest.raises(ValueError, match=message) as caught:
        data.load_cifar10(tmp_path)
    assert str(caught.value).startswith(str(tmp_path / name))


def test_missing_cifar_is_named(cifar, tmp_path):
    write(tmp_path, cifar)
    (tmp_path / "test_batch.bin").unlink()
    with pytest.raises(FileNotFoundError) as caught:
        data.load_cifar10(tmp_path)
    assert f"{tmp_path} lacks test_batch.bin\n" in str(caught.value)


def link(kind):
    member = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
    member.type, member.linkname = kind, "/etc/passwd"
    return member


HOSTILE = {
    "path above": tarfile.TarInfo("../test_batch.bin"),
    "absolute path": tarfile.TarInfo("/tmp/test_batch.bin"),
    "symbolic link": link(tarfile.SYMTYPE),
    "hard link": link(tarfile.LNKTYPE),
    "device": link(tarfile.CHRTYPE),
    "pipe": link(tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_archive_is_refused(
    kind, cifar, server, monkeypatch, tmp_path
):
    server.files[ARCHIVE] = tar(cifar, [HOSTILE[kind]])
    use_cifar(monkeypatch, cifar, server.files[ARCHIVE])
    with pytest.raises(ValueError, match="path out of its folder") as caught:
        data.load_cifar10(download=True, mirror=server.url)
    assert ARCHIVE in str(caught.value)
    assert HOSTILE[kind].name in str(caught.value)
    assert left(tmp_path) == ["cache", "cache/cifar-10-batches-bin"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda files: tar(files)[:-300], "is damaged"),
        (lambda files: b"no archive", "is damaged"),
        (
            lambda files: tar(dict(list(files.items())[:5])),
            "lacks test_batch.bin",
        ),
    ],
)
def test_bad_archive_is_named(
    change, message, cifar, server, monkeypatch, tmp_path
):
    server.files[ARCHIVE] = change(cifar)
    use_cifar(monkeypatch, cifar, server.files[ARCHIVE])
    with pytest.raises(ValueError, match=f"{ARCHIVE} was not.*{message}"):
        data.load_cifar10(download=True, mirror=server.url)
    assert left(tmp_path) == ["cache", "cache/cifar-10-batches-bin"]


# --- downloads -------------------------------------------------------------


def test_fashion_mnist_is_fetched_once(fashion, server, tmp_path, capfd):
    server.files = fashion
    train, test = data.load_fashion_mnist(download=True, mirror=server.url)
    assert (len(train), len(test)) == (20, 10)
    assert left(tmp_path / "cache" / "fashion-mnist") == sorted(fashion)
    assert sorted(server.asked) == sorted(fashion)
    data.load_fashion_mnist(download=True, mirror=server.url)
    data.load_fashion_mnist()
    assert len(server.asked) == 4
    assert capfd.readouterr() == ("", "")  # no bar where nobody looks


def test_only_what_is_missing_is_fetched(fashion, server, tmp_path):
    server.files = fashion
    folder = write(tmp_path / "mine", fashion)
    (folder / TRAIN_LABELS).unlink()
    data.load_fashion_mnist(folder, download=True, mirror=server.url + "/")
    assert server.asked == [TRAIN_LABELS]


def test_cifar_is_fetched_and_unpacked(cifar, server, tmp_path):
    server.files[ARCHIVE] = tar(cifar)
    train, test = data.load_cifar10(download=True, mirror=server.url)
    assert (len(train), len(test)) == (20, 4)
    assert left(tmp_path / "cache" / "cifar-10-batches-bin") == sorted(cifar)
    data.load_cifar10()
    assert server.asked == [ARCHIVE]


def test_progress_is_shown_to_a_person(fashion, server, monkeypatch, capfd):
    server.files = fashion
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    data.load_fashion_mnist(download=True, mirror=server.url)
    assert "100%" in capfd.readouterr().err


@pytest.mark.parametrize("faults", [[503], ["cut"], ["alter"], ["cut", 500]])
def test_a_passing_fault_is_tried_again(faults, fashion, server):
    server.files = fashion
    server.faults[TRAIN_IMAGES] = list(faults)
    train, _ = data.load_fashion_mnist(download=True, mirror=server.url)
    assert len(train) == 20
    assert server.asked.count(TRAIN_IMAGES) == len(faults) + 1


def test_a_silent_server_is_given_up(fashion, server, monkeypatch):
    monkeypatch.setattr(_download, "TIMEOUT", 0.2)
    server.files = fashion
    server.faults[TRAIN_IMAGES] = ["stall"]
    start = time.monotonic()
    data.load_fashion_mnist(download=True, mirror=server.url)
    assert time.monotonic() - start < 10
    assert server.asked.count(TRAIN_IMAGES) == 2


@pytest.mark.parametrize(
    ("fault", "message", "asked"),
    [
        (404, "404", 1),
        (500, "500", 3),
        ("cut", "IncompleteRead|ChunkedEncoding", 3),
        ("alter", "SHA-256", 3),
    ],
)
def test_a_lasting_fault_leaves_nothing(
    fault, message, asked, fashion, server, tmp_path
):
    server.files = fashion
    server.faults[TRAIN_LABELS] = [fault] * 3
    with pytest.raises(ConnectionError, match=message) as caught:
        data.load_fashion_mnist(download=True, mirror=server.url)
    assert f"{server.url}/{TRAIN_LABELS}" in str(caught.value)
    assert "Check the connection and call again" in str(caught.value)
    assert server.asked.count(TRAIN_LABELS) == asked
    cache = tmp_path / "cache" / "fashion-mnist"
    assert left(cache) == [TRAIN_IMAGES]  # whole: it came before the fault
    server.faults.clear()
    data.load_fashion_mnist(download=True, mirror=server.url)
    assert left(cache) == sorted(fashion)


def test_no_server_at_all(fashion, server):
    server.server_close()
    with pytest.raises(ConnectionError, match=TRAIN_IMAGES):
        data.load_fashion_mnist(download=True, mirror=server.url)


def test_the_second_address_helps(fashion, server, monkeypatch):
    server.files = fashion
    urls = (server.url + "/gone/", server.url + "/")
    source = data.FASHION_MNIST._replace(urls=urls)
    monkeypatch.setattr(data, "FASHION_MNIST", source)
    assert len(data.load_fashion_mnist(download=True)[0]) == 20


@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [("MOST_BYTES", 50, "over 50 bytes"), ("MOST_SECONDS", -1, "over -1 sec")],
)
def test_a_server_that_never_ends_is_left(
    limit, value, message, fashion, server, monkeypatch, tmp_path
):
    server.files = fashion
    monkeypatch.setattr(_download, limit, value)
    with pytest.raises(ConnectionError, match=f"TooMuch: {message}"):
        data.load_fashion_mnist(download=True, mirror=server.url)
    assert left(tmp_path / "cache") == ["fashion-mnist"]


def test_the_limit_lies_above_the_largest_file():
    assert _download.MOST_BYTES > 170_052_171  # CIFAR-10's archive


def test_an_answer_without_sense_is_tried_again(fashion, server, monkeypatch):
    server.files, asked = fashion, []
    fetch = pooch.HTTPDownloader.__call__

    def confused(self, url, *args):
        asked.append(url)
        if len(asked) == 1:
            int("abc")  # as a length that is no number
        fetch(self, url, *args)

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", confused)
    data.load_fashion_mnist(download=True, mirror=server.url)
    assert asked[0] == asked[1]


def test_interrupt_leaves_nothing(fashion, server, monkeypatch, tmp_path):
    server.files = fashion
    fetch = pooch.HTTPDownloader.__call__

    def stopped(self, url, file, *args):
        fetch(self, url, file, *args)
        file.file.truncate(100)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pooch.HTTPDownloader, "__call__", stopped)
        with pytest.raises(KeyboardInterrupt):
            data.load_fashion_mnist(download=True, mirror=server.url)
    assert left(tmp_path / "cache") == ["fashion-mnist"]
    data.load_fashion_mnist(download=True, mirror=server.url)


def test_remains_of_a_killed_download_go_after_a_day(
    fashion, server, tmp_path
):
    cache = tmp_path / "cache" / "fashion-mnist"
    for name, age in ((".partial-old", 90_000), (".partial-new", 60)):
        write(cache / name, {"half": b"1"})
        then = time.time() - age
        os.utime(cache / name, (then, then))
    server.files = fashion
    data.load_fashion_mnist(download=True, mirror=server.url)
    assert not (cache / ".partial-old").exists()
    assert (cache / ".partial-new").exists()


def test_two_at_once_do_not_disturb_each_other(fashion, server):
    server.files = fashion
    sizes = []

    def load():
        train, _ = data.load_fashion_mnist(download=True, mirror=server.url)
        sizes.append(len(train))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sizes == [20] * 4


def expect_full_disk(folder, server):
    with pytest.raises(OSError, match="disk is full") as caught:
        data.load_fashion_mnist(folder, download=True, mirror=server.url)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(folder)
    assert TRAIN_IMAGES in str(caught.value)
    assert "free some space" in str(caught.value)
    assert left(folder) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk(fashion, server, monkeypatch, tmp_path):
    """Each write to /dev/full fails as on a full disk."""
    server.files = fashion
    make = tempfile.TemporaryDirectory

    def full(**options):
        folder = make(**options)
        Path(folder.name, TRAIN_IMAGES).symlink_to("/dev/full")
        return folder

    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "TemporaryDirectory", full)
        expect_full_disk(tmp_path / "mine", server)
    data.load_fashion_mnist(
        tmp_path / "mine", download=True, mirror=server.url
    )


@pytest.fixture
def disk(tmp_path):
    """A disk of 64 kB, which the test may fill."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("may not mount a small disk here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_disk_that_fills_up(fashion, server, disk, monkeypatch):
    packed = gzip.compress(os.urandom(200_000))
    server.files = {**fashion, TRAIN_IMAGES: packed}
    sums = {**data.FASHION_MNIST.downloads, TRAIN_IMAGES: sha256(packed)}
    with monkeypatch.context() as patch:
        source = data.FASHION_MNIST._replace(downloads=sums)
        patch.setattr(data, "FASHION_MNIST", source)
        expect_full_disk(disk, server)
    server.files = fashion
    data.load_fashion_mnist(disk, download=True, mirror=server.url)


def test_disk_that_fills_up_while_unpacking(cifar, server, disk, monkeypatch):
    server.files[ARCHIVE] = tar(cifar)
    assert len(server.files[ARCHIVE]) < 64_000 < sum(map(len, cifar.values()))
    with pytest.raises(OSError, match="disk is full") as caught:
        data.load_cifar10(disk, download=True, mirror=server.url)
    assert caught.value.errno == errno.ENOSPC
    assert left(disk) == ["cifar-10-batches-bin"]


def test_folder_that_cannot_be_written(fashion, server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="cannot write") as caught:
        data.load_fashion_mnist(
            tmp_path / "file", download=True, mirror=server.url
        )
    assert str(tmp_path / "file") in str(caught.value)


def test_download_without_pooch_says_what_to_install(fashion, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match="pip install pooch tqdm"):
        data.load_fashion_mnist(download=True)


def test_import_brings_in_nothing_that_is_slow():
    code = (
        "import sys, vitlib.data; print([name for name in ('pooch', "
        "'requests', 'skimage', 'sklearn', 'PIL', 'matplotlib') "
        "if name in sys.modules])"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    root = Path(data.__file__).parents[1]
    ran = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=root
    )
    assert (ran.stdout, ran.stderr) == ("[]\n", "")
