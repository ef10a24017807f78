"""A frame, and how to show it to a reader: which columns, how they are headed, how their values are written."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.cells import cell_len, set_cell_size

from search.base import record
from search.train.metrics import METRICS

#: How the columns of a known name are headed and written (a format specification); see `heading` and `cell`.
HEADINGS = {
    "rank": "#",
    "members": "average of",
    "num_parameters": "parameters",
    "epochs_run": "epochs",
    "run_id": "run",
    "bound": "at bound",
}
FORMATS = {
    **dict.fromkeys(["num_parameters", "multiply_adds"], ",.0f"),
    "run_id": ".8",
    "importance": ".0%",
    **dict.fromkeys(["fall", "difference", "low", "high"], "+.4f"),
    **dict.fromkeys(["default_test", "best_test"], ".4f"),
    **dict.fromkeys(["seconds", "total_seconds", "seconds_to_best", "inherited_seconds"], ",.1f"),
    **{f"{outcome.value}_share": ".0%" for outcome in record.Outcome},
}
NUMBER, MEASURE = ".3g", ".4f"  # any other float; one of a metric, or of its mean and so on
_OF_MEASURE = re.compile(rf"({'|'.join(record.SPLITS)})_(.+?)(_mean|_sd|_low|_high|_search)?")


@dataclass(frozen=True)
class Table:
    """A frame, and how to show it to a reader.

    groups: the columns to show, in groups that belong together. key: the column, or columns, that tell the rows
    apart; a terminal too narrow for all groups repeats them before those that go below. notes: sentences below. first:
    questions and their answers, to be read before all of it.
    """

    frame: pd.DataFrame
    groups: Sequence[Sequence[str]]
    key: str | Sequence[str]
    title: str = ""
    notes: Sequence[str] = ()
    first: Sequence[tuple[str, str]] = ()

    @property
    def columns(self) -> list[str]:
        return [name for group in self.groups for name in group]

    @property
    def cells(self) -> dict[str, list[str]]:
        """The values of each column that is shown, as a reader sees them."""
        return {name: [cell(name, value) for value in self.frame[name]] for name in self.columns}

    def is_number(self, name: str) -> bool:
        """Whether the column holds numbers, which stand at the right."""
        return pd.api.types.is_numeric_dtype(self.frame[name])


def heading(name: str) -> str:
    """The column's name in words: 'test_roc_auc' -> 'test ROC AUC'."""
    words = HEADINGS.get(name, name).replace("_", " ")
    for metric in METRICS.values():
        if metric.title:
            words = re.sub(rf"\b{re.escape(metric.name.replace('_', ' '))}\b", metric.title, words)
    return clean(words)


def cell(name: str, value: Any) -> str:
    """A value as a reader sees it: rounded, on one line, '' where there is none ('None' is a value)."""
    if value is None:
        return "None"
    if pd.isna(value):
        return ""
    of_measure = _OF_MEASURE.fullmatch(name)
    number = MEASURE if of_measure and of_measure[2] in METRICS else NUMBER
    return clean(format(value, FORMATS.get(name, number if isinstance(value, float) else "")))


def in_words(value: Any) -> str:
    """A value of a spec as a reader sees it: 'rnn, gru', 'cpu: 1.0, gpu: 0.0'."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {in_words(each)}" for key, each in value.items()) or "none"
    return (", ".join(map(in_words, value)) or "none") if isinstance(value, list) else str(value)


def clean(text: str) -> str:
    """One line without control characters, which a terminal would obey."""
    return "".join(char if char.isprintable() else " " for char in text)


def beginning(text: str, width: int) -> str:
    """A line of a text, of so many columns of a terminal at most: a Chinese letter takes two."""
    line = " ".join(clean(text).split())
    return line if cell_len(line) <= width else f"{set_cell_size(line, width).rstrip()}…"
