"""Finds near duplicates between training and held-out texts by MinHash, in time linear in the number of texts.

A text is represented by its set of word trigrams; two texts are near duplicates if the Jaccard similarity of these sets
is at least `ALIKE` (Broder 1997, "On the resemblance and containment of documents"). Candidates are pairs whose minimal
hashes agree in one of `BANDS` bands (Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", chapter 3), which
finds 99 of 100 pairs with a similarity of exactly `ALIKE`; every candidate is then compared exactly.

Shapes: N texts, S trigrams of all texts, concatenated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from data.inspecting.findings import Finding, shortened
from data.inspecting.words import Words

SEQUENCE = 3  # words
ALIKE = 0.7
BANDS, ROWS = 12, 3
COMPARED = 5  # maximum candidates per text and band, to keep the time linear
FEWEST = 5  # minimum number of words: shorter texts are similar by chance
SERIOUS = 0.01  # share of held-out texts that makes the finding serious


def near_duplicates(train: Words, held_out: Words) -> list[tuple[int, int]]:
    """Pairs of indices (held-out text, training text), one for each held-out text with a near duplicate in training.

    train, held_out: parts of the same `Words`.
    """
    sets = [_sequences(train), _sequences(held_out)]
    smallest = [_smallest(hashes_S, starts_N) for hashes_S, starts_N, _ in sets]
    (train_S, train_starts, train_rows), (held_S, held_starts, held_rows) = sets
    train_ends, held_ends = (np.append(starts[1:], len(hashes)) for hashes, starts, _ in sets)
    twin_of: dict[int, int] = {}
    candidates = _candidates(*smallest)
    for held, twin in candidates:
        if held in twin_of:
            continue
        held_set = set(held_S[held_starts[held] : held_ends[held]].tolist())
        train_set = set(train_S[train_starts[twin] : train_ends[twin]].tolist())
        if len(held_set & train_set) >= ALIKE * len(held_set | train_set):
            twin_of[held] = twin
    return [(int(held_rows[held]), int(train_rows[twin])) for held, twin in sorted(twin_of.items())]


def _sequences(words: Words) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """hashes_S, the start of each text's hashes, and the index of that text; texts that are too short are left out."""
    rows = np.flatnonzero(words.lengths_N >= FEWEST)
    ids = words.ids_W.astype(np.uint64)
    hashes = _mixed(ids[: -SEQUENCE + 1]) if len(ids) >= SEQUENCE else np.zeros(0, dtype=np.uint64)
    for step in range(1, SEQUENCE):
        hashes = _mixed(hashes ^ ids[step : len(ids) - SEQUENCE + 1 + step])
    # No trigram starts at the last two words of a text.
    counts = np.where(words.lengths_N >= FEWEST, words.lengths_N - SEQUENCE + 1, 0)
    places = np.arange(len(words.ids_W)) - np.repeat(words.starts_N, words.lengths_N)
    kept = (places < np.repeat(counts, words.lengths_N))[: len(hashes)]
    return hashes[kept], np.cumsum(counts[rows]) - counts[rows], rows


def _mixed(hashes: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64: every bit of the result depends on all bits of the argument."""
    hashes = hashes + np.uint64(0x9E3779B97F4A7C15)
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = hashes ^ (hashes >> np.uint64(31))
    return mixed


def _smallest(hashes_S: np.ndarray, starts_N: np.ndarray) -> Iterator[np.ndarray]:
    """For each band, one number per text (N,), equal for texts with the same minimal hashes."""
    odd = np.random.default_rng(0).integers(2**63, size=BANDS * ROWS, dtype=np.uint64) | np.uint64(1)
    for band in range(BANDS):
        joined = np.zeros(len(starts_N), dtype=np.uint64)
        for factor in odd[band * ROWS : (band + 1) * ROWS]:
            if len(starts_N):
                joined = _mixed(joined ^ np.minimum.reduceat(hashes_S * factor, starts_N))
        yield joined


def _candidates(train: Iterator[np.ndarray], held_out: Iterator[np.ndarray]) -> Iterator[tuple[int, int]]:
    """Candidate pairs (held-out, training): indices among the texts that are long enough."""
    for train_N, held_N in zip(train, held_out, strict=True):
        order = np.argsort(train_N, kind="stable")
        ordered = train_N[order]
        first, last = (np.searchsorted(ordered, held_N, side=side) for side in ("left", "right"))
        for held in np.flatnonzero(last > first).tolist():
            for place in order[first[held] : min(last[held], first[held] + COMPARED)].tolist():
                yield held, place


def finding(
    pairs: Sequence[tuple[int, int]], train: Sequence[tuple[str, int]], held_out: Sequence[tuple[str, int]]
) -> Iterator[Finding]:
    """The finding about near duplicates. pairs: indices in `held_out` and `train`."""
    if not pairs:
        return
    share = len(pairs) / len(held_out)
    num_relabelled = sum(held_out[held][1] != train[twin][1] for held, twin in pairs)
    labels = f", {num_relabelled:,} of them with another label," if num_relabelled else ""
    held, twin = pairs[0]
    quoted = shortened(held_out[held][0], 40), shortened(train[twin][0], 40)
    yield Finding(
        "near duplicates",
        "serious" if share >= SERIOUS else "minor",
        f"{len(pairs):,} of {len(held_out):,} validation and test texts ({share:.1%}){labels} are near "
        f"duplicates of training texts: they share at least {ALIKE:.0%} of their sequences of {SEQUENCE} words",
        len(pairs),
        "keep only one text of each pair in the file: a model that memorises a training text knows its duplicate",
        " and ".join(quoted),
        quoted,
    )
