"""How a user's texts are read: every option with its default; and what was understood of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from data.base.plugins import Plugin

#: What a spec means that was written before there were these options: the values that are not the defaults of today.
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
    """How a corpus is read. Each field is a key of a spec, which describes it (search/spec/reading.py)."""

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
        """What of it makes the texts others than they were before there were options: its part of a cache's key."""
        before = {**vars(Reading()), **BEFORE, "test": self.test}  # that has a fingerprint of its own
        changed = {each.name: getattr(self, each.name) for each in fields(self)}
        for name in ("text_column", "label_column"):  # where the one that was read before is there, it is found
            changed[name] = changed[name] or before[name]
        changed = {name: value for name, value in changed.items() if value != before[name]}
        return [json.dumps(changed, sort_keys=True, default=lambda plugin: plugin.digest)] if changed else []


USUAL = Reading()


@dataclass(frozen=True, kw_only=True)
class Understood:
    """What was understood of a corpus. Of one that is not a file the first fields are empty."""

    format: str = ""  # csv, jsonl, json, parquet, dataset
    compression: str = ""  # gz, xz, bz2, zip
    encoding: str = ""
    separator: str = ""
    header: bool = True
    columns: tuple[str, ...] = ()  # all of the file, as its header names them
    text_column: str = ""
    label_column: str = ""
    split_column: str = ""
    group_column: str = ""
    time_column: str = ""
    num_groups: int = 0
    num_spanning: int = 0  # rows left out because their group is in a later split
    num_rows: int = 0  # that have a text
    num_control_characters: int = 0  # that became spaces
    num_duplicates: int = 0  # rows left out because their text was there, as it is or nearly, with that label
    num_near_duplicates: int = 0  # of these, those whose texts differ in case, spaces or punctuation at their end
    num_contradictions: int = 0  # different texts that have more than one label
    num_contradictory: int = 0  # rows of such texts
    positive_class: str = ""  # of two classes
    positive_class_because: str = ""
    dropped: Mapping[str, int] = field(default_factory=dict)  # class -> texts, of those that have too few
    merged: Mapping[str, int] = field(default_factory=dict)  # likewise, of those that became one class
