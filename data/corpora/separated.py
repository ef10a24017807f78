"""CSV and its variants, with commas, tabs, semicolons or bars between cells.

Read with Python's `csv` rather than pyarrow, which is faster but joins '"a"b', rejects cells longer than its blocks
and does not report line numbers; at 180 MB/s reading is not the bottleneck of a search.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from data.base.errors import UserError
from data.base.reading import Reading, Understood
from data.corpora.columns import USUAL_NAMES
from data.corpora.opening import SAMPLE, open_text
from data.corpora.table import Row, Table

#: If two separators fit a file equally well, the first one is used: tabs are rare in texts.
SEPARATORS = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar"}

NUM_SAMPLED = 50  # rows

#: A first line that tells Excel the separator.
DECLARED = re.compile(r'"?sep=(.)"?[\r\n]')


@dataclass(frozen=True)
class Form:
    separator: str
    quoted: bool = True
    skipped: int = 0  # number of lines before the table
    spaced: bool = False  # spaces after a separator are ignored, so that a quoted cell may follow them

    def reader(self, lines: Iterable[str]) -> Any:
        csv.field_size_limit(2**31 - 1)  # the default refuses texts over 128 KiB
        lines = islice(lines, self.skipped, None)
        if self.quoted:
            return csv.reader(lines, delimiter=self.separator, skipinitialspace=self.spaced, strict=True)
        return csv.reader(lines, delimiter=self.separator, quoting=csv.QUOTE_NONE, strict=True)


def open_table(path: Path, encoding: str, sample: str, reading: Reading, understood: Understood) -> Table:
    """Opens the table of a file; `sample` is the beginning of the file."""
    declared = DECLARED.match(sample)
    given = reading.separator or (declared and declared[1])
    forms = [Form(separator, skipped=1 if declared else 0) for separator in ([given] if given else SEPARATORS)]
    form = max(forms, key=lambda form: _fitness(form, sample, reading))
    if _is_spaced(form, sample):
        form = dataclasses.replace(form, spaced=True)
    if form.separator == "\t" and not _is_well_quoted(path, encoding, form):
        form = dataclasses.replace(form, quoted=False)
    records = _sampled(form, sample)
    first = [cell.strip() for cell in records[0]] if any(map(str.strip, chain.from_iterable(records))) else []
    columns = tuple(first if reading.header else [str(number + 1) for number in range(len(first))])
    understood = dataclasses.replace(
        understood,
        format="csv",
        separator=SEPARATORS.get(form.separator, form.separator),
        header=reading.header,
        columns=columns,
    )

    def rows(places: Sequence[int]) -> Iterator[Row]:
        with open_text(path, encoding) as text:
            yield from _rows(path, form, text, len(columns), places, header=reading.header)

    headless = _like_data(first, records[1:]) if reading.header else ""
    return Table(path, columns, understood, rows, headless=headless)


def _rows(
    path: Path, form: Form, text: Iterable[str], width: int, places: Sequence[int], *, header: bool
) -> Iterator[Row]:
    reader, line, header_is_next = form.reader(text), 1, header
    is_every_column = list(places) == list(range(width))
    try:
        while True:
            line = form.skipped + reader.line_num + 1
            cells = next(reader, None)
            if cells is None:
                return
            if header_is_next:
                header_is_next = not cells
            elif not cells or (len(cells) == 1 < width and not cells[0].strip()):
                yield line, []
            elif len(cells) != width:
                raise UserError(
                    f"{path}, line {line}: {len(cells)} cells, but the {'header' if header else 'first line'} has "
                    f"{width}; a text with {SEPARATORS.get(form.separator, form.separator)}s, quotes or line breaks "
                    "has to be quoted"
                )
            else:
                yield line, cells if is_every_column else [cells[place] for place in places]
    except csv.Error as error:
        raise UserError(f"{path}, line {line}: {_explained(error)}") from None


def _explained(error: csv.Error) -> str:
    """Explains an error in the quoting of a row; `csv` only reports the state of its parser."""
    inside = 'a quote inside a quoted cell is written twice, ""'
    if "unexpected end" in str(error):
        return f"a quoted cell that begins here never ends; {inside}"
    return (
        f"a quoted cell continues after its closing quote; {inside}" if "expected after" in str(error) else str(error)
    )


def _sampled(form: Form, sample: str) -> list[list[str]]:
    """The first complete rows of a sample, up to a row that cannot be parsed; the first row may be truncated."""
    lines = io.StringIO(sample, newline="").readlines()
    if len(sample) >= SAMPLE and len(lines) > 1:
        lines = lines[:-1]
    rows: list[list[str]] = []
    reader = form.reader(lines)
    try:
        for cells in reader:
            rows += [cells] if cells else []
            if len(rows) > NUM_SAMPLED:
                break
    except csv.Error:
        if form.separator == "\t" and form.quoted:
            return _sampled(dataclasses.replace(form, quoted=False), sample)
        if not rows:
            return [line.rstrip("\r\n").split(form.separator) for line in lines[form.skipped :][:1]]
    return rows


def _fitness(form: Form, sample: str, reading: Reading) -> tuple[float, ...]:
    """How well a separator fits a sample: by the usual column names in the header, then by rows of equal width."""
    records = _sampled(form, sample)
    if not records:
        return (0,)
    first, width = {cell.strip().lower() for cell in records[0]}, len(records[0])
    given = {str(name).lower() for name in (reading.text_column, reading.label_column, reading.split_column)}
    known = len(first & (USUAL_NAMES | given))
    share = sum(len(cells) == width for cells in records) / len(records)
    return known if reading.header else 0, share if width > 1 else share / 2, width > 1


def _is_spaced(form: Form, sample: str) -> bool:
    """Whether a sample has spaces before quoted cells ('a, "b, c"').

    That is the case if rows have equal widths once such spaces are ignored, and if otherwise their widths differ or
    some cell is a quoted string after a space.
    """
    if f'{form.separator} "' not in sample:
        return False
    plain, spaced = (_sampled(dataclasses.replace(form, spaced=spaced), sample) for spaced in (False, True))
    if len({len(cells) for cells in spaced}) != 1 or len(spaced[0]) < 2:
        return False
    in_quotes = re.compile(r'\s+"(?:[^"]|"")*"\s*', re.DOTALL)
    return len({len(cells) for cells in plain}) > 1 or any(map(in_quotes.fullmatch, chain.from_iterable(plain)))


def _is_well_quoted(path: Path, encoding: str, form: Form) -> bool:
    """Whether the whole file parses with quoted cells. Files with tabs usually contain quotes as plain characters."""
    with open_text(path, encoding) as text:
        reader, width = form.reader(text), None
        try:
            for cells in reader:
                width = width or len(cells)
                if cells and len(cells) != width:
                    return False
        except csv.Error:
            return False
    return True


def _like_data(first: list[str], rows: list[list[str]]) -> str:
    """The first header cell that looks like data: long, a number, or repeated in a later row. '' if there is none."""
    for place, cell in enumerate(first):
        below = {cells[place].strip() for cells in rows if len(cells) > place}
        if len(cell.split()) > 4 or re.fullmatch(r"[-+]?\d+([.,]\d+)?", cell) or (cell and cell in below):
            return cell
    return ""
