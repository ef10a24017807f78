"""The cache of encoded corpora on disk: uncompressed .npz files whose arrays are memory-mapped.

Mapped arrays are loaded on access, and processes share their memory.
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

#: Alignment of arrays in a file, in bytes, as in memory.
ALIGNED = 64
CHUNK = 1 << 24  # bytes written at once
RELEASE_SECONDS = 0.05  # interval, in which about 100 MB are copied

_LOCAL_HEADER = struct.Struct("<26xHH")  # of a zip member: the lengths of its name and of its extra fields
_EXTRA_FIELD = struct.Struct("<HH")  # type and length
_PADDING = 0xD935  # the type that Android's zipalign uses for padding
_ZIP64_FIELD = 20  # bytes that zipfile appends to the extra fields


class OlderLayoutError(Exception):
    """The file has the layout of an older version."""


def read_cache(path: Path, *, name: str, digest: str) -> EncodedCorpus | None:
    """The cached corpus, with mapped arrays; None if the file is missing, has an older layout, or is damaged (the
    checksum of every array is verified)."""
    try:
        with path.open("rb") as file:
            encoded = _of_arrays(_mapped(file), name)
        if encoded.digest != digest:
            raise UserError(f"it contains the corpus {encoded.digest}")
    except (FileNotFoundError, OlderLayoutError):
        return None
    except Exception as error:  # a damaged file can raise nearly any exception
        logger.warning("damaged cache file %s (%s): encoding again", path, error)
        return None
    return encoded


def from_bytes(content: bytes, *, name: str) -> EncodedCorpus | None:
    """The corpus that `to_bytes` wrote; None if the content is damaged."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return _of_arrays(arrays, name)
    except Exception:  # as above
        return None


def _mapped(file: BinaryIO) -> dict[str, np.ndarray]:
    """The arrays of an uncompressed .npz file. Raises some exception, of any type, if it is damaged."""
    arrays = {}
    with zipfile.ZipFile(file) as archive:
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(f"wrong checksum of {damaged}")
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
            if mapped.size:  # a plain array, because Ray's object store copies other types
                mapped = np.asarray(np.memmap(file, dtype, "r", file.tell(), shape))
            arrays[member.filename.removesuffix(".npy")] = mapped
    return arrays


def release_pages(encoded: EncodedCorpus) -> None:
    """Releases the memory of mapped arrays; the kernel loads pages again on access."""
    for split in SPLITS:
        for array in vars(getattr(encoded, split)).values():
            while array is not None and not isinstance(array, mmap):
                array = getattr(array, "base", None)
            if array is not None:
                array.madvise(MADV_DONTNEED)


@contextlib.contextmanager
def releasing_pages(encoded: EncodedCorpus) -> Iterator[None]:
    """Inside this context, memory of mapped arrays is released periodically, so that copying a corpus does not take
    twice its size."""
    done = threading.Event()

    def repeat() -> None:
        while not done.wait(RELEASE_SECONDS):
            release_pages(encoded)

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        release_pages(encoded)


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
    fields = {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}
    return Split(
        fields.pop("tokens_W"), fields.pop("starts_N"), fields.pop("lengths_N"), fields.pop("labels_N"), fields
    )


def write_cache(path: Path, encoded: EncodedCorpus) -> None:
    """Writes the cache. Failing to write only logs a warning: the search can go on without a cache."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_whole(path) as file:
            _write_aligned(file, _arrays_of(encoded))
    except OSError as error:
        logger.warning("cannot write the cache %s: %s", path, error)


def to_bytes(encoded: EncodedCorpus, *, compressed: bool) -> bytes:
    """The corpus as the content of an .npz file. Packed texts are not supported."""
    out = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(out, allow_pickle=False, **_arrays_of(encoded))
    return out.getvalue()


def _write_aligned(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """Like numpy's `savez`, but with every array aligned to ALIGNED bytes, as memory mapping requires."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")
            header = _LOCAL_HEADER.size + len(member.filename.encode()) + _EXTRA_FIELD.size + _ZIP64_FIELD
            padding = -(file.tell() + header) % ALIGNED  # the array's own header is a multiple of 64 bytes
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
        fields = vars(getattr(encoded, split))
        arrays |= {f"{split}_{name}": array for name, array in (fields | fields["arrays"]).items() if name != "arrays"}
    if encoded.vectors_VE is not None:
        arrays["vectors_VE"] = encoded.vectors_VE
    return arrays
