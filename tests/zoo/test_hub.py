"""Names on the hub, fetched over HTTP from a server of the test that answers as the hub does."""

import hashlib
import http.server
import json
import pathlib
import re
import shutil
import threading
import urllib.parse

import numpy as np
import pytest

import zoo
from zoo import InputError, cli
from zoo.weights import hub

pytestmark = pytest.mark.slow

ARTEFACTS = pathlib.Path(__file__).parents[1] / "artefacts" / "pretrained"
COMMIT, OLDER = "0123456789abcdef0123456789abcdef01234567", "89abcdef0123456789abcdef0123456789abcdef"
LARGE = ".safetensors"
"""Of files that the hub stores by their SHA-256, and redirects to."""


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers of the hub: what a repository is, its tree, and its files."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        hub = self.server
        path = urllib.parse.unquote(self.path.partition("?")[0])
        hub.asked.append((self.command, path, self.headers.get("Range")))
        if hub.status is not None:
            return self.answer(hub.status[0], headers={"X-Error-Code": hub.status[1]})
        if found := re.fullmatch(r"/cdn/(\w+)", path):
            return self.send_file(hub.stored[found[1]])
        found = re.fullmatch(r"/(api/models/)?someone/net/(revision|tree|resolve)/([\w.-]+)(/(.+))?", path)
        if found is None:
            return self.answer(404, headers={"X-Error-Code": "RepoNotFound"})
        kind, commit, name = found[2], hub.revisions.get(found[3], found[3]), found[5]
        if commit not in hub.folders:
            return self.answer(404, headers={"X-Error-Code": "RevisionNotFound"})
        folder = hub.folders[commit]
        if kind == "revision":
            return self.answer(200, {"id": "someone/net", "sha": commit, "siblings": []})
        if kind == "tree":
            return self.answer(200, [hub.entry(folder, one) for one in folder.rglob("*") if one.is_file()])
        return self.resolve(folder / name, commit)

    def resolve(self, file, commit):
        """A file, or, where it is large, the way to it."""
        if not file.is_file():
            return self.answer(404, headers={"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        digest = self.server.digest(file)
        if file.suffix != LARGE:
            return self.send_file(file, {"X-Repo-Commit": commit, "ETag": f'"{digest[:40]}"'})
        size = str(file.stat().st_size)
        headers = {"Location": f"http://localhost:{self.server.server_port}/cdn/{digest}", "X-Repo-Commit": commit}
        return self.answer(302, headers=headers | {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": size})

    def send_file(self, file, headers=()):
        data = self.server.sent(file.read_bytes()) if file.suffix == LARGE else file.read_bytes()
        begin = re.fullmatch(r"bytes=(\d+)-.*", self.headers.get("Range") or "")
        begin = int(begin[1]) if begin else 0
        status = {"Content-Range": f"bytes {begin}-{len(data) - 1}/{len(data)}"} if begin else {}
        most = self.server.most if file.suffix == LARGE else None
        self.answer(206 if begin else 200, data[begin:], dict(headers) | status, most)

    def answer(self, status, content=b"", headers=(), most=None):
        """Sends an answer; of its content at most so many bytes, and then the connection breaks."""
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **dict(headers)}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data[:most])
        self.close_connection = most is not None


class Server(http.server.ThreadingHTTPServer):
    """A hub with the repository `someone/net`, of which there are two commits.

    Attributes:
        folders: {commit: folder of its files}.
        revisions: {branch or tag: commit}.
        asked: (command, path, range) of each request.
        most: bytes after which an answer with a large file breaks off; None for none.
        sent: what is sent of the bytes of a large file.
        status: (number, code) with which all is answered; None for the answers of a hub.
    """

    def __init__(self, folders):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.folders, self.revisions = folders, {"main": COMMIT, "v1": OLDER}
        self.stored = {self.digest(one): one for folder in folders.values() for one in folder.glob(f"*{LARGE}")}
        self.asked, self.most, self.sent, self.status = [], None, lambda data: data, None

    @staticmethod
    def digest(file):
        return hashlib.sha256(file.read_bytes()).hexdigest()

    def entry(self, folder, file):
        """What the tree of a commit says of a file."""
        size = file.stat().st_size
        large = {"lfs": {"oid": self.digest(file), "size": size, "pointerSize": 134}} if file.suffix == LARGE else {}
        oid = self.digest(file)[:40]
        return {"type": "file", "path": str(file.relative_to(folder)), "size": size, "oid": oid, **large}


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A server, whose cache on the disk is empty. Its files are those of `gpt2`, with two that nobody should fetch."""
    constants = pytest.importorskip("huggingface_hub.constants")
    download = pytest.importorskip("huggingface_hub.file_download")
    folders = {}
    for commit, name in ((COMMIT, "gpt2"), (OLDER, "llama")):
        folders[commit] = tmp_path / "server" / commit
        shutil.copytree(ARTEFACTS / name, folders[commit])
        (folders[commit] / "pytorch_model.bin").write_bytes(b"a pickle")
        (folders[commit] / "README.md").write_text("A network.")
    server = Server(folders)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)  # between its tries
    monkeypatch.delenv("ZOO_OFFLINE", raising=False)
    hub._fetched.cache_clear()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
    hub._fetched.cache_clear()


def fetched(server):
    """Names of the files that were sent."""
    return {path.rpartition("/")[2] for command, path, _ in server.asked if command == "GET" and "/api/" not in path}


def offline(monkeypatch):
    """A new process without a network, as far as we are concerned."""
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    hub._fetched.cache_clear()


def test_a_network_is_fetched_and_answers_as_its_folder(served, monkeypatch):
    model, here = zoo.load("hf:someone/net"), zoo.load(ARTEFACTS / "gpt2")
    ids = here.reader.read_texts(np.array(["The cat sat"])).numpy()
    np.testing.assert_array_equal(model.reader.read_texts(np.array(["The cat sat"])).numpy(), ids)
    np.testing.assert_array_equal(model.predict_on_batch(ids), here.predict_on_batch(ids))
    assert {"config.json", "tokenizer.json"} < fetched(served)
    assert fetched(served).isdisjoint({"pytorch_model.bin", "README.md", "expected.npz"})
    served.asked.clear()
    offline(monkeypatch)
    assert zoo.load("hf:someone/net").recipe == model.recipe
    assert zoo.load(f"hf:someone/net@{COMMIT}").recipe == model.recipe
    assert served.asked == []


def test_a_revision_is_the_commit_that_it_names(served):
    assert hub.locate("hf:someone/net@v1").commit == OLDER
    assert zoo.load("hf:someone/net@v1").recipe.name == "llama"
    assert hub.locate("hf:someone/net").commit == COMMIT


def test_a_run_keeps_the_commit_to_which_its_source_was_resolved(served, tmp_path):
    for split, count in (("train", 8), ("validation", 2)):
        (tmp_path / "texts").mkdir(exist_ok=True)
        (tmp_path / "texts" / f"{split}.txt").write_text("the cat sat on the mat\n" * count)
    run = zoo.train(
        "gpt", dataset=f"text:{tmp_path / 'texts'}", init_from="hf:someone/net@main", epochs=1, batch_size=4, length=8,
        answer_length=2, directory=tmp_path / "run", quiet=True,
    )  # fmt: skip
    assert run.facts["started_from"] == {
        "source": "hf:someone/net@main",
        "commit": COMMIT,
        "sha256": {"model.safetensors": served.digest(ARTEFACTS / "gpt2" / "model.safetensors")},
    }


def test_a_download_that_breaks_off_never_counts_as_whole(served, tmp_path, monkeypatch):
    served.most = 1000
    with pytest.raises(InputError, match="hf:someone/net could not be fetched") as caught:
        zoo.load("hf:someone/net")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache").rglob("model.safetensors"))
    offline(monkeypatch)
    with pytest.raises(InputError, match="is not in the hub's cache"):
        zoo.load("hf:someone/net")
    monkeypatch.delenv("ZOO_OFFLINE")
    served.most = None
    assert zoo.load("hf:someone/net").recipe.name == "gpt"


def test_a_file_that_is_not_the_hubs_is_refused_and_fetched_again(served, tmp_path):
    served.sent = lambda data: data[:-1] + bytes([data[-1] ^ 1])
    with pytest.raises(InputError, match=r"is damaged: its SHA-256 is \w{64}\. Delete it") as caught:
        zoo.load("hf:someone/net")
    pathlib.Path(str(caught.value).partition(" is damaged")[0]).unlink()
    served.sent = lambda data: data
    assert zoo.load("hf:someone/net").recipe.name == "gpt"


@pytest.mark.parametrize(("name", "status", "message"), [
    ("hf:someone/other", None, "There is no repository someone/other on the hub, or it is private"),
    ("hf:someone/net@v9", None, "someone/net has no revision v9 on the hub"),
    (f"hf:someone/net@{COMMIT[::-1]}", None, f"someone/net has no revision {COMMIT[::-1]} on the hub"),
    ("hf:someone/net", (403, "GatedRepo"), "asks for your consent on the hub"),
    ("hf:someone/net", (401, "RepoNotFound"), "There is no repository someone/net on the hub, or it is private"),
    ("hf:someone/net", (500, ""), "is not in the hub's cache, and the hub answered with status 500"),
    ("hf:someone/net", (429, ""), "is not in the hub's cache, and the hub answered with status 429"),
])  # fmt: skip
def test_what_the_hub_has_not_is_one_line(served, tmp_path, capsys, name, status, message):
    served.status = status
    for line in (["show", name], ["predict", name, "a cat"], ["export", name, str(tmp_path / "out")]):
        with pytest.raises(SystemExit) as ended:
            cli.main(line)
        said = capsys.readouterr().err
        assert (ended.value.code, said.count("\n")) == (2, 1), said
        assert message in said
    assert not (tmp_path / "out").exists()


def test_a_hub_that_is_not_there_is_one_line(served, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="is not in the hub's cache, and the hub cannot be reached"):
        zoo.load("hf:someone/net")
