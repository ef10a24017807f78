"""Confidence intervals, paired tests and effect sizes for models compared on the same texts or seeds.

Shapes: S seeds, N test texts. `correct_N` is a boolean per text: whether a model classified it correctly.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

CONFIDENCE = 0.95


class Estimate(NamedTuple):
    """A value with its confidence interval."""

    value: float
    low: float
    high: float


def mean_interval(values: ArrayLike, confidence: float = CONFIDENCE, *, overlap: float = 0.0) -> Estimate:
    """The mean of independent values (one per seed), with its Student's t interval.

    overlap: for values of cross-validation folds, which are not independent: the ratio of test to training texts of a
    fold. The interval is widened because the training texts overlap (Nadeau and Bengio 2003, Inference for the
    generalization error). Bounds are NaN if all values are equal, as with a single value.
    """
    sample = _sample(values)
    mean = float(sample.mean())
    if not np.ptp(sample):
        return Estimate(mean, np.nan, np.nan)
    half = stats.t.ppf((1 + confidence) / 2, len(sample) - 1) * sample.std(ddof=1) * np.sqrt(1 / len(sample) + overlap)
    return Estimate(mean, mean - half, mean + half)


class Difference(NamedTuple):
    """A difference with its confidence interval and p-value."""

    value: float
    low: float
    high: float
    p: float


def mean_difference(
    first: Sequence[ArrayLike], second: Sequence[ArrayLike], null: float = 0.0, confidence: float = CONFIDENCE
) -> Difference:
    """The first mean minus the second, averaged over strata (such as settings that both share).

    first, second: the independent values (one per seed) of each stratum. If every sample has at least two values, by
    Welch's test (1947) with Satterthwaite's degrees of freedom (1946); else by Student's t over the strata's
    differences. p is two-sided, for the hypothesis that the difference is `null`. With a single stratum of single
    values, interval and p are NaN.
    """
    pairs_of_samples = [(_sample(a), _sample(b)) for a, b in zip(first, second, strict=True)]
    differences = np.array([a.mean() - b.mean() for a, b in pairs_of_samples])
    value, num_strata = float(differences.mean()), len(differences)
    samples = [sample for pair in pairs_of_samples for sample in pair]
    if min(map(len, samples)) > 1:
        variances = np.array([sample.var(ddof=1) / len(sample) for sample in samples])
        error = float(np.sqrt(variances.sum())) / num_strata
        parts = variances**2 / [len(sample) - 1 for sample in samples]
        freedom = variances.sum() ** 2 / parts.sum() if error else 1.0
    elif num_strata > 1:
        error, freedom = float(differences.std(ddof=1) / np.sqrt(num_strata)), num_strata - 1
    else:
        return Difference(value, np.nan, np.nan, np.nan)
    if not error:  # all seeds agree to the last digit
        return Difference(value, value, value, float(value == null))
    half = stats.t.ppf((1 + confidence) / 2, freedom) * error
    p = 2 * stats.t.sf(abs(value - null) / error, freedom)
    return Difference(value, value - half, value + half, float(p))


def mcnemar(first_correct_N: ArrayLike, second_correct_N: ArrayLike) -> float:
    """The p-value of McNemar's exact test that two models are equally accurate on the same texts."""
    only_first, only_second = discordant(first_correct_N, second_correct_N)
    if only_first + only_second == 0:
        return 1.0
    return float(stats.binomtest(only_first, only_first + only_second, 0.5).pvalue)


def holm(p_values: ArrayLike) -> np.ndarray:
    """The p-values of a family of tests, corrected for multiple testing by Holm's method."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return corrected


def cohens_g(first_correct_N: ArrayLike, second_correct_N: ArrayLike) -> float:
    """The effect size of McNemar's test: of the texts that only one model got right, the share of the first model minus
    a half (-0.5 to 0.5; 0.05 is small, 0.15 medium, 0.25 large)."""
    only_first, only_second = discordant(first_correct_N, second_correct_N)
    disagreements = only_first + only_second
    return only_first / disagreements - 0.5 if disagreements else 0.0


def hedges_g(first: ArrayLike, second: ArrayLike) -> float:
    """The difference of two means in pooled standard deviations, corrected for small samples (Hedges 1981).

    For independent samples such as accuracies over seeds (0.2 is small, 0.5 medium, 0.8 large). NaN when either has
    fewer than two values or neither varies.
    """
    a, b = _sample(first), _sample(second)
    freedom = len(a) + len(b) - 2
    if min(len(a), len(b)) < 2:
        return float("nan")
    pooled = np.sqrt(((len(a) - 1) * a.var(ddof=1) + (len(b) - 1) * b.var(ddof=1)) / freedom)
    return float((a.mean() - b.mean()) / pooled * (1 - 3 / (4 * freedom - 1))) if pooled else float("nan")


def as_correct(correct_SN: ArrayLike) -> np.ndarray:
    """The argument as booleans by seed and text (S, N). Raises ValueError for anything else."""
    found_SN = np.asarray(correct_SN)
    if found_SN.dtype != bool or found_SN.ndim != 2 or not found_SN.size:
        raise ValueError(
            f"correct_SN should be booleans of at least one seed and text; got {found_SN.dtype}, shape {found_SN.shape}"
        )
    return found_SN


def check_same_texts(first: np.ndarray, second: np.ndarray) -> None:
    """Raise ValueError unless both have the same number of texts, the last dimension."""
    if first.shape[-1] != second.shape[-1]:
        raise ValueError(f"paired models are scored on the same texts; got {first.shape[-1]} and {second.shape[-1]}")


def discordant(first_correct_N: ArrayLike, second_correct_N: ArrayLike) -> tuple[int, int]:
    """The number of texts that only the first model got right, and that only the second got right."""
    first_N, second_N = (as_correct(np.asarray(one_N)[None])[0] for one_N in (first_correct_N, second_correct_N))
    check_same_texts(first_N, second_N)
    return int((first_N & ~second_N).sum()), int((second_N & ~first_N).sum())


def _sample(values: ArrayLike | Sequence[float]) -> np.ndarray:
    sample = np.asarray(values, dtype=float)
    if sample.ndim != 1 or not len(sample):
        raise ValueError(f"a sample is a row of at least one value; got shape {sample.shape}")
    return sample
