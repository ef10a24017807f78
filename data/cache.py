"""The cache of encoded corpora on disk, which makes a second time fast: an .npz file whose arrays are memory-mapped, so
that they are read when they are used, and are the same memory for all who use them.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import struct
import threading
import zipfile
from collections.abc import Iterator, Mapping
from mmap import MADV_DONTNEED, mmap
from pathlib import Path
from typing import BinaryIO

import numpy as np

from data.base.errors import UserError
from data.base.files import write_whole
from data.base.texts import SPLITS
from data.encoded import EncodedCorpus, Split

logger = logging.getLogger(__name__)

#: Where arrays begin in a file, in bytes: a multiple of it, as they do in memory.
ALIGNED = 64
CHUNK = 1 << 24  # bytes that are read or written at once
LET_GO_SECONDS = 0.05  # in which some 100 MB are copied

_LOCAL_HEADER = struct.Struct("<26xHH")  # of a member of a zip archive: the lengths of its name and its extra field
_EXTRA_FIELD = struct.Struct("<HH")  # its kind and its length
_PADDING = 0xD935  # the kind that Android's zipalign uses
_ZIP64_FIELD = 20  # bytes that zipfile writes after ours


class OlderLayoutError(Exception):
    """The file has the texts as padded matrices."""


def read_cache(path: Path, *, name: str, digest: str) -> EncodedCorpus | None:
    """Its arrays are mapped. None if there is no such file, an older version's or one that is damaged (the checksum of
    each array is verified)."""
    try:
        with path.open("rb") as file:
            found = _of_arrays(_mapped(file), name)
        if found.digest != digest:
            raise UserError(f"it holds {found.digest}")
    except (FileNotFoundError, OlderLayoutError):
        return None
    except Exception as error:  # a damaged file can raise nearly anything, and the answer is the same to all
        logger.warning("damaged cache file %s (%s): encoding again", path, error)
        return None
    return found


def from_bytes(content: bytes, *, name: str) -> EncodedCorpus | None:
    """What `to_bytes` wrote, or None if that is damaged."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return _of_arrays(arrays, name)
    except Exception:  # as above
        return None


def _mapped(file: BinaryIO) -> dict[str, np.ndarray]:
    """The arrays of an .npz file that is not compressed. Raises an exception of any kind if it is damaged."""
    arrays = {}
    with zipfile.ZipFile(file) as archive:
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(f"the checksum of {damaged} is another one")
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                raise OlderLayoutError
            file.seek(member.header_offset)
            start = member.header_offset + _LOCAL_HEADER.size + sum(_LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size)))
            file.seek(start)
            np.lib.format.read_magic(file)
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            if dtype.hasobject or fortran or file.tell() % dtype.alignment:
                raise OlderLayoutError
            mapped = np.zeros(shape, dtype)
            if mapped.size:  # a plain array, because Ray's object store hands out no other kind without a copy
                mapped = np.asarray(np.memmap(file, dtype, "r", file.tell(), shape))
            arrays[member.filename.removesuffix(".npy")] = mapped
    return arrays


def let_go(encoded: EncodedCorpus) -> None:
    """Give back the memory of what was read of its mapped arrays; it is read again when it is used."""
    for split in SPLITS:
        for array in vars(getattr(encoded, split)).values():
            while array is not None and not isinstance(array, mmap):
                array = getattr(array, "base", None)
            if array is not None:
                array.madvise(MADV_DONTNEED)


@contextlib.contextmanager
def letting_go(encoded: EncodedCorpus) -> Iterator[None]:
    """Inside, what is read of its mapped arrays takes memory for a moment only, so that a copy does not take twice the
    room."""
    done = threading.Event()

    def repeat() -> None:
        while not done.wait(LET_GO_SECONDS):
            let_go(encoded)

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        let_go(encoded)


def _of_arrays(arrays: Mapping[str, np.ndarray], name: str) -> EncodedCorpus:
    if "train_tokens_NT" in arrays:
        raise OlderLayoutError
    rest = json.loads(arrays["rest"].tobytes())
    splits = {split: _split(arrays, f"{split}_") for split in SPLITS}
    return EncodedCorpus(
        name=name,
        digest=rest["digest"],
        classes=tuple(rest["classes"]),
        vocabulary=tuple(rest["vocabulary"]),
        vectors_VE=arrays["vectors_VE"] if rest["has_vectors"] else None,
        embedding_size=rest["embedding_size"],
        **splits,
        num_duplicates=rest["num_duplicates"],
        label_separator=rest.get("label_separator"),
    )


def _split(arrays: Mapping[str, np.ndarray], prefix: str) -> Split:
    own = {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}
    return Split(own.pop("tokens_W"), own.pop("starts_N"), own.pop("lengths_N"), own.pop("labels_N"), own)


def write_cache(path: Path, encoded: EncodedCorpus) -> None:
    """A cache that cannot be written costs time, not the search: that is only a warning."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_whole(path) as file:
            _write_aligned(file, _arrays_of(encoded))
    except OSError as error:
        logger.warning("cannot write the cache %s: %s", path, error)


def to_bytes(encoded: EncodedCorpus, *, compressed: bool) -> bytes:
    """The corpus as a file of plain arrays. Its arrays must not be packed texts."""
    out = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(out, allow_pickle=False, **_arrays_of(encoded))
    return out.getvalue()


def _write_aligned(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """As numpy's `savez` does, but each array begins at a multiple of ALIGNED bytes, as one that is mapped has to."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")
            header = _LOCAL_HEADER.size + len(member.filename.encode()) + _EXTRA_FIELD.size + _ZIP64_FIELD
            padding = -(file.tell() + header) % ALIGNED  # the header of an array itself is a multiple of 64 bytes
            member.extra = _EXTRA_FIELD.pack(_PADDING, padding) + bytes(padding)
            with archive.open(member, "w", force_zip64=True) as out:
                np.lib.format.write_array_header_1_0(out, np.lib.format.header_data_from_array_1_0(array))
                content = np.ascontiguousarray(array).data.cast("B") if array.size else memoryview(b"")
                for start in range(0, len(content), CHUNK):
                    out.write(content[start : start + CHUNK])


def _arrays_of(encoded: EncodedCorpus) -> dict[str, np.ndarray]:
    rest = {
        "digest": encoded.digest,
        "classes": encoded.classes,
        "vocabulary": encoded.vocabulary,
        "has_vectors": encoded.vectors_VE is not None,
        "embedding_size": encoded.embedding_size,
        "num_duplicates": encoded.num_duplicates,
        "label_separator": encoded.label_separator,
    }
    arrays = {"rest": np.frombuffer(json.dumps(rest).encode(), dtype=np.uint8)}
    for split in SPLITS:
        own = vars(getattr(encoded, split))
        arrays |= {f"{split}_{name}": array for name, array in (own | own["arrays"]).items() if name != "arrays"}
    if encoded.vectors_VE is not None:
        arrays["vectors_VE"] = encoded.vectors_VE
    return arrays
