"""Opens a user's file as text: decompressed, and decoded by its byte order mark, as the user says, or as UTF-8."""

from __future__ import annotations

import codecs
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from data.base.errors import UserError, did_you_mean

SAMPLE = 1 << 16  # bytes from the start of a file, used to detect its format

MAGIC = {"gz": b"\x1f\x8b", "xz": b"\xfd7zXZ\0", "bz2": b"BZh", "zip": b"PK\x03\x04"}

#: Byte order marks, longer ones first: that of UTF-32 begins with that of UTF-16.
MARKS = {
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
    b"\xef\xbb\xbf": "utf-8-sig",
}

#: Encoding -> its typical letters, for encodings of non-Latin scripts.
SCRIPTS = {
    "shift_jis": "[\u3041-\u30ff]",
    "euc-kr": "[\uac00-\ud7a3]",
    "windows-1255": "[\u05d0-\u05ea]",  # before the encodings whose letters include the same bytes
    "windows-1251": "[\u0430-\u044f]",
    "koi8-r": "[\u0430-\u044f]",
    "windows-1253": "[\u03ac-\u03ce]",
    "windows-1256": "[\u0621-\u064a]",
    "gb18030": "[\u4e00-\u9fa5\u3000-\u303f\uff00-\uffef]",
    "big5": "[\u4e00-\u9fa5\u3000-\u303f\uff00-\uffef]",
}
#: Minimum share of typical letters; 0.8 for other encodings. Japanese texts also contain Chinese characters.
COMMON_SHARE = {"shift_jis": 0.4, "euc-kr": 0.97}

CONTROL = re.compile(rb"[\0-\x08\x0e-\x1f]")  # occurs in text only in UTF-16 and UTF-32
NO_TEXT = "does not look like a file of texts; save the table of a document or spreadsheet as CSV"

NOT_OF_FILES = ("idna", "punycode", "unicode-escape", "raw-unicode-escape")  # Python codecs for other purposes

DAMAGED = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError, NotImplementedError)


def compression(path: Path) -> str:
    """gz, xz, bz2, zip, or '' for a file that is not compressed."""
    beginning = _beginning(path)
    return next((name for name, magic in MAGIC.items() if beginning.startswith(magic)), "")


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(8)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Opens the decompressed content. Errors of reading or decompressing inside the block become a UserError."""
    packed = compression(path)
    try:
        if packed == "zip":
            with zipfile.ZipFile(path) as archive, archive.open(_only_member(path, archive)) as member:
                yield member
        else:
            with _open(path, packed) as file:
                yield file
    except DAMAGED as error:
        raise UserError(f"cannot read {path}: it is damaged or truncated ({str(error)[:80]})") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or str(error)[:80]}") from error


def _open(path: Path, packed: str) -> IO[bytes]:
    import bz2
    import gzip

    match packed:
        case "gz":
            return cast(IO[bytes], gzip.open(path))
        case "xz":
            return lzma.open(path)
        case "bz2":
            return bz2.open(path)
        case _:
            return path.open("rb")


def _only_member(path: Path, archive: zipfile.ZipFile) -> str:
    names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
    names = [name for name in names if not name.rpartition("/")[2].startswith(".")] or names
    if "[Content_Types].xml" in names:
        raise UserError(f"{path} is an office document (a spreadsheet or a text); save its table as CSV")
    if len(names) != 1:
        raise UserError(
            f"{path} should hold one file; it holds {len(names)}; unpack it, and name the one with the texts"
        )
    return names[0]


def encoding_of(path: Path, given: str | None) -> str:
    """The encoding by the file's byte order mark, or else the given one, or else UTF-8.

    Raises UserError if the given encoding does not exist, or if the file does not look like text.
    """
    with open_bytes(path) as file:
        beginning = file.read(SAMPLE)
    for mark, name in MARKS.items():
        if beginning.startswith(mark) and (given is None or codecs_name(given) in (name, "utf-8")):
            return name
    if given is not None:
        return codecs_name(given)
    if beginning.count(0) > 0.9 * len(beginning):
        raise UserError(f"{path} {NO_TEXT}")
    pairs = len(beginning) // 2
    for name, start in (("utf-16-le", 1), ("utf-16-be", 0)):
        if (
            pairs > 2
            and beginning[start::2].count(0) > 0.7 * pairs
            and beginning[1 - start :: 2].count(0) < 0.1 * pairs
        ):
            raise UserError(f"{path} looks like {name} without a byte order mark; write encoding: {name}")
    return "utf-8"


def codecs_name(encoding: str) -> str:
    """Python's name for a text encoding. Raises UserError for an unknown encoding."""
    from encodings.aliases import aliases

    try:
        codec = codecs.lookup(encoding)
        "".encode(codec.name)  # raises for codecs that do not encode text
        if codec.name not in NOT_OF_FILES:
            return codec.name
    except (LookupError, ValueError, UnicodeError, TypeError):
        pass
    raise UserError(
        f"unknown encoding {encoding!r:.40}{did_you_mean(encoding, {*aliases} - {encoding}, else_all=False)}"
    )


@contextmanager
def open_text(path: Path, encoding: str) -> Iterator[io.TextIOWrapper]:
    """Opens the file as text, keeping line ends. A byte that cannot be decoded becomes a UserError with its line."""
    try:
        with open_bytes(path) as file, io.TextIOWrapper(file, encoding, newline="") as text:
            yield text
    except UnicodeError as error:
        raise UserError(f"{path}, {_undecodable(path, encoding)}") from error


def _undecodable(path: Path, encoding: str) -> str:
    """'line 2: byte 0xe9 is not UTF-8; it looks like latin-1: set encoding: latin-1'. Reads the file again."""
    decoder, line = codecs.getincrementaldecoder(encoding)(), 1
    with open_bytes(path) as file:
        while True:
            chunk = file.read(1 << 20)
            try:
                line += decoder.decode(chunk, final=not chunk).count("\n")
            except UnicodeDecodeError as error:
                line += error.object.count(b"\n", 0, error.start)
                byte = f"byte 0x{error.object[error.start]:02x}"
                around = error.object[max(0, error.start - SAMPLE) : error.start + SAMPLE]
                break
            except UnicodeError:  # UTF-16 without a byte order mark
                return f"line {line}: it is not {encoding}; set another encoding"
            if not chunk:
                return f"line {line}: it is not {encoding}"
    if encoding not in ("utf-8", "utf-8-sig"):
        return f"line {line}: {byte} is not {encoding}; set another encoding"
    if len(CONTROL.findall(around)) > 0.02 * len(around):
        return f"line {line}: {byte} is not UTF-8, and it {NO_TEXT}"
    likely = likely_encoding(around)
    return f"line {line}: {byte} is not UTF-8; it looks like {likely}: set encoding: {likely}"


def likely_encoding(content: bytes) -> str:
    """A guess at the encoding of bytes that are not UTF-8."""
    high = len(re.findall(rb"[\x80-\xff]", content))
    letters = len(re.findall(rb"[A-Za-z]", content))
    if high > 0.25 * (letters + high):
        shares = {}
        for encoding, letter in SCRIPTS.items():
            others = re.sub(r"[\x00-\x7f]", "", content.decode(encoding, "replace"))
            shares[encoding] = len(re.findall(letter, others)) / max(1, len(others)) / COMMON_SHARE.get(encoding, 0.8)
        best = max(shares, key=shares.__getitem__)
        if shares[best] > 1:
            return next((encoding for encoding in COMMON_SHARE if shares[encoding] > 1), best)
    return "windows-1252" if re.search(rb"[\x80-\x9f]", content) else "latin-1"
