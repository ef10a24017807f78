"""Detects groups and times among the unused columns."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from data.base.errors import UserError
from data.base.reading import Reading
from data.base.texts import SPLITS, Example, Texts
from data.corpora.table import Others
from data.corpora.times import NUMBER, UnclearError, moments
from data.inspecting.findings import Finding, counted, shortened

#: Words in the names of columns that hold groups or times.
GROUP_NAMES = re.compile(
    "author|user|username|account|customer|client|patient|speaker|person|writer|reviewer|thread|conversation|dialog|"
    "dialogue|session|ticket|product|item|movie|film|book|asin|article|document|doc|source|site|domain|url|channel|"
    "subreddit|group|id"
)
TIME_NAMES = re.compile("date|datetime|time|timestamp|day|year|created|posted|published|updated|at")

FEWEST_GROUPS = 10  # a column with fewer values more likely holds a category, such as a language
PER_GROUP = 1.5  # minimum mean number of texts per group
LARGEST = 0.5  # maximum share of texts in one group
CORRECTED = 0.3  # minimum share of the majority baseline's errors that groups correct
NUM_TIMES = 1_000  # distinct values that are parsed as times

EPOCHS = ((1e8, 1e11), (1e11, 1e14))  # seconds and milliseconds since 1970
DAYS = (19_000_101, 21_001_231)  # as numbers


def findings(others: Others, reading: Reading) -> Iterator[Finding]:
    """Columns that look like groups or times, unless the spec already names such a column."""
    for name, values in others.columns.items():
        if time := _time(name, values):
            yield from [time] if reading.time_column is None else []
        elif reading.group_column is None:
            yield from _groups(name, values, others.labels)


def _groups(name: str, values: Sequence[str], labels: Sequence[str]) -> Iterator[Finding]:
    pairs = [(value, label) for value, label in zip(values, labels, strict=True) if value]
    sizes = Counter(value for value, _ in pairs)
    named = any(map(GROUP_NAMES.fullmatch, _words(name)))
    if len(sizes) < FEWEST_GROUPS or len(pairs) < PER_GROUP * len(sizes):
        return
    if sizes.most_common(1)[0][1] > LARGEST * len(pairs):
        return
    majority, predicted = _accuracies(pairs)
    is_predictive = predicted - majority >= CORRECTED * (1 - majority)
    if not named and not is_predictive:
        return
    yield Finding(
        "groups",
        "serious" if is_predictive else "minor",
        f"column {shortened(name, 30)} has {len(sizes):,} values for {counted(len(pairs), 'text')}"
        + (
            f", and other texts with the same value predict {predicted:.0%} of the labels (the majority {majority:.0%})"
            if is_predictive
            else ""
        ),
        len(sizes),
        "if new texts will come from other groups (authors, threads, products), keep every group in one split: "
        f"group_column: {name}",
    )


def _accuracies(pairs: Sequence[tuple[str, str]]) -> tuple[float, float]:
    """The accuracy of predicting the majority label, and of predicting a label by the other texts of its group."""
    by_group: dict[str, Counter[str]] = defaultdict(Counter)
    for value, label in pairs:
        by_group[value][label] += 1
    num_right = 0
    for labels in by_group.values():
        for label, number in labels.items():
            if number - 1 > max((count for other, count in labels.items() if other != label), default=0):
                num_right += number
    majority = Counter(label for _, label in pairs).most_common(1)[0][1]
    return majority / len(pairs), num_right / len(pairs)


def _time(name: str, values: Sequence[str]) -> Finding | None:
    first = list(dict.fromkeys(filter(None, values)))[:NUM_TIMES]
    if len(first) < len(SPLITS) or not all(values):
        return None
    if all(map(NUMBER.fullmatch, first)) and not _are_times(name, [float(value) for value in first]):
        return None
    more = ""
    try:
        moments(dict.fromkeys(first, 0), name, "row", None)
    except UnclearError:
        more = ", with time_format"
    except UserError:
        return None
    return Finding(
        "times",
        "minor",
        f"column {shortened(name, 30)} has times",
        len(values),
        f"if new texts will be newer than these, train on older and test on newer texts: time_column: {name}{more}",
        shortened(first[0], 30),
    )


def _are_times(name: str, numbers: Sequence[float]) -> bool:
    bounds = [*EPOCHS, DAYS] if any(map(TIME_NAMES.fullmatch, _words(name))) else [EPOCHS[0]]
    if name.casefold() == "year":
        bounds.append((1000, 2999))
    return any(low <= min(numbers) and max(numbers) <= high for low, high in bounds)


def _words(name: str) -> list[str]:
    """'reviewerID', 'user_id' -> reviewer, id; user, id."""
    return re.sub(r"([a-z])([A-Z])", r"\1 \2", name).casefold().replace("_", " ").replace("-", " ").split()


def of_splits(splits: Mapping[str, Sequence[Example]], texts: Texts) -> Iterator[Finding]:
    """Problems of given splits if texts have groups or times."""
    if not texts.group_of and not texts.time_of:
        return
    held_out = [text for split in SPLITS[1:] for text, _ in splits.get(split, ())]
    train = [text for text, _ in splits.get("train", ())]
    splits_of: dict[str, set[str]] = defaultdict(set)
    for split, examples in splits.items():
        for text, _ in examples:
            if text in texts.group_of:
                splits_of[texts.group_of[text]].add(split)
    if spanning := sorted(group for group, group_splits in splits_of.items() if len(group_splits) > 1):
        yield Finding(
            "groups in two splits",
            "serious",
            f"{counted(len(spanning), 'group')} {'has' if len(spanning) == 1 else 'have'} texts in several splits",
            len(spanning),
            "scores do not hold for new groups; split_column: none divides the texts again, by group_column",
            shortened(spanning[0], 30),
        )
    if held_times := [texts.time_of[text] for text in held_out if text in texts.time_of]:
        newer = [text for text in train if texts.time_of[text] >= min(held_times)]
        if newer:
            yield Finding(
                "future in training",
                "serious",
                f"{counted(len(newer), 'training text')} {'is' if len(newer) == 1 else 'are'} not older than all "
                "held-out texts",
                len(newer),
                "scores do not hold for future texts; split_column: none divides the texts again, by time_column",
                shortened(newer[0]),
            )
