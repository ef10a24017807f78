"""Labelled texts outside of memory, and subsets of them in any order.

Shapes: N examples, 32 bytes of a SHA-256, which ranks texts.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, overload

import numpy as np

from data.base.texts import Example

BATCH = 8192  # texts held in memory at once


class Store(Protocol):
    """Texts that are read by their position."""

    def batch(self, places_N: np.ndarray) -> list[str]: ...


@dataclass(frozen=True)
class Listed:
    """Texts in memory."""

    texts: Sequence[str]

    def batch(self, places_N: np.ndarray) -> list[str]:
        return [self.texts[place] for place in places_N.tolist()]


class Written:
    """Texts in an anonymous temporary file, which the system removes once it is closed."""

    def __init__(self, folder: Path) -> None:
        """folder: for the file; if it cannot be written, the system's temporary folder is used instead."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (open for as long as the texts are needed)
        except OSError:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._ends = array("q", [0])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def append(self, text: str) -> None:
        self._ends.append(self._ends[-1] + self._file.write(text.encode("utf-8", "surrogatepass")))

    def batch(self, places_N: np.ndarray) -> list[str]:
        self._file.flush()
        number, ends = self._file.fileno(), self._ends
        pieces = (os.pread(number, ends[place + 1] - ends[place], ends[place]) for place in places_N.tolist())
        return [piece.decode("utf-8", "surrogatepass") for piece in pieces]


@dataclass(frozen=True)
class Joined:
    """The concatenation of several stores."""

    stores: Sequence[Store]
    starts: Sequence[int]

    def batch(self, places_N: np.ndarray) -> list[str]:
        store_N = np.searchsorted(self.starts, places_N, "right") - 1
        texts = [""] * len(places_N)
        for number in np.unique(store_N):
            members = np.flatnonzero(store_N == number)
            read = self.stores[number].batch(places_N[members] - self.starts[number])
            for place, text in zip(members, read, strict=True):
                texts[place] = text
        return texts


@dataclass(frozen=True, eq=False)
class Chosen(Sequence[Example]):
    """Labelled texts selected from a store. A text is read on access."""

    store: Store
    places_N: np.ndarray  # int64, positions in the store
    labels_N: np.ndarray  # int64
    ranks_N32: np.ndarray | None = None  # uint8, the hash of each text; None if not computed

    @classmethod
    def of(cls, examples: Sequence[Example]) -> Chosen:
        if isinstance(examples, Chosen):
            return examples
        labels_N = np.array([label for _, label in examples], dtype=np.int64)
        return cls(Listed([text for text, _ in examples]), np.arange(len(examples)), labels_N)

    def __len__(self) -> int:
        return len(self.places_N)

    @overload
    def __getitem__(self, place: int) -> Example: ...

    @overload
    def __getitem__(self, place: slice) -> Chosen: ...

    def __getitem__(self, place: int | slice) -> Example | Chosen:
        if isinstance(place, slice):
            return self.only(place)
        label = int(self.labels_N[place])  # raises IndexError beyond the end
        (text,) = self.store.batch(self.places_N[place : place + 1 or None])
        return text, label

    def __iter__(self) -> Iterator[Example]:
        labels = iter(self.labels_N.tolist())
        for texts in self.batches():
            for text in texts:
                yield text, next(labels)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(_equal, self, other))

    __hash__ = None  # type: ignore[assignment]

    @property
    def num_batches(self) -> int:
        return -(-len(self) // BATCH)

    def batch(self, number: int) -> list[str]:
        """The texts of batch `number`, BATCH of them (fewer in the last batch)."""
        return self.store.batch(self.places_N[number * BATCH : (number + 1) * BATCH])

    def batches(self) -> Iterator[list[str]]:
        """All texts, batch by batch."""
        return map(self.batch, range(self.num_batches))

    def batches_of_labels(self) -> Iterator[np.ndarray]:
        """All labels, in the same batches as the texts."""
        return (self.labels_N[start : start + BATCH] for start in range(0, len(self), BATCH))

    def only(self, places: slice | np.ndarray) -> Chosen:
        ranks = None if self.ranks_N32 is None else self.ranks_N32[places]
        return Chosen(self.store, self.places_N[places], self.labels_N[places], ranks)


def _equal(one: object, other: object) -> bool:
    return one == other


def joined(parts: Sequence[Chosen]) -> Chosen:
    """The concatenation of the parts, with ranks if all parts have them."""
    parts = [part for part in parts if len(part)] or parts[:1]
    starts = [0]
    for part in parts:
        starts.append(starts[-1] + int(part.places_N.max(initial=-1)) + 1)
    places_N = np.concatenate([part.places_N + start for part, start in zip(parts, starts, strict=False)])
    ranks = [part.ranks_N32 for part in parts]
    known = [ranks_N32 for ranks_N32 in ranks if ranks_N32 is not None]
    return Chosen(
        Joined([part.store for part in parts], starts[:-1]),
        places_N,
        np.concatenate([part.labels_N for part in parts]),
        np.concatenate(known) if len(known) == len(ranks) else None,
    )


def relabelled(examples: Sequence[Example], new: Sequence[int | None]) -> Chosen:
    """Maps every label to `new[label]`; examples whose new label is None are left out."""
    chosen = Chosen.of(examples)
    labels_N = np.array([-1 if label is None else label for label in new], dtype=np.int64)[chosen.labels_N]
    mapped = Chosen(chosen.store, chosen.places_N, labels_N, chosen.ranks_N32)
    return mapped if (labels_N >= 0).all() else mapped.only(np.flatnonzero(labels_N >= 0))


def labels_of(examples: Sequence[Example]) -> np.ndarray:
    """The labels, int64, without reading any text."""
    if isinstance(examples, Chosen):
        return examples.labels_N
    return np.array([label for _, label in examples], dtype=np.int64)
