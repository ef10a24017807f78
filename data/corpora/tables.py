"""Any file or folder that has a table: what kind it is, is told by its content."""

from __future__ import annotations

from pathlib import Path

from data.base.errors import UserError
from data.base.reading import Reading, Understood
from data.corpora import arrow_tables, json_tables, separated
from data.corpora.opening import SAMPLE, compression, encoding_of, open_bytes, open_text
from data.corpora.table import Table


def open_tables(path: Path, reading: Reading) -> list[Table]:
    """The table of a file, or those of a folder's splits. Raises UserError for what is none."""
    if path.is_dir():
        return arrow_tables.open_folder(path)
    with open_bytes(path) as file:
        beginning = file.read(SAMPLE)
    packed = compression(path)
    if beginning.startswith((arrow_tables.PARQUET, arrow_tables.ARROW)):
        if packed:
            raise UserError(
                f"{path} is a Parquet or Arrow file packed as {packed}: unpack it, it is compressed in itself"
            )
        return [arrow_tables.open_file(path)]
    if beginning[257:262] == b"ustar":
        raise UserError(f"{path} is a tar archive: unpack it, and name a file in it")
    encoding = encoding_of(path, reading.encoding)
    with open_text(path, encoding) as text:
        sample = text.read(SAMPLE)
    understood = Understood(compression=packed, encoding=reading.encoding or encoding)
    kind = json_tables.kind_of(sample, path)
    if kind:
        return [json_tables.open_table(path, encoding, kind, understood, reading)]
    return [separated.open_table(path, encoding, sample, reading, understood)]
