"""How often each n-gram comes in each text, counted from integers.

Shapes: N texts, F n-grams.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain, count
from typing import Any

import numpy as np

#: Counted texts that a process keeps: those of three splits, words alone and with pairs, which all of a grid shares.
NUM_KEPT = 6


@dataclass(frozen=True, eq=False)
class Grams:
    """N-grams of one or two words. grams_F2: the places of their words in `words`; the second is -1 if there is one."""

    words: Sequence[str]
    grams_F2: np.ndarray

    def __len__(self) -> int:
        return len(self.grams_F2)

    def only(self, kept: np.ndarray) -> "Grams":
        """Those at these places, and their words."""
        grams_F2 = self.grams_F2[kept]
        used = np.unique(grams_F2[grams_F2 >= 0])
        places = np.full(len(self.words) + 1, -1, dtype=np.int32)  # the last: no second word
        places[used] = np.arange(len(used))
        return Grams([self.words[place] for place in used], places[grams_F2])

    @cached_property
    def _index(self) -> tuple[dict[str, int], Any]:
        import pandas as pd

        return {word: place for place, word in enumerate(self.words)}, pd.Index(_keys(self.grams_F2, len(self.words)))

    def find(self, others: "Grams") -> np.ndarray:
        """The place of each of the others among these, or -1."""
        ids, index = self._index
        own_W = np.array([*(ids.get(word, -2) for word in others.words), -1], dtype=np.int64)
        own_F2 = own_W[others.grams_F2]
        places_F: np.ndarray = index.get_indexer(_keys(own_F2, len(self.words)))
        return np.where((own_F2 == -2).any(axis=1), -1, places_F)


def _keys(grams_F2: np.ndarray, num_words: int) -> np.ndarray:
    return np.asarray(grams_F2[:, 0].astype(np.int64) * (num_words + 1) + grams_F2[:, 1] + 1)


@lru_cache(maxsize=NUM_KEPT)
def counted(texts: tuple[str, ...], ngrams: int) -> tuple[Grams, Any, float]:
    """The words of texts and, with ngrams 2, their pairs of neighbours; how often each comes in each text; and the
    seconds that it took to count them.

    The counts are a sparse array (N, F) of float32, which must not be changed: they are kept.
    """
    import pandas as pd
    from scipy.sparse import csr_array

    started = time.perf_counter()
    rows = [text.split() for text in texts]
    places: defaultdict[str, int] = defaultdict(count().__next__)
    ids = np.fromiter(map(places.__getitem__, chain.from_iterable(rows)), dtype=np.int64)
    of_text = np.repeat(np.arange(len(rows), dtype=np.int32), [len(row) for row in rows])
    base = len(places) + 1
    keys = ids * base
    if ngrams > 1:
        neighbours = of_text[1:] == of_text[:-1]
        keys = np.concatenate([keys, (keys[:-1] + ids[1:] + 1)[neighbours]])
        of_text = np.concatenate([of_text, of_text[1:][neighbours]])
    codes, grams = pd.factorize(keys)
    places_2 = (of_text, codes.astype(np.int32))  # ones at the same place are added up
    counts_NF = csr_array((np.ones(len(codes), dtype=np.float32), places_2), shape=(len(rows), len(grams)))
    grams_F2 = np.stack([grams // base, grams % base - 1], axis=1).astype(np.int32)
    return Grams(list(places), grams_F2), counts_NF, time.perf_counter() - started
