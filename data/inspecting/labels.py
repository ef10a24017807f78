"""What is odd about the classes: too many, too few texts, one written in two ways, several in one."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence

from data.inspecting.findings import ClassCount, Finding, counted, shortened

SEPARATORS = (";", "|", ",", "/")  # of several labels in one cell
LIST = re.compile(r"""\[\s*(['"].*['"]|\d+([\s,]+\d+)*)?\s*\]""", re.DOTALL)  # as Python, JSON and NumPy write one
INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\u00ad]")
LARGE = 0.9  # share of a class from which accuracy says little; half as serious from MANY
MANY = 0.75
RARE = 0.01  # share of a class, and at most a fifth of an even share where there are many
FEW = 5  # test texts of a class on which its score is luck


def odd_labels(classes: Sequence[ClassCount], total: int, separator: str | None = None) -> Iterator[Finding]:
    """All findings about classes, of their names and counts alone. total: of the texts. separator: of the classes of a
    text, where it can have several."""
    if 2 * len(classes) > max(total, 20):
        yield Finding(
            "labels like ids",
            "serious",
            f"There are {len(classes):,} labels for {total:,} texts: they look like ids or free text, not like classes",
            len(classes),
            "name the column of the classes: label_column",
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
    for each in classes:
        alike[folded(each.name)].append(each)
    groups = [sorted(group, key=lambda each: -each.total) for group in alike.values() if len(group) > 1]
    if groups:
        merges = {other.name: first.name for first, *others in groups for other in others}
        pairs = ", ".join(f"{first!r} and {other!r}" for other, first in list(merges.items())[:4])
        listed = ", ".join(f"{_yaml(other)}: {_yaml(first)}" for other, first in list(merges.items())[:8])
        more = ", ..." if len(merges) > 8 else ""
        yield Finding(
            "labels alike",
            "serious",
            f"Some labels differ by case, spaces or the form of a number only, and are classes of their own: {pairs}"
            + (", ..." if len(merges) > 4 else ""),
            len(merges),
            f"if they mean the same, merge them: labels: {{{listed}{more}}}",
        )


def folded(label: str) -> str:
    """What two ways to write a label have in common: 'Not_Spam' and 'not spam', '1' and '1.0'."""
    label = INVISIBLE.sub("", unicodedata.normalize("NFKC", label)).strip()
    try:
        if math.isfinite(number := float(label)):
            return repr(number + 0.0)
    except ValueError:
        pass
    return re.sub(r"[\s_-]+", " ", label.casefold()).strip()


def _several_in_one(classes: Sequence[ClassCount]) -> Iterator[Finding]:
    """Labels with a separator in them whose parts are labels, or parts of others, too; or written as lists."""
    if lists := [each for each in classes if LIST.fullmatch(each.name)]:
        yield Finding(
            "several labels",
            "serious",
            f"{counted(len(lists), 'label')} of {sum(each.total for each in lists):,} texts "
            f"{'is written as a list' if len(lists) == 1 else 'are written as lists'}, each a class of its own",
            len(lists),
            "write the labels of a text with ; between them and nothing around, a;b, and set multi_label: ';'",
            shortened(max(lists, key=lambda each: len(each.name)).name),
        )
        return
    for separator in SEPARATORS:
        parts = {each.name: {part.strip() for part in each.name.split(separator)} for each in classes}
        seen: dict[str, int] = defaultdict(int)
        for own in parts.values():
            for part in own:
                seen[part] += 1
        several = [each for each in classes if separator in each.name and any(seen[p] > 1 for p in parts[each.name])]
        if several:
            yield Finding(
                "several labels",
                "serious",
                f"{counted(len(several), 'label')} of {sum(each.total for each in several):,} texts "
                f"{'looks' if len(several) == 1 else 'look'} like several with {separator!r} between them, each set of "
                "them a class of its own",
                len(several),
                f"if a text can have several classes: multi_label: {separator!r}",
                shortened(several[0].name),
            )
            return


def _unbalanced(classes: Sequence[ClassCount], total: int) -> Iterator[Finding]:
    largest = max(classes, key=lambda each: each.total)
    if len(classes) > 1 and total and (share := largest.total / total) >= MANY:
        yield Finding(
            "imbalanced",
            "serious" if share >= LARGE else "minor",
            f"{share:.1%} of the texts are {shortened(largest.name, 30)}, the accuracy of always saying so",
            largest.total,
            "rank by what counts each class alike, metric: val_macro_f1; and try class_weights: balanced",
        )


def _rare(classes: Sequence[ClassCount], total: int) -> Iterator[Finding]:
    bound = min(RARE, 0.2 / len(classes))
    rare = [each for each in classes if each.total < bound * total or each.splits.get("test", FEW) < FEW]
    if rare:
        least = min(rare, key=lambda each: each.total)
        yield Finding(
            "rare classes",
            "minor",
            f"{counted(len(rare), 'class', 'classes')} "
            f"{'has' if len(rare) == 1 else 'have'} few texts: under {bound:.1%} of all or under {FEW} to test on, so "
            "that scores of them are luck",
            len(rare),
            "label more of them, or leave out or merge rare classes: min_examples or labels",
            f"{shortened(least.name, 30)} has {counted(least.total, 'text')}",
        )


def _yaml(label: str) -> str:
    """In quotes; what cannot be seen as a number."""
    escaped = label.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in escaped) + '"'
