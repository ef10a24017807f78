"""Corpora too large for memory: texts in files, work on all cores, and interrupted encodings."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import data
from data import cutting, encode
from data.base import chosen, parallel
from data.base.chosen import Chosen, Listed, Written, joined, relabelled
from data.base.reading import Reading
from data.base.texts import SPLITS
from data.cache import releasing_pages
from data.corpora.files import File
from data.dividing import texts_read_once
from data.encoded import EncodedCorpus, PackedTexts
from data.text import AS_WRITTEN


def cut(text: str, max_words: int) -> list[str]:
    return text.split()[:max_words]


def words_of(number: int) -> str:
    return " ".join(f"w{number * each % 97}" for each in range(1, number % 7 + 1))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(st.characters(), max_size=20), min_size=1, max_size=30), st.randoms())
def test_what_is_written_is_read_in_any_order(texts: list[str], random: Any) -> None:
    written = Written(Path("/proc/no/such/folder"))  # so the system's temporary folder is used
    for text in texts:
        written.append(text)
    places = [random.randrange(len(texts)) for _ in range(40)]
    assert written.batch(np.array(places)) == [texts[place] for place in places]
    both = joined([Chosen(written, np.array(places), np.arange(40)), Chosen.of([("another", 7)])])
    assert both == [*((texts[place], label) for label, place in enumerate(places)), ("another", 7)]
    assert both[::-1][0] == both[-1] == ("another", 7)
    assert both[3:5] == [both[3], both[4]]
    even = relabelled(both, [None if each % 2 else each for each in range(40)])
    assert even == [(texts[place], label) for label, place in enumerate(places) if label % 2 == 0]


def test_a_store_reads_no_more_than_a_batch_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen, "BATCH", 10)
    asked: list[int] = []

    class Counted(Listed):
        def batch(self, places_N: np.ndarray) -> list[str]:
            asked.append(len(places_N))
            return super().batch(places_N)

    examples = Chosen(Counted([f"{n}" for n in range(45)]), np.arange(45), np.zeros(45, dtype=np.int64))
    assert [text for text, _ in examples] == [f"{n}" for n in range(45)]
    assert asked == [10, 10, 10, 10, 5]
    examples[:20]  # without reading any
    assert len(asked) == 5


def test_cutting_goes_on_where_it_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen, "BATCH", 10)
    monkeypatch.setattr(cutting, "MANY", 1)
    examples = [(words_of(number), 0) for number in range(95)]
    seen: list[str] = []

    def interrupted(text: str, max_words: int) -> list[str]:
        if len(seen) == 45:
            raise KeyboardInterrupt
        seen.append(text)
        return cut(text, max_words)

    whole = cutting.cut_all(examples, cut, 5, None)
    with pytest.raises(KeyboardInterrupt):
        cutting.cut_all(examples, interrupted, 5, tmp_path / "parts")
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == [f"{n}.npz" for n in range(4)]
    (tmp_path / "parts" / "1.npz").write_bytes(b"damaged")
    seen = ["before"] * 46  # so that nothing interrupts it
    found = cutting.cut_all(examples, interrupted, 5, tmp_path / "parts")
    assert len(seen) == 46 + 95 - 30
    ids = {f"w{number}": number + 2 for number in range(0, 97, 2)}
    for one, other in zip(cutting.encode(found, ids), cutting.encode(whole, ids), strict=True):
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)
    for max_words in (2, 5):
        for part, start in zip(found(), range(0, 95, 10), strict=True):
            wanted = [" ".join(cut(text, max_words)) for text, _ in examples[start : start + 10]]
            assert [*part.texts(max_words)] == wanted
    counts = sum((np.array([part.counts().get(f"w{n}", 0) for n in range(97)]) for part in found()), np.zeros(97))
    assert counts.tolist() == [sum(cut(text, 5).count(f"w{n}") for text, _ in examples) for n in range(97)]


def test_texts_are_packed_until_they_have_enough_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen, "BATCH", 10)
    examples = [(words_of(number), number) for number in range(95)]
    texts = [text for text, _ in examples]
    every, longest = cutting.pack(examples, cut, 5)
    assert [*every] == [" ".join(text.split()[:5]) for text in texts]
    assert longest == 5
    lengths = np.cumsum([max(1, len(text.split()[:5])) for text in texts])
    for most_words, num in ((1, 1), (int(lengths[33]), 34), (int(lengths[34]) - 1, 34), (int(lengths[39]), 40)):
        held, _ = cutting.pack(examples, cut, 5, most_words=most_words)
        assert [*held] == [*every][:num]
    assert len(cutting.pack(examples, cut, 5, most_words=0)[0]) == 1
    assert [*held[np.array([2, 39, 40, 77])]] == [[*every][2], [*every][39]]  # positions beyond the end are ignored
    assert [*every.first_words(2)[5:8]] == [" ".join(text.split()[:2]) for text in texts[5:8]]
    assert [*PackedTexts.empty(2)] == ["", ""]


def test_pages_of_mapped_arrays_are_released(tmp_path: Path) -> None:
    rows = "\n".join(["text,label", *(f"good {n} {'good ' * 500},{n % 2}" for n in range(2000))])
    (tmp_path / "some.csv").write_text(rows)
    name, cache = f"csv:{tmp_path}/some.csv", tmp_path / "cache"
    for _ in range(2):
        corpus = data.load(name, embeddings="learned", max_words=500, texts=True, cache=cache, progress=False)

    def mapped() -> int:
        """Kilobytes of the cache file in this process's memory."""
        maps = Path("/proc/self/smaps").read_text().split("VmFlags")
        own = [each for each in maps if f"{cache}/encoded" in each]
        return sum(int(line.split()[1]) for each in own for line in each.splitlines() if line.startswith("Rss:"))

    total = corpus.train.tokens_W.sum()
    assert mapped() > 3000
    with releasing_pages(corpus.without_texts()):
        assert corpus.train.tokens_W.sum() == total
    assert mapped() < 200
    assert corpus.train.tokens_W.sum() == total


@pytest.mark.slow
def test_no_more_is_cut_in_processes_than_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen, "BATCH", 10)
    monkeypatch.setattr(parallel, "MANY", 1)
    held, _ = cutting.pack([(words_of(number), 0) for number in range(700)], AS_WRITTEN, 5, most_words=30)
    assert len(held) < 20


def test_texts_that_are_read_once_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "some.csv"
    path.write_text("\n".join(["text,label", *(f"good {n} good,{n % 2}" for n in range(100))]))
    name, cache, reads = f"csv:{path}", tmp_path / "cache", []
    read = File.read

    def counted(self: File, *args: Any, **options: Any) -> Any:
        reads.append(self)
        return read(self, *args, **options)

    monkeypatch.setattr(File, "read", counted)
    with texts_read_once():
        corpus = data.load(name, embeddings="learned", texts=True, whole=True, cache=cache, progress=False)
        data.inspect(name, embeddings="learned", encoded=corpus, cache=cache, progress=False)
        first = data.read(name, progress=False).splits["test"]
        assert len(reads) == 1
        assert data.read(name, split_seed=1, progress=False).splits["test"] != first
        path.write_text(path.read_text() + "\nanother,0")
        data.read(name, split_seed=1, progress=False)
        assert len(reads) == 3
    data.inspect(name, embeddings="learned", cache=tmp_path / "new", progress=False)
    assert len(reads) == 4
    data.read(name, progress=False)
    data.read(name, progress=False)
    assert len(reads) == 6


def test_only_one_of_two_encodes_and_the_other_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some.csv").write_text("\n".join(["text,label", *(f"good {n} good,{n % 2}" for n in range(100))]))
    encoded: list[str] = []

    def slowly(*args: Any, **options: Any) -> EncodedCorpus:
        encoded.append(options["digest"])
        time.sleep(0.5)
        return whole(*args, **options)

    whole = encode.encode
    monkeypatch.setattr(encode, "encode", slowly)

    def load(_: int) -> EncodedCorpus:
        path = f"csv:{tmp_path}/some.csv"
        return data.load(path, embeddings="learned", cache=tmp_path / "cache", progress=False)

    with ThreadPoolExecutor() as pool:
        one, other = pool.map(load, range(2))
    assert encoded == [one.digest]
    assert np.array_equal(one.train.tokens_W, other.train.tokens_W)


@pytest.mark.slow
def test_many_texts_are_encoded_as_few_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f'"a {words_of(number % 700)} number {number % 800}",{number % 3}' for number in range(1, 1000)]
    (tmp_path / "some.csv").write_text("\n".join(["text,label", *rows]))
    reading = Reading(contradictions="majority")

    def load(cache: str) -> EncodedCorpus:
        return data.load(f"csv:{tmp_path}/some.csv", reading=reading, cache=tmp_path / cache, progress=False)

    few = load("few")
    monkeypatch.setattr(chosen, "BATCH", 64)
    for module in (parallel, cutting):
        monkeypatch.setattr(module, "MANY", 10)
    many = load("many")
    assert (many.vocabulary, many.num_duplicates) == (few.vocabulary, few.num_duplicates)
    for split in SPLITS:
        for name in ("tokens_W", "starts_N", "lengths_N", "labels_N"):
            assert np.array_equal(getattr(getattr(many, split), name), getattr(getattr(few, split), name))
    assert [path.suffix for path in (tmp_path / "many" / "encoded").iterdir()] == [".npz"]


def test_examples_end_where_a_list_of_them_would() -> None:
    examples = Chosen.of([("a", 0), ("b", 1)])
    assert [examples[0], examples[-1]] == [("a", 0), ("b", 1)]
    for place in (2, -3):
        with pytest.raises(IndexError):
            examples[place]
