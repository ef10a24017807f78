"""The words of texts as one array of ids, and what their number and spelling tell: lengths, what is cut or unknown.

Shapes: N texts, W words of all of them one after the other, V different words.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from data.inspecting.findings import Cut, Finding, Lengths, Unknown, shortened

SHOWN = 10  # unknown words
UNKNOWN_MINOR, UNKNOWN_SERIOUS = 0.15, 0.3  # share of the words
CUT_MINOR, CUT_SERIOUS = 0.1, 0.5  # share of the words
ENOUGH = 0.95  # share of the words, and of the texts


@dataclass(frozen=True, eq=False)
class Words:
    """All words of some texts, by their place in `words`."""

    words: Sequence[str]  # V, in the order in which they were met
    ids_W: np.ndarray  # int32
    starts_N: np.ndarray  # int64
    lengths_N: np.ndarray  # int64, 0 for a text without any word

    @classmethod
    def of(cls, texts: Iterable[str], tokenize: Callable[[str], Sequence[str]]) -> Words:
        """Texts are tokenized one after the other, so that no more than their ids is held."""
        places: dict[str, int] = {}
        parts, lengths = [np.zeros(0, dtype=np.int32)], []
        for text in texts:
            ids = [places.setdefault(word, len(places)) for word in tokenize(text)]
            parts.append(np.array(ids, dtype=np.int32))
            lengths.append(len(ids))
        lengths_N = np.array(lengths, dtype=np.int64)
        return cls(list(places), np.concatenate(parts), np.cumsum(lengths_N) - lengths_N, lengths_N)

    def part(self, first: int, last: int) -> Words:
        """Those of some of the texts, in the same numbering."""
        lengths_N = self.lengths_N[first:last]
        start = int(self.lengths_N[:first].sum())
        ids_W = self.ids_W[start : start + int(lengths_N.sum())]
        return Words(self.words, ids_W, np.cumsum(lengths_N) - lengths_N, lengths_N)

    def places_of_texts(self) -> np.ndarray:
        """W: the text that each word is of."""
        return np.repeat(np.arange(len(self.lengths_N)), self.lengths_N)


def lengths(words: Words, max_words: Collection[int]) -> Lengths | None:
    """None without any word."""
    lengths_N = np.sort(words.lengths_N)
    total = int(lengths_N.sum())
    if not total:
        return None
    cuts = []
    for most in sorted(set(max_words)):
        read = int(np.minimum(lengths_N, most).sum())
        cuts.append(Cut(most, float(np.mean(lengths_N > most)), 1 - read / total))
    # The words read at m are those of the shorter texts, and m of each of the others.
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
    """Of the first `max_words` of each text."""
    places_W = np.arange(len(words.ids_W)) - np.repeat(words.starts_N, words.lengths_N)
    read = words.ids_W[places_W < max_words]
    counts_V = np.bincount(read, minlength=len(words.words))
    known = set(vocabulary)
    is_unknown_V = np.array([word not in known for word in words.words], dtype=bool)
    counts_V[~is_unknown_V] = 0
    order = np.argsort(-counts_V, kind="stable")[:SHOWN]
    most = tuple((words.words[place], int(counts_V[place])) for place in order if counts_V[place])
    return Unknown(float(counts_V.sum() / max(1, len(read))), most)


def unread(found: Lengths, num_texts: int) -> Iterator[Finding]:
    """What is cut, at each `max_words` that cuts much of more than a few huge texts."""
    worst = [cut for cut in found.cuts if cut.words >= CUT_MINOR and cut.texts >= 1 - ENOUGH]
    if worst:
        texts = " and ".join(f"max_words {cut.max_words} cuts {cut.texts:.0%} of the texts" for cut in worst)
        unread = " and ".join(f"{cut.words:.0%}" for cut in worst)
        yield Finding(
            "cut",
            "serious" if max(cut.words for cut in worst) >= CUT_SERIOUS else "minor",
            f"{texts}: {unread} of all words are not read",
            round(max(cut.texts for cut in worst) * num_texts),
            f"set max_words: {found.enough}, which reads {ENOUGH:.0%} of all words and takes longer",
            f"the longest text has {found.longest:,} words",
        )


def wordless(words: Words) -> Iterator[Finding]:
    """Texts in which the tokenizer finds no word."""
    if empty := int(np.count_nonzero(words.lengths_N == 0)):
        yield Finding(
            "no words", "minor", f"{empty:,} texts have no word that can be read", empty, "leave them out of the file"
        )


def unfamiliar(found: Unknown, remedy: str) -> Iterator[Finding]:
    """Whether many words are unknown. remedy: what helps."""
    if found.share >= UNKNOWN_MINOR:
        listed = ", ".join(shortened(word, 20) for word, _ in found.words[:5])
        yield Finding(
            "unknown words",
            "serious" if found.share >= UNKNOWN_SERIOUS else "minor",
            f"{found.share:.0%} of the words that are read are not in the vocabulary: a network cannot tell them apart",
            sum(count for _, count in found.words),
            remedy,
            f"most often {listed}",
            (listed,),
        )
