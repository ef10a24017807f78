"""JSON: an object a line, an array of objects, or an object of columns. Numbers stay as they are written."""

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

FORMS = 'should hold an object a line, an array of objects ([{"text": ..., "label": ...}]) or an object of columns'
NUM_SAMPLED = 100  # lines, from which the names are taken

#: Numbers stay as they are written, but for NaN, which stands for nothing.
_decoder = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=lambda name: None if name == "NaN" else name)


def kind_of(sample: str, path: Path) -> str:
    """'jsonl', 'json' or '': by the first line, and where that says nothing by the file's name."""
    start = sample.lstrip()
    first, _, rest = start.partition("\n")
    suffixes = {suffix.lower() for suffix in path.suffixes}
    named = "jsonl" if suffixes & {".jsonl", ".ndjson"} else "json" if ".json" in suffixes else ""
    if not start.startswith(("{", "[")):
        return named if start else ""
    try:
        parsed = _decoder.decode(first)
    except (ValueError, RecursionError):  # cut off, or not JSON at all
        return named or ("json" if re.match(r'\{\s*"|\[\s*\{', start) else "")
    if isinstance(parsed, dict):
        is_one = not any(isinstance(each, list | dict) for each in parsed.values())
        return "jsonl" if is_one or rest.strip() or named == "jsonl" else "json"
    return "json" if named or (isinstance(parsed, list) and parsed and isinstance(parsed[0], dict)) else ""


def open_table(path: Path, encoding: str, kind: str, understood: Understood, reading: Reading = USUAL) -> Table:
    if kind == "jsonl":
        columns = _names(islice(_lines(path, encoding), NUM_SAMPLED))
        if not _has_all(columns, reading):  # some may come later
            columns = _names(_lines(path, encoding))

        def rows(places: Sequence[int]) -> Iterator[Row]:
            wanted = [columns[place] for place in places]
            for line, each in _lines(path, encoding):
                yield line, [as_text(each.get(name)) for name in wanted]

        unit = "line"
    else:
        objects = [_flat(each) for each in _objects(path, encoding)]
        columns = tuple({name: None for each in objects for name in each})

        def rows(places: Sequence[int]) -> Iterator[Row]:
            wanted = [columns[place] for place in places]
            for number, each in enumerate(objects, 1):
                yield number, [as_text(each.get(name)) for name in wanted]

        unit = "item"
    return Table(path, columns, dataclasses.replace(understood, format=kind, columns=columns), rows, unit)


def _names(lines: Iterable[tuple[int, Mapping[str, Any]]]) -> tuple[str, ...]:
    return tuple({name: None for _, each in lines for name in each})


def _has_all(columns: Collection[str], reading: Reading) -> bool:
    """Whether the columns that are to be read, texts and labels at least, are among these."""
    given = [reading.text_column, reading.label_column, reading.split_column, reading.group_column, reading.time_column]
    if any(isinstance(each, str) and each not in columns for each in given if each != "none"):
        return False
    lower = {name.lower() for name in columns}
    usual = ((reading.text_column, TEXT_NAMES), (reading.label_column, LABEL_NAMES))
    return all(each is not None or not lower.isdisjoint(chain(*names)) for each, names in usual)


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
    """{"data": {"text": ...}} -> {"data.text": ...}: a column for each value, however deep."""
    if not any(isinstance(each, dict) for each in nested.values()):
        return nested
    flat: dict[str, Any] = {}
    for name, each in nested.items():
        if isinstance(each, dict) and each:
            flat |= {f"{name}.{inner}": value for inner, value in _flat(each).items()}
        else:
            flat[name] = each
    return flat


def _objects(path: Path, encoding: str) -> Sequence[Mapping[str, Any]]:
    """The rows of a document, as objects."""
    with open_text(path, encoding) as text:
        written = text.read()
    try:
        parsed = _decoder.decode(written)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: not JSON: {error.msg} at character {error.colno}") from None
    except RecursionError:
        raise UserError(f"{path}: the JSON is nested too deeply") from None
    if isinstance(parsed, dict) and {"columns", "data"} <= parsed.keys() and isinstance(parsed["data"], list):
        names = parsed["columns"]  # how pandas writes a table that is split
        if isinstance(names, list) and all(isinstance(each, list) for each in parsed["data"]):
            return [dict(zip(map(as_text, names), each, strict=False)) for each in parsed["data"]]
    if isinstance(parsed, dict):
        lists = [each for each in parsed.values() if isinstance(each, list)]
        if len(lists) == 1 and all(isinstance(each, dict) for each in lists[0]):  # {"data": [...]}
            return lists[0]
        return _from_columns(path, parsed)
    if not isinstance(parsed, list) or not all(isinstance(each, dict) for each in parsed):
        raise UserError(f"{path} {FORMS}")
    return parsed


def _from_columns(path: Path, columns: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Rows of {"text": [...], "label": [...]}, or of what pandas writes: {"text": {"0": ...}, ...}."""
    lists = {
        name: list(each.values()) if isinstance(each, dict) else each
        for name, each in columns.items()
        if isinstance(each, list | dict)
    }
    if not lists:
        raise UserError(f"{path} {FORMS}")
    lengths = {name: len(each) for name, each in lists.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name[:30]!r} has {length:,}" for name, length in islice(lengths.items(), 5))
        raise UserError(f"{path}: its columns should be equally long; {listed}")
    return [dict(zip(lists, each, strict=True)) for each in zip(*lists.values(), strict=True)]
