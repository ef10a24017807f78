"""Words that alone give the label: most texts of a class have them, and next to none of any other.

Shapes: N texts, W words of all of them, V different words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from data.inspecting.findings import Finding, shortened
from data.inspecting.words import Words

OF_ITS_CLASS = 0.6  # share of a class's texts that have the word, at least
OF_OTHERS = 0.005  # share of all other texts that have it, at most
NAMED_BY_OTHERS = 0.1  # share of the texts with the name of another class, at most, where nearly all name their own
FEWEST = 20  # training texts of a class: among fewer many words are of one class by chance


def leaks(train: Words, train_labels: np.ndarray, held: Words, held_labels: np.ndarray) -> dict[int, list[str]]:
    """Class -> the words that alone give it, the most frequent first. The two are parts of the same `Words`."""
    held_counts = _document_counts(held, held_labels)
    found: dict[int, list[str]] = {}
    for label, (own_V, gives_V) in _document_counts(train, train_labels).items():
        if label in held_counts and np.count_nonzero(train_labels == label) >= FEWEST:
            both = np.flatnonzero(gives_V & held_counts[label][1])
            if len(both):
                found[label] = [train.words[place] for place in both[np.argsort(-own_V[both], kind="stable")]]
    return found


def _document_counts(words: Words, labels_N: np.ndarray) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Class -> how many of its texts have each word, and whether the word gives the class here."""
    size = len(words.words)
    pairs = np.sort(words.places_of_texts() * size + words.ids_W)  # of a text and a word in it
    pairs = pairs[np.diff(pairs, prepend=-1) > 0]  # np.unique would take five times as long
    labels_P, ids_P = labels_N[pairs // size], pairs % size
    order = np.argsort(labels_P, kind="stable")
    labels_P, ids_P = labels_P[order], ids_P[order]
    total_V = np.bincount(ids_P, minlength=size)
    counted = {}
    for label in np.unique(labels_N).tolist():
        first, last = np.searchsorted(labels_P, [label, label + 1])
        own_V = np.bincount(ids_P[first:last], minlength=size)
        num_own = np.count_nonzero(labels_N == label)
        others = len(labels_N) - num_own
        counted[label] = own_V, (own_V >= OF_ITS_CLASS * num_own) & (total_V - own_V <= OF_OTHERS * others)
    return counted


def share_that_names(
    words: Words, labels_N: np.ndarray, names: Sequence[Sequence[str]], most: int = 5_000
) -> tuple[float, float]:
    """The share of texts that have the name of their class in them, and of those that have that of another class.

    names: of each class, in words. most: texts that are looked at.
    """
    some, labels_N = words.part(0, most), labels_N[:most]
    places = {word: place for place, word in enumerate(words.words)}
    texts_W = some.places_of_texts()
    own_N, other_N = (np.zeros(len(labels_N), dtype=bool) for _ in range(2))
    for label, name in enumerate(names):
        ids = [places.get(word, -1) for word in name]
        num = len(texts_W) - len(ids) + 1
        if not ids or -1 in ids or num < 1:
            continue
        at_W = texts_W[:num] == texts_W[len(ids) - 1 :]  # not over the end of a text
        for step, each in enumerate(ids):
            at_W &= some.ids_W[step : step + num] == each
        has_N = np.zeros(len(labels_N), dtype=bool)
        has_N[texts_W[:num][at_W]] = True
        own_N |= has_N & (labels_N == label)
        other_N |= has_N & (labels_N != label)
    return float(own_N.mean()), float(other_N.mean())


def names_finding(own: float, other: float, num_texts: int) -> Iterator[Finding]:
    """What it means that texts have the names of their classes in them."""
    if own >= OF_ITS_CLASS and other <= NAMED_BY_OTHERS:
        yield Finding(
            "names in texts",
            "serious",
            f"{own:.0%} of the texts have the name of their class in them, {other:.0%} that of another",
            round(own * num_texts),
            "if new texts will not have it, take it out of the texts: else the scores are too good",
        )


def finding(found: dict[int, list[str]], classes: Sequence[str], counts: np.ndarray) -> Iterator[Finding]:
    """What leaks mean. counts: how many texts each class has."""
    if not found:
        return
    said = [
        f"{shortened(words[0], 30)} ({shortened(classes[label], 30)})"
        + (f" and {len(words) - 1} more" if len(words) > 1 else "")
        for label, words in list(found.items())[:3]
    ]
    yield Finding(
        "leaks",
        "serious",
        f"A word alone gives the label: {', '.join(said)}; at least {OF_ITS_CLASS:.0%} of that class's texts have it "
        f"and at most {OF_OTHERS:.1%} of the others, in training and held out",
        int(sum(counts[label] for label in found)),
        "if new texts will not have it (a tag, a template), take it out of the texts: else the scores are too good",
    )
