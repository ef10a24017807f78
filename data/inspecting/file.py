"""What was understood of a file, in words, and what about it a user should look at."""

from __future__ import annotations

from collections.abc import Iterator

from data.base.reading import Understood
from data.inspecting.findings import Finding, shortened

SERIOUS = 0.01  # share of the rows that contradict each other


def facts(understood: Understood) -> dict[str, str]:
    """How the file was read, each thing in a few words; nothing of what is no file."""
    if not understood.format:
        return {}
    file = [understood.format, understood.compression, understood.encoding]
    if understood.separator:
        file.append(f"{understood.separator!r} between cells")
    if not understood.header:
        file.append("no header")
    found = {"file": ", ".join(filter(None, file)), "texts": f"column {understood.text_column!r}"}
    found["labels"] = f"column {understood.label_column!r}"
    if understood.split_column:
        found["splits"] = f"column {understood.split_column!r}"
    used = {understood.text_column, understood.label_column, understood.split_column}
    if left := [name for name in understood.columns if name not in used]:
        found["not used"] = ", ".join(shortened(name, 30) for name in left[:10]) + (", ..." if len(left) > 10 else "")
    found["rows"] = f"{understood.num_rows:,}"
    return found


def of_reading(understood: Understood, contradictions: str) -> Iterator[Finding]:
    """What had to be changed or left out. contradictions: how texts of several labels are read."""
    if rows := understood.num_contradictory:
        done = {"drop": "left out", "majority": "kept with the label that most have"}
        yield Finding(
            "contradictions",
            "serious" if rows >= SERIOUS * max(1, understood.num_rows) else "minor",
            f"{understood.num_contradictions:,} texts, in {rows:,} rows, have more than one label; they are "
            f"{done.get(contradictions, 'kept with the first of their labels')}",
            understood.num_contradictions,
            "correct their labels; or choose what is done: contradictions: drop or majority",
        )
    if number := understood.num_control_characters:
        yield Finding(
            "control characters",
            "minor",
            f"{number:,} control characters, such as NUL, became spaces",
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
                f"{len(left):,} classes have too few texts, {sum(left.values()):,} in all, and are {what}",
                sum(left.values()),
                remedy,
                listed + (", ..." if len(left) > 5 else ""),
            )
