"""A table of texts that is read in batches of rows, independent of the file format."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from data.base.reading import Understood

BATCH = 4096  # rows

Row = tuple[int, list[str]]  # number, from 1, and cells; a blank line has no cells


@dataclass(frozen=True)
class Table:
    """A file, or one split of a folder, with the facts detected from its beginning."""

    path: Path
    columns: tuple[str, ...]
    understood: Understood
    #: Column indices -> the rows of these columns, from the start of the file.
    rows: Callable[[Sequence[int]], Iterable[Row]]
    unit: str = "line"  # what row numbers count
    split: str = ""  # train, val or test if the table is a split of a folder
    headless: str = ""  # a cell of the header that looks like data

    def batches(self, places: Sequence[int]) -> Iterator[list[Row]]:
        """All rows of these columns, BATCH at a time."""
        rows = iter(self.rows(places))
        while batch := list(islice(rows, BATCH)):
            yield batch


@dataclass(frozen=True)
class Others:
    """The unused columns of a table, or a sample of their rows, with the labels of these rows."""

    labels: Sequence[str] = ()
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)


def as_text(value: Any) -> str:
    """A typed cell as text: a missing value becomes '', and the elements of a list are joined by ';'."""
    if isinstance(value, str):
        return value
    if value is None or value != value:  # pandas writes missing values as NaN
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, dict) or (
        isinstance(value, list) and any(isinstance(element, dict | list) for element in value)
    ):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, list):
        return ";".join(map(as_text, value))
    return str(value)
