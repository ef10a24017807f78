"""Logistic regression on embeddings of whole texts by a pretrained encoder.

Shapes: N texts, E embedding size, C classes, R classes that have coefficients (of two mutually exclusive ones only the
second).
"""

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from models.parts.estimator import TextEstimator
from models.parts.hyperparameters import Domain, Real

ARRAYS = "arrays.npz"
MOST_STEPS = 200  # of the solver; further ones hardly improve the model
FITTED = ("mean_E", "scale_E", "coef_RE", "intercept_R")


class Embedding(TextEstimator):
    """Multinomial logistic regression on standardised embeddings; if a text can have several classes, one binary
    regression per class.

    C: the inverse of the L2 penalty, as in scikit-learn.
    """

    reads_embeddings: ClassVar[bool] = True
    hyperparameters: ClassVar[Mapping[str, Domain]] = {"C": Real(1e-6, 1e4)}
    grid: ClassVar[Mapping[str, Sequence[Any]]] = {"C": (1e-4, 1e-3, 1e-2, 1e-1, 1.0)}

    mean_E: np.ndarray  # all four float32
    scale_E: np.ndarray
    coef_RE: np.ndarray
    intercept_R: np.ndarray
    several: bool  # whether a text can have several classes; if so, all have coefficients, with independent sigmoids

    def __init__(self, C: float = 1e-2) -> None:
        self.C = C

    def fit(self, texts: Any, labels_N: np.ndarray, sample_weight: np.ndarray | None = None) -> object:
        vectors_NE = np.asarray(texts, dtype=np.float32)
        self.mean_E, scale_E = vectors_NE.mean(0), vectors_NE.std(0)
        self.scale_E = np.where(scale_E > 0, scale_E, np.float32(1))
        features_NE = self._standardised(vectors_NE)
        self.several = labels_N.ndim == 2
        solved = [
            self._solve(features_NE, class_N, sample_weight) for class_N in (labels_N.T if self.several else [labels_N])
        ]
        self.coef_RE = np.concatenate([coef_RE for coef_RE, _ in solved]).astype(np.float32)
        self.intercept_R = np.concatenate([intercept_R for _, intercept_R in solved]).astype(np.float32)
        return self

    def _solve(
        self, features_NE: np.ndarray, labels_N: np.ndarray, sample_weight: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        solver = LogisticRegression(C=self.C, max_iter=MOST_STEPS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            solver.fit(features_NE, labels_N, sample_weight)
        return solver.coef_, solver.intercept_

    def predict_proba(self, texts: Any) -> np.ndarray:
        vectors_NE = np.asarray(texts, dtype=np.float32)
        logits_NR = (self._standardised(vectors_NE) @ self.coef_RE.T + self.intercept_R).astype(np.float64)
        if not self.several and logits_NR.shape[1] > 1:
            shares_NC = np.exp(logits_NR - logits_NR.max(axis=1, keepdims=True))
            return np.asarray(shares_NC / shares_NC.sum(axis=1, keepdims=True))
        shares_NR = 0.5 + 0.5 * np.tanh(logits_NR / 2)  # the logistic function, without an overflow
        return np.asarray(shares_NR) if self.several else np.hstack([1 - shares_NR, shares_NR])

    def _standardised(self, vectors_NE: np.ndarray) -> np.ndarray:
        return np.asarray((vectors_NE - self.mean_E) / self.scale_E)

    def num_parameters(self) -> int:
        return self.coef_RE.size + self.intercept_R.size

    def files(self) -> dict[str, bytes]:
        buffer = io.BytesIO()
        arrays = {name: getattr(self, name) for name in FITTED}
        np.savez(buffer, allow_pickle=False, several=self.several, **arrays)
        return {ARRAYS: buffer.getvalue()}

    def restore(self, files: Mapping[str, bytes]) -> None:
        arrays = dict(np.load(io.BytesIO(files[ARRAYS]), allow_pickle=False))
        self.several = bool(arrays.pop("several"))
        vars(self).update(arrays)
