"""Text in, integer matrices out: labelled texts and word vectors by name, encoded once and cached on disk.

The two registries below say what a search may name. To add a corpus or vectors, write a class with the
methods of `data.base.texts.Corpus` or `data.vectors.Vectors` and give it one line here; the contract tests pick it
up.

Imports nothing heavy: validating a spec and answering `--help` stay fast.
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

# A key that ends in ':PATH' stands for every name of that form; its loader is called with the path. A path without
# such a prefix is one too.
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
    """Take in a corpus from outside: a function that `FunctionCorpus` describes, by its reference. It is not called."""
    if not callable(plugin.load()):
        raise UserError(f"{plugin.reference} should be a function that returns texts and labels")
    CORPORA[plugin.reference] = partial(FunctionCorpus, plugin)


def register_vectors(plugin: Plugin) -> None:
    """Take in vectors from outside: a function that `data.encoder.Encoder` describes, likewise."""
    if not callable(plugin.load()):
        raise UserError(f"{plugin.reference} should be a function from a list of texts to an array, a row a text")
    VECTORS[plugin.reference] = partial(FunctionVectors, plugin)


def check_names(corpus: str, vectors: str | None, test: str | None = None) -> None:
    """Raises UserError if any name is unknown, or names a file that does not exist. Reads nothing."""
    for name in (corpus, *([test] if test else [])):
        _find(name, CORPORA, "corpus")
    if vectors is not None:
        _find(vectors, VECTORS, "vectors")


def arrays_of(corpus: str, reading: Reading = USUAL) -> tuple[str, ...]:
    """What the texts of the corpus of that name ask for besides a class (see `data.encoded.Split`). Reads nothing.

    Raises UserError where texts of several classes cannot be.
    """
    loader, _ = _entry(corpus, CORPORA, "corpus")
    own: tuple[str, ...] = getattr(getattr(loader, "func", loader), "arrays", ())
    if reading.multi_label and own:
        raise UserError(f"multi_label: texts of {corpus} have no labels with several classes; leave it out")
    if reading.test and own:
        raise UserError(f"test: is for corpora of texts and classes, which {corpus} is not; leave it out")
    return (LABEL_SETS,) if reading.multi_label else own


def absolute(corpus: str) -> str:
    """The name of a corpus, which means the same in any working directory: of a file 'csv:/home/me/reviews.csv'."""
    return _absolute(corpus, CORPORA, "corpus")


def absolute_vectors(vectors: str) -> str:
    """Likewise of vectors: 'file:/home/me/vectors.txt'."""
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
    """The corpus of that name as token ids, lengths and labels, split for training, validation and test.

    The first call encodes it (seconds; minutes when it must be downloaded), later ones read it from `cache`.

    - vectors: a name in VECTORS; they fix the embedding size. Not used with embeddings='learned'.
    - embeddings: 'frozen' and 'finetuned' start from the vectors and know the training words that have one;
      'learned' starts from nothing and knows the words seen at least twice in training.
    - embedding_size: of 'learned' embeddings, from 1.
    - max_words: later words of a text are never read, from 1.
    - limit: number of examples to keep, over all splits, stratified; None keeps all.
    - split_seed: from 0, the usual split; each gives another one, but official splits stay.
    - fold: of cross-validation over the same texts, this division (see `data.base.folding`).
    - reading: how texts, and which, are read.
    - texts: also keep the words that are read of each text as they are (`data.encoded.TEXTS`).
    - whole: and, where max_words cuts any text, all words of each (`data.encoded.WHOLE_TEXTS`).
    - most_words: of these training texts together, at most; of a larger corpus those of the first texts that fit are
      kept, which are a random choice as texts are in the order of their hashes. None keeps all.
    - embedded: and what the vectors, a function from outside, make of each text that is kept
      (`data.encoded.EMBEDDED`).
    - cache: folder of encoded corpora and downloads; None means `default_cache()`.
    - progress: show a bar on the terminal while downloading.

    Raises UserError, in one line, for anything a user can set right: a wrong name or number, a bad file, no
    network.
    """
    from data import encode

    if embeddings not in encode.EMBEDDINGS:
        raise UserError(
            f"unknown embeddings {embeddings!r}{did_you_mean(embeddings, encode.EMBEDDINGS)}; "
            f"known: {', '.join(encode.EMBEDDINGS)}"
        )
    found = _corpus(corpus, reading)
    encoded = encode.load(
        found,
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
        found,
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
    """The texts of a split ('train', 'val' or 'test') as they were written, each with the index of its class.

    The corpus itself is read: seconds. The arguments, and what is raised, are those of `load`.
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
    """All texts as they were written, by split, the classes, and what was understood of them.

    The corpus itself is read: seconds. The arguments, and what is raised, are those of `load`.
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
    """What was understood of the corpus and what is odd about it, with what to do: see `data.inspection`.

    - max_words: how many words of a text are read, by the different architectures; the most make the vocabulary.
    - encoded: what `load` gives for these arguments, where it is at hand.

    The other arguments are those of `load`. 25,000 reviews take some four seconds; a second time reads the cache.

    Raises UserError when the corpus cannot be read. Where only a search of it is not possible, that is the first of the
    findings.
    """
    from data import dividing, inspection
    from data.base.files import default_cache

    folder, found, blocked = cache or default_cache(), _corpus(corpus, reading), ""
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
                found,
                name=corpus,
                limit=limit,
                split_seed=split_seed,
                reading=reading,
                cache=folder,
                progress=progress,
            ),
            lambda: found.read(folder / "downloads", progress=progress, reading=reading),
            encoded,
            others=lambda: _others(corpus, reading),
            name=corpus,
            max_words=max_words,
            reading=reading,
            blocked=blocked,
            cache=folder,
        )


def file_of(corpus: str) -> Path | None:
    """The file or folder that a corpus of that name is in, where it is named by one; it need not be there."""
    if corpus in CORPORA:
        return None
    try:
        return Path(_form(corpus, CORPORA, "corpus")[1])
    except UserError:
        return None


def _corpus(name: str, reading: Reading) -> Corpus:
    """The corpus of that name, with the test split that `reading` names."""
    found = _find(name, CORPORA, "corpus")
    return WithTest(found, _find(reading.test, CORPORA, "corpus")) if reading.test else found


def _others(name: str, reading: Reading) -> Others:
    """The columns that are not read, of a corpus that has any."""
    found = _find(name, CORPORA, "corpus")
    return found.others(reading) if isinstance(found, File) else Others()


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
    """'csv:reviews.csv' -> 'csv:PATH', 'reviews.csv'; likewise of a path without a prefix, if there is such a file."""
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
