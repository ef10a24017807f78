"""Cross-validation: several divisions of the same texts, in which each text is a test text once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data.base import holding_out

LEAST, MOST = 3, 20  # folds: with two there would be nothing left to train on


@dataclass(frozen=True, order=True)
class Fold:
    """One of these divisions, as it is written: '2/5'. number: from 1 to count."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @classmethod
    def of(cls, written: str) -> Fold:
        number, count = written.split("/")
        return cls(int(number), int(count))

    @classmethod
    def all(cls, count: int) -> tuple[Fold, ...]:
        """Those of a division into so many parts."""
        return tuple(cls(number, count) for number in range(1, count + 1))

    def split_of(self, part: int) -> str:
        """What the texts of a part, from 0, are in this division."""
        return "test" if part == self.number - 1 else "val" if part == self.number % self.count else "train"


def parts(strata: Mapping[int, Sequence[str]], group_of: Mapping[str, str], count: int, salt: str) -> dict[str, int]:
    """The part of each text, from 0, in a division into so many of about the same size.

    strata: the texts by stratum, in the order of their hashes; each part has the same share of a stratum. All texts of
    a group are in the same part. Raises UserError where there are too few groups.
    """
    if group_of:
        stratum_of = {text: stratum for stratum, texts in strata.items() for text in texts}
        names = [str(part) for part in range(count - 1)]  # what these leave is the last part
        found = holding_out.by_group(stratum_of, group_of, names, share=count, salt=salt)
        return {text: int(part) if part in names else count - 1 for text, part in found.items()}
    # Not the same part has one text more than the others in every stratum.
    return {
        text: (place * count // len(texts) + stratum) % count
        for stratum, texts in strata.items()
        for place, text in enumerate(texts)
    }
