"""Findings about labels: too many or rare classes, one class spelled in two ways, several classes in one label."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from data.inspecting.findings import ClassCount, Finding, counted, shortened

SEPARATORS = (";", "|", ",", "/")  # between several labels in one cell
LIST = re.compile(r"""\[\s*(['"].*['"]|\d+([\s,]+\d+)*)?\s*\]""", re.DOTALL)  # as written by Python, JSON and NumPy
INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\u00ad]")
MANY, LARGE = 0.75, 0.9  # shares of the largest class from which accuracy says little: minor, serious
RARE = 0.01  # maximum share of a rare class; with many classes, a fifth of an equal share
FEW = 5  # with fewer test texts, the score of a class depends on chance


def odd_labels(classes: Sequence[ClassCount], total: int, separator: str | None = None) -> Iterator[Finding]:
    """Findings from the names and sizes of classes.

    total: number of texts. separator: between the classes of a multi-label text; None for single-label texts.
    """
    if 2 * len(classes) > max(total, 20):
        yield Finding(
            "labels like ids",
            "serious",
            f"There are {len(classes):,} labels for {total:,} texts: they look like ids or free text, not like classes",
            len(classes),
            "give the column of the classes: label_column",
            shortened(classes[0].name),
        )
        return
    yield from _written_in_two_ways(classes)
    if separator is None:
        yield from _several_in_one(classes)
        yield from _unbalanced(classes, total)
    yield from _rare(classes, total)


def _written_in_two_ways(classes: Sequence[ClassCount]) -> Iterator[Finding]:
    alike: dict[str, list[ClassCount]] = defaultdict(list)
    for count in classes:
        alike[folded(count.name)].append(count)
    groups = [sorted(group, key=lambda count: -count.total) for group in alike.values() if len(group) > 1]
    if groups:
        merges = {other.name: first.name for first, *others in groups for other in others}
        pairs = ", ".join(f"{first!r} and {other!r}" for other, first in list(merges.items())[:4])
        listed = ", ".join(f"{_yaml(other)}: {_yaml(first)}" for other, first in list(merges.items())[:8])
        more = ", ..." if len(merges) > 8 else ""
        yield Finding(
            "labels alike",
            "serious",
            f"Some labels differ only in case, spaces or the form of a number, but are separate classes: {pairs}"
            + (", ..." if len(merges) > 4 else ""),
            len(merges),
            f"if they mean the same, merge them: labels: {{{listed}{more}}}",
        )


def folded(label: str) -> str:
    """A normal form, equal for spellings of the same label: 'Not_Spam' and 'not spam', '1' and '1.0'."""
    label = INVISIBLE.sub("", unicodedata.normalize("NFKC", label)).strip()
    try:
        if math.isfinite(number := float(label)):
            return repr(number + 0.0)
    except ValueError:
        pass
    return re.sub(r"[\s_-]+", " ", label.casefold()).strip()


def _several_in_one(classes: Sequence[ClassCount]) -> Iterator[Finding]:
    """Labels that contain a separator and parts of other labels, or that are written as lists."""
    if lists := [count for count in classes if LIST.fullmatch(count.name)]:
        yield Finding(
            "several labels",
            "serious",
            f"{counted(len(lists), 'label')} of {sum(count.total for count in lists):,} texts "
            + ("is written as a list, which is one class" if len(lists) == 1 else "are lists, each of them one class"),
            len(lists),
            "write the labels of a text with ; between them and no brackets, a;b, and set multi_label: ';'",
            shortened(max(lists, key=lambda count: len(count.name)).name),
        )
        return
    for separator in SEPARATORS:
        parts_of = {count.name: {part.strip() for part in count.name.split(separator)} for count in classes}
        frequency = Counter(part for parts in parts_of.values() for part in parts)
        several = [
            count
            for count in classes
            if separator in count.name and any(frequency[part] > 1 for part in parts_of[count.name])
        ]
        if several:
            yield Finding(
                "several labels",
                "serious",
                f"{counted(len(several), 'label')} of {sum(count.total for count in several):,} texts "
                f"{'looks' if len(several) == 1 else 'look'} like several with {separator!r} between them, but every "
                "combination is one class",
                len(several),
                f"if a text can have several classes: multi_label: {separator!r}",
                shortened(several[0].name),
            )
            return


def _unbalanced(classes: Sequence[ClassCount], total: int) -> Iterator[Finding]:
    largest = max(classes, key=lambda count: count.total)
    if len(classes) > 1 and total and (share := largest.total / total) >= MANY:
        yield Finding(
            "imbalanced",
            "serious" if share >= LARGE else "minor",
            f"{share:.1%} of the texts are {shortened(largest.name, 30)}, the accuracy of always predicting this class",
            largest.total,
            "rank by a metric that weights classes equally, metric: val_macro_f1; and try class_weights: balanced",
        )


def _rare(classes: Sequence[ClassCount], total: int) -> Iterator[Finding]:
    bound = min(RARE, 0.2 / len(classes))
    rare = [count for count in classes if count.total < bound * total or count.splits.get("test", FEW) < FEW]
    if rare:
        least = min(rare, key=lambda count: count.total)
        yield Finding(
            "rare classes",
            "minor",
            f"{counted(len(rare), 'class', 'classes')} "
            f"{'has' if len(rare) == 1 else 'have'} few texts: under {bound:.1%} of all or under {FEW} to test on, so "
            "that their scores depend on chance",
            len(rare),
            "label more of them, or leave out or merge rare classes: min_examples or labels",
            f"{shortened(least.name, 30)} has {counted(least.total, 'text')}",
        )


def _yaml(label: str) -> str:
    """The label as a quoted YAML string, with unprintable characters escaped."""
    escaped = label.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in escaped) + '"'
