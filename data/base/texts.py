"""What a corpus is: labelled texts by class."""

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
    """What a corpus reads: its class names, in order, and its examples; those of official splits apart."""

    classes: tuple[str, ...]
    examples: Sequence[Example]  # a list, or what reads texts when they are asked for: data.base.chosen.Chosen
    test_examples: Sequence[Example] | None = None
    val_examples: Sequence[Example] | None = None
    understood: Understood = field(default_factory=Understood)
    group_of: Mapping[str, str] = field(default_factory=dict)  # text -> group, of those that have one
    time_of: Mapping[str, float] = field(default_factory=dict)  # text -> when it was written, as a number that orders

    @property
    def label_separator(self) -> str | None:
        """What stands between the classes of a text, where it can have several (see `LabelSets`)."""
        return None

    @property
    def learned_classes(self) -> tuple[str, ...]:
        """What is told apart in the end: the classes, but for texts of several."""
        return self.classes

    def places(self, label: int) -> tuple[int, ...]:
        """Of the examples with this label, the places of their classes among the `learned_classes`."""
        return (label,)

    def strata(self, counts: Mapping[int, int]) -> Sequence[int]:
        """By label, the label of the stratum in which its examples are divided: of each every split has the same
        share. counts: of examples by label."""
        return range(len(self.classes))

    def arrays(self, split: str, examples: Sequence[Example]) -> dict[str, np.ndarray]:
        """What examples of this split ask for besides a class: arrays of as many rows, by the names that the corpus's
        `arrays` declares."""
        return {}


class Corpus(Protocol):
    """What an entry of `data.CORPORA` builds. Building one is cheap, and checks what is cheap to check.

    A class whose texts ask for more than a class names that in an attribute `arrays`, and reads `Texts` that have them.
    """

    def fingerprint(self) -> str:
        """Says which texts `read` gives without reading them all again; part of the cache's key."""

    def read(self, downloads: Path, *, progress: bool, reading: Reading = USUAL) -> Texts:
        """All texts. `downloads` is the folder for files from the network; `reading` says how a user's file is read.

        Raises UserError for a bad file.
        """
