"""Tf-idf of n-grams and logistic regression."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from models.baselines.linear import Linear


class Tfidf(Linear):
    """N-grams weighted by 1 + log of their count in the text and by their inverse document frequency (Salton and
    Buckley 1988), with each text scaled to L2 norm 1, like scikit-learn's TfidfVectorizer with `sublinear_tf`."""

    grid: ClassVar[Mapping[str, Sequence[Any]]] = {"ngrams": (1, 2), "C": (1.0, 4.0, 16.0)}

    def __init__(self, ngrams: int = 2, C: float = 4.0) -> None:
        super().__init__(ngrams, C)

    def weights(self, num_texts_F: np.ndarray, num_texts: int) -> np.ndarray:
        return np.asarray(np.log((1 + num_texts) / (1 + num_texts_F)) + 1)

    def weigh(self, counts_NF: Any, weights_F: np.ndarray) -> Any:
        counts_NF.data = (np.log(counts_NF.data) + 1) * weights_F[counts_NF.indices]
        norms_N = np.sqrt((counts_NF * counts_NF).sum(axis=1))
        counts_NF.data /= np.repeat(norms_N, np.diff(counts_NF.indptr))
        return counts_NF
