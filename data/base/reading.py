"""Options for reading a user's texts, with their defaults, and the facts that were detected while reading."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from data.base.plugins import Plugin

#: The meaning of specs from before these options existed, where it differs from today's defaults.
BEFORE: dict[str, Any] = {
    "text_column": "text",
    "label_column": "label",
    "split_column": "none",
    "contradictions": "first",
    "duplicates": "exact",
    "positive_class": "natural order",
    "clean": False,
}

Column = str | int | None


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a corpus is read. Every field is a key of a spec; search/spec/reading.py describes them."""

    text_column: Column = None
    label_column: Column = None
    split_column: Column = None
    group_column: Column = None
    time_column: Column = None
    time_format: str | None = None
    header: bool = True
    encoding: str | None = None
    separator: str | None = None
    test: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    multi_label: str | None = None
    min_examples: Literal["drop", "merge"] | None = None
    contradictions: Literal["drop", "majority", "first"] = "drop"
    duplicates: Literal["folded", "exact"] = "folded"
    positive_class: str | None = None  # see data/base/positive.py
    clean: bool = True
    tokenizer: str | Plugin = "basic_english"

    @property
    def key(self) -> list[str]:
        """The part of the cache key for these options; empty if they reproduce the behaviour from before they
        existed."""
        before = {**vars(Reading()), **BEFORE, "test": self.test}  # in the corpus's fingerprint
        changed = {option.name: getattr(self, option.name) for option in fields(self)}
        for name in ("text_column", "label_column"):  # automatic detection finds the former column if it exists
            changed[name] = changed[name] or before[name]
        changed = {name: value for name, value in changed.items() if value != before[name]}
        return [json.dumps(changed, sort_keys=True, default=lambda plugin: plugin.digest)] if changed else []


USUAL = Reading()


@dataclass(frozen=True, kw_only=True)
class Understood:
    """What was detected while reading a corpus. The fields about files and columns are empty for other sources."""

    format: str = ""  # csv, jsonl, json, parquet, dataset
    compression: str = ""  # gz, xz, bz2, zip
    encoding: str = ""
    separator: str = ""
    header: bool = True
    columns: tuple[str, ...] = ()  # all columns of the file, named as in its header
    text_column: str = ""
    label_column: str = ""
    split_column: str = ""
    group_column: str = ""
    time_column: str = ""
    num_groups: int = 0
    num_spanning: int = 0  # rows left out because their group is in a later split
    num_rows: int = 0  # rows with a text
    num_control_characters: int = 0  # replaced by spaces
    num_duplicates: int = 0  # rows left out because an equal or nearly equal text with the same label is kept
    num_near_duplicates: int = 0  # duplicates that differ in case, spaces or punctuation at the end
    num_contradictions: int = 0  # distinct texts with more than one label
    num_contradictory: int = 0  # rows with such texts
    positive_class: str = ""  # '' unless there are two classes
    positive_class_because: str = ""
    dropped: Mapping[str, int] = field(default_factory=dict)  # rare class that was left out -> its number of texts
    merged: Mapping[str, int] = field(default_factory=dict)  # likewise for rare classes that were merged
