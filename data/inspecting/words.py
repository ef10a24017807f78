"""The words of texts as one array of ids, and findings about lengths, truncation and unknown words.

Shapes: N texts, W words of all texts, concatenated, V distinct words.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from data.inspecting.findings import Cut, Finding, Lengths, Unknown, shortened

SHOWN = 10  # unknown words in the result
UNKNOWN_MINOR, UNKNOWN_SERIOUS = 0.15, 0.3  # shares of unknown words
CUT_MINOR, CUT_SERIOUS = 0.1, 0.5  # shares of truncated words
ENOUGH = 0.95  # share of words, or of texts, that should be read


@dataclass(frozen=True, eq=False)
class Words:
    """All words of some texts, as indices of distinct words."""

    words: Sequence[str]  # V distinct words, in order of appearance
    ids_W: np.ndarray  # int32, indices in `words`
    starts_N: np.ndarray  # int64
    lengths_N: np.ndarray  # int64, 0 for a text without words

    @classmethod
    def of(cls, texts: Iterable[str], tokenize: Callable[[str], Sequence[str]]) -> Words:
        """Tokenizes texts one by one, so that only ids are kept in memory."""
        places: dict[str, int] = {}
        parts, lengths = [np.zeros(0, dtype=np.int32)], []
        for text in texts:
            ids = [places.setdefault(word, len(places)) for word in tokenize(text)]
            parts.append(np.array(ids, dtype=np.int32))
            lengths.append(len(ids))
        lengths_N = np.array(lengths, dtype=np.int64)
        return cls(list(places), np.concatenate(parts), np.cumsum(lengths_N) - lengths_N, lengths_N)

    def part(self, first: int, last: int) -> Words:
        """The words of texts `first` to `last - 1`, with the same `words`."""
        lengths_N = self.lengths_N[first:last]
        start = int(self.lengths_N[:first].sum())
        ids_W = self.ids_W[start : start + int(lengths_N.sum())]
        return Words(self.words, ids_W, np.cumsum(lengths_N) - lengths_N, lengths_N)

    def places_of_texts(self) -> np.ndarray:
        """Shape (W,): the index of the text that each word belongs to."""
        return np.repeat(np.arange(len(self.lengths_N)), self.lengths_N)


def lengths(words: Words, max_words: Collection[int]) -> Lengths | None:
    """Statistics of text lengths; None if there are no words."""
    lengths_N = np.sort(words.lengths_N)
    total = int(lengths_N.sum())
    if not total:
        return None
    cuts = []
    for most in sorted(set(max_words)):
        read = int(np.minimum(lengths_N, most).sum())
        cuts.append(Cut(most, float(np.mean(lengths_N > most)), 1 - read / total))
    # With max_words m, all words of shorter texts are read, and m words of every other text.
    shorter_N = np.cumsum(lengths_N) - lengths_N + lengths_N * np.arange(len(lengths_N), 0, -1)
    enough = int(lengths_N[np.searchsorted(shorter_N, ENOUGH * total)])
    bounds = 2 ** np.arange(int(lengths_N[-1]).bit_length() + 1)
    counts = np.diff(np.searchsorted(lengths_N, bounds, side="right"), prepend=0)
    return Lengths(
        median=int(np.median(lengths_N)),
        most=int(np.quantile(lengths_N, ENOUGH, method="inverted_cdf")),
        longest=int(lengths_N[-1]),
        enough=enough,
        cuts=tuple(cuts),
        histogram=tuple((int(bound), int(count)) for bound, count in zip(bounds, counts, strict=True)),
    )


def unknown(words: Words, vocabulary: Collection[str], max_words: int) -> Unknown:
    """Unknown words among the first `max_words` of each text."""
    places_W = np.arange(len(words.ids_W)) - np.repeat(words.starts_N, words.lengths_N)
    read = words.ids_W[places_W < max_words]
    counts_V = np.bincount(read, minlength=len(words.words))
    known = set(vocabulary)
    is_unknown_V = np.array([word not in known for word in words.words], dtype=bool)
    counts_V[~is_unknown_V] = 0
    order = np.argsort(-counts_V, kind="stable")[:SHOWN]
    most = tuple((words.words[place], int(counts_V[place])) for place in order if counts_V[place])
    return Unknown(float(counts_V.sum() / max(1, len(read))), most)


def unread(lengths: Lengths, num_texts: int) -> Iterator[Finding]:
    """The finding about truncation, for every `max_words` that cuts many words, and not only those of a few huge
    texts."""
    worst = [cut for cut in lengths.cuts if cut.words >= CUT_MINOR and cut.texts >= 1 - ENOUGH]
    if worst:
        texts = " and ".join(f"max_words {cut.max_words} cuts {cut.texts:.0%} of the texts" for cut in worst)
        unread = " and ".join(f"{cut.words:.0%}" for cut in worst)
        yield Finding(
            "cut",
            "serious" if max(cut.words for cut in worst) >= CUT_SERIOUS else "minor",
            f"{texts}: {unread} of all words are not read",
            round(max(cut.texts for cut in worst) * num_texts),
            f"set max_words: {lengths.enough}, which reads {ENOUGH:.0%} of all words but takes longer",
            f"the longest text has {lengths.longest:,} words",
        )


def wordless(words: Words) -> Iterator[Finding]:
    """The finding that the tokenizer finds no word in some texts."""
    if empty := int(np.count_nonzero(words.lengths_N == 0)):
        yield Finding(
            "no words", "minor", f"{empty:,} texts have no word that can be read", empty, "leave them out of the file"
        )


def unfamiliar(unknown: Unknown, remedy: str) -> Iterator[Finding]:
    """The finding that many words are unknown."""
    if unknown.share >= UNKNOWN_MINOR:
        listed = ", ".join(shortened(word, 20) for word, _ in unknown.words[:5])
        yield Finding(
            "unknown words",
            "serious" if unknown.share >= UNKNOWN_SERIOUS else "minor",
            f"{unknown.share:.0%} of the words read are not in the vocabulary: networks cannot tell them apart",
            sum(count for _, count in unknown.words),
            remedy,
            f"most often {listed}",
            (listed,),
        )
