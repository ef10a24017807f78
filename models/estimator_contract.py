"""The contract of an estimator; the counterpart of `models.contract`.

Shapes: N texts, C classes.
"""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from models.contract import BrokenRuleError, Subject, problem, some_values
from models.parts.estimator import TextEstimator, create

NUM_TEXTS, NUM_CLASSES = 90, 2  # some estimators support two classes only


class EstimatorSubject(Subject):
    """A class of estimators to check."""

    def __init__(self, architecture: type[TextEstimator]) -> None:
        self.architecture: Any = architecture
        rng = random.Random(1)
        self.texts: Any = [" ".join(rng.choices([f"word{n}" for n in range(40)], k=12)) for _ in range(NUM_TEXTS)]
        self.labels_N = np.arange(NUM_TEXTS) % NUM_CLASSES
        if self.architecture.reads_embeddings:
            self.texts = np.random.default_rng(1).standard_normal((NUM_TEXTS, 8), dtype=np.float32)

    def fitted(self, seed: int = 0, **hyperparameters: Any) -> TextEstimator:
        np.random.seed(seed)
        estimator = create(self.architecture, seed, hyperparameters)
        estimator.fit(self.texts, self.labels_N)
        return estimator

    def says(self, **hyperparameters: Any) -> np.ndarray:
        """Probabilities (N, C)."""
        return np.asarray(self.fitted(**hyperparameters).predict_proba(self.texts))


def probabilities_are_of_the_classes(subject: EstimatorSubject, **hyperparameters: Any) -> None:
    probabilities_NC = subject.says(**hyperparameters)
    if probabilities_NC.shape != (NUM_TEXTS, NUM_CLASSES):
        raise BrokenRuleError(
            f"predict_proba gives {probabilities_NC.shape} for {NUM_TEXTS} texts and {NUM_CLASSES} classes; return a "
            "probability of each class, in the order of the labels"
        )
    if not np.allclose(probabilities_NC.sum(1), 1, atol=1e-5) or not (probabilities_NC >= 0).all():
        raise BrokenRuleError("predict_proba gives no probabilities; those of a text should be 0 or more and sum to 1")


def every_hyperparameter_is_live(subject: EstimatorSubject) -> None:
    for key, domain in subject.architecture.hyperparameters.items():
        first_NC, *others = [subject.says(**{key: value}) for value in some_values(domain)]
        if all((first_NC == other_NC).all() for other_NC in others):
            raise BrokenRuleError(
                f"{key} has no effect: all of its values give the same result; use it, or remove it from "
                "hyperparameters"
            )


def equal_seeds_give_equal_numbers(subject: EstimatorSubject) -> None:
    if (subject.says() != subject.says()).any():
        raise BrokenRuleError("equal seeds give different numbers; take random_state, or draw from numpy.random")


def what_was_fitted_is_kept(subject: EstimatorSubject) -> None:
    fitted, other = subject.fitted(), create(subject.architecture, 0, {})
    other.restore(fitted.files())
    if (np.asarray(other.predict_proba(subject.texts)) != fitted.predict_proba(subject.texts)).any():
        raise BrokenRuleError(
            "saved and loaded again, it gives other numbers; keep everything that was fitted in attributes"
        )


RULES = (
    ("probabilities are of the classes", probabilities_are_of_the_classes, "variants"),
    ("every hyperparameter is live", every_hyperparameter_is_live, ""),
    ("equal seeds give equal numbers", equal_seeds_give_equal_numbers, ""),
    ("what was fitted is kept, without pickle", what_was_fitted_is_kept, ""),
)


def check(architecture: type[TextEstimator]) -> Iterator[tuple[str, str | None]]:
    """Yields each rule with None if it holds, or else with the problem and advice."""
    for rule, holds, over in RULES:
        yield rule, problem(holds, EstimatorSubject(architecture), over)
