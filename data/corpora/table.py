"""A table of texts, a batch of rows at a time, whatever file it is in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from data.base.reading import Understood

BATCH = 4096  # rows

Row = tuple[int, list[str]]  # its number, from 1, and cells; no cells for a blank line


@dataclass(frozen=True)
class Table:
    """A file, or one split of a folder, of which a beginning has been read."""

    path: Path
    columns: tuple[str, ...]
    understood: Understood
    #: The rows of some columns, which are given by their places, from the file's beginning.
    rows: Callable[[Sequence[int]], Iterable[Row]]
    unit: str = "line"  # what the number of a row counts
    split: str = ""  # train, val or test where it is one of those
    headless: str = ""  # what in the header looks like data

    def batches(self, places: Sequence[int]) -> Iterator[list[Row]]:
        """All rows, some thousand at a time."""
        rows = iter(self.rows(places))
        while batch := list(islice(rows, BATCH)):
            yield batch


@dataclass(frozen=True)
class Others:
    """The columns of a table that are not read, or some rows of them, and the labels of these rows."""

    labels: Sequence[str] = ()
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)


def as_text(value: Any) -> str:
    """A cell of a format that has types: nothing is '', a list of labels stands with ';' between them."""
    if isinstance(value, str):
        return value
    if value is None or value != value:  # NaN is how pandas writes nothing
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(each, dict | list) for each in value)):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, list):
        return ";".join(map(as_text, value))
    return str(value)
