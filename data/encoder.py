"""Encoders from outside, that is functions from texts to embeddings such as pretrained models, and the cache of their
embeddings.

Shapes: N texts, E embedding size.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.base.errors import UserError
from data.base.files import write_whole
from data.base.plugins import Plugin
from data.encoded import Embedded

logger = logging.getLogger(__name__)

BATCH = 512  # texts per call of the function


@dataclass(frozen=True)
class Encoder:
    """A user's function from texts to embeddings. The cache key is its source: files that it reads must not change."""

    plugin: Plugin

    def __call__(self, texts: Sequence[str], *, bar: str = "") -> np.ndarray:
        """The embeddings, shape (N, E), float32 and finite; shape (0, 0) for no texts.

        bar: the label of the progress bar; '' shows no bar. Raises UserError, with the line in the user's file or the
        expected return value.
        """
        from rich.progress import track

        starts = range(0, len(texts), BATCH)
        batches: list[np.ndarray] = []
        for start in track(starts, bar, disable=not bar, transient=True):
            batches.append(self._batch(list(texts[start : start + BATCH])))
            if batches[-1].shape[1] != batches[0].shape[1]:
                sizes = f"{batches[0].shape[1]} numbers per text, then {batches[-1].shape[1]}"
                raise UserError(f"vectors: {self.plugin.reference} should return arrays of one width; got {sizes}")
        return np.concatenate(batches) if batches else np.zeros((0, 0), dtype=np.float32)

    def _batch(self, texts: list[str]) -> np.ndarray:
        function, where = self.plugin.load(), f"vectors: {self.plugin.reference}"
        try:
            returned = function(texts)
        except Exception as error:
            raise UserError(f"vectors: {self.plugin.explain(error)}") from error
        try:
            with np.errstate(over="ignore"):  # overflow is reported below
                vectors_NE = np.array(np.asarray(returned), dtype=np.float32)
        except Exception:  # of any type: a tensor on a GPU, for example, raises TypeError
            raise UserError(f"{where} should return an array of numbers; got {type(returned).__name__}") from None
        if vectors_NE.ndim != 2 or len(vectors_NE) != len(texts) or not vectors_NE.shape[1]:
            wanted = f"an array ({len(texts)}, size) for {len(texts):,} texts"
            raise UserError(f"{where} should return {wanted}; got {vectors_NE.shape}")
        if not (finite_N := np.isfinite(vectors_NE).all(axis=1)).all():
            first = texts[int(finite_N.argmin())]
            raise UserError(f"{where} should return finite numbers; got NaN or infinity for {first!r:.60}")
        return vectors_NE


def embed(encoder: Encoder, texts: Sequence[str], cache: Path, *, bar: str = "") -> Embedded:
    """The embeddings of texts, from the cache if they are there and undamaged, otherwise computed and cached."""
    key = json.dumps([encoder.plugin.name, encoder.plugin.source, *texts])
    path = cache / "embeddings" / f"{hashlib.sha256(key.encode()).hexdigest()}.npz"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return Embedded(arrays["vectors_NE"], float(arrays["seconds"]))
    except FileNotFoundError:
        pass
    except Exception as error:  # a damaged file can raise nearly any exception
        logger.warning("damaged cache file %s (%s): computing again", path, error)
    started = time.perf_counter()
    vectors_NE = encoder(texts, bar=bar)
    embedded = Embedded(vectors_NE, time.perf_counter() - started)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_whole(path) as out:
            np.savez(out, allow_pickle=False, vectors_NE=vectors_NE, seconds=np.float64(embedded.seconds))
    except OSError as error:
        logger.warning("cannot write the cache %s: %s", path, error)
    return embedded
