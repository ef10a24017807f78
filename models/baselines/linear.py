"""Linear models of weighted n-grams, kept as plain arrays.

Shapes: N texts, F n-grams, C classes, R classes that have coefficients (of two mutually exclusive ones only the
second).
"""

import io
import json
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from models.baselines.counting import Grams, count, counted
from models.parts.estimator import TextEstimator
from models.parts.hyperparameters import Domain, Integer, Real

ARRAYS, WORDS = "arrays.npz", "words.json"
LEAST_TEXTS = 2  # minimum number that contain an n-gram: one from a single text says nothing about others
#: liblinear's tolerance, by default: a smaller one changes no prediction and takes twice as long.
TOLERANCE = 0.1
LARGEST = 30.0  # bound on absolute logits, so that one-vs-rest probabilities can be summed


class Linear(TextEstimator):
    """Logistic regression on weighted n-grams; one-vs-rest for more than two classes.

    Solved by dual coordinate descent (Yu, Huang and Lin 2011), in time that grows with the numbers of texts and
    classes.

    ngrams: 1, words; 2, pairs of neighbours too. C: the inverse of the L2 penalty, as in scikit-learn.
    """

    depends_on_words: ClassVar[bool] = True
    hyperparameters: ClassVar[Mapping[str, Domain]] = {"ngrams": Integer(1, 2), "C": Real(1e-4, 1e4)}

    grams: Grams
    weights_F: np.ndarray  # of the n-grams, float32
    coef_RF: np.ndarray
    intercept_R: np.ndarray
    several: bool  # whether a text can have several classes; if so, all have coefficients, with independent sigmoids

    def __init__(self, ngrams: int = 2, C: float = 1.0) -> None:
        self.ngrams, self.C = ngrams, C

    def weigh(self, counts_NF: Any, weights_F: np.ndarray) -> Any:
        """Features (N, F) from counts, a copy that may be changed."""
        raise NotImplementedError

    def weights(self, num_texts_F: np.ndarray, num_texts: int) -> np.ndarray:
        """The weight of each n-gram, from the number of training texts that contain it, and the number of all texts."""
        return np.ones(len(num_texts_F))

    def solve(
        self, features_NF: Any, positive_N: np.ndarray, sample_weight: np.ndarray | None = None
    ) -> tuple[np.ndarray, float]:
        """Coefficients (F,) and the intercept of one class against the rest."""
        return logistic_regression(features_NF, positive_N, self.C, sample_weight)

    def fit(self, texts: Sequence[str], labels_N: np.ndarray, sample_weight: np.ndarray | None = None) -> object:
        grams, counts_NF = self._count(texts)
        num_texts_F = np.bincount(counts_NF.indices, minlength=len(grams))
        kept = np.flatnonzero(num_texts_F >= min(LEAST_TEXTS, num_texts_F.max()))
        self.grams = grams.only(kept)
        self.weights_F = self.weights(num_texts_F[kept], len(texts)).astype(np.float32)
        features_NF = self.weigh(counts_NF[:, kept], self.weights_F).astype(np.float64)
        self.several = labels_N.ndim == 2
        solved = [self.solve(features_NF, positive_N, sample_weight) for positive_N in _against_the_rest(labels_N)]
        self.coef_RF = np.array([coef_F for coef_F, _ in solved], dtype=np.float32)
        self.intercept_R = np.array([intercept for _, intercept in solved], dtype=np.float32)
        return self

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        return self._probabilities(*self._count(texts))

    def predict_parts(self, parts: Iterable[Sequence[str]]) -> Iterator[np.ndarray]:
        for texts in parts:  # not cached, to keep more useful counts in the cache
            yield self._probabilities(*count(texts, self.ngrams))

    def _probabilities(self, grams: Grams, counts_NF: Any) -> np.ndarray:
        places_F = self.grams.find(grams)
        known = np.flatnonzero(places_F >= 0)
        features_NF = self.weigh(counts_NF[:, known], self.weights_F[places_F[known]])
        logits_NR = features_NF @ self.coef_RF[:, places_F[known]].T + self.intercept_R
        shares_NR = 1 / (1 + np.exp(-np.clip(logits_NR.astype(np.float64), -LARGEST, LARGEST)))
        if self.several:
            return np.asarray(shares_NR)
        if shares_NR.shape[1] == 1:
            return np.hstack([1 - shares_NR, shares_NR])
        return np.asarray(shares_NR / shares_NR.sum(axis=1, keepdims=True))

    def _count(self, texts: Sequence[str]) -> tuple[Grams, Any]:
        started = time.perf_counter()
        grams, counts_NF, seconds = counted(tuple(texts), self.ngrams)
        self.spared_seconds += max(0.0, seconds - (time.perf_counter() - started))
        return grams, counts_NF

    def num_parameters(self) -> int:
        return self.coef_RF.size + self.intercept_R.size

    def files(self) -> dict[str, bytes]:
        arrays = {name: getattr(self, name) for name in ("weights_F", "coef_RF", "intercept_R")}
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, grams_F2=self.grams.grams_F2, several=self.several, **arrays)
        return {ARRAYS: buffer.getvalue(), WORDS: json.dumps(self.grams.words).encode()}

    def restore(self, files: Mapping[str, bytes]) -> None:
        arrays = dict(np.load(io.BytesIO(files[ARRAYS]), allow_pickle=False))
        self.grams = Grams(json.loads(files[WORDS]), arrays.pop("grams_F2"))
        self.several = bool(arrays.pop("several", False))  # older files lack it
        vars(self).update(arrays)


def _against_the_rest(labels_N: np.ndarray) -> Iterator[np.ndarray]:
    """For each class with coefficients: which texts belong to it."""
    if labels_N.ndim == 2:
        yield from labels_N.T == 1
    else:
        num_classes = labels_N.max() + 1
        yield from (labels_N == label for label in ([1] if num_classes == 2 else range(num_classes)))


def logistic_regression(
    features_NF: Any, positive_N: np.ndarray, C: float, sample_weight: np.ndarray | None = None
) -> tuple[np.ndarray, float]:
    """Coefficients (F,) and the intercept, the same in every process."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    solver = LogisticRegression(C=C, solver="liblinear", dual=True, tol=TOLERANCE, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # good enough after the last step
        solver.fit(features_NF, positive_N, sample_weight)
    return solver.coef_[0], float(solver.intercept_[0])
