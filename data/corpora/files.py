"""A user's own labelled texts, in a file or a folder of any kind that `data.corpora.tables` reads."""

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

#: Control characters but tab and line ends, and halves of characters, which no text has and UTF-8 cannot say.
CONTROL = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")

MOST_ROWS, MOST_COLUMNS = 20_000, 50  # of those that are looked at, although they are not read


@dataclass(frozen=True)
class File:
    """A user's own file, or a folder that `datasets` saved.

    Every cell is taken as it is written: "NA" and "null" are texts, "None" and "0" are labels; only control characters
    become spaces. Classes are in natural order (numbers by value), so that of two the second, as in no/yes or 0/1, is
    the positive one.
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
        files = sorted(each for each in path.rglob("*") if each.is_file())
        listed = "".join(f"{each.relative_to(path)} {sha256(each)}\n" for each in files)
        return f"folder {hashlib.sha256(listed.encode('utf-8', 'surrogateescape')).hexdigest()}"

    def read(self, downloads: Path, *, progress: bool, reading: Reading = USUAL) -> Texts:
        from data.base.chosen import Written

        path = Path(self.path)
        tables = [(table, find(table, reading)) for table in open_tables(path, reading)]
        found, splits = _Found(path, Written(downloads.parent / "texts")), set()
        for table, places in tables:
            for row in _labelled(table, places, found, empty_is_none=reading.multi_label is not None):
                found.add(row, table.split or _known(path, table, row, places))
            found.require_nothing_empty(table)
        if not found.labels:
            raise UserError(f"{path} has {'a header' if reading.header else 'columns'} but no examples")
        splits = {each for each in found.splits if each}
        if "" in found.splits or (splits and "train" not in splits):  # a column of that name that says something else
            if any(places.split_is_given or table.split for table, places in tables):
                raise UserError(f"{path} should have a split train; it has {', '.join(sorted(splits))}")
            splits = set()
        table, places = tables[0]
        name = table.columns[places.label or 0]
        if reading.header and isinstance(reading.label_column, int) and name in found.classes:
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
            num_rows=len(found.labels),
            num_control_characters=found.num_control_characters,
        )
        time_of = found.time_of(table.unit, reading.time_format)
        return dataclasses.replace(found.texts(splits, understood), group_of=found.group_of, time_of=time_of)

    def others(self, reading: Reading) -> Others:
        """The first rows of the columns that are not read."""
        table = open_tables(Path(self.path), reading)[0]
        places = find(table, reading)
        assert places.label is not None
        used = {places.text, places.label, places.split, places.group, places.time}
        left = [place for place in range(len(table.columns)) if place not in used][:MOST_COLUMNS]
        rows = chain.from_iterable(table.batches([places.label, *left])) if left else iter(())
        cells = [[each.strip() for each in row] for _, row in islice(rows, MOST_ROWS) if row and row[0].strip()]
        labels, *others = zip(*cells, strict=True) if cells else ([], *([] for _ in left))
        return Others(labels, {table.columns[place]: own for place, own in zip(left, others, strict=True)})


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    text: str
    label: str
    split: str = ""
    group: str = ""
    time: str = ""


class _Found:
    """The examples of some tables, as they are read."""

    def __init__(self, path: Path, examples: Written) -> None:
        self.path = path
        self.examples = examples
        self.labels = array("q")
        self.classes: dict[str, int] = {}
        self.splits: Counter[str] = Counter()
        self.by_example: list[str] = []  # the split of each, where it is not ''
        self.num_control_characters = 0
        self.empty: dict[str, list[int]] = {"text": [], "label": [], "time": []}
        self.group_of: dict[str, str] = {}  # text -> the first by alphabet, of texts that have one
        self.times: dict[str, set[str]] = {}  # text -> as they are written
        self.numbers: dict[str, int] = {}  # time, as it is written -> its first row

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
        """Text -> the earliest of its times."""
        if not self.times:
            return {}
        moment_of = moments(self.numbers, str(self.path), unit, format)
        return {text: min(moment_of[time] for time in times) for text, times in self.times.items()}

    def without_control(self, text: str) -> str:
        if text.isprintable():  # which is faster to see
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
        every = Chosen(self.examples, places_N, index_C[np.frombuffer(self.labels, dtype=np.int64)])
        if not splits:
            return Texts(tuple(classes), every, understood=understood)
        split_N = np.array(self.by_example)
        of = {split: every.only(np.flatnonzero(split_N == split)) for split in splits}
        return Texts(tuple(classes), of["train"], of.get("test"), of.get("val"), understood)


def _labelled(table: Table, places: Places, found: _Found, *, empty_is_none: bool) -> Iterator[_Row]:
    """Each row that has all that is needed; of others the numbers are kept. empty_is_none: whether an empty label means
    no class."""
    assert places.label is not None
    more = {name: place for name in ("split", "group", "time") if (place := getattr(places, name)) is not None}
    wanted = [places.text, places.label, *more.values()]
    for batch in table.batches(wanted):
        for number, cells in batch:
            if not cells:  # a blank line
                continue
            text, label, *others = cells
            text, label = found.without_control(text), found.without_control(label).strip()
            if not text.strip():
                found.empty["text"].append(number)
            elif not (label or empty_is_none):
                found.empty["label"].append(number)
            else:
                row = _Row(number, text, label, **{name: cell.strip() for name, cell in zip(more, others, strict=True)})
                if "time" in more and not row.time:
                    found.empty["time"].append(number)
                else:
                    yield row


def _known(path: Path, table: Table, row: _Row, places: Places) -> str:
    """The split that a cell names; '' if it names none and its column was not given."""
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
    """Every row of a file as it is written, in order; a blank line of a CSV file is a row of no cells."""

    columns: tuple[str, ...]
    cells: list[list[str]]
    text: int  # which column has the texts
    label: int | None  # and which the labels, where there is one
    understood: Understood


def read_rows(path: str | Path, reading: Reading = USUAL) -> Rows:
    """A file whose texts need no labels, to predict. Its columns are found as those of a corpus; UserError likewise."""
    tables = open_tables(existing(path), reading)
    table = next((each for each in tables if each.split == "test"), tables[0])
    places = find(table, reading, labelled=False)
    everything = range(len(table.columns))
    cells = [list(row) for batch in table.batches(everything) for _, row in batch]
    return Rows(table.columns, cells, places.text, places.label, table.understood)


def read_cells(path: Path, columns: Sequence[str], reading: Reading = USUAL) -> Iterator[Row]:
    """Number, from 1, and the named columns' cells, as written, of every row that is not blank."""
    (table,) = open_tables(path, reading)
    for name in columns:
        if table.columns.count(name) != 1:
            raise UserError(f"{path} should have one column {name!r}")
    for batch in table.batches([table.columns.index(name) for name in columns]):
        yield from (row for row in batch if row[1])
