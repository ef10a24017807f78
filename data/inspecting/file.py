"""What was understood of a file, in words, and what about it a user should look at."""

from __future__ import annotations

from collections.abc import Iterator

from data.base.reading import Understood
from data.inspecting.findings import Finding, counted, shortened

MANY = 0.1  # share of the rows that are lost
SERIOUS = 0.01  # share of the rows that contradict each other


def facts(understood: Understood) -> dict[str, str]:
    """How the texts were read, each thing in a few words."""
    found = {}
    if understood.format:
        file = [understood.format, understood.compression, understood.encoding]
        if understood.separator:
            file.append(f"{understood.separator} between cells")
        if not understood.header:
            file.append("no header")
        found["file"] = ", ".join(filter(None, file))
        found["texts"] = f"column {understood.text_column!r}"
        found["labels"] = f"column {understood.label_column!r}"
        if understood.split_column:
            found["splits"] = f"column {understood.split_column!r}"
        if understood.group_column:
            found["groups"] = f"column {understood.group_column!r}, {understood.num_groups:,} of them"
        if understood.time_column:
            found["times"] = f"column {understood.time_column!r}"
        used = {getattr(understood, f"{role}_column") for role in ("text", "label", "split", "group", "time")}
        if left := [name for name in understood.columns if name not in used]:
            more = ", ..." if len(left) > 10 else ""
            found["not used"] = ", ".join(shortened(name, 30) for name in left[:10]) + more
        found["rows"] = f"{understood.num_rows:,}"
    if understood.positive_class:
        found["positive"] = f"{shortened(understood.positive_class, 40)}, {understood.positive_class_because}"
    found["duplicates"] = f"{understood.num_duplicates:,} removed"
    if understood.num_near_duplicates:
        found["duplicates"] += f", {understood.num_near_duplicates:,} of them but for case, spaces or end punctuation"
    return found


def of_reading(understood: Understood, contradictions: str) -> Iterator[Finding]:
    """What had to be changed or left out. contradictions: how texts of several labels are read."""
    if rows := understood.num_contradictory:
        done = {"drop": "left out", "majority": "kept with the label that most have"}
        yield Finding(
            "contradictions",
            "serious" if rows >= SERIOUS * max(1, understood.num_rows) else "minor",
            f"{counted(understood.num_contradictions, 'text')}, in {counted(rows, 'row')}, with more than one label, "
            f"{'is' if understood.num_contradictions == 1 else 'are'} "
            f"{done.get(contradictions, 'kept with the first of their labels')}",
            understood.num_contradictions,
            "correct their labels; or choose what is done: contradictions: drop or majority",
        )
    if number := understood.num_spanning:
        yield Finding(
            "groups over time",
            "serious" if number >= MANY * understood.num_rows else "minor",
            f"{counted(number, 'text')} of groups that are in a later split {'is' if number == 1 else 'are'} left out",
            number,
            "this is the price of both; leave out group_column or time_column to keep all texts",
        )
    if number := understood.num_control_characters:
        yield Finding(
            "control characters",
            "serious",
            f"{counted(number, 'control character')}, such as NUL, became spaces",
            number,
            "look at how the file was written: it may be damaged, or in another encoding",
        )
    for what, left, remedy in (
        ("left out", understood.dropped, "min_examples: merge keeps their texts, as one class"),
        ("merged into one class", understood.merged, "labels: says which classes belong together"),
    ):
        if left:
            listed = ", ".join(f"{shortened(name, 30)} ({count:,})" for name, count in list(left.items())[:5])
            yield Finding(
                "rare classes",
                "minor",
                f"{counted(len(left), 'class', 'classes')} of too few texts, {sum(left.values()):,} in all, are {what}",
                sum(left.values()),
                remedy,
                listed + (", ..." if len(left) > 5 else ""),
            )
