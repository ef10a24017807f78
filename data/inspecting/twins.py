"""Texts that are nearly the same in training and in what is held out, by MinHash: in time linear in their number.

A text is the set of its sequences of three words; two are near duplicates when they share `ALIKE` of what they have
together (Broder 1997, "On the resemblance and containment of documents"). Candidates are those whose smallest hashes
agree in one of `BANDS` bands (Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", chapter 3): of pairs that
share exactly `ALIKE` 99 of 100 are found, and each candidate is then compared in full.

Shapes: N texts, S sequences of all of them one after the other, K hash functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from data.inspecting.findings import Finding, shortened
from data.inspecting.words import Words

SEQUENCE = 3  # words
ALIKE = 0.7
BANDS, ROWS = 12, 3
COMPARED = 5  # candidates for each text in a band at most, so that the time stays linear
FEWEST = 5  # words of a text: shorter ones are alike by chance
SERIOUS = 0.01  # share of the held-out texts


def near_duplicates(train: Words, held_out: Words) -> list[tuple[int, int]]:
    """Places of (held-out text, training text) for each held-out text that has a near duplicate in training.

    The two are parts of the same `Words`.
    """
    sets = [_sequences(train), _sequences(held_out)]
    smallest = [_smallest(hashes_S, starts_N) for hashes_S, starts_N, _ in sets]
    (train_S, train_starts, train_rows), (held_S, held_starts, held_rows) = sets
    train_ends, held_ends = (np.append(starts[1:], len(hashes)) for hashes, starts, _ in sets)
    found: dict[int, int] = {}
    candidates = _candidates(*smallest)
    for mine, theirs in candidates:
        if mine in found:
            continue
        own = set(held_S[held_starts[mine] : held_ends[mine]].tolist())
        other = set(train_S[train_starts[theirs] : train_ends[theirs]].tolist())
        if len(own & other) >= ALIKE * len(own | other):
            found[mine] = theirs
    return [(int(held_rows[mine]), int(train_rows[theirs])) for mine, theirs in sorted(found.items())]


def _sequences(words: Words) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """hashes_S, and where those of each text that is long enough start and which text that is."""
    rows = np.flatnonzero(words.lengths_N >= FEWEST)
    ids = words.ids_W.astype(np.uint64)
    hashes = _mixed(ids[: -SEQUENCE + 1]) if len(ids) >= SEQUENCE else np.zeros(0, dtype=np.uint64)
    for step in range(1, SEQUENCE):
        hashes = _mixed(hashes ^ ids[step : len(ids) - SEQUENCE + 1 + step])
    # The last two words of a text start no sequence of it, and texts that are too short have none.
    counts = np.where(words.lengths_N >= FEWEST, words.lengths_N - SEQUENCE + 1, 0)
    places = np.arange(len(words.ids_W)) - np.repeat(words.starts_N, words.lengths_N)
    kept = (places < np.repeat(counts, words.lengths_N))[: len(hashes)]
    return hashes[kept], np.cumsum(counts[rows]) - counts[rows], rows


def _mixed(hashes: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64: each bit of the result depends on all of the argument's."""
    hashes = hashes + np.uint64(0x9E3779B97F4A7C15)
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = hashes ^ (hashes >> np.uint64(31))
    return mixed


def _smallest(hashes_S: np.ndarray, starts_N: np.ndarray) -> Iterator[np.ndarray]:
    """For each band a number of each text, equal where its smallest hashes are."""
    odd = np.random.default_rng(0).integers(2**63, size=BANDS * ROWS, dtype=np.uint64) | np.uint64(1)
    for band in range(BANDS):
        joined = np.zeros(len(starts_N), dtype=np.uint64)
        for factor in odd[band * ROWS : (band + 1) * ROWS]:
            if len(starts_N):
                joined = _mixed(joined ^ np.minimum.reduceat(hashes_S * factor, starts_N))
        yield joined


def _candidates(train: Iterator[np.ndarray], held_out: Iterator[np.ndarray]) -> Iterator[tuple[int, int]]:
    """Places of held-out and training texts that are worth a comparison, among those that are long enough."""
    for train_N, held_N in zip(train, held_out, strict=True):
        order = np.argsort(train_N, kind="stable")
        ordered = train_N[order]
        first, last = (np.searchsorted(ordered, held_N, side=side) for side in ("left", "right"))
        for mine in np.flatnonzero(last > first).tolist():
            for place in order[first[mine] : min(last[mine], first[mine] + COMPARED)].tolist():
                yield mine, place


def finding(
    pairs: Sequence[tuple[int, int]], train: Sequence[tuple[str, int]], held_out: Sequence[tuple[str, int]]
) -> Iterator[Finding]:
    """What near duplicates mean: the pairs that were found, of these examples."""
    if not pairs:
        return
    share = len(pairs) / len(held_out)
    other = sum(held_out[mine][1] != train[theirs][1] for mine, theirs in pairs)
    labels = f", {other:,} of them with another label," if other else ""
    mine, theirs = pairs[0]
    quoted = shortened(held_out[mine][0], 40), shortened(train[theirs][0], 40)
    yield Finding(
        "near duplicates",
        "serious" if share >= SERIOUS else "minor",
        f"{len(pairs):,} of {len(held_out):,} texts to validate and test on ({share:.1%}){labels} are nearly in "
        f"training: they share at least {ALIKE:.0%} of their sequences of {SEQUENCE} words",
        len(pairs),
        "keep one of each in the file: a model that remembers the one scores on the other",
        " and ".join(quoted),
        quoted,
    )
