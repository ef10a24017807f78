"""The facts detected while reading a file, in words, and findings about them."""

from __future__ import annotations

from collections.abc import Iterator

from data.base.reading import Understood
from data.inspecting.findings import Finding, counted, shortened

MANY = 0.1  # share of left-out rows that makes a finding serious
SERIOUS = 0.01  # share of contradictory rows that makes a finding serious


def facts(understood: Understood) -> dict[str, str]:
    """How the texts were read: fact -> a few words."""
    described = {}
    if understood.format:
        file = [understood.format, understood.compression, understood.encoding]
        if understood.separator:
            file.append(f"{understood.separator} between cells")
        if not understood.header:
            file.append("no header")
        described["file"] = ", ".join(filter(None, file))
        described["texts"] = f"column {understood.text_column!r}"
        described["labels"] = f"column {understood.label_column!r}"
        if understood.split_column:
            described["splits"] = f"column {understood.split_column!r}"
        if understood.group_column:
            described["groups"] = f"column {understood.group_column!r}, {understood.num_groups:,} of them"
        if understood.time_column:
            described["times"] = f"column {understood.time_column!r}"
        used = {getattr(understood, f"{role}_column") for role in ("text", "label", "split", "group", "time")}
        if left := [name for name in understood.columns if name not in used]:
            more = ", ..." if len(left) > 10 else ""
            described["not used"] = ", ".join(shortened(name, 30) for name in left[:10]) + more
        described["rows"] = f"{understood.num_rows:,}"
    if understood.positive_class:
        described["positive"] = f"{shortened(understood.positive_class, 40)}, {understood.positive_class_because}"
    described["duplicates"] = f"{understood.num_duplicates:,} removed"
    if understood.num_near_duplicates:
        described["duplicates"] += f", {understood.num_near_duplicates:,} of them up to case, spaces or end punctuation"
    return described


def of_reading(understood: Understood, contradictions: str) -> Iterator[Finding]:
    """Findings about texts that were changed or left out. contradictions: the option of this name."""
    if rows := understood.num_contradictory:
        done = {"drop": "left out", "majority": "kept with the most frequent label"}
        yield Finding(
            "contradictions",
            "serious" if rows >= SERIOUS * max(1, understood.num_rows) else "minor",
            f"{counted(understood.num_contradictions, 'text')}, in {counted(rows, 'row')}, with more than one label, "
            f"{'is' if understood.num_contradictions == 1 else 'are'} "
            f"{done.get(contradictions, 'kept with the first of their labels')}",
            understood.num_contradictions,
            "correct their labels, or choose how to treat them: contradictions: drop or majority",
        )
    if number := understood.num_spanning:
        yield Finding(
            "groups over time",
            "serious" if number >= MANY * understood.num_rows else "minor",
            f"{counted(number, 'text')} of groups that are in a later split {'is' if number == 1 else 'are'} left out",
            number,
            "dividing by both requires this; leave out group_column or time_column to keep all texts",
        )
    if number := understood.num_control_characters:
        yield Finding(
            "control characters",
            "serious",
            f"{counted(number, 'control character')}, such as NUL, became spaces",
            number,
            "check how the file was written: it may be damaged, or have another encoding",
        )
    for what, left, remedy in (
        ("left out", understood.dropped, "min_examples: merge keeps their texts, as one class"),
        ("merged into one class", understood.merged, "labels: merges classes of your choice"),
    ):
        if left:
            listed = ", ".join(f"{shortened(name, 30)} ({count:,})" for name, count in list(left.items())[:5])
            yield Finding(
                "rare classes",
                "minor",
                f"{counted(len(left), 'class', 'classes')} with too few texts ({sum(left.values()):,} in all): {what}",
                sum(left.values()),
                remedy,
                listed + (", ..." if len(left) > 5 else ""),
            )
