"""Finds the columns of texts, labels, splits, groups and times: as given, or by usual names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from data.base.errors import UserError, did_you_mean
from data.base.reading import Column, Reading

if TYPE_CHECKING:
    from data.corpora.table import Table

#: Usual names, in upper or lower case. The second names are tried only if none of the first exists.
TEXT_NAMES = (
    ("text", "sentence", "review", "content"),
    ("texts", "message", "comment", "tweet", "document", "body", "utterance", "query", "question", "headline", "title"),
)
LABEL_NAMES = (
    ("label", "sentiment", "category", "class"),
    ("labels", "target", "intent", "topic", "tag", "rating", "stars", "polarity"),
)
SPLIT_NAME = "split"
USUAL_NAMES = {name for names in (*TEXT_NAMES, *LABEL_NAMES) for name in names} | {SPLIT_NAME}

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass(frozen=True)
class Places:
    """Column indices in a table, from 0; None if there is no such column. split_is_given: whether the user named the
    split column; if not, it was found by its usual name."""

    text: int
    label: int | None
    split: int | None
    split_is_given: bool
    group: int | None = None
    time: int | None = None


def find(table: Table, reading: Reading, *, labelled: bool = True) -> Places:
    """The indices of the columns. Raises UserError, with the names of columns, if a column is missing or ambiguous.

    labelled: whether a label column is required.
    """
    if labelled and len(table.columns) == 1:
        raise UserError(
            f"{table.path} has only one column, {table.columns[0][:40]!r}; texts and labels need one each"
            + ("; set separator to what stands between cells" if table.understood.format == "csv" else "")
        )
    if not reading.header and (reading.text_column is None or (labelled and reading.label_column is None)):
        raise UserError(
            f"{table.path} is read with header: false: set text_column and label_column to the numbers of its columns, "
            f"from 1 to {len(table.columns)}"
        )
    if not labelled and len(table.columns) == 1:
        return Places(0, None, None, False)
    text = _find(table, "text", reading.text_column, TEXT_NAMES)
    label = _find(table, "label", reading.label_column, LABEL_NAMES, needed=labelled)
    if text == label:
        raise UserError(f"{table.path}: text_column and label_column are both {table.columns[text or 0]!r:.40}")
    split = None
    if reading.split_column != "none":
        split = _find(table, "split", reading.split_column, ((SPLIT_NAME,),), needed=False)
    if split in (text, label) and split is not None and reading.split_column is not None:
        raise UserError(f"{table.path}: split_column is the column of texts or labels, {table.columns[split]!r:.40}")
    split = split if split not in (text, label) else None
    if reading.time_format and reading.time_column is None:
        raise UserError(
            "time_format is for the times of time_column, which is not given; add time_column, or leave time_format out"
        )
    others = {}
    for role, given in (("group", reading.group_column), ("time", reading.time_column)):
        others[role] = None if given is None or not labelled else _given(table, role, given, needed=True)
        used = {text: "texts", label: "labels"} | ({} if split is None else {split: "splits"})
        if others[role] is not None and others[role] in used:
            raise UserError(f"{table.path}: {role}_column is the column of the {used[others[role]]}: {given!r:.40}")
    assert text is not None
    return Places(text, label, split, reading.split_column is not None, **others)


def _find(table: Table, role: str, given: Column, usual: Sequence[Sequence[str]], *, needed: bool = True) -> int | None:
    columns = table.columns
    if given is not None:
        return _given(table, role, given, needed=needed or role == "split")
    lower = [name.lower() for name in columns]
    for names in usual:
        matches = [place for place, name in enumerate(lower) if name in names]
        if len(matches) == 1:
            return matches[0]
        if matches and needed:
            listed = _listed([columns[place] for place in matches])
            if len({columns[place] for place in matches}) == 1:
                raise UserError(f"{table.path} has several columns {listed.partition(',')[0]}; rename one of them")
            raise UserError(
                f"{table.path} has several columns that may be the {role}: set {role}_column to one of {listed}"
            )
    if not needed:
        return None
    if not columns:
        raise UserError(f"{table.path} is empty: it has no column {role!r}")
    if table.headless:
        raise UserError(
            f"{table.path}: the first line looks like data ({table.headless[:40]!r}), not like names of columns; if it "
            f"is, set header: false, and text_column and label_column to numbers from 1 to {len(columns)}"
        )
    raise UserError(
        f"{table.path} has no column {role!r}{did_you_mean(role, columns, else_all=False)}; if it has another name, "
        f"set {role}_column to one of {_listed(columns)}"
    )


def _given(table: Table, role: str, given: str | int, *, needed: bool) -> int | None:
    """The index of a column given by its name, or by its number (from 1) if no column has that name."""
    columns, name = table.columns, str(given)
    if columns.count(name) == 1:
        return columns.index(name)
    if columns.count(name) > 1:
        raise UserError(
            f"{table.path} has several columns {name!r}; give the number of the column instead, counted from 1"
        )
    if isinstance(given, int) and 1 <= given <= len(columns):
        return given - 1
    if not needed:
        return None
    if isinstance(given, int):
        raise UserError(f"{role}_column: should be from 1 to {len(columns)}, the columns of {table.path}; got {given}")
    raise UserError(
        f"{table.path} has no column {name[:40]!r}{did_you_mean(name, columns, else_all=False)}; "
        f"set {role}_column to one of {_listed(columns)}"
    )


def _listed(names: Sequence[str]) -> str:
    """'a', 'b', 'c' and 7 more: names for a one-line message."""
    listed = [repr(name[:30]) for name in names]
    more = f" and {len(listed) - 12} more" if len(listed) > 12 else ""
    return ", ".join(listed[:12]) + more or "nothing"
