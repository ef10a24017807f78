"""Corpus -> token ids, lengths and labels in three splits; and the cache on disk that makes a second time fast.

Shapes: N examples of a split, T words (of the longest text, at most max_words), V vocabulary, E embedding size,
F words found to have a vector.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from data import sources
from data.captions import CaptionTexts
from data.corpora import Corpus, Example, Texts
from data.vectors import Vectors

PADDING, UNKNOWN = 0, 1  # ids of '<pad>' and '<unk>' in every vocabulary
EMBEDDINGS = ("frozen", "finetuned", "learned")
SPLITS = ("train", "val", "test")

HELD_OUT = 10  # one in ten for validation, and one in ten for test
LEAST = 2  # examples of a class in a split
LEARNED_MIN_COUNT = 2  # a word seen once in training cannot be learned
FORMAT = 1  # of the cache, and of everything below that decides what is in it: raise it when that changes

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Split:
    """The examples of a split, in the order of a hash of their texts."""

    tokens_NT: np.ndarray  # int32, ids in the vocabulary, right padded with PADDING
    lengths_N: np.ndarray  # int32, words before the padding, at least 1
    labels_N: np.ndarray  # int64, index into the classes

    def __len__(self) -> int:
        return len(self.labels_N)


@dataclass(frozen=True, eq=False)
class ImageSplit(Split):
    """Of a corpus of captions: also what they ask for (see `data.captions`)."""

    images_NYX: np.ndarray  # float32, ink from 0 to 1
    digits_NQ: np.ndarray  # int64, of each quadrant, or captions.EMPTY


@dataclass(frozen=True, eq=False)
class EncodedCorpus:
    """What trials see of a corpus: plain arrays, so that Ray's object store can hand it out without copying."""

    name: str
    digest: str  # hex; of the corpus's content and every option that changes the encoding
    classes: tuple[str, ...]  # by label; of two, the second is the positive one
    vocabulary: tuple[str, ...]  # by token id
    vectors_VE: np.ndarray | None  # float32, rows 0 and 1 zero; None for learned embeddings
    embedding_size: int
    train: Split
    val: Split
    test: Split
    num_duplicates: int  # examples removed because their text came twice

    @property
    def unknown_share(self) -> float:
        """The share of words, over all splits, that are not in the vocabulary."""
        splits = (self.train, self.val, self.test)
        num_unknown = sum(np.count_nonzero(split.tokens_NT == UNKNOWN) for split in splits)
        return num_unknown / sum(int(split.lengths_N.sum()) for split in splits)

    @property
    def summary(self) -> str:
        """One line for people."""
        classes = ", ".join(self.classes[:5]) + (", ..." if len(self.classes) > 5 else "")
        return (
            f"{self.name}: {len(self.train):,} train, {len(self.val):,} val and {len(self.test):,} test examples "
            f"({self.num_duplicates:,} duplicates removed) of {len(self.classes)} classes ({classes}); "
            f"{len(self.vocabulary):,} words, {self.unknown_share:.1%} of the text unknown"
        )


def load(
    corpus: Corpus,
    *,
    name: str,
    vectors: Vectors | None,
    embedding_size: int = 50,
    max_words: int = 100,
    limit: int | None = None,
    cache: Path | None = None,
    progress: bool = True,
) -> EncodedCorpus:
    """Reads the encoded corpus from the cache or, if it is not there or is damaged, encodes and caches it.

    `vectors` None means learned embeddings of `embedding_size`. The other arguments are those of `data.load`.
    """
    for option, value in (("embedding_size", embedding_size), ("max_words", max_words), ("limit", limit)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ValueError(f"{option}={value!r} has to be a whole number from 1")
    embeddings = f"learned {embedding_size}" if vectors is None else vectors.fingerprint()
    key = [FORMAT, corpus.fingerprint(), embeddings, max_words, limit]
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()

    cache = cache or sources.default_cache()
    path = cache / "encoded" / f"{digest}.npz"
    encoded = read_cache(path, name=name, digest=digest)
    if encoded is None:
        downloads = cache / "downloads"
        encoded = encode(
            corpus.read(downloads, progress=progress),
            name=name,
            digest=digest,
            read_vectors=None if vectors is None else partial(vectors.read, downloads=downloads, progress=progress),
            embedding_size=embedding_size,
            max_words=max_words,
            limit=limit,
        )
        write_cache(path, encoded)
    return encoded


def encode(
    texts: Texts,
    *,
    name: str,
    digest: str,
    read_vectors: Callable[[Collection[str]], tuple[list[str], np.ndarray]] | None,
    embedding_size: int,
    max_words: int,
    limit: int | None,
) -> EncodedCorpus:
    """Splits, tokenizes, builds the vocabulary from the training split only, and turns words into its ids.

    `read_vectors` gives those of some words that have a vector, and their vectors_FE. The others: see `load`.
    """
    splits, num_duplicates = split_examples(texts, name=name, limit=limit)

    from data import text  # not before the examples are known to be good: it imports torch

    words = {split: [text.tokenize(each, max_words) for each, _ in splits[split]] for split in SPLITS}
    counts = Counter(chain.from_iterable(words["train"]))
    for special in text.SPECIALS:  # a review that spells out '<pad>' does not mean padding
        del counts[special]
    if read_vectors is None:
        vocabulary, vectors_VE = text.build_vocabulary(counts, min_count=LEARNED_MIN_COUNT), None
        ids = word_ids(vocabulary)
    else:
        found, vectors_FE = read_vectors(counts.keys())
        vocabulary, embedding_size = text.build_vocabulary(counts, known=found), vectors_FE.shape[1]
        ids = word_ids(vocabulary)
        vectors_VE = np.zeros((len(vocabulary), embedding_size), dtype=np.float32)
        vectors_VE[[ids[word] for word in found]] = vectors_FE
    if not ids:
        reason = "is seen twice" if read_vectors is None else "has a vector"
        raise ValueError(f"{name}: none of the {len(counts):,} words of the training split {reason}")

    num_columns = max(len(each) for each in chain.from_iterable(words.values()))
    encoded = {}
    for split in SPLITS:
        tokens_NT, lengths_N = encode_words(words[split], ids, num_columns=max(1, num_columns))
        labels_N = np.array([label for _, label in splits[split]], dtype=np.int64)
        encoded[split] = Split(tokens_NT, lengths_N, labels_N)
        if isinstance(texts, CaptionTexts):
            images = texts.compose(split, [caption for caption, _ in splits[split]])
            encoded[split] = ImageSplit(tokens_NT, lengths_N, labels_N, *images)
    return EncodedCorpus(
        name,
        digest,
        texts.classes,
        vocabulary,
        vectors_VE,
        embedding_size,
        **encoded,
        num_duplicates=num_duplicates,
    )


def split_examples(texts: Texts, *, name: str, limit: int | None) -> tuple[dict[str, list[Example]], int]:
    """The examples of 'train', 'val' and 'test', in the order of their texts' hashes; the number of duplicates.

    Within each class the first tenth by hash is the test split and the next the validation split, so that the
    order of the file does not matter and each split has the classes' shares. An official test split stays as it is,
    and its texts are taken out of training. `limit` keeps the first of each class in each split: what a limited
    search holds out, a full one holds out too. Of equal texts one is kept, with the first of their labels.

    Raises ValueError if a class has fewer than two examples in a split.
    """
    official_test = texts.test_examples or []
    test = _unique(official_test)
    rest = {text: label for text, label in _unique(texts.examples).items() if text not in test}
    num_duplicates = len(texts.examples) + len(official_test) - len(rest) - len(test)

    rank = {text: hashlib.sha256(text.encode()).digest() for text in chain(rest, test)}
    rest_by_class, test_by_class = ([list[str]() for _ in texts.classes] for _ in range(2))
    for labels, by_class in ((rest, rest_by_class), (test, test_by_class)):
        for text in sorted(labels, key=rank.__getitem__):
            by_class[labels[text]].append(text)

    groups: dict[tuple[str, int], list[str]] = {}
    for label, class_name in enumerate(texts.classes):
        ordered, held_back = rest_by_class[label], test_by_class[label]
        tenth = (len(ordered) + HELD_OUT // 2) // HELD_OUT
        if texts.test_examples is None:
            held_back, ordered = ordered[:tenth], ordered[tenth:]
        groups["test", label], groups["val", label] = held_back, ordered[:tenth]
        groups["train", label] = ordered[tenth:]
        for split in SPLITS:
            if len(groups[split, label]) < LEAST:
                raise ValueError(
                    f"{name}: class {class_name!r} has {len(groups[split, label])} examples in the {split} split, and "
                    f"{LEAST} are needed; {LEAST * HELD_OUT - HELD_OUT // 2} different texts of a class are enough"
                )

    sizes = _shares(limit, {group: len(members) for group, members in groups.items()})
    if min(sizes.values()) < LEAST:
        split, label = min(sizes, key=sizes.__getitem__)
        least = -(-LEAST * sum(map(len, groups.values())) // len(groups[split, label]))
        raise ValueError(
            f"{name}: limit={limit} leaves {sizes[split, label]} examples of class {texts.classes[label]!r} in the "
            f"{split} split, and {LEAST} are needed; limit={least} is enough"
        )
    splits: dict[str, list[Example]] = {}
    for split in SPLITS:
        chosen = [
            (text, label) for (of, label), all_ in groups.items() if of == split for text in all_[: sizes[of, label]]
        ]
        # by the hash read backwards: forwards, the first of one class could all come before those of another
        splits[split] = sorted(chosen, key=lambda example: rank[example[0]][::-1])
    return splits, num_duplicates


def _unique(examples: Sequence[Example]) -> dict[str, int]:
    labels: dict[str, int] = {}
    for text, label in examples:
        labels[text] = min(label, labels.get(text, label))
    return labels


def _shares(total: int | None, sizes: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], int]:
    """Divides the total in proportion to the sizes; what rounding leaves goes to the largest remainders."""
    whole = sum(sizes.values())
    if total is None or total >= whole:
        return dict(sizes)
    shares = {group: total * size // whole for group, size in sizes.items()}
    by_remainder = sorted(sizes, key=lambda group: -(total * sizes[group] % whole))
    for group in by_remainder[: total - sum(shares.values())]:
        shares[group] += 1
    return shares


def word_ids(vocabulary: Sequence[str]) -> dict[str, int]:
    """Word -> id, without padding and unknown, which no word of a text may become by its spelling."""
    return {word: i for i, word in enumerate(vocabulary) if i > UNKNOWN}


def encode_texts(
    texts: Sequence[str], ids: Mapping[str, int], *, max_words: int
) -> tuple[np.ndarray, np.ndarray, list[list[str]]]:
    """New texts for a trained model whose `word_ids` are given: tokens_NT (int32, T of the longest text), lengths_N
    (int32), and the words that the ids stand for. A text without any word is one unknown word, '<unk>'. Imports torch.
    """
    from data import text

    words = [text.tokenize(each, max_words) or [text.SPECIALS[UNKNOWN]] for each in texts]
    tokens_NT, lengths_N = encode_words(words, ids, num_columns=max(map(len, words), default=1))
    return tokens_NT, lengths_N, words


def encode_words(
    words: Sequence[Sequence[str]], ids: Mapping[str, int], *, num_columns: int
) -> tuple[np.ndarray, np.ndarray]:
    """tokens_NT (T = num_columns) and lengths_N. A text of no words becomes a single UNKNOWN."""
    words = [each or ("",) for each in words]
    lengths_N = np.array([len(each) for each in words], dtype=np.int32)
    flat = np.array([ids.get(word, UNKNOWN) for word in chain.from_iterable(words)], dtype=np.int32)
    tokens_NT = np.full((len(words), num_columns), PADDING, dtype=np.int32)
    tokens_NT[np.arange(num_columns) < lengths_N[:, None]] = flat
    return tokens_NT, lengths_N


def read_cache(path: Path, *, name: str, digest: str) -> EncodedCorpus | None:
    """None if there is no such file or it is damaged (reading verifies the checksum of each array in it)."""
    try:
        # opened here, because numpy leaves a file open that turns out to be damaged
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            rest = json.loads(arrays["rest"].tobytes())
            if rest["digest"] != digest:
                raise ValueError(f"it holds {rest['digest']}")
            kind = ImageSplit if "train_images_NYX" in arrays else Split
            splits = {split: kind(*(arrays[f"{split}_{part.name}"] for part in fields(kind))) for split in SPLITS}
            return EncodedCorpus(
                name=name,
                digest=digest,
                classes=tuple(rest["classes"]),
                vocabulary=tuple(rest["vocabulary"]),
                vectors_VE=arrays["vectors_VE"] if rest["has_vectors"] else None,
                embedding_size=rest["embedding_size"],
                **splits,
                num_duplicates=rest["num_duplicates"],
            )
    except FileNotFoundError:
        return None
    except Exception as error:  # a damaged file can raise nearly anything, and the answer is the same to all
        logger.warning("damaged cache file %s (%s): encoding again", path, error)
        return None


def write_cache(path: Path, encoded: EncodedCorpus) -> None:
    """Writes under another name and renames, so that the file is whole or not there, whoever else writes it.

    A cache that cannot be written costs time, not the search: that is only a warning.
    """
    rest = {
        "digest": encoded.digest,
        "classes": encoded.classes,
        "vocabulary": encoded.vocabulary,
        "has_vectors": encoded.vectors_VE is not None,
        "embedding_size": encoded.embedding_size,
        "num_duplicates": encoded.num_duplicates,
    }
    arrays = {"rest": np.frombuffer(json.dumps(rest).encode(), dtype=np.uint8)}
    for split in SPLITS:
        part: Split = getattr(encoded, split)
        arrays |= {f"{split}_{field}": array for field, array in vars(part).items()}
    if encoded.vectors_VE is not None:
        arrays["vectors_VE"] = encoded.vectors_VE
    unfinished = path.with_name(f"{uuid.uuid4().hex}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with unfinished.open("xb") as file:
                np.savez(file, allow_pickle=False, **arrays)
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("cannot write the cache %s: %s", path, error)
