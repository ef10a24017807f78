"""What is found out about labelled texts before anything is trained, as plain values that can be kept as JSON."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal

#: How much a finding matters, the worst first: no search can be run; scores mislead; worth knowing.
SEVERITIES = ("blocking", "serious", "minor")
Severity = Literal["blocking", "serious", "minor"]

HIDDEN = "..."  # in place of words of the texts, where these may not be


@dataclass(frozen=True)
class Finding:
    """Something about the texts that a user should know, and what to do about it.

    kind: what tells findings apart, such as 'near duplicates'. what: a sentence. how_many: texts or classes that it
    concerns. example: one of them, in a few words. remedy: a sentence, with the key of the spec where there is one.
    quoted: what of it, in `what` or the example, are words of the texts.
    """

    kind: str
    severity: Severity
    what: str
    how_many: int
    remedy: str
    example: str = ""
    quoted: tuple[str, ...] = ()

    def without_texts(self) -> Finding:
        """The same with dots for what is quoted."""
        what, example = self.what, self.example
        for words in self.quoted:
            what, example = what.replace(words, HIDDEN), example.replace(words, HIDDEN)
        return dataclasses.replace(self, what=what, example=example, quoted=())


@dataclass(frozen=True)
class ClassCount:
    """How many texts a class has, in all and in each split (none where the texts cannot be divided)."""

    name: str
    total: int
    splits: dict[str, int]


@dataclass(frozen=True)
class Cut:
    """What is not read of the texts at this `max_words`: shares, in [0, 1], of the texts and of all their words."""

    max_words: int
    texts: float
    words: float


@dataclass(frozen=True)
class Lengths:
    """How many words the texts have. enough: the `max_words` that reads 95 % of all words. histogram: for each range of
    lengths, from 1 in powers of two, the longest length in it and how many texts are so long."""

    median: int
    most: int  # of 95 % of the texts
    longest: int
    enough: int
    cuts: tuple[Cut, ...]
    histogram: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Unknown:
    """The share, in [0, 1], of the words read that are not in the vocabulary, and the most frequent of these."""

    share: float
    words: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Inspection:
    """What was understood of a corpus, and what was found in it, the worst first.

    understood: facts of how it was read, by name. num_looked_at: texts whose words were looked at, fewer than there are
    of a large corpus. lengths, unknown: None where there is no word, or no vocabulary, to tell.
    """

    name: str
    understood: dict[str, str]
    num_texts: int
    num_looked_at: int
    classes: tuple[ClassCount, ...]
    lengths: Lengths | None
    unknown: Unknown | None
    findings: tuple[Finding, ...]
    sizes: dict[str, int] = dataclasses.field(default_factory=dict)  # texts by split; not in what was kept before

    @property
    def majority(self) -> ClassCount:
        """The largest class; of equal ones the first."""
        return max(self.classes, key=lambda each: each.total)

    @property
    def majority_share(self) -> float:
        """The share of the texts that are of the largest class."""
        return self.majority.total / max(1, self.num_texts)

    def count(self, split: str) -> int:
        return self.sizes.get(split, 0) if self.sizes else sum(each.splits.get(split, 0) for each in self.classes)

    def without_texts(self) -> Inspection:
        """The same without any word of the texts; names of classes stay."""
        unknown = self.unknown and dataclasses.replace(self.unknown, words=())
        return dataclasses.replace(
            self, findings=tuple(each.without_texts() for each in self.findings), unknown=unknown
        )

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Inspection:
        """What `to_json` wrote. Raises ValueError, KeyError or TypeError for anything else."""
        content: dict[str, Any] = json.loads(text)
        lengths, unknown = content["lengths"], content["unknown"]
        for each in content["findings"]:
            each["quoted"] = tuple(each.get("quoted", ()))
        if lengths:
            lengths["cuts"] = tuple(Cut(**each) for each in lengths["cuts"])
            lengths["histogram"] = tuple(map(tuple, lengths["histogram"]))
        if unknown:
            unknown["words"] = tuple(map(tuple, unknown["words"]))
        return cls(
            **content
            | {
                "classes": tuple(ClassCount(**each) for each in content["classes"]),
                "lengths": Lengths(**lengths) if lengths else None,
                "unknown": Unknown(**unknown) if unknown else None,
                "findings": tuple(Finding(**each) for each in content["findings"]),
            }
        )


def by_severity(findings: list[Finding]) -> tuple[Finding, ...]:
    """The worst first; those equally bad in the order in which they were found."""
    return tuple(sorted(findings, key=lambda each: SEVERITIES.index(each.severity)))


def shortened(text: str, most: int = 60) -> str:
    """A text, or its beginning, quoted on one line, without characters that a terminal would obey."""
    line = " ".join(text[: 4 * most].split())
    return repr(line if len(line) <= most and len(text) <= 4 * most else f"{line[: most - 3].rstrip()}...")


def counted(number: int, one: str, many: str = "") -> str:
    """'1 text', '2,000 texts'."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
