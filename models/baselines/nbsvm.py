"""NB-SVM: a linear model of n-grams weighted by naive Bayes.

Shapes: N texts, F n-grams.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from models.baselines.linear import Linear, logistic_regression
from models.parts.hyperparameters import Domain, Real


class NBSVM(Linear):
    """Binary n-gram features times their log ratio of naive Bayes (Wang and Manning 2012), with logistic regression
    instead of an SVM to get probabilities.

    interpolation: the share of the regression's coefficients; the rest is their mean magnitude, so that 0 gives pure
    naive Bayes. Wang and Manning advise 0.25 for an SVM.
    """

    hyperparameters: ClassVar[Mapping[str, Domain]] = {**Linear.hyperparameters, "interpolation": Real(0.0, 1.0)}
    grid: ClassVar[Mapping[str, Sequence[Any]]] = {"ngrams": (1, 2), "C": (0.05, 0.2, 1.0)}

    def __init__(self, ngrams: int = 2, C: float = 0.2, interpolation: float = 0.5) -> None:
        super().__init__(ngrams, C)
        self.interpolation = interpolation

    def weigh(self, counts_NF: Any, weights_F: np.ndarray) -> Any:
        counts_NF.data = np.ones_like(counts_NF.data)
        return counts_NF

    def solve(
        self, features_NF: Any, positive_N: np.ndarray, sample_weight: np.ndarray | None = None
    ) -> tuple[np.ndarray, float]:
        """The log ratios are normalised within each class, so only the regression depends on class weights."""
        ratios_F = log_ratios(features_NF, positive_N)
        weighted_NF = features_NF.copy()
        weighted_NF.data = ratios_F[features_NF.indices]
        coef_F, intercept = logistic_regression(weighted_NF, positive_N, self.C, sample_weight)
        share = self.interpolation
        return ratios_F * (share * coef_F + (1 - share) * np.abs(coef_F).mean()), share * intercept


def log_ratios(features_NF: Any, positive_N: np.ndarray) -> np.ndarray:
    """(F,): log ratios of the frequency of each n-gram in positive and negative texts, with add-one smoothing."""
    of_both_2F = [1 + features_NF[positive_N == side].sum(axis=0) for side in (True, False)]
    positive_F, negative_F = (counts_F / counts_F.sum() for counts_F in of_both_2F)
    return np.asarray(np.log(positive_F / negative_F))
