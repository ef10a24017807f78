"""The encoded corpus, as plain arrays.

Shapes: N examples of a split, W words of all texts, T words of the longest text (at most max_words), V vocabulary,
E embedding size, C classes.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from data.base.label_sets import LABEL_SETS

PADDING, UNKNOWN = 0, 1  # ids of '<pad>' and '<unk>' in every vocabulary
# Keys of optional arrays of a split:
TEXTS = "texts_N"  # the (truncated) words of each text, joined by spaces
WHOLE_TEXTS = "whole_texts_N"  # all words of each text; only if some text of the corpus is truncated
EMBEDDED = "embedded_N"  # the embedding of each whole text by an encoder (see `data.encoder`)

ALL_WORDS = 2**31 - 1  # a `max_words` that truncates nothing
CHUNK = 1 << 22  # words counted at once


@dataclass(frozen=True, eq=False)
class PackedTexts:
    """Texts as plain arrays, which Ray's object store shares without copies. Strings are created on access.

    For a large training split, it may hold only the first texts (see `data.load`).
    """

    letters: np.ndarray  # uint8, UTF-8
    starts_N: np.ndarray  # int64, positions in letters
    ends_N: np.ndarray  # int64, likewise
    most_words: int = ALL_WORDS  # texts are truncated to this number of words

    #: Computing time in seconds, as in `Embedded`; zero for plain texts.
    seconds = 0.0

    @classmethod
    def of(cls, texts: Iterable[str]) -> PackedTexts:
        letters, ends = bytearray(), array("q", [0])
        for text in texts:
            letters += text.encode("utf-8", "surrogatepass")
            ends.append(len(letters))
        ends_N = np.array(ends, dtype=np.int64)
        return cls(np.frombuffer(letters, dtype=np.uint8), ends_N[:-1], ends_N[1:])

    @classmethod
    def empty(cls, num: int) -> PackedTexts:
        """`num` texts without words."""
        return cls(np.zeros(0, dtype=np.uint8), *np.zeros((2, num), dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ends_N)

    def __iter__(self) -> Iterator[str]:
        for start, end in zip(self.starts_N.tolist(), self.ends_N.tolist(), strict=True):
            text = self.letters[start:end].tobytes().decode("utf-8", "surrogatepass")
            yield (
                text if self.most_words == ALL_WORDS else " ".join(text.split(" ", self.most_words)[: self.most_words])
            )

    def __getitem__(self, places: slice | np.ndarray) -> PackedTexts:
        """The texts at these positions, without positions beyond the end. Shares the array of letters."""
        chosen = _within(places, len(self))
        return replace(self, starts_N=self.starts_N[chosen], ends_N=self.ends_N[chosen])

    def first_words(self, num: int) -> PackedTexts:
        """The texts truncated to `num` words. Shares the array of letters."""
        return replace(self, most_words=min(num, self.most_words))

    def unpacked(self) -> list[str]:
        return [*self]


def _within(places: slice | np.ndarray, num: int) -> slice | np.ndarray:
    """The positions below `num`."""
    return places if isinstance(places, slice) else places[places < num]


@dataclass(frozen=True, eq=False)
class Embedded:
    """Embeddings of texts, which Ray's object store shares without copies."""

    vectors_NE: np.ndarray  # float32
    seconds: float  # computing time

    def __len__(self) -> int:
        return len(self.vectors_NE)

    def __getitem__(self, places: slice | np.ndarray) -> Embedded:
        kept_NE = self.vectors_NE[_within(places, len(self))]
        return Embedded(kept_NE, self.seconds * len(kept_NE) / max(1, len(self)))

    def unpacked(self) -> np.ndarray:
        return self.vectors_NE


@dataclass(frozen=True, eq=False)
class Split:
    """The examples of a split, ordered by a hash of their texts.

    The tokens of text n are tokens_W[starts_N[n] : starts_N[n] + lengths_N[n]]. A padded matrix would take many times
    the memory if only a few texts are long.
    """

    tokens_W: np.ndarray  # int32, vocabulary ids of all texts, concatenated, then PADDING for the length of any text
    starts_N: np.ndarray  # int64, positions in tokens_W
    lengths_N: np.ndarray  # int32, words after truncation, at least 1
    labels_N: np.ndarray  # int64, index into the classes; for multi-label texts, the index of the set of classes
    arrays: Mapping[str, Any] = field(default_factory=dict)  # further targets of the corpus, and the optional arrays

    def __len__(self) -> int:
        return len(self.labels_N)

    @property
    def tokens_NT(self) -> np.ndarray:  # noqa: N802 (T is a dimension)
        """The tokens as a matrix, padded on the right with PADDING (a copy)."""
        return pad(self.tokens_W, self.starts_N, self.lengths_N)

    def first_texts(self, num: int) -> Split:
        """The first `num` texts. Shares the array of tokens."""
        return self._only(slice(num))

    def first_share(self, share: float) -> Split:
        """This share, in (0, 1], of the texts: the first of each class, at least one; of multi-label texts the first
        overall. A smaller share is a subset of a larger one. Shares the array of tokens."""
        labels_N = np.zeros_like(self.labels_N) if LABEL_SETS in self.arrays else self.labels_N
        order_N = np.argsort(labels_N, kind="stable")
        counts_C = np.bincount(labels_N)
        before_C = np.cumsum(counts_C) - counts_C
        rank_N = np.empty(len(labels_N), dtype=np.int64)  # rank of a text within its class
        rank_N[order_N] = np.arange(len(labels_N)) - before_C[labels_N[order_N]]
        return self._only(np.flatnonzero(rank_N < np.ceil(share * counts_C - 1e-9)[labels_N]))

    def _only(self, places: slice | np.ndarray) -> Split:
        return replace(
            self,
            starts_N=self.starts_N[places],
            lengths_N=self.lengths_N[places],
            labels_N=self.labels_N[places],
            arrays={name: array[places] for name, array in self.arrays.items()},
        )

    def first_words(self, num: int) -> Split:
        """The texts truncated to `num` words. Shares the array of tokens."""
        arrays = dict(self.arrays)
        if TEXTS in arrays:
            arrays[TEXTS] = arrays[TEXTS].first_words(num)
        return replace(self, lengths_N=np.minimum(self.lengths_N, np.int32(num)), arrays=arrays)


def pad(tokens_W: np.ndarray, starts_N: np.ndarray, lengths_N: np.ndarray) -> np.ndarray:
    """tokens_NT, padded to the longest text, from concatenated tokens (see `Split`)."""
    longest = lengths_N.max(initial=1)
    tokens_NT: np.ndarray = np.lib.stride_tricks.sliding_window_view(tokens_W, longest)[starts_N]
    tokens_NT[np.arange(longest) >= lengths_N[:, None]] = PADDING
    return tokens_NT


@dataclass(frozen=True, eq=False)
class EncodedCorpus:
    """A corpus as trials see it: plain arrays, which Ray's object store shares without copies."""

    name: str
    digest: str  # hex; identifies the corpus's content and all options that affect the encoding
    classes: tuple[str, ...]  # by label; the second of two is the positive class
    vocabulary: tuple[str, ...]  # by token id
    vectors_VE: np.ndarray | None  # float32, rows 0 and 1 zero; None for learned embeddings
    embedding_size: int
    train: Split
    val: Split
    test: Split
    num_duplicates: int  # removed examples
    label_separator: str | None = None  # between the classes of a multi-label text; None for single-label corpora

    def first_words(self, num: int) -> EncodedCorpus:
        """The corpus with texts truncated to `num` words and the same vocabulary."""
        if num >= max(int(split.lengths_N.max(initial=0)) for split in (self.train, self.val, self.test)):
            return self
        splits = {name: getattr(self, name).first_words(num) for name in ("train", "val", "test")}
        return replace(self, **splits)

    def first_share(self, share: float) -> EncodedCorpus:
        """The corpus with a share, in (0, 1], of the training texts; vocabulary, validation and test are unchanged."""
        return self if share >= 1 else replace(self, train=self.train.first_share(share))

    def without_texts(self) -> EncodedCorpus:
        """The corpus without the optional arrays, which only models of whole texts need."""
        texts = (TEXTS, WHOLE_TEXTS, EMBEDDED)

        def of(split: Split) -> Split:
            return replace(split, arrays={name: array for name, array in split.arrays.items() if name not in texts})

        return replace(self, train=of(self.train), val=of(self.val), test=of(self.test))

    @property
    def num_train_held(self) -> int:
        """The number of training texts held as words (see `data.load`); all if the corpus was loaded without texts."""
        return len(self.train.arrays.get(TEXTS, self.train))

    @property
    def unknown_share(self) -> float:
        """The share, in [0, 1], of the words of all splits that are not in the vocabulary."""
        num_unknown = num_words = 0
        for split in (self.train, self.val, self.test):
            for start in range(0, len(split.tokens_W), CHUNK):
                tokens_W = split.tokens_W[start : start + CHUNK]
                num_unknown += int(np.count_nonzero(tokens_W == UNKNOWN))
                num_words += int(np.count_nonzero(tokens_W))
        return num_unknown / num_words

    @property
    def summary(self) -> str:
        """The corpus in one line."""
        classes = ", ".join(self.classes[:5]) + (", ..." if len(self.classes) > 5 else "")
        return (
            f"{self.name}: {len(self.train):,} train, {len(self.val):,} val and {len(self.test):,} test examples "
            f"({self.num_duplicates:,} duplicates removed) of {len(self.classes)} classes ({classes}); "
            f"{len(self.vocabulary):,} words, {self.unknown_share:.1%} of the text unknown"
        )
