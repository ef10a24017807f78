"""Words that leak the label: most texts of a class contain them, and almost no other texts do.

Shapes: N texts, W words of all texts, V distinct words, C classes, G pairs of a class and a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import coo_array, csr_array

from data.inspecting.findings import Finding, shortened
from data.inspecting.words import Words

IN_CLASS = 0.6  # minimum share of the texts of the class that contain the word
IN_OTHERS = 0.005  # maximum share of all other texts that contain it
NAMING_ANOTHER = 0.1  # maximum share of texts that contain the name of another class
FEWEST = 20  # training texts of a class; with fewer, many words occur in one class only by chance


def leaks(train: Words, train_NC: csr_array, held: Words, held_NC: csr_array) -> dict[int, list[str]]:
    """Class -> the words that leak it, the most frequent first.

    train, held: parts of the same `Words`. train_NC, held_NC: 1 where a text has a class, else 0.
    """
    texts_CV = coo_array(train_NC.T @ _documents(train))
    labels_G, ids_G = texts_CV.coords
    leaks_G = _leak(texts_CV.data, labels_G, ids_G, train, train_NC) & (train_NC.sum(axis=0)[labels_G] >= FEWEST)
    labels_G, ids_G, num_G = labels_G[leaks_G], ids_G[leaks_G], texts_CV.data[leaks_G]
    held_G = csr_array(held_NC.T @ _documents(held))[labels_G, ids_G]
    leaks_G = _leak(held_G, labels_G, ids_G, held, held_NC)
    words_of: dict[int, list[str]] = {}
    for place in np.lexsort((ids_G, -num_G, labels_G)):
        if leaks_G[place]:
            words_of.setdefault(int(labels_G[place]), []).append(train.words[ids_G[place]])
    return words_of


def _documents(words: Words) -> csr_array:
    """Shape (N, V): 1 where a text contains a word."""
    ends_N = np.append(words.starts_N, len(words.ids_W))
    ones_W = np.ones(len(words.ids_W), dtype=np.int64)
    documents_NV = csr_array((ones_W, words.ids_W, ends_N), shape=(len(words.lengths_N), len(words.words)))
    documents_NV.sum_duplicates()
    documents_NV.data[:] = 1
    return documents_NV


def _leak(
    num_with_word: np.ndarray, labels: np.ndarray, ids: np.ndarray, words: Words, classes_NC: csr_array
) -> np.ndarray:
    """For pairs of a class and a word, whether the word leaks the class in these texts.

    num_with_word: the number of texts of the class that contain the word.
    """
    class_sizes = classes_NC.sum(axis=0)[labels]
    num_others = _documents(words).sum(axis=0)[ids] - num_with_word
    most, few = num_with_word >= IN_CLASS * class_sizes, num_others <= IN_OTHERS * (classes_NC.shape[0] - class_sizes)
    leaking: np.ndarray = (class_sizes > 0) & (class_sizes < classes_NC.shape[0]) & most & few
    return leaking


def share_that_names(
    words: Words, classes_NC: csr_array, names: Sequence[Sequence[str]], most: int = 5_000
) -> tuple[float, float]:
    """The share of texts that contain the name of their class, and of texts that contain the name of another class.

    names: the words of the name of each class. most: maximum number of texts to inspect.
    """
    sample, classes_CN = words.part(0, most), csr_array(classes_NC[:most].T)
    places = {word: place for place, word in enumerate(words.words)}
    texts_W = sample.places_of_texts()
    naming_N, misnaming_N = (np.zeros(classes_CN.shape[1], dtype=bool) for _ in range(2))
    for label, name in enumerate(names):
        ids = [places.get(word, -1) for word in name]
        num = len(texts_W) - len(ids) + 1
        if not ids or -1 in ids or num < 1:
            continue
        at_W = texts_W[:num] == texts_W[len(ids) - 1 :]  # not across texts
        for step, word_id in enumerate(ids):
            at_W &= sample.ids_W[step : step + num] == word_id
        named_N, in_class_N = np.zeros_like(naming_N), np.zeros_like(naming_N)
        named_N[texts_W[:num][at_W]] = True
        in_class_N[classes_CN.indices[classes_CN.indptr[label] : classes_CN.indptr[label + 1]]] = True
        naming_N |= named_N & in_class_N
        misnaming_N |= named_N & ~in_class_N
    return float(naming_N.mean()), float(misnaming_N.mean())


def names_finding(naming: float, misnaming: float, num_texts: int) -> Iterator[Finding]:
    """The finding that texts contain the names of their classes.

    naming, misnaming: shares of texts that contain the name of their class, or of another class.
    """
    if naming >= IN_CLASS and misnaming <= NAMING_ANOTHER:
        yield Finding(
            "names in texts",
            "serious",
            f"{naming:.0%} of the texts contain the name of their class, {misnaming:.0%} that of another",
            round(naming * num_texts),
            "if new texts will not contain it, remove it from the texts: otherwise the scores are too good",
        )


def finding(words_of: dict[int, list[str]], classes: Sequence[str], counts: np.ndarray) -> Iterator[Finding]:
    """The finding about leaks. words_of: class -> leaking words. counts: number of texts by class."""
    if not words_of:
        return
    shown = {label: shortened(words[0], 30) for label, words in list(words_of.items())[:3]}
    listed = [
        f"{word} ({shortened(classes[label], 30)})"
        + (f" and {len(words_of[label]) - 1} more" if len(words_of[label]) > 1 else "")
        for label, word in shown.items()
    ]
    yield Finding(
        "leaks",
        "serious",
        f"A single word gives the label away: {', '.join(listed)}; at least {IN_CLASS:.0%} of the texts of the class "
        f"contain it and at most {IN_OTHERS:.1%} of the others, in training and held out",
        int(sum(counts[label] for label in words_of)),
        "if new texts will not contain it (a tag, a template), remove it: otherwise the scores are too good",
        quoted=tuple(shown.values()),
    )
