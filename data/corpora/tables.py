"""Opens a file or folder as tables, detecting the format from its content."""

from __future__ import annotations

from pathlib import Path

from data.base.errors import UserError
from data.base.reading import Reading, Understood
from data.corpora import arrow_tables, json_tables, separated
from data.corpora.opening import SAMPLE, compression, encoding_of, open_bytes, open_text
from data.corpora.table import Table


def open_tables(path: Path, reading: Reading) -> list[Table]:
    """The table of a file, or one table per split of a folder. Raises UserError for any other content."""
    if path.is_dir():
        return arrow_tables.open_folder(path)
    with open_bytes(path) as file:
        beginning = file.read(SAMPLE)
    packed = compression(path)
    if beginning.startswith((arrow_tables.PARQUET, arrow_tables.ARROW)):
        if packed:
            raise UserError(
                f"{path} is a Parquet or Arrow file compressed as {packed}: decompress it (it has compression inside)"
            )
        return [arrow_tables.open_file(path)]
    if beginning[257:262] == b"ustar":
        raise UserError(f"{path} is a tar archive: extract it, and give the path of a file in it")
    encoding = encoding_of(path, reading.encoding)
    with open_text(path, encoding) as text:
        sample = text.read(SAMPLE)
    understood = Understood(compression=packed, encoding=reading.encoding or encoding)
    kind = json_tables.kind_of(sample, path)
    if kind:
        return [json_tables.open_table(path, encoding, kind, understood, reading)]
    return [separated.open_table(path, encoding, sample, reading, understood)]
