"""vitlib.pretrained.hub and .registry: names, and a hub that misbehaves."""

import dataclasses
import hashlib
import http.server
import json
import threading

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants, file_download
from huggingface_hub.utils import _http
from packaging.version import Version

from vitlib import ViTConfig
from vitlib.counts import parameter_counts
from vitlib.model import VisionTransformer
from vitlib.pretrained import hub, load, load_or_book
from vitlib.pretrained.registry import REGISTRY, Entry
from vitlib.weights import save_model

COMMIT, NEXT = "a" * 40, "b" * 40
CONFIG = ViTConfig(
    img_size=4,
    patch_size=2,
    num_classes=3,
    embed_dim=8,
    depth=1,
    num_heads=2,
)
FILE = "model.safetensors"
BEFORE_1 = Version(huggingface_hub.__version__) < Version("1")


# --- the registry ----------------------------------------------------------


@pytest.mark.parametrize("name", REGISTRY)
def test_an_entry_counts_its_parameters(name):
    entry = REGISTRY[name]
    assert sum(parameter_counts(entry.config).values()) == entry.parameters
    assert len(entry.mean) == len(entry.std) == entry.config.in_chans
    assert entry.licence
    assert entry.about
    assert entry.config.num_heads * 64 == entry.config.embed_dim


def test_revisions_are_commits_and_hashes_whole():
    for name, entry in REGISTRY.items():
        assert len(entry.revision) in (0, 40), name
        assert len(entry.sha256) in (0, 64), name
        assert set(entry.revision + entry.sha256) <= set("0123456789abcdef")
    unpinned = {n for n, e in REGISTRY.items() if e.repo and not e.revision}
    assert unpinned == {"vit-b32-in21k", "vit-l32-in21k"}


def test_the_papers_own_read_out_by_a_tanh_layer():
    config = REGISTRY["vit-l32-in21k"].config
    assert config.representation_size == config.embed_dim == 1024
    assert (config.grid_size, config.num_classes) == ((7, 7), 0)


# --- a hub on this machine -------------------------------------------------


class Hub(http.server.ThreadingHTTPServer):
    """Speaks the hub's protocol for one file; misbehaves as told."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.content, self.fault, self.asked = b"", None, []
        self.ranges, self.whole = [], False  # asked for by each GET; ignored
        self.repo, self.file, self.commit = "who/vit", FILE, COMMIT

    def handle_error(self, request, client_address):
        pass  # a client that hangs up is part of these tests


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        at, fault = self.server, self.server.fault
        if self.path.startswith("/api/"):  # the library's own business
            return self.reply(404)
        at.asked.append((self.command, self.path))
        repo, _, rest = self.path.removeprefix("/").partition("/resolve/")
        revision, _, file = rest.partition("/")
        if repo == "who/old":  # renamed
            self.reply(307, Location=f"/{at.repo}/resolve/{rest}")
        elif repo != at.repo:
            self.reply(404, **{"X-Error-Code": "RepoNotFound"})
        elif revision not in (at.commit, "main"):
            self.reply(404, **{"X-Error-Code": "RevisionNotFound"})
        elif file != at.file:
            code = {"X-Error-Code": "EntryNotFound"}
            self.reply(404, **code, **{"X-Repo-Commit": at.commit})
        elif isinstance(fault, int):
            self.reply(fault)
        else:
            self.send(body, fault)

    def reply(self, status, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send(self, body, fault):
        content = self.server.content
        if body:
            self.server.ranges.append(self.headers.get("Range"))
        tag = hashlib.sha256(content).hexdigest()
        start = self.headers.get("Range", "bytes=0-")
        start = int(start.removeprefix("bytes=").rstrip("-"))
        start = 0 if self.server.whole else start
        part = content[start:]
        self.send_response(206 if start else 200)
        if start:
            end = f"{start}-{len(content) - 1}/{len(content)}"
            self.send_header("Content-Range", f"bytes {end}")
        if body and fault == "short":
            part = part[:-7]
        self.send_header("Content-Length", str(len(part)))
        self.send_header("ETag", f'"{tag}"')
        self.send_header("X-Repo-Commit", self.server.commit)
        self.end_headers()
        if body and fault == "cut":
            self.wfile.write(part[: len(part) // 2])
            self.server.fault = None  # once
            self.close_connection = True
        elif body and fault == "altered":
            self.wfile.write(part[:-1] + b"?")
        elif body:
            self.wfile.write(part)

    def log_message(self, *args):
        pass


def quiet(monkeypatch, **settings):
    """Set what huggingface_hub reads from the environment at import."""
    for name, value in settings.items():
        monkeypatch.setattr(constants, name, value)
        if BEFORE_1:  # copies of some, and sessions made with the old ones
            monkeypatch.setattr(file_download, name, value, raising=False)
            _http.reset_sessions()


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A hub, and no other place that a test reads or writes."""
    monkeypatch.setenv("VITLIB_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(_http.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(file_download.time, "sleep", lambda seconds: None)
    with Hub() as server:
        quiet(
            monkeypatch,
            ENDPOINT=server.url,
            HUGGINGFACE_CO_URL_TEMPLATE=server.url
            + "/{repo_id}/resolve/{revision}/{filename}",
            HF_HUB_CACHE=str(tmp_path / "hub"),
            HF_HUB_OFFLINE=False,
            HF_HUB_DISABLE_XET=True,
            DOWNLOAD_CHUNK_SIZE=1024,  # what is written at a time
        )
        serve = threading.Thread(target=server.serve_forever, args=(0.01,))
        serve.start()
        yield server
        server.shutdown()
        serve.join()


@pytest.fixture
def entry(server, tmp_path, monkeypatch):
    """A model in the registry, which the server has; change it at will."""
    torch.manual_seed(0)
    model = VisionTransformer(CONFIG)
    path = tmp_path / FILE
    save_model(model, path)
    server.content = path.read_bytes()

    def register(**changes):
        count = sum(p.numel() for p in model.parameters())
        entry = Entry(
            CONFIG,
            count,
            "nobody, nothing",
            "CC0",
            (0.1, 0.2, 0.3),
            (0.4, 0.5, 0.6),
            "bicubic",
            repo="who/vit",
            revision=COMMIT,
            sha256=hashlib.sha256(server.content).hexdigest(),
        )
        entry = dataclasses.replace(entry, **changes)
        monkeypatch.setitem(REGISTRY, "a-vit", entry)
        return entry

    return register


def test_found_and_found_again_without_asking(entry, server):
    known = entry()
    path, found = hub.fetch("a-vit")
    assert found is known
    assert path.read_bytes() == server.content
    assert path.parent.name == COMMIT
    assert [kind for kind, _ in server.asked] == ["HEAD", "GET"]
    assert hub.fetch("a-vit")[0] == path
    assert len(server.asked) == 2


def test_load_says_where_it_is_from(entry):
    entry()
    model, notes = load("a-vit", img_size=8)
    assert model.config.grid_size == (4, 4)
    assert notes["name"] == "a-vit"
    assert notes["source"] == f"https://huggingface.co/who/vit/tree/{COMMIT}"
    assert notes["licence"] == "CC0"
    assert notes["mean"] == [0.1, 0.2, 0.3]
    assert notes["parameters"] == sum(p.numel() for p in model.parameters())


def test_offline_with_and_without_the_file(entry, server, monkeypatch):
    entry()
    quiet(monkeypatch, HF_HUB_OFFLINE=True)
    with pytest.raises(ConnectionError, match="a-vit, who/vit at aaa"):
        hub.fetch("a-vit")
    quiet(monkeypatch, HF_HUB_OFFLINE=False)
    path, _ = hub.fetch("a-vit")
    quiet(monkeypatch, HF_HUB_OFFLINE=True)
    asked = len(server.asked)
    assert hub.fetch("a-vit")[0] == path
    assert len(server.asked) == asked


def test_out_of_reach_the_book_steps_in(entry, server, monkeypatch, capsys):
    entry()
    nowhere = "http://127.0.0.1:9"  # the port of `discard`: nobody listens
    quiet(
        monkeypatch,
        ENDPOINT=nowhere,
        HUGGINGFACE_CO_URL_TEMPLATE=nowhere
        + "/{repo_id}/resolve/{revision}/{filename}",
    )
    model, notes = load_or_book("a-vit", img_size=8)
    assert (notes["name"], model.config.in_chans) == ("book", 1)
    said = capsys.readouterr().out
    assert said.startswith("a-vit is out of reach")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"repo": "who/nobody"}, "Repository Not Found"),
        ({"revision": NEXT}, "Revision Not Found"),
        ({"files": ("other.bin",)}, "other.bin: .*Entry Not Found"),
    ],
)
def test_not_found(changes, message, entry, tmp_path):
    entry(**changes)
    with pytest.raises(ConnectionError, match=f"(?s)a-vit.*{message}"):
        hub.fetch("a-vit")
    assert not list((tmp_path / "hub").rglob("*.safetensors"))


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_a_server_that_refuses(status, entry, server):
    entry()
    server.fault = status
    with pytest.raises(ConnectionError, match="a-vit"):
        hub.fetch("a-vit")


def test_a_renamed_repository_is_followed(entry, server):
    entry(repo="who/old")
    path, _ = hub.fetch("a-vit")
    assert path.read_bytes() == server.content
    assert any("who/old" in path for _, path in server.asked)
    assert any("who/vit" in path for _, path in server.asked)


def test_cut_off_in_the_middle_goes_on_from_there(entry, server):
    entry()
    server.fault = "cut"
    if BEFORE_1:  # gives up; the next call goes on
        with pytest.raises(ConnectionError, match="Connection broken"):
            hub.fetch("a-vit")
    path, _ = hub.fetch("a-vit")
    assert path.read_bytes() == server.content
    assert server.ranges == [None, "bytes=3072-"]


def test_a_server_that_knows_no_ranges(entry, server, tmp_path):
    """What was cut off and what came then do not end up in one file."""
    entry(sha256="")
    server.fault, server.whole = "cut", True
    if BEFORE_1:
        with pytest.raises(ConnectionError, match="Connection broken"):
            hub.fetch("a-vit")
    path, _ = hub.fetch("a-vit")
    assert path.read_bytes() == server.content
    assert server.ranges[:2] == [None, "bytes=3072-"]
    assert not list((tmp_path / "hub").rglob("*.incomplete"))


def test_a_file_of_the_wrong_size_is_refused(entry, server, tmp_path):
    entry()
    server.fault = "short"
    with pytest.raises(ConnectionError, match="should be of size"):
        hub.fetch("a-vit")
    assert not list((tmp_path / "hub").rglob("*.safetensors"))
    server.fault = None
    assert hub.fetch("a-vit")[0].read_bytes() == server.content


def test_an_altered_file_is_refused_and_removed(entry, server):
    entry()
    server.fault = "altered"
    for _ in range(2):  # the second call asks anew
        with pytest.raises(ValueError, match=r"had SHA-256 .*it was removed"):
            hub.fetch("a-vit")
    server.fault = None
    assert hub.fetch("a-vit")[0].read_bytes() == server.content


def test_an_altered_file_of_unknown_hash_is_refused(entry, server):
    """Its name in the cache is the hash that the hub announced."""
    entry(sha256="")
    server.fault = "altered"
    with pytest.raises(ValueError, match=r"had SHA-256 .*it was removed"):
        hub.fetch("a-vit")
    server.fault = None
    assert hub.fetch("a-vit")[0].read_bytes() == server.content


@pytest.mark.parametrize(
    "text", ["[]", "null", "5", '"x"', "[" * 9999, '{"who/vit": 5}', "{"]
)
def test_damaged_notes_of_commits_are_as_none(text, entry, tmp_path):
    entry(revision="", sha256="")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "revisions.json").write_text(text)
    assert hub.fetch("a-vit")[0].parent.name == COMMIT
    assert hub._first_seen() == {"who/vit": COMMIT}


def test_a_file_that_was_altered_in_the_cache_is_seen(entry):
    entry()
    path, _ = hub.fetch("a-vit")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match="SHA-256"):
        hub.fetch("a-vit")


def test_the_second_name_of_a_file(entry, server, monkeypatch):
    server.file = "pytorch_model.bin"
    entry(files=(FILE, server.file))
    path, _ = hub.fetch("a-vit")
    assert path.name == server.file
    asked = len(server.asked)
    assert hub.fetch("a-vit")[0] == path
    assert len(server.asked) == asked
    quiet(monkeypatch, HF_HUB_OFFLINE=True)
    assert hub.fetch("a-vit")[0] == path


def test_an_unpinned_repository_keeps_its_first_commit(
    entry, server, tmp_path, monkeypatch
):
    entry(revision="", sha256="")
    first, _ = hub.fetch("a-vit")
    assert first.parent.name == COMMIT
    kept = json.loads((tmp_path / "own" / "revisions.json").read_text())
    assert kept == {"who/vit": COMMIT}
    old, server.content = server.content, server.content + b"\0"
    server.commit = NEXT
    again, _ = hub.fetch("a-vit")
    assert (again, again.read_bytes()) == (first, old)
    quiet(monkeypatch, HF_HUB_CACHE=str(tmp_path / "empty"))
    with pytest.raises(ConnectionError, match="Revision Not Found"):
        hub.fetch("a-vit")  # main moved on; the first commit is asked for


def test_an_unknown_name_is_refused_with_the_known():
    with pytest.raises(ValueError, match="'vit-x'; known: vit-b16-in21k"):
        hub.fetch("vit-x")
    with pytest.raises(FileNotFoundError, match="known name: book, vit-b16"):
        load("vit-x")
