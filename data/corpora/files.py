"""A user's labelled texts, in a file or folder of any kind that `data.corpora.tables` reads."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from data.base.errors import UserError
from data.base.ordering import natural_order
from data.base.reading import USUAL, Reading, Understood
from data.base.sources import existing, sha256
from data.base.texts import Texts
from data.corpora import arrow_tables
from data.corpora.columns import SPLIT_NAMES, Places, find
from data.corpora.table import Others, Row, Table
from data.corpora.tables import open_tables
from data.corpora.times import moments

if TYPE_CHECKING:
    from data.base.chosen import Written

#: Control characters, except tab and line ends, and lone surrogates, which UTF-8 cannot encode.
CONTROL = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")

MOST_ROWS, MOST_COLUMNS = 20_000, 50  # of the sample of unused columns


@dataclass(frozen=True)
class File:
    """A user's file, or a folder saved by `datasets`.

    Cells are taken literally: "NA" and "null" are texts, "None" and "0" are labels; only control characters become
    spaces. Classes are in natural order (numbers by value), so that the second of two, as in no/yes or 0/1, is the
    positive one.
    """

    path: str | Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", existing(self.path))
        if Path(self.path).is_dir():
            arrow_tables.require_saved(Path(self.path))

    def fingerprint(self) -> str:
        path = Path(self.path)
        if path.is_file():
            return f"csv {sha256(path)}"
        files = sorted(file for file in path.rglob("*") if file.is_file())
        listed = "".join(f"{file.relative_to(path)} {sha256(file)}\n" for file in files)
        return f"folder {hashlib.sha256(listed.encode('utf-8', 'surrogateescape')).hexdigest()}"

    def read(self, downloads: Path, *, progress: bool, reading: Reading = USUAL) -> Texts:
        from data.base.chosen import Written

        path = Path(self.path)
        tables = [(table, find(table, reading)) for table in open_tables(path, reading)]
        collected, splits = _Collected(path, Written(downloads.parent / "texts")), set()
        for table, places in tables:
            for row in _labelled(table, places, collected, empty_is_none=reading.multi_label is not None):
                collected.add(row, table.split or _split_of(path, table, row, places))
            collected.require_nothing_empty(table)
        if not collected.labels:
            raise UserError(f"{path} has {'a header' if reading.header else 'columns'} but no examples")
        splits = {split for split in collected.splits if split}
        if "" in collected.splits or (
            splits and "train" not in splits
        ):  # a column named 'split' that holds something else
            if any(places.split_is_given or table.split for table, places in tables):
                raise UserError(f"{path} should have a split train; it has {', '.join(sorted(splits))}")
            splits = set()
        table, places = tables[0]
        name = table.columns[places.label or 0]
        if reading.header and isinstance(reading.label_column, int) and name in collected.classes:
            raise UserError(
                f"{path}: the name of column {reading.label_column}, {name[:40]!r}, is a label too: if the first line "
                "is data, set header: false; if not, give label_column by its name"
            )
        understood = dataclasses.replace(
            table.understood,
            text_column=table.columns[places.text],
            label_column=table.columns[places.label or 0],
            split_column=table.columns[places.split] if splits and places.split is not None else "",
            group_column="" if places.group is None else table.columns[places.group],
            time_column="" if places.time is None else table.columns[places.time],
            num_rows=len(collected.labels),
            num_control_characters=collected.num_control_characters,
        )
        time_of = collected.time_of(table.unit, reading.time_format)
        return dataclasses.replace(collected.texts(splits, understood), group_of=collected.group_of, time_of=time_of)

    def others(self, reading: Reading) -> Others:
        """A sample of the unused columns: their first rows."""
        table = open_tables(Path(self.path), reading)[0]
        places = find(table, reading)
        assert places.label is not None
        used = {places.text, places.label, places.split, places.group, places.time}
        left = [place for place in range(len(table.columns)) if place not in used][:MOST_COLUMNS]
        rows = chain.from_iterable(table.batches([places.label, *left])) if left else iter(())
        cells = [[cell.strip() for cell in row] for _, row in islice(rows, MOST_ROWS) if row and row[0].strip()]
        labels, *others = zip(*cells, strict=True) if cells else ([], *([] for _ in left))
        return Others(labels, {table.columns[place]: values for place, values in zip(left, others, strict=True)})


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    text: str
    label: str
    split: str = ""
    group: str = ""
    time: str = ""


class _Collected:
    """The examples of some tables, collected row by row."""

    def __init__(self, path: Path, examples: Written) -> None:
        self.path = path
        self.examples = examples
        self.labels = array("q")
        self.classes: dict[str, int] = {}
        self.splits: Counter[str] = Counter()
        self.by_example: list[str] = []  # the split of each example; '' if unknown
        self.num_control_characters = 0
        self.empty: dict[str, list[int]] = {"text": [], "label": [], "time": []}
        self.group_of: dict[str, str] = {}  # text -> its alphabetically first group
        self.times: dict[str, set[str]] = {}  # text -> its times, as written
        self.numbers: dict[str, int] = {}  # time, as written -> its first row

    def add(self, row: _Row, split: str) -> None:
        self.examples.append(row.text)
        self.labels.append(self.classes.setdefault(row.label, len(self.classes)))
        self.by_example.append(split)
        self.splits[split] += 1
        if row.group:
            self.group_of[row.text] = min(row.group, self.group_of.get(row.text, row.group))
        if row.time:
            self.times.setdefault(row.text, set()).add(row.time)
            self.numbers.setdefault(row.time, row.number)

    def time_of(self, unit: str, format: str | None) -> dict[str, float]:
        """Text -> its earliest time."""
        if not self.times:
            return {}
        moment_of = moments(self.numbers, str(self.path), unit, format)
        return {text: min(moment_of[time] for time in times) for text, times in self.times.items()}

    def without_control(self, text: str) -> str:
        if text.isprintable():  # a fast check for most texts
            return text
        text, number = CONTROL.subn(" ", text)
        self.num_control_characters += number
        return text

    def require_nothing_empty(self, table: Table) -> None:
        for name, lines in self.empty.items():
            if lines:
                more = f" and {len(lines) - 5:,} more" if len(lines) > 5 else ""
                unless = ", unless texts can have several classes, or none: multi_label" if name == "label" else ""
                raise UserError(
                    f"{self.path} has an empty {name} in {f'{table.split}, ' if table.split else ''}{table.unit} "
                    f"{', '.join(map(str, lines[:5]))}{more}; every example needs one{unless}"
                )

    def texts(self, splits: set[str], understood: Understood) -> Texts:
        import numpy as np

        from data.base.chosen import Chosen

        classes = sorted(self.classes, key=natural_order)
        index_C = np.empty(len(classes), dtype=np.int64)
        index_C[[self.classes[label] for label in classes]] = np.arange(len(classes))
        places_N = np.arange(len(self.labels))
        examples = Chosen(self.examples, places_N, index_C[np.frombuffer(self.labels, dtype=np.int64)])
        if not splits:
            return Texts(tuple(classes), examples, understood=understood)
        split_N = np.array(self.by_example)
        by_split = {split: examples.only(np.flatnonzero(split_N == split)) for split in splits}
        return Texts(tuple(classes), by_split["train"], by_split.get("test"), by_split.get("val"), understood)


def _labelled(table: Table, places: Places, collected: _Collected, *, empty_is_none: bool) -> Iterator[_Row]:
    """Yields the complete rows; notes the numbers of rows with empty cells in `collected`.

    empty_is_none: whether an empty label means that the text has no class.
    """
    assert places.label is not None
    more = {name: place for name in ("split", "group", "time") if (place := getattr(places, name)) is not None}
    wanted = [places.text, places.label, *more.values()]
    for batch in table.batches(wanted):
        for number, cells in batch:
            if not cells:  # a blank line
                continue
            text, label, *others = cells
            text, label = collected.without_control(text), collected.without_control(label).strip()
            if not text.strip():
                collected.empty["text"].append(number)
            elif not (label or empty_is_none):
                collected.empty["label"].append(number)
            else:
                row = _Row(number, text, label, **{name: cell.strip() for name, cell in zip(more, others, strict=True)})
                if "time" in more and not row.time:
                    collected.empty["time"].append(number)
                else:
                    yield row


def _split_of(path: Path, table: Table, row: _Row, places: Places) -> str:
    """The split named in a row's cell; '' if the cell names no split and the column was found by its name."""
    if places.split is None:
        return "train"
    split = SPLIT_NAMES.get(row.split.lower(), "")
    if not split and places.split_is_given:
        raise UserError(
            f"{path}, {table.unit} {row.number}: the split should be train, val or test; got {row.split[:40]!r}; "
            "write split_column: none to divide the texts anew"
        )
    return split


@dataclass(frozen=True)
class Rows:
    """All rows of a file as written, in order; a blank line of a CSV file is a row without cells."""

    columns: tuple[str, ...]
    cells: list[list[str]]
    text: int  # index of the text column
    label: int | None  # index of the label column, if there is one
    understood: Understood


def read_rows(path: str | Path, reading: Reading = USUAL) -> Rows:
    """Reads a file for prediction, whose texts need no labels. Finds columns and raises UserError as for a corpus."""
    tables = open_tables(existing(path), reading)
    table = next((table for table in tables if table.split == "test"), tables[0])
    places = find(table, reading, labelled=False)
    everything = range(len(table.columns))
    cells = [list(row) for batch in table.batches(everything) for _, row in batch]
    return Rows(table.columns, cells, places.text, places.label, table.understood)


def read_cells(path: Path, columns: Sequence[str], reading: Reading = USUAL) -> Iterator[Row]:
    """The number (from 1) and the cells of the named columns, as written, of every row that is not blank."""
    (table,) = open_tables(path, reading)
    for name in columns:
        if table.columns.count(name) != 1:
            raise UserError(f"{path} should have one column {name!r}")
    for batch in table.batches([table.columns.index(name) for name in columns]):
        yield from (row for row in batch if row[1])
