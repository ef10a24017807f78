"""Words that alone give the label: most texts of a class have them, and next to none of any other.

Shapes: N texts, W words of all of them, V different words, C classes, G pairs of a class and a
word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import coo_array, csr_array

from data.inspecting.findings import Finding, shortened
from data.inspecting.words import Words

OF_ITS_CLASS = 0.6  # share of a class's texts that have the word, at least
OF_OTHERS = 0.005  # share of all other texts that have it, at most
NAMED_BY_OTHERS = 0.1  # share of the texts with the name of another class, at most, where nearly all name their own
FEWEST = 20  # training texts of a class: among fewer many words are of one class by chance


def leaks(train: Words, train_NC: csr_array, held: Words, held_NC: csr_array) -> dict[int, list[str]]:
    """Class -> the words that alone give it, the most frequent first. The two are parts of the same `Words`.

    train_NC, held_NC: 1 where a text is of a class, else 0.
    """
    own_CV = coo_array(train_NC.T @ _documents(train))
    labels_G, ids_G = own_CV.coords
    gives_G = _give(own_CV.data, labels_G, ids_G, train, train_NC) & (train_NC.sum(axis=0)[labels_G] >= FEWEST)
    labels_G, ids_G, own_G = labels_G[gives_G], ids_G[gives_G], own_CV.data[gives_G]
    own_held_G = csr_array(held_NC.T @ _documents(held))[labels_G, ids_G]
    gives_G = _give(own_held_G, labels_G, ids_G, held, held_NC)
    found: dict[int, list[str]] = {}
    for place in np.lexsort((ids_G, -own_G, labels_G)):
        if gives_G[place]:
            found.setdefault(int(labels_G[place]), []).append(train.words[ids_G[place]])
    return found


def _documents(words: Words) -> csr_array:
    """NV: 1 where a text has a word."""
    ends_N = np.append(words.starts_N, len(words.ids_W))
    ones_W = np.ones(len(words.ids_W), dtype=np.int64)
    documents_NV = csr_array((ones_W, words.ids_W, ends_N), shape=(len(words.lengths_N), len(words.words)))
    documents_NV.sum_duplicates()
    documents_NV.data[:] = 1
    return documents_NV


def _give(own: np.ndarray, labels: np.ndarray, ids: np.ndarray, words: Words, of_NC: csr_array) -> np.ndarray:
    """Whether each word gives its class here: most of its texts have it, and next to none of the others."""
    num_own = of_NC.sum(axis=0)[labels]
    others = _documents(words).sum(axis=0)[ids] - own
    most, few = own >= OF_ITS_CLASS * num_own, others <= OF_OTHERS * (of_NC.shape[0] - num_own)
    gives: np.ndarray = (num_own > 0) & (num_own < of_NC.shape[0]) & most & few
    return gives


def share_that_names(
    words: Words, of_NC: csr_array, names: Sequence[Sequence[str]], most: int = 5_000
) -> tuple[float, float]:
    """The share of texts that have the name of their class in them, and of those that have that of another class.

    names: of each class, in words. most: texts that are looked at.
    """
    some, of_CN = words.part(0, most), csr_array(of_NC[:most].T)
    places = {word: place for place, word in enumerate(words.words)}
    texts_W = some.places_of_texts()
    own_N, other_N = (np.zeros(of_CN.shape[1], dtype=bool) for _ in range(2))
    for label, name in enumerate(names):
        ids = [places.get(word, -1) for word in name]
        num = len(texts_W) - len(ids) + 1
        if not ids or -1 in ids or num < 1:
            continue
        at_W = texts_W[:num] == texts_W[len(ids) - 1 :]  # not over the end of a text
        for step, each in enumerate(ids):
            at_W &= some.ids_W[step : step + num] == each
        has_N, is_N = np.zeros_like(own_N), np.zeros_like(own_N)
        has_N[texts_W[:num][at_W]] = True
        is_N[of_CN.indices[of_CN.indptr[label] : of_CN.indptr[label + 1]]] = True
        own_N |= has_N & is_N
        other_N |= has_N & ~is_N
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
    shown = {label: shortened(words[0], 30) for label, words in list(found.items())[:3]}
    said = [
        f"{word} ({shortened(classes[label], 30)})"
        + (f" and {len(found[label]) - 1} more" if len(found[label]) > 1 else "")
        for label, word in shown.items()
    ]
    yield Finding(
        "leaks",
        "serious",
        f"A word alone gives the label: {', '.join(said)}; at least {OF_ITS_CLASS:.0%} of that class's texts have it "
        f"and at most {OF_OTHERS:.1%} of the others, in training and held out",
        int(sum(counts[label] for label in found)),
        "if new texts will not have it (a tag, a template), take it out of the texts: else the scores are too good",
        quoted=tuple(shown.values()),
    )
