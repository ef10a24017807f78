"""The result of inspecting labelled texts, as plain values that can be saved as JSON."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal

#: From the worst on: no search is possible; scores mislead; worth knowing.
SEVERITIES = ("blocking", "serious", "minor")
Severity = Literal["blocking", "serious", "minor"]

HIDDEN = "..."  # replaces words of the texts where they must not appear


@dataclass(frozen=True)
class Finding:
    """A possible problem of the texts, and its remedy.

    kind: a short name such as 'near duplicates'. what: a sentence. how_many: number of texts or classes concerned.
    remedy: a sentence, with the key of the spec if there is one. example: one of the texts or classes, in a few words.
    quoted: the parts of `what` and `example` that quote the texts.
    """

    kind: str
    severity: Severity
    what: str
    how_many: int
    remedy: str
    example: str = ""
    quoted: tuple[str, ...] = ()

    def without_texts(self) -> Finding:
        """The finding with all quotes replaced by dots."""
        what, example = self.what, self.example
        for words in self.quoted:
            what, example = what.replace(words, HIDDEN), example.replace(words, HIDDEN)
        return dataclasses.replace(self, what=what, example=example, quoted=())


@dataclass(frozen=True)
class ClassCount:
    """The number of texts of a class, in total and by split (empty if the texts cannot be divided)."""

    name: str
    total: int
    splits: dict[str, int]


@dataclass(frozen=True)
class Cut:
    """What truncation to `max_words` cuts: shares, in [0, 1], of truncated texts and of words that are not read."""

    max_words: int
    texts: float
    words: float


@dataclass(frozen=True)
class Lengths:
    """The lengths of the texts, in words.

    enough: the `max_words` that keeps 95 % of all words. histogram: for every bin (powers of two) its upper bound and
    the number of texts in it.
    """

    median: int
    most: int  # the 95 % quantile
    longest: int
    enough: int
    cuts: tuple[Cut, ...]
    histogram: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Unknown:
    """The share, in [0, 1], of words outside of the vocabulary, and the most frequent ones with their counts."""

    share: float
    words: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Inspection:
    """Facts about a corpus, and findings, the worst first.

    understood: how it was read, fact by name. num_looked_at: number of texts whose words were inspected, a sample of a
    large corpus. lengths: None if there are no words. unknown: None if there are no words or no vocabulary.
    """

    name: str
    understood: dict[str, str]
    num_texts: int
    num_looked_at: int
    classes: tuple[ClassCount, ...]
    lengths: Lengths | None
    unknown: Unknown | None
    findings: tuple[Finding, ...]
    sizes: dict[str, int] = dataclasses.field(default_factory=dict)  # texts by split; empty if read from an older file

    @property
    def majority(self) -> ClassCount:
        """The largest class; the first one of a tie."""
        return max(self.classes, key=lambda count: count.total)

    @property
    def majority_share(self) -> float:
        """The share of the largest class, in [0, 1]."""
        return self.majority.total / max(1, self.num_texts)

    def count(self, split: str) -> int:
        return self.sizes.get(split, 0) if self.sizes else sum(count.splits.get(split, 0) for count in self.classes)

    def without_texts(self) -> Inspection:
        """The inspection without any words of the texts; names of classes are kept."""
        unknown = self.unknown and dataclasses.replace(self.unknown, words=())
        return dataclasses.replace(
            self, findings=tuple(finding.without_texts() for finding in self.findings), unknown=unknown
        )

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Inspection:
        """Reads what `to_json` wrote. Raises ValueError, KeyError or TypeError for any other content."""
        content: dict[str, Any] = json.loads(text)
        lengths, unknown = content["lengths"], content["unknown"]
        for finding in content["findings"]:
            finding["quoted"] = tuple(finding.get("quoted", ()))
        if lengths:
            lengths["cuts"] = tuple(Cut(**cut) for cut in lengths["cuts"])
            lengths["histogram"] = tuple(map(tuple, lengths["histogram"]))
        if unknown:
            unknown["words"] = tuple(map(tuple, unknown["words"]))
        return cls(
            **content
            | {
                "classes": tuple(ClassCount(**count) for count in content["classes"]),
                "lengths": Lengths(**lengths) if lengths else None,
                "unknown": Unknown(**unknown) if unknown else None,
                "findings": tuple(Finding(**finding) for finding in content["findings"]),
            }
        )


def by_severity(findings: list[Finding]) -> tuple[Finding, ...]:
    """Sorts findings, the worst first (stable)."""
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))


def shortened(text: str, most: int = 60) -> str:
    """A text, or its beginning, quoted on one line, with control characters escaped."""
    line = " ".join(text[: 4 * most].split())
    return repr(line if len(line) <= most and len(text) <= 4 * most else f"{line[: most - 3].rstrip()}...")


def counted(number: int, one: str, many: str = "") -> str:
    """'1 text', '2,000 texts'."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
