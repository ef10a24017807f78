"""Labelled texts, and the interface of a corpus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from data.base.reading import USUAL, Reading, Understood

if TYPE_CHECKING:
    import numpy as np

SPLITS = ("train", "val", "test")

Example = tuple[str, int]  # a text and the index of its class


@dataclass(frozen=True)
class Texts:
    """The content of a corpus: class names, in order, and examples, with those of official splits kept separately."""

    classes: tuple[str, ...]
    examples: Sequence[Example]  # a list, or a lazy sequence (data.base.chosen.Chosen)
    test_examples: Sequence[Example] | None = None
    val_examples: Sequence[Example] | None = None
    understood: Understood = field(default_factory=Understood)
    group_of: Mapping[str, str] = field(default_factory=dict)  # text -> group; texts without a group are missing
    time_of: Mapping[str, float] = field(default_factory=dict)  # text -> when it was written, as a sortable number

    @property
    def label_separator(self) -> str | None:
        """The separator between the classes of a multi-label text (see `LabelSets`); None for single-label texts."""
        return None

    @property
    def learned_classes(self) -> tuple[str, ...]:
        """The classes that models predict: `classes`, except for multi-label texts."""
        return self.classes

    def places(self, label: int) -> tuple[int, ...]:
        """The indices in `learned_classes` of the classes that a label stands for."""
        return (label,)

    def strata(self, counts: Mapping[int, int]) -> Sequence[int]:
        """For each label, the label of the stratum that its examples belong to. All splits get the same share of every
        stratum. counts: number of examples by label."""
        return range(len(self.classes))

    def arrays(self, split: str, examples: Sequence[Example]) -> dict[str, np.ndarray]:
        """Targets of these examples besides the class: arrays with one row per example, under the names that the
        corpus declares in its attribute `arrays`."""
        return {}


class Corpus(Protocol):
    """The interface of the entries of `data.CORPORA`. The constructor is cheap, and performs all cheap checks.

    A corpus with further targets besides the class lists their names in a class attribute `arrays`; its `read` returns
    a subclass of `Texts` that provides them.
    """

    def fingerprint(self) -> str:
        """Identifies the texts that `read` returns, without reading all of them; part of the cache key."""

    def read(self, downloads: Path, *, progress: bool, reading: Reading = USUAL) -> Texts:
        """Reads all texts. downloads: folder for downloaded files. reading: options for a user's file.

        Raises UserError for an invalid file.
        """
