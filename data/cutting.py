"""Tokenizes texts in parts of several thousand, and encodes the words as ids.

Every part is written to a file as soon as it is done, so that an interrupted encoding continues from there.

Shapes: N texts of a part, W words of all texts of a part, L distinct words.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice, takewhile
from pathlib import Path

import numpy as np

from data.base.chosen import Chosen
from data.base.files import write_whole
from data.base.parallel import MANY, over_batches
from data.base.texts import Example
from data.encoded import ALL_WORDS, PADDING, UNKNOWN, PackedTexts
from data.text import Tokenizer


@dataclass(frozen=True)
class Part:
    """The words of some texts. A text without words gets a single empty word."""

    words: str  # the distinct words, joined by spaces
    places_W: np.ndarray  # unsigned, index of each word among the distinct ones
    lengths_N: np.ndarray  # int32, number of words of each text

    def counts(self) -> dict[str, int]:
        """The frequency of each word."""
        counts = np.bincount(self.places_W).tolist()
        return dict(zip(self.words.split(" "), counts, strict=True))

    def tokens(self, ids: Mapping[str, int]) -> np.ndarray:
        """tokens_W: the id of each word, int32; UNKNOWN for words without an id."""
        ids_L = np.array([ids.get(word, UNKNOWN) for word in self.words.split(" ")], dtype=np.int32)
        tokens_W: np.ndarray = ids_L[self.places_W]
        return tokens_W

    def texts(self, max_words: int) -> Iterator[str]:
        """The first `max_words` words of each text, joined by spaces."""
        words, places, end = self.words.split(" "), self.places_W.tolist(), 0
        for length in self.lengths_N.tolist():
            yield " ".join(words[place] for place in places[end : end + min(length, max_words)])
            end += length


Parts = Callable[[], Iterator[Part]]


def cut_part(texts: list[str], *, cut: Tokenizer, max_words: int) -> Part:
    words = [cut(text, max_words) or [""] for text in texts]
    places: dict[str, int] = {}
    places_w = [places.setdefault(word, len(places)) for word in chain.from_iterable(words)]
    lengths_n = np.fromiter(map(len, words), dtype=np.int32, count=len(words))
    return Part(" ".join(places), np.array(places_w, dtype=np.min_scalar_type(max(0, len(places) - 1))), lengths_n)


def cut_all(
    examples: Sequence[Example], cut: Tokenizer, max_words: int, folder: Path | None, *, bar: str = ""
) -> Parts:
    """Tokenizes the texts. Returns a function that iterates over the parts, in order, any number of times.

    folder: if there are many texts, parts are kept here, and parts from an interrupted run are reused.
    """
    chosen = Chosen.of(examples)
    work = partial(cut_part, cut=cut, max_words=max_words)
    if folder is None or len(chosen) < MANY:
        parts = [*over_batches(work, chosen.batches(), len(chosen), bar=bar)]
        return lambda: iter(parts)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number}.npz" for number in range(chosen.num_batches)]
    missing = [number for number, path in enumerate(paths) if not _is_whole(path)]
    made = over_batches(work, map(chosen.batch, missing), len(chosen) * len(missing) // len(paths), bar=bar)
    for number, part in zip(missing, made, strict=True):
        _write(part, paths[number])
    return lambda: map(_read, paths)


def encode(parts: Parts, ids: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """tokens_W, starts_N and lengths_N of a `Split`."""
    lengths_N = np.concatenate([np.zeros(0, dtype=np.int32), *(part.lengths_N for part in parts())])
    num_words = int(lengths_N.sum(dtype=np.int64))
    tokens_W = np.full(num_words + int(lengths_N.max(initial=1)), PADDING, dtype=np.int32)
    end = 0
    for part in parts():
        part_W = part.tokens(ids)
        tokens_W[end : end + len(part_W)] = part_W
        end += len(part_W)
    return tokens_W, np.cumsum(lengths_N, dtype=np.int64) - lengths_N, lengths_N


def pack(
    examples: Sequence[Example], cut: Tokenizer, max_words: int, *, most_words: int | None = None, bar: str = ""
) -> tuple[PackedTexts, int]:
    """The first `max_words` words of each text, and the length in words of the longest.

    most_words: bound on the total number of words; the first texts that fit are kept, at least one. None keeps all.
    """
    chosen, longest, left = Chosen.of(examples), 0, math.inf if most_words is None else most_words
    work = partial(cut_part, cut=cut, max_words=max_words)

    def texts() -> Iterator[str]:
        nonlocal longest, left
        batches = takewhile(lambda _: left >= 0, chosen.batches())  # batches that are already in progress are finished
        for number, part in enumerate(over_batches(work, batches, len(chosen), bar=bar)):
            ends_N = np.cumsum(part.lengths_N, dtype=np.int64)
            num = max(int(np.searchsorted(ends_N, left, "right")), int(number == 0))
            left -= int(ends_N[-1])
            longest = max(longest, int(part.lengths_N[:num].max(initial=0)))
            yield from islice(part.texts(ALL_WORDS), num)

    return PackedTexts.of(texts()), longest


def _write(part: Part, path: Path) -> None:
    words = np.frombuffer(part.words.encode("utf-8", "surrogatepass"), dtype=np.uint8)
    with write_whole(path) as file:
        np.savez(file, allow_pickle=False, words=words, places_W=part.places_W, lengths_N=part.lengths_N)


def _is_whole(path: Path) -> bool:
    try:
        _read(path)
    except Exception:  # missing; or damaged, which can raise nearly any exception
        return False
    return True


def _read(path: Path) -> Part:
    with np.load(path, allow_pickle=False) as arrays:
        words = arrays["words"].tobytes().decode("utf-8", "surrogatepass")
        return Part(words, arrays["places_W"], arrays["lengths_N"])


def discard(folder: Path) -> None:
    """Removes the parts in a folder."""
    shutil.rmtree(folder, ignore_errors=True)
