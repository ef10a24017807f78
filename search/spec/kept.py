"""What a search keeps of its corpus, so that its models outlive the file: all but the training texts.

It lies among the search's checkpoints, once for all trials: classes, vocabulary, word vectors and the encoded held-out
texts as the cache of encoded corpora has them, and these texts as they were written, each split a Parquet file. How
texts are read is in the spec. An older search has none of it; its corpus is read again. Where texts may be nowhere
(`texts: none`) these are not kept; when they are needed, the corpus is read again.
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

FOLDER = "corpus"  # among the checkpoints, where no trial has this name
ENCODED = "encoded.npz"  # written last: where it is, all is
TEXTS = "{}.parquet"  # of a split: the columns text and label, the index of its class
HELD_OUT: tuple[Literal["val", "test"], ...] = ("val", "test")

DIGEST = b"digest"  # of the corpus, in the metadata of a Parquet file


def keep(folder: Path, spec: Spec, corpus: EncodedCorpus) -> None:
    """Keep the corpus that the search in this folder learns from, unless it is kept. Raises UserError when its texts
    cannot be read, or there is no room."""
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
    kept = dataclasses.replace(corpus, train=_none_of(corpus.train), val=_plain(corpus.val), test=_plain(corpus.test))
    checkpoints.save_file(place, ENCODED, to_bytes(kept, compressed=True))


def corpus(folder: Path) -> EncodedCorpus:
    """The corpus of the search in this folder as it was trained on, no text in its training split.

    Of an older search it is the whole corpus, as it is now. Raises UserError when that, or what was kept, cannot be
    read.
    """
    spec, place = read_spec(folder), checkpoints.root(folder) / FOLDER
    content = checkpoints.load_file(place, ENCODED)
    if content is None:
        return load_corpus(spec)
    found = from_bytes(content, name=spec.corpus)
    if found is None:
        raise UserError(
            f"{place / ENCODED} is damaged, and the models of {folder.name} cannot be read without it; put back a copy"
        )
    return found


def examples(folder: Path, split: Literal["val", "test"]) -> Sequence[Example]:
    """The held-out texts of the search in this folder as they were written, each with the index of its class.

    Raises as `corpus` does.
    """
    place = checkpoints.root(folder) / FOLDER
    content = checkpoints.load_file(place, TEXTS.format(split))
    if content is not None:
        return _from_parquet(content, place)
    spec = read_spec(folder)
    found = read_examples(spec, split)
    if checkpoints.load_file(place, ENCODED) is not None:  # by which the texts can be told from others
        known: Split = getattr(corpus(folder), split)
        if [label for _, label in found] != known.labels_N.tolist():
            raise UserError(
                f"{spec.corpus} has changed, and {folder.name} kept no copy of its texts (texts: none); put it back "
                "as it was"
            )
    return found


def _plain(split: Split) -> Split:
    """The split without the texts that are packed for who learns from these."""
    return dataclasses.replace(split, arrays={k: v for k, v in split.arrays.items() if isinstance(v, np.ndarray)})


def _none_of(split: Split) -> Split:
    """The split without its examples; what shape they have can still be seen."""
    arrays = {name: array[:0] for name, array in _plain(split).arrays.items()}
    return Split(split.tokens_W[-1:], split.starts_N[:0], split.lengths_N[:0], split.labels_N[:0], arrays)


def _write_parquet(file: BinaryIO, found: Sequence[Example], digest: str) -> None:
    """Some thousand texts at a time."""
    import pyarrow as pa
    from pyarrow import parquet

    chosen = Chosen.of(found)
    schema = pa.schema({"text": pa.string(), "label": pa.int64()}, {DIGEST: digest})
    with parquet.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer:
        for batch, labels_n in zip(chosen.batches(), chosen.batches_of_labels(), strict=True):
            # Half of a surrogate pair, which JSON can hold, is no UTF-8 and must not stop a search.
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
