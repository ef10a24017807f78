"""Splits, tokens, the cache on disk, and the numbers of the real corpus."""

import json
import logging
import os
import random
import re
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torchtext.data.utils import get_tokenizer

import data
from data import cache, encode, text
from data.base import files, splitting
from data.base.reading import USUAL, Reading
from data.base.texts import SPLITS, Texts
from data.corpora.reviews import MovieReviews
from data.encoded import PADDING, UNKNOWN, EncodedCorpus, Split


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = tmp_path / "cache"
    monkeypatch.setenv("BAKEOFF_CACHE", str(cache))
    return cache


def some_texts(numbers: tuple[int, ...] = (200, 100, 50)) -> list[tuple[str, int]]:
    return [(f"text {i} of class {label}", label) for label, number in enumerate(numbers) for i in range(number)]


def split(
    examples: list[tuple[str, int]], limit: int | None = None, reading: Reading = USUAL
) -> dict[str, list[tuple[str, int]]]:
    return splitting.split_examples(Texts(("a", "b", "c"), examples), name="own", limit=limit, reading=reading).splits


def write_csv(path: Path, rows: list[tuple[str, object]]) -> str:
    cells = [f'"{text}",{label}' for text, label in rows]
    path.write_text("\n".join(["text,label", *cells]))
    return f"csv:{path}"


def arrays_of(split: Split) -> dict[str, Any]:
    return {name: each for name, each in vars(split).items() if name != "arrays"} | dict(split.arrays)


def same(a: EncodedCorpus, b: EncodedCorpus) -> bool:
    plain = ("name", "digest", "classes", "vocabulary", "embedding_size", "num_duplicates")
    arrays_a, arrays_b = (
        [corpus.vectors_VE, *(array for name in SPLITS for array in arrays_of(getattr(corpus, name)).values())]
        for corpus in (a, b)
    )
    return all(getattr(a, field) == getattr(b, field) for field in plain) and all(
        x is y is None or (x.dtype == y.dtype and np.array_equal(x, y)) for x, y in zip(arrays_a, arrays_b, strict=True)
    )


# --- Splits


def test_splits_do_not_depend_on_the_order_of_rows() -> None:
    examples = some_texts()
    expected = split(examples)
    for seed in range(3):
        shuffled = [*examples, *examples[:40]]
        random.Random(seed).shuffle(shuffled)
        assert split(shuffled) == expected
        assert split(shuffled, limit=150) == split(examples, limit=150)


def test_splits_are_those_of_every_process_and_release() -> None:
    """Guards the rule itself: a change here would change which texts are held out in every search."""
    assert [text for text, _ in split(some_texts((15, 15, 15)))["test"]] == [
        "text 9 of class 2",
        "text 3 of class 0",
        "text 7 of class 1",
        "text 10 of class 1",
        "text 0 of class 0",
        "text 12 of class 2",
    ]


@pytest.mark.parametrize("limit", [None, 350, 349, 200, 143])
def test_splits_are_stratified(limit: int | None) -> None:
    splits = split(some_texts(), limit)
    total = limit or 350
    assert sum(map(len, splits.values())) == total
    for name, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
        counts = Counter(label for _, label in splits[name])
        for label, of_class in enumerate((200, 100, 50)):
            assert abs(counts[label] - share * of_class * total / 350) < 1


@pytest.mark.parametrize("limit", [None, 100, 1000])
def test_examples_are_not_in_the_order_of_classes(limit: int | None) -> None:
    for examples in split(some_texts((1000, 1000, 1000)), limit).values():
        labels_N = np.array([label for _, label in examples])
        assert np.count_nonzero(np.diff(labels_N)) > 0.4 * len(labels_N)  # two of three neighbours differ


def test_a_limited_corpus_holds_out_what_the_full_one_holds_out() -> None:
    full, limited = split(some_texts()), split(some_texts(), limit=150)
    for name in SPLITS:
        assert set(limited[name]) < set(full[name])


def test_another_seed_is_another_division_but_of_official_splits() -> None:
    texts = Texts(("a", "b", "c"), some_texts())
    usual, other, third = (
        splitting.split_examples(texts, name="own", limit=None, seed=seed).splits for seed in (0, 1, 2)
    )
    assert usual == split(some_texts())
    for one, another in ((usual, other), (usual, third), (other, third)):
        assert all(len(one[name]) == len(another[name]) for name in SPLITS)
        shared = set(one["test"]) & set(another["test"])
        assert len(shared) < 0.4 * len(one["test"])  # a tenth, by chance
    some = [*other["train"], *other["val"]], other["test"]
    usual, again = (
        splitting.split_examples(Texts(("a", "b", "c"), *some), name="own", limit=150, seed=seed).splits
        for seed in (0, 1)
    )
    assert usual["test"] == again["test"]
    assert usual["val"] != again["val"]


def test_duplicates_are_removed_and_counted(tmp_path: Path) -> None:
    rows = [(f"review number {i}", i % 2) for i in range(60)]
    plain = data.load(write_csv(tmp_path / "a.csv", [*rows]), embeddings="learned")
    doubled = data.load(write_csv(tmp_path / "b.csv", [*rows, *rows[:7], rows[0]]), embeddings="learned")
    assert plain.num_duplicates == 0
    assert doubled.num_duplicates == 8
    assert plain.digest != doubled.digest
    for name in SPLITS:
        assert np.array_equal(getattr(plain, name).labels_N, getattr(doubled, name).labels_N)


@pytest.mark.parametrize(
    ("contradictions", "labels"), [("drop", []), ("majority", [2]), ("first", [1])], ids=lambda each: str(each)
)
def test_what_a_text_with_two_labels_becomes_in_any_order(contradictions: Any, labels: list[int]) -> None:
    examples = [*some_texts(), ("twice", 2), ("twice", 1), ("Twice!", 2), ("tied", 0), ("tied", 1)]
    reading = Reading(contradictions=contradictions)
    expected = split(examples, reading=reading)
    assert split(examples[::-1], reading=reading) == expected
    kept = {text: label for chosen in expected.values() for text, label in chosen}
    assert [kept[text] for text in ("twice", "Twice!") if text in kept] == labels
    assert kept.get("tied") == (0 if contradictions == "first" else None)
    division = splitting.split_examples(Texts(("a", "b", "c"), examples), name="own", limit=None, reading=reading)
    counts = vars(division.understood)
    assert [counts[f"num_{name}"] for name in ("duplicates", "near_duplicates", "contradictory")] == {
        "drop": [0, 0, 5],
        "majority": [1, 1, 3],
        "first": [3, 1, 0],
    }[contradictions]


def test_texts_of_an_official_test_split_are_never_trained_on() -> None:
    examples = some_texts((40, 40))
    held_back = [*some_texts((5, 5)), ("only here", 0)]
    division = splitting.split_examples(Texts(("a", "b"), examples, held_back), name="own", limit=None)
    splits, num_duplicates = division.splits, division.understood.num_duplicates
    assert set(splits["test"]) == set(held_back)
    assert not set(splits["test"]) & {*splits["train"], *splits["val"]}
    assert num_duplicates == 10
    with pytest.raises(ValueError, match="too few examples of class 'b' \\(40, of which 1 in test"):
        splitting.split_examples(Texts(("a", "b"), examples, [*some_texts((5, 1))]), name="own", limit=None)


# --- Text


pieces = st.sampled_from(
    [
        "a",
        "Bad",
        "film",
        "Σ",
        "ΑΣ.",
        "<br />",
        "<BR/>",
        '<b"r />',
        '<br" />',
        "<br",
        "/>",
        "< / br >",
        "don't",
        "...",
        '"',
        "'",
        " ",
        "  ",
        "\n",
        "\t",
        "\x85",
        ",",
        "!",
        ";",
        ":",
        "x;y",
        "İ",
        "<unk>",
        "<pad>",
        "long" * 5,
    ]
)


@given(st.lists(pieces, max_size=60).map("".join), st.integers(1, 12))
@settings(max_examples=400, deadline=None)
def test_the_beginning_gives_the_tokens_of_the_whole(review: str, max_words: int) -> None:
    whole = get_tokenizer("basic_english")(re.sub(r"(?i)<\s*/?\s*br\s*/?\s*>", " ", review))
    assert text.basic_english(review, max_words) == whole[:max_words]


def test_encoding_is_torchtexts_tokens_in_the_vocabularys_order(tmp_path: Path) -> None:
    """Round trip on real reviews: ids -> words are torchtext's tokens, or unknown where they have no vector."""
    texts = MovieReviews("imdb").read(tmp_path, progress=False)
    splits = splitting.split_examples(texts, name="imdb", limit=300).splits
    encoded = data.load("imdb", limit=300, max_words=80, reading=Reading(clean=False))
    tokenizer = get_tokenizer("basic_english")
    known = set(encoded.vocabulary)
    seen_in_training: Counter[str] = Counter()
    for name in SPLITS:
        part = getattr(encoded, name)
        assert list(part.labels_N) == [label for _, label in splits[name]]
        for (review, _), tokens_T, length in zip(splits[name], part.tokens_NT, part.lengths_N, strict=True):
            expected = tokenizer(re.sub(r"<br\s*/>", " ", review))[:80]
            decoded = [encoded.vocabulary[token] for token in tokens_T]
            assert decoded[:length] == [word if word in known else "<unk>" for word in expected]
            assert set(decoded[length:]) <= {"<pad>"}
            if name == "train":
                seen_in_training.update(expected)
    assert encoded.vectors_VE is not None
    counts = [seen_in_training[word] for word in encoded.vocabulary[2:]]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] >= 1
    found, vectors_FE = data.VECTORS["glove.6B.50d"]().read(seen_in_training.keys(), tmp_path, progress=False)
    assert set(found) == set(encoded.vocabulary[2:])
    assert (encoded.vectors_VE[[encoded.vocabulary.index(word) for word in found[:50]]] == vectors_FE[:50]).all()


def test_learned_words_are_those_seen_twice_in_training(tmp_path: Path) -> None:
    corpus = write_csv(tmp_path / "a.csv", [(f"common word{i} <pad>", i % 2) for i in range(40)])
    encoded = data.load(corpus, embeddings="learned", embedding_size=9)
    assert encoded.vocabulary == ("<pad>", "<unk>", "common")
    assert encoded.embedding_size == 9
    assert encoded.train.tokens_NT.tolist() == [[2, UNKNOWN, UNKNOWN]] * len(encoded.train)
    assert encoded.unknown_share == pytest.approx(2 / 3)


def test_a_review_of_no_known_word_is_one_or_more_unknown_words(tmp_path: Path) -> None:
    rows: list[tuple[str, object]] = [(f"the film {i}", i % 2) for i in range(40)]
    odd = ["<br /><br />", "; :", "qzxqz", "<pad> <unk>"]
    encoded = data.load(write_csv(tmp_path / "a.csv", [*rows, *((each, 0) for each in odd)]))
    lengths = [int(n) for name in SPLITS for n in getattr(encoded, name).lengths_N]
    assert min(lengths) == 1
    ids = encode.word_ids(encoded.vocabulary)
    tokens_NT, lengths_N, words = encode.encode_texts([*odd, "The FILM"], ids, max_words=5)
    assert lengths_N.tolist() == [1, 1, 1, 2, 2]
    assert tokens_NT[:4].max() == UNKNOWN
    assert tokens_NT[:, 0].min() == UNKNOWN > PADDING
    assert words[0] == ["<unk>"]
    assert [encoded.vocabulary[token] for token in tokens_NT[4]] == words[4] == ["the", "film"]
    nothing_NT, nothing_N, _ = encode.encode_texts([], ids, max_words=5)
    assert (len(nothing_NT), len(nothing_N)) == (0, 0)


def test_a_corpus_without_a_known_word_is_told(tmp_path: Path) -> None:
    corpus = write_csv(tmp_path / "a.csv", [(f"qzx{i}", i % 2) for i in range(40)])
    with pytest.raises(ValueError, match="none of the 32 words of the training split has a vector"):
        data.load(corpus)
    with pytest.raises(ValueError, match="none of the 32 words of the training split comes twice"):
        data.load(corpus, embeddings="learned")


# --- Options and the cache


@pytest.fixture
def own_csv(tmp_path: Path) -> str:
    return write_csv(
        tmp_path / "own.csv", [(f"the film was {'good' if i % 2 else 'bad'} nr {i}", i % 2) for i in range(60)]
    )


@pytest.mark.parametrize("option", [{"embeddings": "learned"}, {"embeddings": "finetuned"}])
def test_a_cache_hit_gives_the_same(option: dict[str, Any], own_csv: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = data.load(own_csv, **option)
    with monkeypatch.context() as patch:
        patch.setattr(encode, "encode", lambda *_, **__: pytest.fail("encoded again"))
        assert same(data.load(own_csv, **option), first)


def test_every_option_that_changes_the_encoding_changes_the_digest(own_csv: str, tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("film 1 2\ngood 3 4\n")
    options: list[dict[str, Any]] = [
        {},
        {"max_words": 5},
        {"limit": 50},
        {"split_seed": 1},
        {"vectors": f"file:{tmp_path / 'v.txt'}"},
        {"embeddings": "learned"},
        {"embeddings": "learned", "embedding_size": 20},
    ]
    digests = [data.load(own_csv, **each).digest for each in options]
    assert len(set(digests)) == len(options)
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests)
    unchanged = [{"embeddings": "finetuned"}, {"embedding_size": 20}]
    assert {data.load(own_csv, **each).digest for each in unchanged} == {digests[0]}  # type: ignore[arg-type]
    (tmp_path / "v.txt").write_text("film 1 2\ngood 3 5\n")
    assert data.load(own_csv, **options[4]).digest not in digests
    moved = Path(own_csv.removeprefix("csv:")).rename(tmp_path / "moved.csv")
    elsewhere = data.load(f"csv:{moved}")
    assert elsewhere.digest == digests[0]
    assert elsewhere.name == f"csv:{moved}"


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "bits", "other"])
def test_a_damaged_cache_is_noticed_and_rebuilt(
    damage: str, own_csv: str, own_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = data.load(own_csv)
    (path,) = (own_cache / "encoded").iterdir()
    content = path.read_bytes()
    path.unlink()  # the arrays of `first` are those of that file
    if damage == "other":
        data.load(own_csv, max_words=3)
        (other,) = (own_cache / "encoded").iterdir()
        path.write_bytes(other.read_bytes())
    elif damage == "bits":
        at = content.index(first.val.tokens_W.tobytes())
        path.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
    else:
        path.write_bytes({"cut": content[:-100], "empty": b"", "text": b"no archive"}[damage])
    with caplog.at_level(logging.WARNING):
        assert same(data.load(own_csv), first)
    assert "damaged cache file" in caplog.text
    caplog.clear()
    assert same(data.load(own_csv), first)
    assert not caplog.records


def test_the_cache_holds_no_pickle_and_nothing_unfinished(own_csv: str, own_cache: Path) -> None:
    encoded = data.load(own_csv)
    (path,) = (own_cache / "encoded").iterdir()
    assert path.name == f"{encoded.digest}.npz"
    with np.load(path, allow_pickle=False) as arrays:
        assert all(arrays[name].dtype != object for name in arrays)
        assert json.loads(arrays["rest"].tobytes())["classes"] == ["0", "1"]


def test_arrays_are_mapped_from_the_cache_and_stand_where_memory_would_have_them(own_csv: str) -> None:
    for encoded in (data.load(own_csv), data.load(own_csv)):
        arrays = [
            encoded.vectors_VE,
            *(array for name in SPLITS for array in arrays_of(getattr(encoded, name)).values()),
        ]
        for array in arrays:
            assert array is not None
            assert type(array) is np.ndarray
            assert isinstance(array.base, np.memmap)
            assert not array.flags.writeable
            assert array.ctypes.data % cache.ALIGNED == 0


def test_an_interrupted_write_leaves_nothing(own_csv: str, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(file: BinaryIO, arrays: object) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, "_write_aligned", interrupted)
    with pytest.raises(KeyboardInterrupt):
        data.load(own_csv)
    assert list((own_cache / "encoded").iterdir()) == []


def test_several_may_encode_the_same_at_once(own_csv: str, own_cache: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(lambda _: data.load(own_csv), range(8))
    assert all(same(first, other) for other in others)
    assert [path.name for path in (own_cache / "encoded").iterdir()] == [f"{first.digest}.npz"]


def test_a_cache_that_cannot_be_written_is_only_a_warning(
    own_csv: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a-file").touch()
    encoded = data.load(own_csv, cache=tmp_path / "a-file")
    assert len(encoded.train) == 48
    assert "cannot write the cache" in caplog.text


def test_the_default_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert files.default_cache() == Path(os.environ["BAKEOFF_CACHE"])
    monkeypatch.delenv("BAKEOFF_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert files.default_cache() == tmp_path / "bakeoff"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert files.default_cache() == Path.home() / ".cache" / "bakeoff"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"max_words": 0}, "max_words=0 has to be a whole number from 1"),
        ({"split_seed": -1}, "split_seed=-1 has to be a whole number from 0"),
        ({"limit": -5}, "limit=-5"),
        ({"limit": 2.5}, "limit=2.5"),
        ({"embedding_size": True}, "embedding_size=True"),
        (
            {"embeddings": "frosen"},
            r"unknown embeddings 'frosen' \(did you mean 'frozen'\?\); known: frozen, finetuned",
        ),
    ],
)
def test_wrong_options_are_told(option: dict[str, Any], message: str, own_csv: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.load(own_csv, **option)


# --- The real corpus


def test_the_whole_imdb(own_cache: Path) -> None:
    encoded = data.load("imdb", max_words=100)
    assert encoded.classes == ("negative", "positive")
    assert encoded.num_duplicates == 96
    sizes = [len(getattr(encoded, name)) for name in SPLITS]
    assert sum(sizes) == 25_000 - 96
    assert sizes == [19_924, 2_490, 2_490]
    for name in SPLITS:
        assert getattr(encoded, name).labels_N.mean() == pytest.approx(0.5, abs=0.001)
    assert encoded.train.tokens_NT.shape == (19_924, 100)
    assert len(encoded.vocabulary) > 40_000
    assert encoded.unknown_share < 0.01
    assert {"the", "film", "movie", ".", "!"} < set(encoded.vocabulary[:60])

    code = (
        "import sys, time, data; start = time.process_time(); encoded = data.load('imdb');"
        "print(time.process_time() - start, encoded.digest, 'torch' in sys.modules)"
    )
    root = Path(data.__file__).parent.parent
    ran = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    cpu_seconds, digest, imported_torch = ran.stdout.split()
    assert float(cpu_seconds) < 1
    assert digest == encoded.digest
    assert imported_torch == "False"
