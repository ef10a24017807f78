"""Reading and dividing a corpus, at most once for several callers in a row."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from data.base.folding import Fold
from data.base.reading import Reading
from data.base.splitting import Division, split_examples
from data.base.texts import Corpus

_REMEMBERED: ContextVar[dict[str, Division] | None] = ContextVar("remembered", default=None)


@contextlib.contextmanager
def texts_read_once() -> Iterator[None]:
    """Inside this context, repeating a division does not read the corpus again; only the last division is kept."""
    token = _REMEMBERED.set({})
    try:
        yield
    finally:
        _REMEMBERED.reset(token)


def divide(
    corpus: Corpus,
    *,
    name: str,
    limit: int | None,
    split_seed: int,
    reading: Reading,
    cache: Path,
    fold: Fold | None = None,
    progress: bool = False,
) -> Division:
    """All texts of a corpus, by split. Arguments and errors are those of `data.load`."""
    remembered = _REMEMBERED.get()
    key = ""
    if remembered is not None:
        key = json.dumps([corpus.fingerprint(), name, limit, split_seed, str(fold), reading.key])
        if key in remembered:
            return remembered[key]
        remembered.clear()
    texts = corpus.read(cache / "downloads", progress=progress, reading=reading)
    division = split_examples(
        texts, name=name, limit=limit, seed=split_seed, reading=reading, fold=fold, progress=progress
    )
    if remembered is not None:
        remembered[key] = division
    return division
