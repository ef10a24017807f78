"""A corpus from outside: a function that returns labelled texts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from data.base.errors import UserError, did_you_mean
from data.base.ordering import natural_order
from data.base.plugins import Plugin
from data.base.reading import USUAL, Reading
from data.base.texts import SPLITS, Example, Texts


@dataclass(frozen=True)
class FunctionCorpus:
    """A corpus from a function without arguments that returns texts and labels, or a dict of both by split.

    Texts are strings. Labels can have any type; they are converted to strings and sorted in natural order (see `File`).
    `train` is required; the splits `test` and `val` are optional, and kept as they are. The fingerprint covers the
    function's source and its result, regardless of order. The function runs once in every process that needs the
    texts, so the files that it reads must not change.
    """

    plugin: Plugin

    def fingerprint(self) -> str:
        texts = _call(self.plugin)
        examples = [split and sorted(split) for split in (texts.examples, texts.val_examples, texts.test_examples)]
        content = [self.plugin.digest, texts.classes, *examples]
        return f"function {hashlib.sha256(json.dumps(content).encode()).hexdigest()}"

    def read(self, downloads: Path, *, progress: bool, reading: Reading = USUAL) -> Texts:
        return _call(self.plugin)


@cache
def _call(plugin: Plugin) -> Texts:
    """Calls the function. Raises UserError, with the line in the user's file or the expected return value."""
    where, function = plugin.reference, plugin.load()
    try:
        returned = function()
    except Exception as error:
        raise UserError(f"{where}: {plugin.explain(error)}") from error
    splits = dict(returned) if isinstance(returned, Mapping) else {"train": returned}
    for split in splits:
        if split not in SPLITS:
            raise UserError(f"{where} returns the unknown split {split!r}{did_you_mean(split, SPLITS)}")
    if "train" not in splits:
        raise UserError(f"{where} should return a split train; it returns {', '.join(splits) or 'nothing'}")
    labelled = {split: _pairs(f"{where}: {split}", content) for split, content in splits.items()}
    classes = sorted({label for pairs in labelled.values() for _, label in pairs}, key=natural_order)
    if len(classes) < 2:
        raise UserError(f"{where} returns {len(classes)} classes; at least two are needed")
    index = {label: i for i, label in enumerate(classes)}
    examples: dict[str, list[Example]] = {
        split: [(text, index[label]) for text, label in pairs] for split, pairs in labelled.items()
    }
    return Texts(tuple(classes), examples["train"], examples.get("test"), examples.get("val"))


def _pairs(where: str, returned: Any) -> list[tuple[str, str]]:
    """Texts with their labels. Raises UserError, with the number of the example, for invalid ones."""
    try:
        texts, labels = (
            list(column) for column in returned if isinstance(column, Iterable) and not isinstance(column, str)
        )
    except (TypeError, ValueError):
        raise UserError(
            f"{where}: should be two sequences, of texts and of labels; got {type(returned).__name__}"
        ) from None
    if len(texts) != len(labels):
        raise UserError(f"{where}: each text needs a label; got {len(texts):,} texts and {len(labels):,} labels")
    for number, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            raise UserError(f"{where}: text {number} (from 0) should be a non-empty string; got {text!r:.40}")
    return [(text, str(label).strip()) for text, label in zip(texts, labels, strict=True)]
