"""Are they really different? Intervals, paired tests and effect sizes for models compared on the same texts or seeds.

Shapes: S seeds, N test texts. `correct_N` says for each text whether a model classified it right.
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
    """The mean of independent values (one a seed), with its interval by Student's t.

    overlap: of values that are not independent, one a fold: test texts by training texts of a fold. These training
    texts overlap, which the interval is widened for (Nadeau and Bengio 2003, Inference for the generalization error).
    NaN bounds for values that are all equal, as a single one is: of a spread they tell nothing.
    """
    sample = _sample(values)
    mean = float(sample.mean())
    if not np.ptp(sample):
        return Estimate(mean, np.nan, np.nan)
    half = stats.t.ppf((1 + confidence) / 2, len(sample) - 1) * sample.std(ddof=1) * np.sqrt(1 / len(sample) + overlap)
    return Estimate(mean, mean - half, mean + half)


class Difference(NamedTuple):
    """A difference with its confidence interval, and the p-value that it is none but chance."""

    value: float
    low: float
    high: float
    p: float


def mean_difference(
    first: Sequence[ArrayLike], second: Sequence[ArrayLike], null: float = 0.0, confidence: float = CONFIDENCE
) -> Difference:
    """By how much the first mean exceeds the second, as the average over strata (such as settings that both share).

    first, second: the independent values (one a seed) in each stratum. Where every sample has at least two, by Welch's
    test (1947), with the degrees of freedom of Satterthwaite (1946); else by Student's over the strata's differences.
    p is two-sided, of the hypothesis that the difference is `null`. NaN, but for the value, where nothing can be told.
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
    if not error:  # seeds that agree to the last digit
        return Difference(value, value, value, float(value == null))
    half = stats.t.ppf((1 + confidence) / 2, freedom) * error
    p = 2 * stats.t.sf(abs(value - null) / error, freedom)
    return Difference(value, value - half, value + half, float(p))


def mcnemar(first_correct_N: ArrayLike, second_correct_N: ArrayLike) -> float:
    """The p-value of McNemar's exact test that two models are right equally often on the same texts."""
    only_first, only_second = discordant(first_correct_N, second_correct_N)
    if only_first + only_second == 0:
        return 1.0
    return float(stats.binomtest(only_first, only_first + only_second, 0.5).pvalue)


def holm(p_values: ArrayLike) -> np.ndarray:
    """The p-values of a family of tests, corrected by Holm's method so that all may be read together."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return corrected


def cohens_g(first_correct_N: ArrayLike, second_correct_N: ArrayLike) -> float:
    """The effect size of McNemar's test: by how much the first model's share of the texts that only one of the two
    got right exceeds a half (-0.5 to 0.5; 0.05 is small, 0.15 medium, 0.25 large)."""
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
    """Which seeds got which texts right, booleans; ValueError for anything else."""
    found_SN = np.asarray(correct_SN)
    if found_SN.dtype != bool or found_SN.ndim != 2 or not found_SN.size:
        raise ValueError(
            f"correct_SN should be booleans of at least one seed and text; got {found_SN.dtype}, shape {found_SN.shape}"
        )
    return found_SN


def check_same_texts(first: np.ndarray, second: np.ndarray) -> None:
    """Raise ValueError unless both are of as many texts, their last dimension."""
    if first.shape[-1] != second.shape[-1]:
        raise ValueError(f"paired models are scored on the same texts; got {first.shape[-1]} and {second.shape[-1]}")


def discordant(first_correct_N: ArrayLike, second_correct_N: ArrayLike) -> tuple[int, int]:
    """How many texts only the first model got right, and only the second."""
    first_N, second_N = (as_correct(np.asarray(each)[None])[0] for each in (first_correct_N, second_correct_N))
    check_same_texts(first_N, second_N)
    return int((first_N & ~second_N).sum()), int((second_N & ~first_N).sum())


def _sample(values: ArrayLike | Sequence[float]) -> np.ndarray:
    sample = np.asarray(values, dtype=float)
    if sample.ndim != 1 or not len(sample):
        raise ValueError(f"a sample is a row of at least one value; got shape {sample.shape}")
    return sample
