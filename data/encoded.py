"""An encoded corpus: plain arrays.

Shapes: N examples of a split, T words (of the longest text, at most max_words), V vocabulary, E embedding size,
C classes.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from data.base.label_sets import LABEL_SETS

PADDING, UNKNOWN = 0, 1  # ids of '<pad>' and '<unk>' in every vocabulary
TEXTS = "texts_N"  # among a split's arrays where asked for: the words that are read of each text, spaces between
WHOLE_TEXTS = "whole_texts_N"  # likewise all its words, where some text of the corpus has more than are read
EMBEDDED = "embedded_N"  # likewise what an encoder has made of each text as a whole (see `data.encoder`)
ALL_WORDS = 2**31 - 1  # how many are read by who reads all
CHUNK = 1 << 22  # words that are counted at once


@dataclass(frozen=True, eq=False)
class PackedTexts:
    """Texts as plain arrays, which Ray's object store hands out without copying; a text is made when it is asked for.

    Of a large training split only the first ones may be there (see `data.load`).
    """

    letters: np.ndarray  # uint8, UTF-8
    starts_N: np.ndarray  # int64, places in letters
    ends_N: np.ndarray  # int64
    most_words: int = ALL_WORDS  # of a text; more are not read

    #: That another one would have taken to make them; of what is read as it is, nothing.
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
        """So many texts of no words."""
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
        """Those at these places that there are. The letters are the same array."""
        chosen = _there(places, len(self))
        return replace(self, starts_N=self.starts_N[chosen], ends_N=self.ends_N[chosen])

    def first_words(self, num: int) -> PackedTexts:
        """The texts as if they had no more words. The letters are the same array."""
        return replace(self, most_words=min(num, self.most_words))

    def unpacked(self) -> list[str]:
        return [*self]


def _there(places: slice | np.ndarray, num: int) -> slice | np.ndarray:
    """The places that are among the first `num`."""
    return places if isinstance(places, slice) else places[places < num]


@dataclass(frozen=True, eq=False)
class Embedded:
    """Embeddings of texts, which Ray's object store hands out without copying."""

    vectors_NE: np.ndarray  # float32, E embedding size
    seconds: float  # that it took to compute them

    def __len__(self) -> int:
        return len(self.vectors_NE)

    def __getitem__(self, places: slice | np.ndarray) -> Embedded:
        kept_NE = self.vectors_NE[_there(places, len(self))]
        return Embedded(kept_NE, self.seconds * len(kept_NE) / max(1, len(self)))

    def unpacked(self) -> np.ndarray:
        return self.vectors_NE


@dataclass(frozen=True, eq=False)
class Split:
    """The examples of a split, in the order of a hash of their texts.

    The tokens of text n are tokens_W[starts_N[n] : starts_N[n] + lengths_N[n]]: as a padded matrix they would take
    many times the memory as soon as a few texts are long.
    """

    tokens_W: np.ndarray  # int32, ids in the vocabulary, of one text after the other, then PADDING, as long as any text
    starts_N: np.ndarray  # int64, places in tokens_W
    lengths_N: np.ndarray  # int32, words that are read, at least 1
    labels_N: np.ndarray  # int64, index into the classes; of texts of several, the place of their set
    arrays: Mapping[str, Any] = field(default_factory=dict)  # by name, what the corpus has besides; texts are packed

    def __len__(self) -> int:
        return len(self.labels_N)

    @property
    def tokens_NT(self) -> np.ndarray:  # noqa: N802 (T is a dimension)
        """The tokens that are read as a matrix, a copy, right padded with PADDING."""
        return pad(self.tokens_W, self.starts_N, self.lengths_N)

    def first_texts(self, num: int) -> Split:
        """The split as if it had only so many texts. The tokens are the same array."""
        return self._only(slice(num))

    def first_share(self, share: float) -> Split:
        """The split as if it had only this share of its texts: the first of each class, at least one; where texts have
        several classes, simply the first. A smaller share is part of a larger one. The tokens are the same array."""
        labels_N = np.zeros_like(self.labels_N) if LABEL_SETS in self.arrays else self.labels_N
        order_N = np.argsort(labels_N, kind="stable")
        counts_C = np.bincount(labels_N)
        before_C = np.cumsum(counts_C) - counts_C
        rank_N = np.empty(len(labels_N), dtype=np.int64)  # of a text among those of its class
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
        """The split as one encodes it who reads only so many words of a text. The tokens are the same array."""
        arrays = dict(self.arrays)
        if TEXTS in arrays:
            arrays[TEXTS] = arrays[TEXTS].first_words(num)
        return replace(self, lengths_N=np.minimum(self.lengths_N, np.int32(num)), arrays=arrays)


def pad(tokens_W: np.ndarray, starts_N: np.ndarray, lengths_N: np.ndarray) -> np.ndarray:
    """tokens_NT, T of the longest text, of tokens that stand one text after the other (see `Split`)."""
    longest = lengths_N.max(initial=1)
    tokens_NT: np.ndarray = np.lib.stride_tricks.sliding_window_view(tokens_W, longest)[starts_N]
    tokens_NT[np.arange(longest) >= lengths_N[:, None]] = PADDING
    return tokens_NT


@dataclass(frozen=True, eq=False)
class EncodedCorpus:
    """What trials see of a corpus: plain arrays, so that Ray's object store can hand it out without copying."""

    name: str
    digest: str  # hex; of the corpus's content and every option that changes the encoding
    classes: tuple[str, ...]  # by label; of two, the second is the positive one
    vocabulary: tuple[str, ...]  # by token id
    vectors_VE: np.ndarray | None  # float32, rows 0 and 1 zero; None for learned embeddings
    embedding_size: int
    train: Split
    val: Split
    test: Split
    num_duplicates: int  # examples removed because their text came twice
    label_separator: str | None = None  # what stands between the classes of a text, where it can have several

    def first_words(self, num: int) -> EncodedCorpus:
        """The corpus as one sees it who reads only so many words of a text; the vocabulary stays what it is."""
        if num >= max(int(split.lengths_N.max(initial=0)) for split in (self.train, self.val, self.test)):
            return self
        splits = {name: getattr(self, name).first_words(num) for name in ("train", "val", "test")}
        return replace(self, **splits)

    def first_share(self, share: float) -> EncodedCorpus:
        """The corpus with only this share of its training texts; vocabulary, validation and test stay what they are."""
        return self if share >= 1 else replace(self, train=self.train.first_share(share))

    def without_texts(self) -> EncodedCorpus:
        """The corpus without what only who learns from whole texts needs."""
        texts = (TEXTS, WHOLE_TEXTS, EMBEDDED)

        def of(split: Split) -> Split:
            return replace(split, arrays={name: each for name, each in split.arrays.items() if name not in texts})

        return replace(self, train=of(self.train), val=of(self.val), test=of(self.test))

    @property
    def num_train_held(self) -> int:
        """The training texts that are there as words, of many only the first (see `data.load`); all of a corpus that
        is loaded without."""
        return len(self.train.arrays.get(TEXTS, self.train))

    @property
    def unknown_share(self) -> float:
        """The share of words, over all splits, that are not in the vocabulary."""
        num_unknown = num_words = 0
        for split in (self.train, self.val, self.test):
            for start in range(0, len(split.tokens_W), CHUNK):
                tokens_W = split.tokens_W[start : start + CHUNK]
                num_unknown += int(np.count_nonzero(tokens_W == UNKNOWN))
                num_words += int(np.count_nonzero(tokens_W))
        return num_unknown / num_words

    @property
    def summary(self) -> str:
        """One line for people."""
        classes = ", ".join(self.classes[:5]) + (", ..." if len(self.classes) > 5 else "")
        return (
            f"{self.name}: {len(self.train):,} train, {len(self.val):,} val and {len(self.test):,} test examples "
            f"({self.num_duplicates:,} duplicates removed) of {len(self.classes)} classes ({classes}); "
            f"{len(self.vocabulary):,} words, {self.unknown_share:.1%} of the text unknown"
        )
