"""From text to integer matrices: corpora and word vectors by name, encoded once and cached on disk.

The two registries below hold the names that a spec may use. To add a corpus or vectors, write a class with the methods
of `data.base.texts.Corpus` or `data.vectors.Vectors` and add a line here; the contract tests pick it up.

Imports nothing heavy, so that validating a spec and `--help` stay fast.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from data.base.errors import UserError, did_you_mean, nearest
from data.base.label_sets import LABEL_SETS
from data.base.plugins import Plugin
from data.base.reading import USUAL, Reading
from data.base.texts import Corpus, Example
from data.corpora.captions import Captions
from data.corpora.combined import WithTest
from data.corpora.files import File
from data.corpora.functions import FunctionCorpus
from data.corpora.reviews import MovieReviews, StanfordReviews
from data.corpora.table import Others
from data.vectors import FunctionVectors, GloveArchive, GloveWheel, TextFile, Vectors

if TYPE_CHECKING:
    from data.base.folding import Fold
    from data.base.splitting import Division
    from data.encoded import EncodedCorpus
    from data.inspecting.findings import Inspection

T = TypeVar("T")
Split = Literal["train", "val", "test"]

# A key that ends in ':PATH' matches every name of that form, and its loader is called with the path. A plain path
# matches as well.
CORPORA: dict[str, Callable[..., Corpus]] = {
    "imdb": partial(MovieReviews, source="imdb"),
    "rotten-tomatoes": partial(MovieReviews, source="rotten_tomatoes"),
    "imdb-full": StanfordReviews,
    "captions": Captions,
    "csv:PATH": File,
}
VECTORS: dict[str, Callable[..., Vectors]] = {
    "glove.6B.50d": GloveWheel,
    "glove.6B.100d": partial(GloveArchive, size=100),
    "glove.6B.200d": partial(GloveArchive, size=200),
    "glove.6B.300d": partial(GloveArchive, size=300),
    "file:PATH": TextFile,
}


def register(plugin: Plugin) -> None:
    """Registers an external corpus under its reference: a function as in `FunctionCorpus`, which is not called yet."""
    if not callable(plugin.load()):
        raise UserError(f"{plugin.reference} should be a function that returns texts and labels")
    CORPORA[plugin.reference] = partial(FunctionCorpus, plugin)


def register_vectors(plugin: Plugin) -> None:
    """Registers external vectors under their reference: a function as in `data.encoder.Encoder`, not called yet."""
    if not callable(plugin.load()):
        raise UserError(
            f"{plugin.reference} should be a function from a list of texts to an array with one row per text"
        )
    VECTORS[plugin.reference] = partial(FunctionVectors, plugin)


def check_names(corpus: str, vectors: str | None, test: str | None = None) -> None:
    """Raises UserError for an unknown name or a file that does not exist. Reads no file."""
    for name in (corpus, *([test] if test else [])):
        _find(name, CORPORA, "corpus")
    if vectors is not None:
        _find(vectors, VECTORS, "vectors")


def arrays_of(corpus: str, reading: Reading = USUAL) -> tuple[str, ...]:
    """The names of a corpus's targets besides the class (see `data.encoded.Split`). Reads no file.

    Raises UserError if `reading` has options that a corpus with such targets does not support.
    """
    loader, _ = _entry(corpus, CORPORA, "corpus")
    arrays: tuple[str, ...] = getattr(getattr(loader, "func", loader), "arrays", ())
    if reading.multi_label and arrays:
        raise UserError(f"multi_label: texts of {corpus} have no labels with several classes; leave it out")
    if reading.test and arrays:
        raise UserError(f"test: is for corpora of texts and classes, which {corpus} is not; leave it out")
    return (LABEL_SETS,) if reading.multi_label else arrays


def absolute(corpus: str) -> str:
    """The name of a corpus, independent of the working directory: for a file 'csv:/home/me/reviews.csv'."""
    return _absolute(corpus, CORPORA, "corpus")


def absolute_vectors(vectors: str) -> str:
    """Likewise for vectors: 'file:/home/me/vectors.txt'."""
    return _absolute(vectors, VECTORS, "vectors")


def load(
    corpus: str,
    *,
    vectors: str = "glove.6B.50d",
    embeddings: Literal["frozen", "finetuned", "learned"] = "frozen",
    embedding_size: int = 50,
    max_words: int = 100,
    limit: int | None = None,
    split_seed: int = 0,
    fold: Fold | None = None,
    reading: Reading = USUAL,
    texts: bool = False,
    whole: bool = False,
    most_words: int | None = None,
    embedded: bool = False,
    cache: Path | None = None,
    progress: bool = True,
) -> EncodedCorpus:
    """The named corpus as token ids, lengths and labels, in training, validation and test splits.

    The first call encodes the corpus (seconds; minutes with a download), later calls read it from the cache.

    - vectors: a name in VECTORS, which determines the embedding size. Ignored with embeddings='learned'.
    - embeddings: with 'frozen' and 'finetuned' the vocabulary is the training words that have a vector; with
      'learned' it is the words seen at least twice in training.
    - embedding_size: of 'learned' embeddings, from 1.
    - max_words: texts are truncated to this number of words, from 1.
    - limit: number of examples to keep, over all splits, stratified; None keeps all.
    - split_seed: 0 is the standard split, other numbers (from 1) give other splits; official splits stay the same.
    - fold: one fold of a cross-validation over the same texts (see `data.base.folding`).
    - reading: options for reading the corpus.
    - texts: also keep the (truncated) words of each text, as text (`data.encoded.TEXTS`).
    - whole: also keep all words of each text, if any text is truncated (`data.encoded.WHOLE_TEXTS`).
    - most_words: bound on the total number of words of the training texts kept this way; the first texts that fit are
      kept, a random sample since texts are ordered by hash. None keeps all.
    - embedded: also keep the embedding of each kept text by `vectors`, which has to be a function from outside
      (`data.encoded.EMBEDDED`).
    - cache: folder of encoded corpora and downloads; None means `default_cache()`.
    - progress: show progress bars on the terminal.

    Raises UserError, with a one-line message, for anything that a user can correct: a wrong name or number, an invalid
    file, no network.
    """
    from data import encode

    if embeddings not in encode.EMBEDDINGS:
        raise UserError(
            f"unknown embeddings {embeddings!r}{did_you_mean(embeddings, encode.EMBEDDINGS)}; "
            f"known: {', '.join(encode.EMBEDDINGS)}"
        )
    source = _corpus(corpus, reading)
    encoded = encode.load(
        source,
        name=corpus,
        vectors=None if embeddings == "learned" else _find(vectors, VECTORS, "vectors"),
        embedding_size=embedding_size,
        max_words=max_words,
        limit=limit,
        split_seed=split_seed,
        fold=fold,
        reading=reading,
        cache=cache,
        progress=progress,
    )
    if not (texts or embedded):
        return encoded
    function = _find(vectors, VECTORS, "vectors") if embedded else None
    encoder = function if isinstance(function, FunctionVectors) else None
    if embedded and not encoder:
        raise UserError(f"vectors: should be an encoder of texts, path/encoder.py:embed; got {vectors!r}")
    return encode.with_texts(
        encoded,
        source,
        max_words=max_words,
        whole=whole,
        most_words=most_words,
        encoder=encoder,
        limit=limit,
        split_seed=split_seed,
        fold=fold,
        reading=reading,
        cache=cache,
        progress=progress,
    )


def read_examples(
    corpus: str,
    split: Split,
    *,
    limit: int | None = None,
    split_seed: int = 0,
    reading: Reading = USUAL,
    progress: bool = True,
) -> Sequence[Example]:
    """The original texts of a split ('train', 'val' or 'test'), each with the index of its class.

    Reads the corpus itself, not the cache, which takes seconds. Arguments and errors are those of `load`.
    """
    return read(corpus, limit=limit, split_seed=split_seed, reading=reading, progress=progress).splits[split]


def read(
    corpus: str,
    *,
    limit: int | None = None,
    split_seed: int = 0,
    fold: Fold | None = None,
    reading: Reading = USUAL,
    progress: bool = True,
) -> Division:
    """The original texts by split, the classes, and what was detected while reading.

    Reads the corpus itself, not the cache, which takes seconds. Arguments and errors are those of `load`.
    """
    from data import dividing
    from data.base.files import default_cache

    return dividing.divide(
        _corpus(corpus, reading),
        name=corpus,
        limit=limit,
        split_seed=split_seed,
        fold=fold,
        reading=reading,
        cache=default_cache(),
        progress=progress,
    )


def inspect(
    corpus: str,
    *,
    vectors: str = "glove.6B.50d",
    embeddings: Literal["frozen", "finetuned", "learned"] = "frozen",
    embedding_size: int = 50,
    max_words: Collection[int] = (100,),
    limit: int | None = None,
    split_seed: int = 0,
    reading: Reading = USUAL,
    encoded: EncodedCorpus | None = None,
    cache: Path | None = None,
    progress: bool = True,
) -> Inspection:
    """Facts about the corpus, and problems found in it with their remedies: see `data.inspection`.

    - max_words: the numbers of words to which the architectures truncate texts; the largest determines the vocabulary.
    - encoded: the result of `load` for these arguments, if it is available.

    The other arguments are those of `load`. 25,000 reviews take about four seconds; later calls read the cache.

    Raises UserError if the corpus cannot be read. If it can be read but not searched, the reason is the first finding.
    """
    from data import dividing, inspection
    from data.base.files import default_cache

    folder, source, blocked = cache or default_cache(), _corpus(corpus, reading), ""
    with contextlib.nullcontext() if encoded else dividing.texts_read_once():
        try:
            encoded = encoded or load(
                corpus,
                vectors=vectors,
                embeddings=embeddings,
                embedding_size=embedding_size,
                max_words=max(max_words),
                limit=limit,
                split_seed=split_seed,
                reading=reading,
                cache=cache,
                progress=progress,
            )
        except UserError as error:
            blocked = str(error)
        return inspection.of_corpus(
            lambda: dividing.divide(
                source,
                name=corpus,
                limit=limit,
                split_seed=split_seed,
                reading=reading,
                cache=folder,
                progress=progress,
            ),
            lambda: source.read(folder / "downloads", progress=progress, reading=reading),
            encoded,
            others=lambda: _others(corpus, reading),
            name=corpus,
            max_words=max_words,
            reading=reading,
            blocked=blocked,
            cache=folder,
        )


def file_of(corpus: str) -> Path | None:
    """The file or folder that a corpus name refers to, whether or not it exists; None for corpora without one."""
    if corpus in CORPORA:
        return None
    try:
        return Path(_form(corpus, CORPORA, "corpus")[1])
    except UserError:
        return None


def _corpus(name: str, reading: Reading) -> Corpus:
    """The named corpus, with the test split that `reading` names."""
    corpus = _find(name, CORPORA, "corpus")
    return WithTest(corpus, _find(reading.test, CORPORA, "corpus")) if reading.test else corpus


def _others(name: str, reading: Reading) -> Others:
    """Samples of the unused columns; empty for a corpus that is not a file."""
    corpus = _find(name, CORPORA, "corpus")
    return corpus.others(reading) if isinstance(corpus, File) else Others()


def _find(name: str, registry: Mapping[str, Callable[..., T]], kind: str) -> T:
    """'imdb' -> loader(), 'csv:reviews.csv' and 'reviews.csv' -> loader('reviews.csv')."""
    loader, arguments = _entry(name, registry, kind)
    return loader(*arguments)


def _entry(name: str, registry: Mapping[str, Callable[..., T]], kind: str) -> tuple[Callable[..., T], tuple[str, ...]]:
    if name in registry:
        return registry[name], ()
    form, path = _form(name, registry, kind)
    return registry[form], (path,)


def _form(name: str, registry: Mapping[str, Callable[..., T]], kind: str) -> tuple[str, str]:
    """'csv:reviews.csv' -> 'csv:PATH', 'reviews.csv'; likewise for a path without a prefix, if that file exists."""
    prefix, colon, path = name.partition(":")
    if colon and (form := f"{prefix}:PATH") in registry:
        return form, path
    is_path = os.path.dirname(name) or (os.path.splitext(name)[1] and not nearest(name, registry))
    if is_path or os.path.exists(os.path.expanduser(name)):
        return next(form for form in registry if form.endswith(":PATH")), name
    raise UserError(f"unknown {kind} {name!r}{did_you_mean(f'{prefix}:PATH' if colon else name, registry)}")


def _absolute(name: str, registry: Mapping[str, Callable[..., T]], kind: str) -> str:
    if name in registry:
        return name
    form, path = _form(name, registry, kind)
    return f"{form.removesuffix('PATH')}{Path(path).expanduser().absolute()}"
