"""JSON: one object per line, an array of objects, or an object of columns. Numbers are kept as written."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from data.base.errors import UserError
from data.base.reading import USUAL, Reading, Understood
from data.corpora.columns import LABEL_NAMES, TEXT_NAMES
from data.corpora.opening import open_text
from data.corpora.table import Row, Table, as_text

FORMS = 'should hold one object per line, an array of objects ([{"text": ..., "label": ...}]) or an object of columns'
NUM_SAMPLED = 100  # lines from which column names are collected

#: Keeps numbers as written; NaN means a missing value.
_decoder = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=lambda name: None if name == "NaN" else name)


def kind_of(sample: str, path: Path) -> str:
    """'jsonl', 'json', or '' for neither: by the first line, or by the file name if that is ambiguous."""
    start = sample.lstrip()
    first, _, rest = start.partition("\n")
    suffixes = {suffix.lower() for suffix in path.suffixes}
    named = "jsonl" if suffixes & {".jsonl", ".ndjson"} else "json" if ".json" in suffixes else ""
    if not start.startswith(("{", "[")):
        return named if start else ""
    try:
        parsed = _decoder.decode(first)
    except (ValueError, RecursionError):  # truncated, or not JSON
        return named or ("json" if re.match(r'\{\s*"|\[\s*\{', start) else "")
    if isinstance(parsed, dict):
        is_flat = not any(isinstance(value, list | dict) for value in parsed.values())
        return "jsonl" if is_flat or rest.strip() or named == "jsonl" else "json"
    return "json" if named or (isinstance(parsed, list) and parsed and isinstance(parsed[0], dict)) else ""


def open_table(path: Path, encoding: str, kind: str, understood: Understood, reading: Reading = USUAL) -> Table:
    if kind == "jsonl":
        columns = _names(islice(_lines(path, encoding), NUM_SAMPLED))
        if not _has_all(columns, reading):  # a column may appear in later lines only
            columns = _names(_lines(path, encoding))

        def rows(places: Sequence[int]) -> Iterator[Row]:
            wanted = [columns[place] for place in places]
            for line, item in _lines(path, encoding):
                yield line, [as_text(item.get(name)) for name in wanted]

        unit = "line"
    else:
        objects = [_flat(item) for item in _objects(path, encoding)]
        columns = tuple({name: None for item in objects for name in item})

        def rows(places: Sequence[int]) -> Iterator[Row]:
            wanted = [columns[place] for place in places]
            for number, item in enumerate(objects, 1):
                yield number, [as_text(item.get(name)) for name in wanted]

        unit = "item"
    return Table(path, columns, dataclasses.replace(understood, format=kind, columns=columns), rows, unit)


def _names(lines: Iterable[tuple[int, Mapping[str, Any]]]) -> tuple[str, ...]:
    return tuple({name: None for _, item in lines for name in item})


def _has_all(columns: Collection[str], reading: Reading) -> bool:
    """Whether these include all columns that the options name, and columns of texts and labels."""
    given = [reading.text_column, reading.label_column, reading.split_column, reading.group_column, reading.time_column]
    if any(isinstance(name, str) and name not in columns for name in given if name != "none"):
        return False
    lower = {name.lower() for name in columns}
    usual = ((reading.text_column, TEXT_NAMES), (reading.label_column, LABEL_NAMES))
    return all(column is not None or not lower.isdisjoint(chain(*names)) for column, names in usual)


def _lines(path: Path, encoding: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with open_text(path, encoding) as text:
        for line, written in enumerate(text, 1):
            if not written.strip():
                continue
            try:
                parsed = _decoder.decode(written.rstrip())
            except json.JSONDecodeError as error:
                raise UserError(f"{path}, line {line}: not JSON: {error.msg} at character {error.colno}") from None
            except RecursionError:
                raise UserError(f"{path}, line {line}: the JSON is nested too deeply") from None
            if not isinstance(parsed, dict):
                raise UserError(f'{path}, line {line}: should be an object, such as {{"text": ..., "label": ...}}')
            yield line, _flat(parsed)


def _flat(nested: Mapping[str, Any]) -> Mapping[str, Any]:
    """{"data": {"text": ...}} -> {"data.text": ...}: one column per value, at any depth."""
    if not any(isinstance(value, dict) for value in nested.values()):
        return nested
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, dict) and value:
            flat |= {f"{name}.{inner}": leaf for inner, leaf in _flat(value).items()}
        else:
            flat[name] = value
    return flat


def _objects(path: Path, encoding: str) -> Sequence[Mapping[str, Any]]:
    """The rows of a JSON document, as objects."""
    with open_text(path, encoding) as text:
        written = text.read()
    try:
        parsed = _decoder.decode(written)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: not JSON: {error.msg} at character {error.colno}") from None
    except RecursionError:
        raise UserError(f"{path}: the JSON is nested too deeply") from None
    if isinstance(parsed, dict) and {"columns", "data"} <= parsed.keys() and isinstance(parsed["data"], list):
        names = parsed["columns"]  # as written by pandas with orient="split"
        if isinstance(names, list) and all(isinstance(row, list) for row in parsed["data"]):
            return [dict(zip(map(as_text, names), row, strict=False)) for row in parsed["data"]]
    if isinstance(parsed, dict):
        lists = [value for value in parsed.values() if isinstance(value, list)]
        if len(lists) == 1 and all(isinstance(item, dict) for item in lists[0]):  # {"data": [...]}
            return lists[0]
        return _from_columns(path, parsed)
    if not isinstance(parsed, list) or not all(isinstance(item, dict) for item in parsed):
        raise UserError(f"{path} {FORMS}")
    return parsed


def _from_columns(path: Path, columns: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Rows from {"text": [...], "label": [...]}, or from pandas' {"text": {"0": ...}, ...}."""
    lists = {
        name: list(values.values()) if isinstance(values, dict) else values
        for name, values in columns.items()
        if isinstance(values, list | dict)
    }
    if not lists:
        raise UserError(f"{path} {FORMS}")
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name[:30]!r} has {length:,}" for name, length in islice(lengths.items(), 5))
        raise UserError(f"{path}: its columns should have the same length; {listed}")
    return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
