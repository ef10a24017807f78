"""Tables as plain text for terminals, files and pipes, with as many columns side by side as fit the width."""

import io
import math
import os
from collections.abc import Mapping, Sequence
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from analysis.base.table import Table, clean, heading
from search.train.metrics import METRICS

PLAIN_WIDTH = 120  # columns of text outside a terminal
_SHORT = {"parameters": "params"}  # abbreviations in headings, besides those of metrics
_GAP = 2  # spaces between two columns


def show(table: Table, console: Console) -> None:
    """Print the table. Columns that do not fit the width go into further blocks, each beginning with the key."""
    if table.first:
        answers = RichTable.grid(padding=(0, 2, 0, 0))
        for question, answer in table.first:
            answers.add_row(Text(clean(question), style="bold"), Text(clean(answer)))
        console.print(answers)
        console.print()
    if table.title:
        console.print(Text(clean(table.title), style="bold"))
    cells = table.cells
    heads = {name: _short_heading(name) for name in table.columns}
    widths = {name: max(map(cell_len, [*heads[name].split("\n"), *cells[name]])) for name in table.columns}
    for number, columns in enumerate(_blocks(table, widths, console.width) if len(table.frame) else []):
        if number:
            console.print()
        grid = RichTable(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
        for name in columns:
            side: Literal["left", "right"] = "right" if table.is_number(name) else "left"
            grid.add_column(Text(heads[name]), justify=side, vertical="bottom", no_wrap=True)
        for row in zip(*(cells[name] for name in columns), strict=True):
            grid.add_row(*map(Text, row))
        console.print(grid)
    if table.notes:
        console.print()
    for note in table.notes:
        console.print(Text(clean(note)))


def _short_heading(name: str) -> str:
    """The heading with abbreviations, one word per line."""
    words = heading(name)
    shorts = {metric.title or metric.name: metric.short for metric in METRICS.values() if metric.short}
    for long, short in (_SHORT | shorts).items():
        words = words.replace(long, short)
    return words.replace(" ", "\n")


def _blocks(table: Table, widths: Mapping[str, int], width: int) -> list[list[str]]:
    """Columns by block: as many groups side by side as fit. A group too wide for a block is split evenly."""

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


def to_text(table: Table) -> str:
    """The output of `show` for a file or a pipe, COLUMNS (else PLAIN_WIDTH) wide."""
    out = io.StringIO()
    given = os.environ.get("COLUMNS", "")
    width = (int(given) if given.isdecimal() else 0) or PLAIN_WIDTH
    show(table, Console(file=out, color_system=None, width=width))
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())
