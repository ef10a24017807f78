"""Encodes a corpus as token ids, lengths and labels in three splits, through the cache on disk.

Shapes: N examples of a split, T words (of the longest text, at most max_words), V vocabulary, E embedding size,
F words with a vector.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np

from data import cutting, dividing
from data.base.chosen import Chosen, labels_of
from data.base.errors import UserError
from data.base.files import default_cache
from data.base.folding import Fold
from data.base.reading import USUAL, Reading
from data.base.splitting import Division
from data.base.texts import SPLITS, Corpus
from data.cache import read_cache, write_cache
from data.encoded import (
    ALL_WORDS,
    EMBEDDED,
    PADDING,
    TEXTS,
    UNKNOWN,
    WHOLE_TEXTS,
    EncodedCorpus,
    Split,
    pad,
)
from data.encoder import Encoder, embed
from data.inspecting import script
from data.text import AS_WRITTEN, SPECIALS, Tokenizer, build_vocabulary
from data.vectors import FunctionVectors, Vectors

EMBEDDINGS = ("frozen", "finetuned", "learned")

LEARNED_MIN_COUNT = 2  # a word seen only once in training cannot be learned

NUM_SAMPLED = 50_000  # texts sampled to detect a language that is written without spaces

FORMAT = 1  # version of the cache: raise it when any code below changes what is cached


def load(
    corpus: Corpus,
    *,
    name: str,
    vectors: Vectors | None,
    embedding_size: int = 50,
    max_words: int = 100,
    limit: int | None = None,
    split_seed: int = 0,
    fold: Fold | None = None,
    reading: Reading = USUAL,
    cache: Path | None = None,
    progress: bool = True,
) -> EncodedCorpus:
    """Reads the encoded corpus from the cache; if it is missing or damaged, encodes and caches the corpus.

    vectors: None means learned embeddings of `embedding_size`. The other arguments are those of `data.load`.
    """
    for option, value in (("embedding_size", embedding_size), ("max_words", max_words), ("limit", limit)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise UserError(f"{option}={value!r} has to be a whole number from 1")
    if not isinstance(split_seed, int) or isinstance(split_seed, bool) or split_seed < 0:
        raise UserError(f"split_seed={split_seed!r} has to be a whole number from 0")
    embeddings = f"learned {embedding_size}" if vectors is None else vectors.fingerprint()
    key = [
        FORMAT,
        corpus.fingerprint(),
        embeddings,
        max_words,
        limit,
        *([split_seed] if split_seed else []),
        *([f"fold {fold}"] if fold else []),
        *dataclasses.replace(reading, tokenizer=Tokenizer.of(reading).cuts).key,
    ]
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()

    cache = cache or default_cache()
    path = cache / "encoded" / f"{digest}.npz"
    if encoded := read_cache(path, name=name, digest=digest):
        return encoded
    with _locked(cache / "locks" / f"{digest}.lock"):
        # Another process may have encoded it while this one waited.
        if encoded := read_cache(path, name=name, digest=digest):
            return encoded
        downloads = cache / "downloads"
        parts = path.with_suffix(".parts")
        encoded = encode(
            dividing.divide(
                corpus,
                name=name,
                limit=limit,
                split_seed=split_seed,
                fold=fold,
                reading=reading,
                cache=cache,
                progress=progress,
            ),
            name=name,
            digest=digest,
            read_vectors=None if vectors is None else partial(vectors.read, downloads=downloads, progress=progress),
            embedding_size=embedding_size,
            max_words=max_words,
            reading=reading,
            folder=parts,
            progress=progress,
        )
        write_cache(path, encoded)
        cutting.discard(parts)
        return read_cache(path, name=name, digest=digest) or encoded


@contextlib.contextmanager
def _locked(lock: Path) -> Iterator[None]:
    """Holds a lock, so that only one process encodes a corpus and the others wait for its result.

    If the lock file cannot be written, neither can the cache, and there is nothing to wait for. The kernel releases the
    lock of a process that dies.
    """
    from filelock import FileLock

    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError, NotImplementedError):
            lock.parent.mkdir(parents=True, exist_ok=True)
            lock.touch()  # raises if the file cannot be created, where FileLock would wait forever
            held.enter_context(FileLock(lock))
        yield


def encode(
    division: Division,
    *,
    name: str,
    digest: str,
    read_vectors: Callable[[Collection[str]], tuple[list[str], np.ndarray]] | None,
    embedding_size: int,
    max_words: int,
    reading: Reading,
    folder: Path | None = None,
    progress: bool = False,
) -> EncodedCorpus:
    """Tokenizes the texts, builds the vocabulary from the training split only, and encodes words as ids.

    read_vectors: a function from words to those that have a vector, and their vectors_FE. folder: for the words of
    parts of a large corpus, from which an interrupted encoding continues. The other arguments are those of `load`.
    """
    cut = Tokenizer.of(reading)
    splits, texts = division.splits, division.texts
    parts = {
        split: cutting.cut_all(
            splits[split], cut, max_words, folder and folder / split, bar=f"Cutting texts ({split})" if progress else ""
        )
        for split in SPLITS
    }
    counts = Counter[str]()
    for part in parts["train"]():
        counts.update(part.counts())
    for special in (*SPECIALS, ""):  # a text that contains the word '<pad>' does not mean padding
        del counts[special]
    if read_vectors is None:
        vocabulary, vectors_VE = build_vocabulary(counts, min_count=LEARNED_MIN_COUNT), None
        ids = word_ids(vocabulary)
    else:
        known_words, vectors_FE = read_vectors(counts.keys())
        vocabulary, embedding_size = build_vocabulary(counts, known=known_words), vectors_FE.shape[1]
        ids = word_ids(vocabulary)
        vectors_VE = np.zeros((len(vocabulary), embedding_size), dtype=np.float32)
        vectors_VE[[ids[word] for word in known_words]] = vectors_FE
    if not ids:
        reason = "comes twice" if read_vectors is None else "has a vector; use embeddings: learned"
        if script.share_without_spaces(script.letters([text for text, _ in splits["train"][:NUM_SAMPLED]]), reading):
            reason += f"{' and' if read_vectors else '; use'} tokenizer: characters"
        raise UserError(f"{name}: none of the {len(counts):,} words of the training split {reason}")

    encoded = {}
    for split in SPLITS:
        tokens_W, starts_N, lengths_N = cutting.encode(parts[split], ids)
        labels_N = labels_of(splits[split])
        arrays = texts.arrays(split, splits[split])
        encoded[split] = Split(tokens_W, starts_N, lengths_N, labels_N, arrays)
    return EncodedCorpus(
        name,
        digest,
        texts.learned_classes,
        vocabulary,
        vectors_VE,
        embedding_size,
        **encoded,
        num_duplicates=division.understood.num_duplicates,
        label_separator=texts.label_separator,
    )


def with_texts(
    encoded: EncodedCorpus,
    corpus: Corpus,
    *,
    max_words: int,
    whole: bool,
    most_words: int | None,
    encoder: FunctionVectors | None,
    limit: int | None,
    split_seed: int,
    fold: Fold | None,
    reading: Reading,
    cache: Path | None,
    progress: bool,
) -> EncodedCorpus:
    """The encoded corpus with the TEXTS of each split, including words outside of the vocabulary.

    Texts are tokenized again every time: 25,000 reviews take one second, or three with `whole`.

    whole: also add WHOLE_TEXTS, if any text is truncated. most_words: bound on the total number of words of the
    training texts; the first texts that fit are kept. encoder: also add the EMBEDDED texts, computed from the
    original texts rather than from their words.
    """
    cut, cache = Tokenizer.of(reading), cache or default_cache()
    splits = dividing.divide(
        corpus,
        name=encoded.name,
        limit=limit,
        split_seed=split_seed,
        fold=fold,
        reading=reading,
        cache=cache,
        progress=progress,
    ).splits
    packed, longest = {}, 0
    for name in SPLITS:
        examples, most = Chosen.of(splits[name]), most_words if name == "train" else None
        if most is not None:  # more texts cannot fit, since lengths_N is a lower bound of the number of words
            lengths_N = np.minimum(encoded.train.lengths_N, max_words)
            examples = examples[: 1 + np.searchsorted(np.cumsum(lengths_N, dtype=np.int64), most, "right")]
        bar = f"Cutting texts ({name})" if progress else ""
        num_read = ALL_WORDS if whole else max_words
        packed[name], length = cutting.pack(examples, cut, num_read, most_words=most, bar=bar)
        longest = max(longest, length)
    changed: dict[str, Any] = {}
    for name in SPLITS:
        split: Split = getattr(encoded, name)
        arrays = {**split.arrays, TEXTS: packed[name].first_words(max_words) if longest > max_words else packed[name]}
        if longest > max_words:
            arrays[WHOLE_TEXTS] = packed[name]
        if encoder:
            given = splits[name][: len(packed[name])]
            plain, bar = [cut.plain(text) for text, _ in given], f"Embedding texts ({name})" if progress else ""
            arrays[EMBEDDED] = embed(Encoder(encoder.plugin), plain, cache, bar=bar)
        changed[name] = dataclasses.replace(split, arrays=arrays)
    return dataclasses.replace(encoded, **changed)


def word_ids(vocabulary: Sequence[str]) -> dict[str, int]:
    """Word -> id. Without the specials, so that a word spelled '<pad>' or '<unk>' is not encoded as one."""
    return {word: i for i, word in enumerate(vocabulary) if i > UNKNOWN}


def encode_texts(
    texts: Sequence[str], ids: Mapping[str, int], *, max_words: int, cut: Tokenizer = AS_WRITTEN
) -> tuple[np.ndarray, np.ndarray, list[list[str]]]:
    """Encodes new texts for a trained model.

    ids: the model's `word_ids`. Returns tokens_NT (int32, T of the longest text), lengths_N (int32), and the words of
    each text. A text without words becomes a single unknown word, '<unk>'. May import torch.
    """
    words = [cut(text, max_words) or [SPECIALS[UNKNOWN]] for text in texts]
    tokens_W, starts_N, lengths_N = encode_words(words, ids)
    return pad(tokens_W, starts_N, lengths_N), lengths_N, words


def encode_words(words: Sequence[Sequence[str]], ids: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """tokens_W, starts_N and lengths_N of a `Split`. A text without words becomes a single UNKNOWN."""
    words = [text_words or ("",) for text_words in words]
    lengths_N = np.array([len(text_words) for text_words in words], dtype=np.int32)
    known = (ids.get(word, UNKNOWN) for word in chain.from_iterable(words))
    tokens_W = np.array([*known, *repeat(PADDING, lengths_N.max(initial=1))], dtype=np.int32)
    return tokens_W, np.cumsum(lengths_N, dtype=np.int64) - lengths_N, lengths_N
