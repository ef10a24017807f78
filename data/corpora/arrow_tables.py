"""Parquet and Arrow files, and folders saved by Hugging Face's `datasets`.

pyarrow is imported only when one is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.base.errors import UserError
from data.base.reading import Understood
from data.corpora.columns import SPLIT_NAMES
from data.corpora.table import BATCH, Row, Table, as_text

if TYPE_CHECKING:
    import pyarrow as pa

PARQUET, ARROW = b"PAR1", b"ARROW1"

#: The metadata files of a saved folder.
SPLITS, STATE, INFO = "dataset_dict.json", "state.json", "dataset_info.json"

Batches = Callable[[Sequence[str]], Iterable["pa.RecordBatch"]]  # of these columns


def open_file(path: Path) -> Table:
    """The table of a Parquet or Arrow file."""
    with path.open("rb") as file:
        is_parquet = file.read(4) == PARQUET
    with _explained(path):
        if is_parquet:
            import pyarrow.parquet as pq

            schema = pq.read_schema(path)
            return _table(path, "parquet", schema, lambda names: _parquet(path, names))
        return _table(path, "arrow", _schema(path), lambda names: _arrow([path], names))


def require_saved(folder: Path) -> None:
    """Raises UserError unless the folder was saved by `datasets`."""
    if not (folder / SPLITS).is_file() and not (folder / STATE).is_file():
        files = sorted(file.name[:40] for file in folder.iterdir() if file.is_file())
        listed = f"; name a file in it: {', '.join(files[:5])}{', ...' if files[5:] else ''}" if files else ""
        raise UserError(
            f"{folder} is a folder, not a file, and was not written by save_to_disk of `datasets`: it has no {STATE} "
            f"or {SPLITS}"
            f"{listed}"
        )


def open_folder(folder: Path) -> list[Table]:
    """One table per split of a saved `DatasetDict`, or the single table of a saved `Dataset`.

    Splits with names other than those of training, validation and test are ignored.
    """
    if (folder / SPLITS).is_file():
        splits = _json(folder / SPLITS).get("splits")
        names = [name for name in splits if isinstance(name, str)] if isinstance(splits, list) else []
        known = {name: SPLIT_NAMES[name.lower()] for name in names if name.lower() in SPLIT_NAMES}
        if not known:
            raise UserError(f"{folder / SPLITS} should name a split train; it names {', '.join(names)[:80] or 'none'}")
        return [_dataset(folder / name, split) for name, split in known.items()]
    require_saved(folder)
    return [_dataset(folder, "")]


def _dataset(folder: Path, split: str) -> Table:
    files = _json(folder / STATE).get("_data_files")
    names = [file.get("filename") for file in files if isinstance(file, dict)] if isinstance(files, list) else []
    paths = [folder / name for name in names if isinstance(name, str)]
    for path in paths:
        if path.parent != folder or not path.is_file():
            raise UserError(f"{folder / STATE} names {path.name[:80]!r}, which is not in the folder")
    if not paths:
        raise UserError(f"{folder / STATE} names no files")
    features = _json(folder / INFO).get("features") if (folder / INFO).is_file() else None
    with _explained(paths[0]):
        return _table(folder, "dataset", _schema(paths[0]), lambda names: _arrow(paths, names), features, split)


def _table(
    path: Path, format: str, schema: pa.Schema, batches: Batches, features: Any = None, split: str = ""
) -> Table:
    columns, classes = tuple(schema.names), _class_names(schema, features)

    def rows(places: Sequence[int]) -> Iterator[Row]:
        names, number = [columns[place] for place in places], 0
        with _explained(path):
            for batch in batches(names):
                cells = [_cells(batch.column(name).to_pylist(), classes.get(name)) for name in names]
                for row in zip(*cells, strict=True):
                    number += 1
                    yield number, list(row)

    return Table(path, columns, Understood(format=format, columns=columns), rows, unit="row", split=split)


def _cells(values: list[Any], classes: Sequence[str] | None) -> list[str]:
    if classes is None:
        return [as_text(value) for value in values]
    return [classes[index] if isinstance(index, int) and 0 <= index < len(classes) else "" for index in values]


def _class_names(schema: pa.Schema, features: Any) -> dict[str, list[str]]:
    """Column -> class names by number, for columns with the feature type ClassLabel of `datasets` (-1 is no label)."""
    with suppress(KeyError, TypeError, ValueError):
        features = features or json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    names = {}
    for name, feature in features.items() if isinstance(features, dict) else ():
        if (
            isinstance(feature, dict)
            and feature.get("_type") == "ClassLabel"
            and isinstance(feature.get("names"), list)
        ):
            names[name] = [str(class_name) for class_name in feature["names"]]
    return names


def _parquet(path: Path, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(BATCH, columns=list(dict.fromkeys(names)))


def _arrow(paths: Sequence[Path], names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    for path in paths:
        with _opened(path) as batches:
            for batch in batches:
                yield batch.select(list(dict.fromkeys(names)))


def _schema(path: Path) -> pa.Schema:
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        return (pa.ipc.open_file(source) if _is_seekable(path) else pa.ipc.open_stream(source)).schema


@contextmanager
def _opened(path: Path) -> Iterator[Iterable[pa.RecordBatch]]:
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        if _is_seekable(path):
            file = pa.ipc.open_file(source)
            yield (file.get_batch(number) for number in range(file.num_record_batches))
        else:
            yield pa.ipc.open_stream(source)


def _is_seekable(path: Path) -> bool:
    """Whether a file has Arrow's file format; otherwise it is a stream, as written by `datasets`."""
    with path.open("rb") as file:
        return file.read(6) == ARROW


def _json(path: Path) -> Mapping[str, Any]:
    try:
        parsed = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is not JSON'}") from None
    return parsed if isinstance(parsed, dict) else {}


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turns pyarrow's errors about a damaged file into a UserError of one line."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"cannot read {path}: {reason}") from error
