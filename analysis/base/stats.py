"""Are they really different? Intervals, paired tests and effect sizes for models compared on the same texts or seeds.

Shapes: S seeds, N test texts, R resamples. `correct_N` says for each text whether a model classified it right.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

CONFIDENCE = 0.95
NUM_RESAMPLES = 10_000
TIE = "tie"
_AT_ONCE = 500  # resamples: their draws of texts are in memory together


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


def bootstrap_accuracies(
    correct: Mapping[str, ArrayLike],
    rng: np.random.Generator,
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> dict[str, np.ndarray]:
    """Mean accuracies (R) of models under a bootstrap over texts, the same for all of them, and over seeds.

    correct: name -> `correct_SN`. A few seeds vary less among themselves than all seeds do: deviations of their
    resampled mean are widened as intervals of so small samples are (Hesterberg 2015), by sqrt(S / (S - 1)) and by the
    quantile of Student's distribution, for the difference of two such means, over that of the normal one. With one
    seed, only that seed is told of.
    """
    correct_SN = {name: _correct(each) for name, each in correct.items()}
    num_texts = _num_texts(correct_SN.values())
    seeds_RS = {
        name: _resampled_seeds(len(each_SN), rng, num_resamples, confidence) for name, each_SN in correct_SN.items()
    }
    accuracies: dict[str, list[np.ndarray]] = {name: [] for name in correct_SN}
    for start in range(0, num_resamples, _AT_ONCE):
        size = min(_AT_ONCE, num_resamples - start)
        drawn_RN = rng.integers(num_texts, size=(size, num_texts)) + num_texts * np.arange(size)[:, None]
        texts_RN = np.bincount(drawn_RN.ravel(), minlength=size * num_texts).reshape(size, num_texts) / num_texts
        for name, each_SN in correct_SN.items():
            weights_RS = seeds_RS[name][start : start + size]
            accuracies[name].append(((texts_RN @ each_SN.T) * weights_RS).sum(axis=1))
    return {name: np.concatenate(parts) for name, parts in accuracies.items()}


def paired_difference(
    first_SN: ArrayLike,
    second_SN: ArrayLike,
    rng: np.random.Generator,
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """By how much the first configuration's mean accuracy exceeds the second's, by the paired bootstrap of
    `bootstrap_accuracies`. In no time however many the texts: those that the same models got right are alike, so how
    often each kind of them is drawn is multinomial.
    """
    both = [_correct(first_SN), _correct(second_SN)]
    num_texts = _num_texts(both)
    kinds_SK, counts_K = np.unique(np.concatenate(both), axis=1, return_counts=True)
    drawn_RK = rng.multinomial(num_texts, counts_K / num_texts, size=num_resamples) / num_texts
    first_SK, second_SK = np.split(kinds_SK, [len(both[0])])
    means = [
        ((drawn_RK @ each_SK.T) * _resampled_seeds(len(each_SK), rng, num_resamples, confidence)).sum(axis=1)
        for each_SK in (first_SK, second_SK)
    ]
    low, high = np.quantile(means[0] - means[1], [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(both[0].mean() - both[1].mean()), float(low), float(high))


def mcnemar(first_correct_N: ArrayLike, second_correct_N: ArrayLike) -> float:
    """The p-value of McNemar's exact test that two models are right equally often on the same texts."""
    only_first, only_second = _discordant(first_correct_N, second_correct_N)
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
    only_first, only_second = _discordant(first_correct_N, second_correct_N)
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


def _resampled_seeds(num_seeds: int, rng: np.random.Generator, num_resamples: int, confidence: float) -> np.ndarray:
    """The weight (R, S) of each seed in each resample, widened."""
    drawn_RS = rng.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), size=num_resamples) / num_seeds
    return 1 / num_seeds + (drawn_RS - 1 / num_seeds) * _widening(num_seeds, confidence)


def _widening(num_seeds: int, confidence: float) -> float:
    if num_seeds == 1:
        return 1.0
    tail = (1 + confidence) / 2
    quantiles = stats.t.ppf(tail, 2 * (num_seeds - 1)) / stats.norm.ppf(tail)
    return float(quantiles * np.sqrt(num_seeds / (num_seeds - 1)))


class Models(NamedTuple):
    """The models of one configuration, a seed each: `correct_SN`, and which of them stands for all."""

    correct_SN: ArrayLike
    representative: int = 0


def pairs(
    models: Mapping[str, Models],
    rng: np.random.Generator,
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> pd.DataFrame:
    """Every pair of configurations on the same texts, by name.

    `difference` is the first's mean accuracy minus the second's, `low` and `high` its interval by the paired bootstrap
    over texts and seeds (of this pair alone), `hedges_g` its effect size over seeds. Of the two representatives,
    `only_first` and `only_second` are the texts that only that one got right, `p` is McNemar's and `holm_p` corrected
    for all pairs. `verdict` is the better one where the interval and `holm_p` both show it, else `tie`.
    """
    correct_SN = {name: _correct(each.correct_SN) for name, each in models.items()}
    accuracies = bootstrap_accuracies(correct_SN, rng, num_resamples, confidence) if len(models) > 1 else {}
    bounds = [(1 - confidence) / 2, (1 + confidence) / 2]
    rows = []
    for first, second in combinations(models, 2):
        a_SN, b_SN = correct_SN[first], correct_SN[second]
        a_N, b_N = a_SN[models[first].representative], b_SN[models[second].representative]
        low, high = np.quantile(accuracies[first] - accuracies[second], bounds)
        only_first, only_second = _discordant(a_N, b_N)
        rows.append(
            {
                "first": first,
                "second": second,
                "num_texts": a_SN.shape[1],
                "first_seeds": len(a_SN),
                "second_seeds": len(b_SN),
                "difference": float(a_SN.mean() - b_SN.mean()),
                "low": float(low),
                "high": float(high),
                "hedges_g": hedges_g(a_SN.mean(axis=1), b_SN.mean(axis=1)),
                "only_first": only_first,
                "only_second": only_second,
                "cohens_g": cohens_g(a_N, b_N),
                "p": mcnemar(a_N, b_N),
            }
        )
    table = pd.DataFrame(rows, columns=_PAIR)
    table["holm_p"] = holm(table["p"])
    better = np.where(table["low"] > 0, table["first"], np.where(table["high"] < 0, table["second"], TIE))
    favoured = np.where(table["only_first"] > table["only_second"], table["first"], table["second"])
    shown = (table["holm_p"] < 1 - confidence) & (better == favoured)
    table["verdict"] = pd.Series(better, index=table.index, dtype="str").where(shown, TIE)
    return table


_PAIR = ["first", "second", "num_texts", "first_seeds", "second_seeds", "difference", "low", "high", "hedges_g"]
_PAIR += ["only_first", "only_second", "cohens_g", "p"]


def _correct(correct_SN: ArrayLike) -> np.ndarray:
    found_SN = np.asarray(correct_SN)
    if found_SN.dtype != bool or found_SN.ndim != 2 or not found_SN.size:
        raise ValueError(
            f"correct_SN should be booleans of at least one seed and text; got {found_SN.dtype}, shape {found_SN.shape}"
        )
    return found_SN


def _num_texts(correct_SN: Iterable[np.ndarray]) -> int:
    counts = sorted({each_SN.shape[1] for each_SN in correct_SN})
    if len(counts) != 1:
        raise ValueError(f"paired models are scored on the same texts; got {' and '.join(map(str, counts))}")
    return counts[0]


def _discordant(first_correct_N: ArrayLike, second_correct_N: ArrayLike) -> tuple[int, int]:
    """How many texts only the first model got right, and only the second."""
    first_N, second_N = (_correct(np.asarray(each)[None])[0] for each in (first_correct_N, second_correct_N))
    _num_texts([first_N[None], second_N[None]])
    return int((first_N & ~second_N).sum()), int((second_N & ~first_N).sum())


def _sample(values: ArrayLike | Sequence[float]) -> np.ndarray:
    sample = np.asarray(values, dtype=float)
    if sample.ndim != 1 or not len(sample):
        raise ValueError(f"a sample is a row of at least one value; got shape {sample.shape}")
    return sample
