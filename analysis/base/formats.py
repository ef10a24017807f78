"""Tables as text: csv and json for programs, markdown and latex for readers.

csv and json hold every column with exact numbers; markdown and latex, the shown columns with rounded numbers.
"""

import csv
import io
import json
import math
import re
from collections.abc import Iterable
from typing import Any

import pandas as pd

from analysis.base.table import Table, heading

# --- For programs


def to_csv(frame: pd.DataFrame) -> str:
    """The frame as CSV. A row without any value is a blank line."""
    rows = [list(row.values()) for row in _records(frame)]
    lines = ("\n" if all(value is None for value in row) else _csv_line(row) for row in rows)
    return _csv_line(frame.columns) + "".join(lines)


def to_json(frame: pd.DataFrame) -> str:
    return json.dumps(_records(frame), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """One dict per row, of plain Python values; None for missing values, NaN and infinity."""
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
    # The csv writer quotes a carriage return within a cell only if its line terminator contains one.
    csv.writer(out, lineterminator="\r\n").writerow(map(_no_formula, values))
    return out.getvalue().removesuffix("\r\n") + "\n"


def _no_formula(value: Any) -> Any:
    """Escape text that a spreadsheet would run as a formula with an apostrophe; numbers such as -1e-3 stay."""
    if not isinstance(value, str) or not value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return value
    try:
        float(value)
    except ValueError:
        return "'" + value
    return value


# --- For readers


def to_markdown(table: Table) -> str:
    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cells)} |"

    cells = table.cells
    lines = [f"- **{_markdown(question)}**: {_markdown(answer)}" for question, answer in table.first]
    lines += [""] if lines else []
    lines += [f"**{_markdown(table.title)}**", ""] if table.title else []
    lines.append(line(_markdown(heading(name)) for name in table.columns))
    lines.append(line("---:" if table.is_number(name) else "---" for name in table.columns))
    lines += [line(map(_markdown, row)) for row in zip(*(cells[name] for name in table.columns), strict=True)]
    for note in table.notes:
        lines += ["", _markdown(note)]
    return "\n".join(lines) + "\n"


def to_latex(table: Table) -> str:
    """A table in the style of the package booktabs, its title and notes in the caption."""

    def line(cells: Iterable[str]) -> str:
        return f"{' & '.join(map(_latex, cells))} \\\\"

    cells = table.cells
    answers = [f"{question}: {answer}" for question, answer in table.first]
    caption = " ".join(filter(None, [*answers, table.title and f"{table.title}.", *table.notes]))
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            "\\begin{table}",
            "\\centering",
            f"\\begin{{tabular}}{{{''.join('r' if table.is_number(name) else 'l' for name in table.columns)}}}",
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
