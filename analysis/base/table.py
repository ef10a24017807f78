"""A frame with its presentation: which columns to show, their headings, and the formats of their values."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.cells import cell_len, set_cell_size

from search.base import schema
from search.train.metrics import METRICS

#: Headings and format specifications of columns, by name; see `heading` and `cell`.
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
    **{f"{outcome.value}_share": ".0%" for outcome in schema.Outcome},
}
NUMBER, MEASURE = ".3g", ".4f"  # other floats; metrics and their means, bounds and deviations
_OF_MEASURE = re.compile(rf"({'|'.join(schema.SPLITS)})_(.+?)(_mean|_sd|_low|_high|_search)?")


@dataclass(frozen=True)
class Table:
    """A frame with its presentation.

    groups: the columns to show, grouped by topic. key: the column or columns that identify a row; a terminal too narrow
    for all groups shows them in several blocks, each beginning with the key. notes: sentences below the table. first:
    questions with their answers, shown above the table.
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
        """The formatted values of every shown column."""
        return {name: [cell(name, value) for value in self.frame[name]] for name in self.columns}

    def is_number(self, name: str) -> bool:
        """Whether the column holds numbers, which are aligned right."""
        return pd.api.types.is_numeric_dtype(self.frame[name])


def heading(name: str) -> str:
    """The column's name in words: 'test_roc_auc' -> 'test ROC AUC'."""
    words = HEADINGS.get(name, name).replace("_", " ")
    for metric in METRICS.values():
        if metric.title:
            words = re.sub(rf"\b{re.escape(metric.name.replace('_', ' '))}\b", metric.title, words)
    return clean(words)


def in_prose(name: str) -> str:
    """The column's name in a sentence: 'val_accuracy' -> 'validation accuracy'."""
    return re.sub(r"^val ", "validation ", heading(name))


def cell(name: str, value: Any) -> str:
    """A value as text: rounded, on one line; '' for a missing value ('None' is a value)."""
    if value is None:
        return "None"
    if pd.isna(value):
        return ""
    of_measure = _OF_MEASURE.fullmatch(name)
    number = MEASURE if of_measure and of_measure[2] in METRICS else NUMBER
    return clean(format(value, FORMATS.get(name, number if isinstance(value, float) else "")))


def in_words(value: Any) -> str:
    """A value of a spec as text: 'rnn, gru', 'cpu: 1.0, gpu: 0.0'."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {in_words(each)}" for key, each in value.items()) or "none"
    return (", ".join(map(in_words, value)) or "none") if isinstance(value, list) else str(value)


def clean(text: str) -> str:
    """The text on one line, without control characters, which a terminal would execute."""
    return "".join(char if char.isprintable() else " " for char in text)


def beginning(text: str, width: int) -> str:
    """The beginning of a text on one line, at most `width` terminal columns wide (a Chinese character takes two)."""
    line = " ".join(clean(text).split())
    return line if cell_len(line) <= width else f"{set_cell_size(line, width).rstrip()}…"
