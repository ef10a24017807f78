"""A search's copy of its corpus, without the training texts, so that its models can be used when the file is gone.

It is stored among the search's checkpoints, once for all trials: classes, vocabulary, word vectors and the encoded
held-out texts, in the format of the cache of encoded corpora, and the original held-out texts, one Parquet file per
split.
The spec has the options for reading texts. With `texts: none` the original texts are not stored, and an older search
has no copy at all; in both cases the corpus is read again when needed.
"""

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from data.base.chosen import Chosen
from data.base.errors import UserError
from data.base.texts import Example
from data.cache import from_bytes, to_bytes
from data.encoded import EncodedCorpus, Split
from search.spec.read import load_corpus, read_examples, read_spec, read_texts
from search.spec.spec import Spec
from search.train import checkpoints
from search.train.checkpoints import Folder

FOLDER = "corpus"  # among the checkpoints; no trial has this name
ENCODED = "encoded.npz"  # written last, so its existence means that the copy is complete
TEXTS = "{}.parquet"  # by split, with the columns text and label (the index of its class)
HELD_OUT: tuple[Literal["val", "test"], ...] = ("val", "test")

DIGEST = b"digest"  # of the corpus, in the metadata of a Parquet file


def keep(folder: Path, spec: Spec, corpus: EncodedCorpus) -> None:
    """Stores the corpus of the search in this folder, unless it is stored already. Raises UserError if the texts cannot
    be read or the copy cannot be written."""
    place = checkpoints.root(folder) / FOLDER
    try:
        _keep(place, spec, corpus)
    except OSError as error:
        raise UserError(f"cannot write {place}: {error.strerror or error}") from error


def _keep(place: Folder, spec: Spec, corpus: EncodedCorpus) -> None:
    known = checkpoints.load_file(place, ENCODED)
    if known is not None and (kept := from_bytes(known, name=corpus.name)) and kept.digest == corpus.digest:
        return
    texts = read_texts(spec).splits if spec.texts != "none" else {}
    for split in HELD_OUT if texts else ():
        with checkpoints.open_file(place, TEXTS.format(split)) as file:
            _write_parquet(file, texts[split], corpus.digest)
    kept = dataclasses.replace(corpus, train=_empty(corpus.train), val=_plain(corpus.val), test=_plain(corpus.test))
    checkpoints.save_file(place, ENCODED, to_bytes(kept, compressed=True))


def corpus(folder: Path) -> EncodedCorpus:
    """The corpus that the search in this folder was trained on, with an empty training split.

    For an older search it is the full corpus, in its current state. Raises UserError if the corpus, or the stored
    copy, cannot be read.
    """
    spec, place = read_spec(folder), checkpoints.root(folder) / FOLDER
    content = checkpoints.load_file(place, ENCODED)
    if content is None:
        return load_corpus(spec)
    stored = from_bytes(content, name=spec.corpus)
    if stored is None:
        raise UserError(
            f"{place / ENCODED} is damaged, and the models of {folder.name} cannot be read without it; put back a copy"
        )
    return stored


def examples(folder: Path, split: Literal["val", "test"]) -> Sequence[Example]:
    """The original held-out texts of the search in this folder, each with the index of its class.

    Raises UserError as `corpus` does, or if the texts are not stored and have changed.
    """
    place = checkpoints.root(folder) / FOLDER
    content = checkpoints.load_file(place, TEXTS.format(split))
    if content is not None:
        return _from_parquet(content, place)
    spec = read_spec(folder)
    texts = read_examples(spec, split)
    if checkpoints.load_file(place, ENCODED) is not None:  # detects changed texts by their labels
        known: Split = getattr(corpus(folder), split)
        if [label for _, label in texts] != known.labels_N.tolist():
            raise UserError(
                f"{spec.corpus} has changed, and {folder.name} kept no copy of its texts (texts: none); put it back "
                "as it was"
            )
    return texts


def _plain(split: Split) -> Split:
    """The split without packed texts."""
    return dataclasses.replace(split, arrays={k: v for k, v in split.arrays.items() if isinstance(v, np.ndarray)})


def _empty(split: Split) -> Split:
    """The split without examples; its arrays keep their other dimensions."""
    arrays = {name: array[:0] for name, array in _plain(split).arrays.items()}
    return Split(split.tokens_W[-1:], split.starts_N[:0], split.lengths_N[:0], split.labels_N[:0], arrays)


def _write_parquet(file: BinaryIO, labelled: Sequence[Example], digest: str) -> None:
    """Writes examples, a batch at a time."""
    import pyarrow as pa
    from pyarrow import parquet

    chosen = Chosen.of(labelled)
    schema = pa.schema({"text": pa.string(), "label": pa.int64()}, {DIGEST: digest})
    with parquet.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer:
        for batch, labels_n in zip(chosen.batches(), chosen.batches_of_labels(), strict=True):
            # A lone surrogate, which JSON can contain, is not valid UTF-8 and must not stop a search.
            texts = pa.array([text.encode("utf-8", "surrogatepass") for text in batch], pa.binary())
            writer.write_batch(pa.record_batch([texts.view(pa.string()), pa.array(labels_n)], schema=schema))


def _from_parquet(content: bytes, place: Folder) -> list[Example]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table: Any = parquet.read_table(io.BytesIO(content), page_checksum_verification=True)
        texts = [text.decode("utf-8", "surrogatepass") for text in table["text"].cast(pa.binary()).to_pylist()]
        return list(zip(texts, table["label"].to_pylist(), strict=True))
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise UserError(f"the texts in {place} are damaged: {' '.join(str(error).split())}") from error
