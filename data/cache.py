"""The cache of encoded corpora on disk, which makes a second time fast."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from data.base.errors import UserError
from data.base.files import write_whole
from data.base.texts import SPLITS
from data.encoded import EncodedCorpus, Split

logger = logging.getLogger(__name__)


class OlderLayoutError(Exception):
    """The file has the texts as padded matrices."""


def read_cache(path: Path, *, name: str, digest: str) -> EncodedCorpus | None:
    """None if there is no such file, an older version's or one that is damaged (reading verifies the checksum of each
    array in it)."""
    try:
        # opened here, because numpy leaves a file open that turns out to be damaged
        with path.open("rb") as file:
            found = _read(file, name)
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
        return _read(io.BytesIO(content), name)
    except Exception:  # as above
        return None


def _read(file: BinaryIO, name: str) -> EncodedCorpus:
    with np.load(file, allow_pickle=False) as arrays:
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
            _write(file, encoded, compressed=False)
    except OSError as error:
        logger.warning("cannot write the cache %s: %s", path, error)


def to_bytes(encoded: EncodedCorpus, *, compressed: bool) -> bytes:
    """The corpus as a file of plain arrays. Its arrays must not be packed texts."""
    out = io.BytesIO()
    _write(out, encoded, compressed=compressed)
    return out.getvalue()


def _write(file: BinaryIO, encoded: EncodedCorpus, *, compressed: bool) -> None:
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
    (np.savez_compressed if compressed else np.savez)(file, allow_pickle=False, **arrays)
