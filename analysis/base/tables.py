"""A frame as a table: for a terminal, as csv, json, markdown or latex.

csv and json are for programs: every column, exact numbers. The others are for readers: the columns that are to be
shown, rounded.
"""

import csv
import io
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from data.base.errors import UserError, choose
from search.base import record

#: How the columns of a known name are headed and written (a format specification); see `heading` and `cell`.
HEADINGS = {"rank": "#", "num_parameters": "parameters", "epochs_run": "epochs", "run_id": "run", "bound": "at bound"}
FORMATS = {
    **dict.fromkeys(["num_parameters", "multiply_adds"], ",.0f"),
    "run_id": ".8",
    "importance": ".0%",
    **dict.fromkeys(["fall", "difference", "low", "high"], "+.4f"),
    **dict.fromkeys(["seconds", "total_seconds", "seconds_to_best"], ",.1f"),
    **{f"{outcome.value}_share": ".0%" for outcome in record.Outcome},
    **{
        f"{split}_{name}{of}": ".4f"
        for split in record.SPLITS
        for name in record.METRICS
        for of in ("", "_mean", "_sd", "_low", "_high", "_search")
    },
}
NUMBER = ".3g"  # any other float

PLAIN_WIDTH = 120  # where no terminal says how wide a table may be
_SHORT = {"accuracy": "acc", "ROC AUC": "AUC", "parameters": "params"}  # in a heading in a terminal
_GAP = 2  # spaces between two columns in a terminal


@dataclass(frozen=True)
class Table:
    """A frame, and how to show it to a reader.

    groups: the columns to show, in groups that belong together. key: the column, or columns, that tell the rows
    apart; a terminal too narrow for all groups repeats them before those that go below. notes: sentences below.
    """

    frame: pd.DataFrame
    groups: Sequence[Sequence[str]]
    key: str | Sequence[str]
    title: str = ""
    notes: Sequence[str] = ()

    @property
    def columns(self) -> list[str]:
        return [name for group in self.groups for name in group]


def heading(name: str) -> str:
    """The column's name in words: 'test_roc_auc' -> 'test ROC AUC'."""
    words = HEADINGS.get(name, name).replace("_", " ")
    return clean(words.replace("roc auc", "ROC AUC").replace(" f1", " F1"))


def cell(name: str, value: Any) -> str:
    """A value as a reader sees it: rounded, on one line, '' where there is none ('None' is a value)."""
    if value is None:
        return "None"
    if pd.isna(value):
        return ""
    written = format(value, FORMATS.get(name, NUMBER if isinstance(value, float) else ""))
    return clean(written)


def clean(text: str) -> str:
    """One line without control characters, which a terminal would obey."""
    return "".join(char if char.isprintable() else " " for char in text)


# --- Where it goes


def choose_format(given: str | None, out: Path | None) -> str:
    """The format asked for, else that of the file's ending, else `table`.

    Raises UserError, before any work is done, for an unknown one or a file that has no folder.
    """
    if out is not None:
        _check_folder(out)
    if given is not None:
        return choose("format", given, TEXTS)
    return ENDINGS.get(out.suffix.lower(), "table") if out else "table"


def emit(tables: Sequence[Table], form: str, out: Path | None = None) -> None:
    """Print the tables, or write them into a file and say so. Raises UserError when it cannot be written."""
    console = Console(highlight=False)
    if form == "table" and out is None and console.is_terminal:
        for number, table in enumerate(tables):
            if number:
                console.print()
            show(table, console)
        return
    text = "\n".join(TEXTS[form](table) for table in tables)
    if out is None:
        sys.stdout.write(text)
        return
    write(text, out)
    print(f"wrote {', '.join(f'{len(table.frame)} rows' for table in tables)} to {out.absolute()}")


def write(text: str, path: Path) -> None:
    """Write a whole file or none of it. Raises UserError when the folder or the file cannot be written."""
    _check_folder(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8", newline="")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(f"cannot write {path}: {error.strerror}") from error


def _check_folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise UserError(f"cannot write {path}: there is no folder {path.parent}")
    if path.is_dir():
        raise UserError(f"cannot write {path}: it is a folder")


# --- For a terminal


def show(table: Table, console: Console) -> None:
    """Print the table; columns that do not fit into the width come below, in a block that begins with the key."""
    if table.title:
        console.print(Text(clean(table.title), style="bold"))
    cells = _cells(table)
    heads = {name: _short_heading(name) for name in table.columns}
    widths = {name: max(map(cell_len, [*heads[name].split("\n"), *cells[name]])) for name in table.columns}
    for number, columns in enumerate(_blocks(table, widths, console.width) if len(table.frame) else []):
        if number:
            console.print()
        grid = RichTable(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
        for name in columns:
            side: Literal["left", "right"] = "right" if _is_number(table, name) else "left"
            grid.add_column(Text(heads[name]), justify=side, vertical="bottom", no_wrap=True)
        for row in zip(*(cells[name] for name in columns), strict=True):
            grid.add_row(*map(Text, row))
        console.print(grid)
    if table.notes:
        console.print()
    for note in table.notes:
        console.print(Text(clean(note)))


def _short_heading(name: str) -> str:
    """The heading, a line for each word."""
    words = heading(name)
    for long, short in _SHORT.items():
        words = words.replace(long, short)
    return words.replace(" ", "\n")


def _blocks(table: Table, widths: Mapping[str, int], width: int) -> list[list[str]]:
    """As many groups side by side as fit; a group that is too wide even alone is split evenly."""

    def fits(columns: Sequence[str]) -> bool:
        return sum(widths[name] + _GAP for name in columns) - _GAP <= width

    def keyed(columns: Sequence[str]) -> list[str]:
        keys = [table.key] if isinstance(table.key, str) else table.key
        return [*(name for name in keys if name not in columns), *columns]

    blocks: list[list[str]] = []
    for group in table.groups:
        if blocks and fits([*blocks[-1], *group]):
            blocks[-1] += group
            continue
        for size in range(len(group), 0, -1):
            num_parts = math.ceil(len(group) / size)
            parts = [
                keyed(group[i * len(group) // num_parts : (i + 1) * len(group) // num_parts]) for i in range(num_parts)
            ]
            if all(map(fits, parts)):
                break
        blocks += parts
    return blocks


def _cells(table: Table) -> dict[str, list[str]]:
    return {name: [cell(name, value) for value in table.frame[name]] for name in table.columns}


def _is_number(table: Table, name: str) -> bool:
    return pd.api.types.is_numeric_dtype(table.frame[name])


# --- As text


def to_text(table: Table) -> str:
    """As `show` prints it, for a file or a pipe: these have no width, unless COLUMNS gives one."""
    out = io.StringIO()
    given = os.environ.get("COLUMNS", "")
    width = (int(given) if given.isdecimal() else 0) or PLAIN_WIDTH
    show(table, Console(file=out, color_system=None, width=width))
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def to_csv(table: Table) -> str:
    rows: list[Iterable[Any]] = [table.frame.columns, *(row.values() for row in _records(table.frame))]
    return "".join(_csv_line(row) for row in rows)


def to_json(table: Table) -> str:
    return json.dumps(_records(table.frame), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_markdown(table: Table) -> str:
    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cells)} |"

    cells = _cells(table)
    lines = [f"**{_markdown(table.title)}**", ""] if table.title else []
    lines.append(line(_markdown(heading(name)) for name in table.columns))
    lines.append(line("---:" if _is_number(table, name) else "---" for name in table.columns))
    lines += [line(map(_markdown, row)) for row in zip(*(cells[name] for name in table.columns), strict=True)]
    for note in table.notes:
        lines += ["", _markdown(note)]
    return "\n".join(lines) + "\n"


def to_latex(table: Table) -> str:
    """A table in the style of the package booktabs, its title and notes in the caption."""

    def line(cells: Iterable[str]) -> str:
        return f"{' & '.join(map(_latex, cells))} \\\\"

    cells = _cells(table)
    caption = " ".join([*([f"{table.title}."] if table.title else []), *table.notes])
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            "\\begin{table}",
            "\\centering",
            f"\\begin{{tabular}}{{{''.join('r' if _is_number(table, name) else 'l' for name in table.columns)}}}",
            "\\toprule",
            line(heading(name) for name in table.columns),
            "\\midrule",
            *(line(row) for row in zip(*(cells[name] for name in table.columns), strict=True)),
            "\\bottomrule",
            "\\end{tabular}",
            f"\\caption{{{_latex(caption)}}}",
            "\\end{table}",
            "",
        ]
    )


#: How a table is written to a file or a pipe.
TEXTS: dict[str, Callable[[Table], str]] = {
    "table": to_text,
    "csv": to_csv,
    "json": to_json,
    "markdown": to_markdown,
    "latex": to_latex,
}

#: The formats that programs read: one tidy frame instead of tables laid out for a reader.
FOR_PROGRAMS = ("csv", "json")

ENDINGS = {".csv": "csv", ".json": "json", ".md": "markdown", ".tex": "latex"}


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A dict for each row, of plain Python values; None for what is missing or no number."""
    return [
        {name: _plain(value) for name, value in zip(frame.columns, row, strict=True)}
        for row in frame.itertuples(index=False, name=None)
    ]


def _plain(value: Any) -> Any:
    if value is None or pd.isna(value) or (isinstance(value, float) and math.isinf(value)):
        return None
    return value.item() if hasattr(value, "item") else value


def _csv_line(values: Iterable[Any]) -> str:
    out = io.StringIO()
    # A carriage return within a cell is quoted only by a writer that ends its lines with one.
    csv.writer(out, lineterminator="\r\n").writerow(map(_no_formula, values))
    return out.getvalue().removesuffix("\r\n") + "\n"


def _no_formula(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula, made text by an apostrophe; -1e-3 is a number."""
    if not isinstance(value, str) or not value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return value
    try:
        float(value)
    except ValueError:
        return "'" + value
    return value


def _markdown(text: str) -> str:
    return re.sub(r"[\\|`*<]", r"\\\g<0>", text)


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
} | {char: "\\" + char for char in "&%$#_{}"}


def _latex(text: str) -> str:
    return "".join(_LATEX.get(char, char) for char in text)
