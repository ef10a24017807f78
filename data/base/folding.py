"""Cross-validation: several divisions of the same texts, such that every text is in exactly one test split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data.base import holding_out

LEAST, MOST = 3, 20  # folds; with two, the test and validation parts would leave nothing to train on


@dataclass(frozen=True, order=True)
class Fold:
    """One fold of a cross-validation, written '2/5'. number: from 1 to count."""

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
        """The folds of a cross-validation with `count` parts."""
        return tuple(cls(number, count) for number in range(1, count + 1))

    def split_of(self, part: int) -> str:
        """The split ('train', 'val' or 'test') that a part (from 0) has in this fold."""
        return "test" if part == self.number - 1 else "val" if part == self.number % self.count else "train"


def parts(strata: Mapping[int, Sequence[str]], group_of: Mapping[str, str], count: int, salt: str) -> dict[str, int]:
    """Assigns each text to one of `count` parts (from 0) of about equal size.

    strata: the texts of each stratum, ordered by hash; every part gets the same share of every stratum. All texts of a
    group go to the same part. Raises UserError if there are too few groups.
    """
    if group_of:
        stratum_of = {text: stratum for stratum, texts in strata.items() for text in texts}
        names = [str(part) for part in range(count - 1)]  # the last part gets the rest
        part_of = holding_out.by_group(stratum_of, group_of, names, share=count, salt=salt)
        return {text: int(part) if part in names else count - 1 for text, part in part_of.items()}
    # The offset by stratum spreads the remainders: otherwise the same parts would get one more text in every stratum.
    return {
        text: (place * count // len(texts) + stratum) % count
        for stratum, texts in strata.items()
        for place, text in enumerate(texts)
    }
