"""Counts of n-grams in texts.

Shapes: N texts, F n-grams.
"""

import itertools
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any

import numpy as np

#: Cached results per process: three splits, with and without pairs, which all trials of a grid share.
NUM_KEPT = 6
AT_ONCE = 8192  # texts processed at a time


@dataclass(frozen=True, eq=False)
class Grams:
    """N-grams of one or two words. grams_F2: the indices of their words in `words`; the second is -1 for a single
    word."""

    words: Sequence[str]
    grams_F2: np.ndarray

    def __len__(self) -> int:
        return len(self.grams_F2)

    def only(self, kept: np.ndarray) -> "Grams":
        """The n-grams at these places, and their words."""
        grams_F2 = self.grams_F2[kept]
        used = np.unique(grams_F2[grams_F2 >= 0])
        places = np.full(len(self.words) + 1, -1, dtype=np.int32)  # the last entry stands for a missing second word
        places[used] = np.arange(len(used))
        return Grams([self.words[place] for place in used], places[grams_F2])

    @cached_property
    def _index(self) -> tuple[dict[str, int], Any]:
        import pandas as pd

        return {word: place for place, word in enumerate(self.words)}, pd.Index(_keys(self.grams_F2, len(self.words)))

    def find(self, others: "Grams") -> np.ndarray:
        """The index in this object of each n-gram of `others`, or -1."""
        ids, index = self._index
        ids_W = np.array([*(ids.get(word, -2) for word in others.words), -1], dtype=np.int64)
        ids_F2 = ids_W[others.grams_F2]
        places_F: np.ndarray = index.get_indexer(_keys(ids_F2, len(self.words)))
        return np.where((ids_F2 == -2).any(axis=1), -1, places_F)


def _keys(grams_F2: np.ndarray, num_words: int) -> np.ndarray:
    return np.asarray(grams_F2[:, 0].astype(np.int64) * (num_words + 1) + grams_F2[:, 1] + 1)


@lru_cache(maxsize=NUM_KEPT)
def counted(texts: tuple[str, ...], ngrams: int) -> tuple[Grams, Any, float]:
    """The cached result of `count`, which must not be changed, and the seconds that it took."""
    started = time.perf_counter()
    return *count(texts, ngrams), time.perf_counter() - started


def count(texts: Sequence[str], ngrams: int) -> tuple[Grams, Any]:
    """The words of texts and, with ngrams 2, their pairs of neighbours; and their counts in each text, a sparse array
    (N, F) of float32.

    Several thousand texts are counted at a time: all words at once would take many times the memory of the counts.
    """
    import pandas as pd
    from scipy.sparse import csr_array, vstack

    places: defaultdict[str, int] = defaultdict(itertools.count().__next__)
    parts: list[tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
    for start in range(0, len(texts), AT_ONCE):
        rows = [text.split() for text in texts[start : start + AT_ONCE]]
        ids = np.fromiter(map(places.__getitem__, chain.from_iterable(rows)), dtype=np.int64)
        of_text = np.repeat(np.arange(len(rows), dtype=np.int32), [len(row) for row in rows])
        pairs = np.flatnonzero(of_text[1:] == of_text[:-1]) if ngrams > 1 else np.zeros(0, dtype=np.int64)
        codes, keys = pd.factorize((ids[pairs] << 32) + ids[pairs + 1])
        rows_of = np.concatenate([of_text, of_text[pairs]])
        parts.append((len(rows), rows_of, ids.astype(np.int32), codes.astype(np.int32), keys))
    distinct_pairs = pd.Index(pd.unique(np.concatenate([np.zeros(0, dtype=np.int64), *(keys for *_, keys in parts)])))
    num_words, counts = len(places), []
    while parts:  # from the front, to release the memory of each part
        num_rows, rows_of, words, codes, keys = parts.pop(0)
        columns = np.concatenate([words, num_words + distinct_pairs.get_indexer(keys)[codes]]).astype(np.int32)
        ones = np.ones(len(columns), dtype=np.float32)  # entries at the same position are added up
        counts.append(csr_array((ones, (rows_of, columns)), shape=(num_rows, num_words + len(distinct_pairs))))
    words_F2 = np.stack([np.arange(num_words), np.full(num_words, -1)], axis=1)
    pairs_F2 = np.stack([distinct_pairs.to_numpy() >> 32, distinct_pairs.to_numpy() & 0xFFFFFFFF], axis=1)
    counts_NF = vstack(counts, format="csr") if counts else csr_array((0, num_words), dtype=np.float32)
    return Grams(list(places), np.concatenate([words_F2, pairs_F2]).astype(np.int32)), counts_NF
