"""Contract tests of all registered corpora and vectors; downloads from a server on this machine."""

import dataclasses
import gc
import hashlib
import io
import os
import pickle
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import data
from data import encode
from data.base import sources, splitting
from data.base.texts import SPLITS
from data.corpora.reviews import StanfordReviews
from data.encoded import PADDING
from data.vectors import GloveArchive

WORDS = ("the", "film", "was", "good", "bad", "and", "long", "dull", "funny", "i", "liked", "it")


def review(number: int, label: int) -> str:
    """A short text of known words and an unknown one, different for every number and label."""
    words = [WORDS[(number * 7 + label * 5 + i * i) % len(WORDS)] for i in range(4 + number % 5)]
    return f"{' '.join(words)}. Nr{number}x{label} <br /><br />{'liked' if label else 'dull'}!"


def imdb_archive() -> bytes:
    """An archive in the official format, with members that must never be extracted or read."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:

        def add(name: str, content: str) -> None:
            member = tarfile.TarInfo(name)
            member.size = len(content.encode())
            archive.addfile(member, io.BytesIO(content.encode()))

        for split, start in (("train", 0), ("test", 100)):
            for number in range(start, start + 30):
                for label, folder in enumerate(("neg", "pos")):
                    add(f"aclImdb/{split}/{folder}/{number}_{label}.txt", review(number, label))
        add("aclImdb/test/pos/200_9.txt", review(0, 1))  # also a training text
        add("aclImdb/train/unsup/0_0.txt", "not labelled")
        add("../escaped.txt", "outside")
        add("/tmp/../aclImdb/train/pos/9_9.txt", "outside too")
        link = tarfile.TarInfo("aclImdb/train/pos/link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "../../../../secret"
        archive.addfile(link)
    return buffer.getvalue()


def glove_archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for size in (50, 100, 200, 300):
            lines = [f"{word} {' '.join(str((i + j) / size) for j in range(size))}" for i, word in enumerate(WORDS)]
            archive.writestr(f"glove.6B.{size}d.txt", "\n".join(lines) + "\n")
    return buffer.getvalue()


class Server(ThreadingHTTPServer):
    """Serves `files` by name, and counts requests. cut: the file for which the connection breaks off halfway."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {"aclImdb_v1.tar.gz": imdb_archive(), "glove.6B.zip": glove_archive()}
        self.cut = ""
        self.num_requests = 0

    def origin(self, name: str) -> dict[str, str]:
        """The arguments that make a loader download this file."""
        digest = hashlib.sha256(self.files[name]).hexdigest()
        return {"url": f"http://127.0.0.1:{self.server_port}/{name}", "archive_sha256": digest}


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.num_requests += 1
        name = self.path.lstrip("/")
        content = self.server.files.get(name)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if name == self.server.cut else content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def arguments(name: str, tmp_path: Path, server: Server) -> dict:
    """The arguments of a registry's loader in the contract tests: none, unless it downloads or reads a user's file."""
    if name == "imdb-full":
        return server.origin("aclImdb_v1.tar.gz")
    if name in ("glove.6B.100d", "glove.6B.200d", "glove.6B.300d"):
        return server.origin("glove.6B.zip")
    if name == "csv:PATH":
        rows = [f'"{review(number, label)}",{"abc"[label]}' for number in range(30) for label in range(3)]
        path = tmp_path / "reviews.csv"
        path.write_text("\n".join(["text,label", *rows]))
        return {"path": path}
    if name == "file:PATH":
        path = tmp_path / "vectors.txt"
        path.write_text("\n".join(f"{word} {i} 0.5 -1e-3" for i, word in enumerate(WORDS)))
        return {"path": path}
    return {}


@pytest.mark.parametrize("name", data.CORPORA)
@pytest.mark.parametrize("learned", [False, True], ids=["vectors", "learned"])
def test_every_corpus_is_encoded_to_the_contract(name: str, learned: bool, tmp_path: Path, server: Server) -> None:
    corpus = data.CORPORA[name](**arguments(name, tmp_path, server))
    encoded = encode.load(
        corpus,
        name=name,
        vectors=None if learned else data.VECTORS["glove.6B.50d"](),
        embedding_size=7,
        max_words=12,
        limit=200,
        cache=tmp_path,
        progress=False,
    )
    num_words, num_classes = len(encoded.vocabulary), len(encoded.classes)
    assert encoded.vocabulary[:2] == ("<pad>", "<unk>")
    assert len(set(encoded.vocabulary)) == num_words > 2
    assert len(set(encoded.classes)) == num_classes >= 2
    if learned:
        assert encoded.vectors_VE is None
        assert encoded.embedding_size == 7
    else:
        assert encoded.vectors_VE is not None
        assert encoded.vectors_VE.dtype == np.float32
        assert encoded.vectors_VE.shape == (num_words, 50) == (num_words, encoded.embedding_size)
        assert not encoded.vectors_VE[:2].any()
        assert encoded.vectors_VE[2:].any(axis=1).all()
    assert 0 < len(encoded.train) + len(encoded.val) + len(encoded.test) <= 200
    for split in (encoded.train, encoded.val, encoded.test):
        tokens_NT, lengths_N, labels_N = split.tokens_NT, split.lengths_N, split.labels_N
        assert (split.tokens_W.dtype, tokens_NT.dtype, lengths_N.dtype) == (np.int32, np.int32, np.int32)
        assert (split.starts_N.dtype, labels_N.dtype) == (np.int64, np.int64)
        assert all(
            type(array) is np.ndarray and array.flags.c_contiguous
            for array in (split.tokens_W, split.starts_N, lengths_N, labels_N, *split.arrays.values())
        )
        assert len(split.starts_N) == len(split)
        assert len(split.tokens_W) == lengths_N.sum() + lengths_N.max()  # no padding between texts
        assert lengths_N.min() >= 1
        assert lengths_N.max() == tokens_NT.shape[1] <= 12
        is_word_NT = np.arange(tokens_NT.shape[1]) < lengths_N[:, None]
        assert ((tokens_NT != PADDING) == is_word_NT).all()
        assert tokens_NT.max() < num_words
        assert np.bincount(labels_N, minlength=num_classes).min() >= 2
        assert (np.diff(labels_N) != 0).sum() > 2  # not one class after the other
    assert 0 <= encoded.unknown_share < 1
    assert name in encoded.summary
    assert "\n" not in encoded.summary
    copy = pickle.loads(pickle.dumps(encoded))
    assert copy.vocabulary == encoded.vocabulary
    assert (copy.train.tokens_NT == encoded.train.tokens_NT).all()


@pytest.mark.parametrize("name", data.CORPORA)
def test_every_corpus_has_splits_that_share_no_text(name: str, tmp_path: Path, server: Server) -> None:
    corpus = data.CORPORA[name](**arguments(name, tmp_path, server))
    texts = corpus.read(tmp_path, progress=False)
    division = splitting.split_examples(texts, name=name, limit=None)
    splits, num_duplicates = division.splits, division.understood.num_duplicates
    seen = [text for split in SPLITS for text, _ in splits[split]]
    assert len(seen) == len(set(seen))
    assert len(seen) + num_duplicates == len(texts.examples) + len(texts.test_examples or [])
    again = data.CORPORA[name](**arguments(name, tmp_path, server))
    assert again.fingerprint() == corpus.fingerprint()


@pytest.mark.parametrize("name", data.VECTORS)
def test_all_vectors_give_only_what_is_asked_for(name: str, tmp_path: Path, server: Server) -> None:
    vectors = data.VECTORS[name](**arguments(name, tmp_path, server))
    asked = {"good", "film", "the", "no-such-word-anywhere"}
    found, vectors_FE = vectors.read(asked, tmp_path, progress=False)
    assert set(found) == asked - {"no-such-word-anywhere"}
    assert vectors_FE.dtype == np.float32
    assert vectors_FE.shape[0] == 3
    if name.startswith("glove"):
        assert f".{vectors_FE.shape[1]}d" in name
    alone, vector_1E = vectors.read({"film"}, tmp_path, progress=False)
    assert alone == ["film"]
    assert (vector_1E[0] == vectors_FE[found.index("film")]).all()
    nothing, vectors_0E = vectors.read({"no-such-word-anywhere"}, tmp_path, progress=False)
    assert nothing == []
    assert vectors_0E.shape == (0, vectors_FE.shape[1])
    assert vectors.fingerprint() == data.VECTORS[name](**arguments(name, tmp_path, server)).fingerprint()


def test_the_wheel_has_the_published_vectors() -> None:
    """The first numbers of 'the' and 'sandberger', the first and last lines of Stanford's glove.6B.50d.txt."""
    found, vectors_FE = data.VECTORS["glove.6B.50d"]().read({"the", "sandberger"}, Path(), progress=False)
    assert found == ["the", "sandberger"]
    np.testing.assert_allclose(vectors_FE[:, :3], [[0.418, 0.24968, -0.41242], [0.072617, -0.51393, 0.4728]], rtol=1e-6)


def test_the_official_test_split_is_kept_and_nothing_is_unpacked(tmp_path: Path, server: Server) -> None:
    corpus = StanfordReviews(**server.origin("aclImdb_v1.tar.gz"))
    texts = corpus.read(tmp_path / "downloads", progress=False)
    assert texts.classes == ("negative", "positive")
    assert len(texts.examples) == 60
    assert len(texts.test_examples or []) == 61
    assert [path.name for path in tmp_path.rglob("*")] == ["downloads", "aclImdb_v1.tar.gz"]
    division = splitting.split_examples(texts, name="imdb-full", limit=None)
    splits, num_duplicates = division.splits, division.understood.num_duplicates
    assert sorted(splits["test"]) == sorted(texts.test_examples or [])
    assert {split: len(splits[split]) for split in SPLITS} == {"train": 53, "val": 6, "test": 61}
    assert num_duplicates == 1


def test_a_download_is_made_once(tmp_path: Path, server: Server) -> None:
    for size in (100, 200):
        GloveArchive(size, **server.origin("glove.6B.zip")).read({"film"}, tmp_path, progress=False)
    assert server.num_requests == 1
    (tmp_path / "glove.6B.zip").write_bytes(b"spoilt")
    GloveArchive(100, **server.origin("glove.6B.zip")).read({"film"}, tmp_path, progress=True)
    assert server.num_requests == 2


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("other content", "SHA-256"), ("cut", "broke off"), ("missing", "404"), ("unreachable", "cannot be reached")],
)
@pytest.mark.parametrize("before", [False, True], ids=["first time", "over a spoilt file"])
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # pooch leaves a failed response to the collector,
def test_a_failed_download_is_one_line_and_leaves_nothing(
    fault: str, reason: str, before: bool, tmp_path: Path, server: Server
) -> None:
    origin = server.origin("aclImdb_v1.tar.gz")
    if fault == "other content":
        origin["archive_sha256"] = "0" * 64
    elif fault == "cut":
        server.cut = "aclImdb_v1.tar.gz"
    elif fault == "missing":
        server.files.clear()
    else:
        origin["url"] = "http://127.0.0.1:9/aclImdb_v1.tar.gz"  # the discard port, where nothing listens
    if before:
        (tmp_path / "aclImdb_v1.tar.gz").write_bytes(b"spoilt")
    with pytest.raises(ValueError, match=reason) as caught:
        StanfordReviews(**origin).read(tmp_path, progress=False)
    assert "\n" not in str(caught.value)
    assert origin["url"] in str(caught.value)
    assert str(tmp_path / "aclImdb_v1.tar.gz") in str(caught.value)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == ([b"spoilt"] if before else [])
    del caught
    gc.collect()  # which has to come before the filter goes


def test_two_processes_that_download_at_once_both_get_the_whole_file(tmp_path: Path, server: Server) -> None:
    server.files["glove.6B.zip"] = content = os.urandom(3_000_000)
    origin = server.origin("glove.6B.zip")
    code = (
        "import sys; from pathlib import Path; from data.base.sources import download, sha256\n"
        "print(sha256(download(sys.argv[1], sys.argv[2], Path(sys.argv[3]), progress=False)))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, origin["url"], origin["archive_sha256"], str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.communicate(timeout=60)[0].strip() == hashlib.sha256(content).hexdigest()
    assert [path.name for path in tmp_path.iterdir()] == ["glove.6B.zip"]


def test_downloads_are_https_with_a_sha256() -> None:
    for loader in (data.CORPORA["imdb-full"], data.VECTORS["glove.6B.300d"]):
        fields = dataclasses.asdict(loader())  # type: ignore[call-overload]
        assert fields["url"].startswith("https://")
        assert len(bytes.fromhex(fields["archive_sha256"])) == 32


@pytest.mark.parametrize("corpus", [name for name in data.CORPORA if ":" not in name])
@pytest.mark.parametrize("vectors", [None, *(name for name in data.VECTORS if ":" not in name)])
def test_known_names_pass(corpus: str, vectors: str | None) -> None:
    data.check_names(corpus, vectors)


@pytest.mark.parametrize(
    ("corpus", "vectors", "message"),
    [
        ("imbd", None, r"unknown corpus 'imbd' \(did you mean 'imdb'\?\)"),
        ("csv", None, r"did you mean 'csv:PATH'"),
        ("xyzzy", None, r"unknown corpus 'xyzzy' \(one of imdb, .*csv:PATH\)"),
        ("imdb", "glove.6b.50d", r"unknown vectors 'glove.6b.50d' \(did you mean 'glove.6B.50d'\?\)"),
        ("imdb", "glove.6B.51d", r"did you mean 'glove.6B.50d'"),
        ("csv:missing/x.csv", None, r"no file missing/x.csv"),
        ("imdb", "file:missing.txt", r"no file missing.txt"),
        ("csv:", None, "is a folder"),
        ("csv:reviews.cvs", None, r"no file reviews.cvs \(did you mean 'reviews.csv'\?\)"),
    ],
)
def test_wrong_names_are_answered_with_the_nearest(
    corpus: str, vectors: str | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "reviews.csv").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        data.check_names(corpus, vectors)
    with pytest.raises(ValueError, match=message):
        data.load(corpus, vectors=vectors or "glove.6B.50d", cache=tmp_path)


def test_checking_names_imports_nothing_heavy() -> None:
    code = (
        "import sys, data; data.check_names('imdb', 'glove.6B.300d');"
        "print([name for name in ('numpy', 'pandas', 'pyarrow', 'torch', 'torchtext', 'pooch') if name in sys.modules])"
    )
    root = Path(data.__file__).parent.parent
    ran = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_a_package_that_is_not_installed_is_one_line() -> None:
    for look in (sources.installed_file, sources.installed_version):
        with pytest.raises(ValueError, match="no_such_package is not installed; run: pip install"):
            look("no_such_package")
