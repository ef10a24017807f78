"""The class frequencies as prediction for every text: the baseline that every model must beat.

Shapes: N texts, C classes.
"""

import json
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from models.parts.estimator import TextEstimator

SHARES = "shares.json"


class Majority(TextEstimator):
    """Predicts the class frequencies of the training texts, and so the most frequent class. Weights of texts have no
    effect."""

    reads_words: ClassVar[bool] = False

    def fit(self, texts: Sequence[str], labels_N: np.ndarray, sample_weight: np.ndarray | None = None) -> object:
        self.shares_C = labels_N.mean(0) if labels_N.ndim == 2 else np.bincount(labels_N) / len(labels_N)
        return self

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        return np.tile(self.shares_C, (len(texts), 1))

    def num_parameters(self) -> int:
        return len(self.shares_C)

    def files(self) -> dict[str, bytes]:
        return {SHARES: json.dumps(self.shares_C.tolist()).encode()}

    def restore(self, files: Mapping[str, bytes]) -> None:
        self.shares_C = np.array(json.loads(files[SHARES]))
