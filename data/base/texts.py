"""What a corpus is: labelled texts by class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

SPLITS = ("train", "val", "test")

Example = tuple[str, int]  # a text and the index of its class


@dataclass(frozen=True)
class Texts:
    """What a corpus reads: its class names, in order, and its examples; those of an official test apart."""

    classes: tuple[str, ...]
    examples: list[Example]
    test_examples: list[Example] | None = None


class Corpus(Protocol):
    """What an entry of `data.CORPORA` builds. Building one is cheap, and checks what is cheap to check."""

    def fingerprint(self) -> str:
        """Says which texts `read` gives without reading them all again; part of the cache's key."""

    def read(self, downloads: Path, *, progress: bool) -> Texts:
        """All texts. `downloads` is the folder for files from the network. UserError for a bad file."""
