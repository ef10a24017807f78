"""Are they really different? Intervals, paired tests and effect sizes for models compared on the same texts or seeds.

N test texts; `correct_N` says for each whether a model classified it right.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

CONFIDENCE = 0.95
NUM_RESAMPLES = 10_000


class Estimate(NamedTuple):
    """A value with its confidence interval."""

    value: float
    low: float
    high: float


def mean_interval(values: ArrayLike, confidence: float = CONFIDENCE) -> Estimate:
    """The mean of independent values (one a seed), with its interval by Student's t; NaN bounds for a single value."""
    sample = _sample(values)
    mean = float(sample.mean())
    if len(sample) == 1:
        return Estimate(mean, np.nan, np.nan)
    half = stats.t.ppf((1 + confidence) / 2, len(sample) - 1) * sample.std(ddof=1) / np.sqrt(len(sample))
    return Estimate(mean, mean - half, mean + half)


def bootstrap_difference(
    first_correct_N: ArrayLike,
    second_correct_N: ArrayLike,
    rng: np.random.Generator,
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """The first model's accuracy minus the second's, with the percentile interval of a paired bootstrap over texts."""
    only_first, only_second, num_texts = _discordant(first_correct_N, second_correct_N)
    # A text tells only who of the two was right, so drawing N texts with replacement is drawing three counts.
    same = num_texts - only_first - only_second
    draws = rng.multinomial(num_texts, np.array([only_first, only_second, same]) / num_texts, size=num_resamples)
    differences = (draws[:, 0] - draws[:, 1]) / num_texts
    low, high = np.quantile(differences, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate((only_first - only_second) / num_texts, float(low), float(high))


def mcnemar(first_correct_N: ArrayLike, second_correct_N: ArrayLike) -> float:
    """The p-value of McNemar's exact test that two models are right equally often on the same texts."""
    only_first, only_second, _ = _discordant(first_correct_N, second_correct_N)
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
    only_first, only_second, _ = _discordant(first_correct_N, second_correct_N)
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


def pairs(
    correct: Mapping[str, ArrayLike],
    rng: np.random.Generator,
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> pd.DataFrame:
    """Every pair of models on the same texts, from model name -> `correct_N`.

    `difference` is the first model's accuracy minus the second's, `low` and `high` its interval by the paired
    bootstrap (of this pair alone), `p` McNemar's, `holm_p` corrected for all pairs, `only_first` and `only_second` the
    texts that only that model got right. `verdict` is the better model, or `tie` where `holm_p` shows nothing.
    """
    rows = []
    for (first, first_correct_N), (second, second_correct_N) in combinations(correct.items(), 2):
        only_first, only_second, num_texts = _discordant(first_correct_N, second_correct_N)
        rows.append(
            {
                "first": first,
                "second": second,
                "num_texts": num_texts,
                **bootstrap_difference(first_correct_N, second_correct_N, rng, num_resamples, confidence)._asdict(),
                "only_first": only_first,
                "only_second": only_second,
                "cohens_g": cohens_g(first_correct_N, second_correct_N),
                "p": mcnemar(first_correct_N, second_correct_N),
            }
        )
    columns = ["first", "second", "num_texts", "value", "low", "high", "only_first", "only_second", "cohens_g", "p"]
    table = pd.DataFrame(rows, columns=columns).rename(columns={"value": "difference"})
    table["holm_p"] = holm(table["p"])
    better = table["first"].where(table["difference"] > 0, table["second"])
    table["verdict"] = better.where(table["holm_p"] < 1 - confidence, "tie")
    return table


def _discordant(first_correct_N: ArrayLike, second_correct_N: ArrayLike) -> tuple[int, int, int]:
    """How many texts only the first model got right, only the second did, and how many texts there are."""
    first_N, second_N = np.asarray(first_correct_N), np.asarray(second_correct_N)
    for correct_N in (first_N, second_N):
        if correct_N.dtype != bool or correct_N.ndim != 1:
            raise ValueError(f"correct_N should be a row of booleans; got {correct_N.dtype}, shape {correct_N.shape}")
    if len(first_N) != len(second_N):
        raise ValueError(f"paired models are scored on the same texts; got {len(first_N)} and {len(second_N)}")
    if not len(first_N):
        raise ValueError("models are compared on at least one text; got none")
    return int((first_N & ~second_N).sum()), int((second_N & ~first_N).sum()), len(first_N)


def _sample(values: ArrayLike | Sequence[float]) -> np.ndarray:
    sample = np.asarray(values, dtype=float)
    if sample.ndim != 1 or not len(sample):
        raise ValueError(f"a sample is a row of at least one value; got shape {sample.shape}")
    return sample
