"""Labelled texts in a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data.base.errors import UserError, did_you_mean
from data.base.ordering import natural_order
from data.base.reading import USUAL, Reading, Understood
from data.base.sources import existing_file, sha256
from data.base.texts import Texts


@dataclass(frozen=True)
class CsvFile:
    """A user's own CSV file (UTF-8, commas, a header line) with the columns `text` and `label`.

    Every cell is taken as it is written: "NA" and "null" are texts, "None" and "0" are labels. Classes are in
    natural order (numbers by value), so that of two the second, as in no/yes or 0/1, is the positive one.
    """

    path: str | Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", existing_file(self.path))

    def fingerprint(self) -> str:
        return f"csv {sha256(Path(self.path))}"

    def read(self, downloads: Path, *, progress: bool, reading: Reading = USUAL) -> Texts:
        rows = list(read_columns(Path(self.path), ("text", "label")))
        if not rows:
            raise UserError(f"{self.path} has a header but no examples")
        for column, name in enumerate(("text", "label")):
            empty = [line for line, cells in rows if not cells[column].strip()]
            if empty:
                more = f" and {len(empty) - 5:,} more" if len(empty) > 5 else ""
                raise UserError(
                    f"{self.path} has an empty {name} in line {', '.join(map(str, empty[:5]))}{more}; "
                    f"every example needs one"
                )
        classes = sorted({label.strip() for _, (_, label) in rows}, key=natural_order)
        if len(classes) < 2:
            raise UserError(f"{self.path} has one class only, {classes[0]!r}; at least two are needed")
        index = {label: i for i, label in enumerate(classes)}
        return Texts(tuple(classes), [(text, index[label.strip()]) for _, (text, label) in rows])


def read_columns(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, list[str]]]:
    """Line number (from 1, where the row starts) and the named columns' cells, as written, of every row.

    Raises UserError, naming the line, for a file that is not UTF-8 or not CSV, or lacks a column.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, byte = error.object.count(b"\n", 0, error.start) + 1, error.object[error.start]
        raise UserError(f"{path}, line {line}: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8") from None

    csv.field_size_limit(2**31 - 1)  # the default refuses texts over 128 KiB
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        header = [name.strip() for name in next(reader, [])]
        for column in columns:
            if header.count(column) != 1:
                problem = "twice the column" if column in header else "no column"
                raise UserError(
                    f"{path} has {problem} {column!r}{did_you_mean(column, {*header} - {column}, else_all=False)}; "
                    f"its header names: {', '.join(map(repr, header)) or 'nothing'}"
                )
        positions = [header.index(column) for column in columns]
        while True:
            line = reader.line_num + 1
            cells = next(reader, None)
            if cells is None:
                return
            if not cells:  # a blank line
                continue
            if len(cells) != len(header):
                raise UserError(
                    f"{path}, line {line}: {len(cells)} cells, but the header has {len(header)}; "
                    f"a text with commas, quotes or line breaks has to be quoted"
                )
            yield line, [cells[position] for position in positions]
    except csv.Error as error:
        raise UserError(f"{path}, line {line}: {error}") from None


@dataclass(frozen=True)
class Rows:
    """Every row of a file as it is written, in order; a blank line of a CSV file is a row of no cells."""

    columns: tuple[str, ...]
    cells: list[list[str]]
    text: int  # which column has the texts
    label: int | None  # and which the labels, where there is one
    understood: Understood


def read_rows(path: Path, reading: Reading = USUAL) -> Rows:
    """A file whose texts need no labels, to predict. Its columns are found as those of a corpus; UserError likewise."""
    rows = [cells for _, cells in read_columns(path, ("text",))]
    return Rows(("text",), rows, 0, None, Understood())
