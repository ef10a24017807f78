"""Is one configuration better than another, equal within a margin, or is that undecided? All by one statistical model.

Whether seed s of a configuration gets text i right (`correct_SN`) is modelled as the sum of the configuration's
expected accuracy, an effect of the text, an effect of the seed, and noise. Seeds and texts are samples: the verdict is
on the expected accuracy over all seeds and all texts like these. As in multi-reader multi-case studies (Dorfman,
Berbaum, Metz 1992), the variance of the difference D of two mean accuracies is

    var D = seeds_1 / S_1 + seeds_2 / S_2 + texts

where seeds_1 and seeds_2 are the variances of one seed's accuracy on these texts, and texts is the variance of the
paired differences by text, without the noise that seeds_1 and seeds_2 contain. Few seeds estimate seeds_1 and seeds_2
poorly. They are therefore bounded below by the noise alone, which is well estimated (a seed's accuracy cannot vary
less), and not pooled over architectures, whose spreads differ: D has Student's t distribution with Satterthwaite's
(1946) degrees of freedom. Both choices were made with `python -m benchmarks.calibration`.

Shapes: S seeds, N test texts.
"""

import math
from collections.abc import Mapping, Sequence
from enum import Enum
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import special

from analysis.base.looks import nominal, over_looks
from analysis.base.stats import (
    CONFIDENCE,
    Estimate,
    as_correct,
    check_same_texts,
    cohens_g,
    discordant,
    hedges_g,
    holm,
    mcnemar,
)

MARGIN = 0.01


class Verdict(Enum):
    """The possible verdicts on a pair."""

    FIRST = "the first is better"
    SECOND = "the second is better"
    EQUAL = "equal within the margin"
    CANNOT_TELL = "cannot tell"
    ONE_SEED = "one seed"

    @property
    def is_better(self) -> bool:
        return self in (Verdict.FIRST, Verdict.SECOND)


class Models(NamedTuple):
    """The models of one configuration, one per seed.

    representative: the seed whose model stands for all. same_with_every_seed: whether training is deterministic, as for
    baselines.
    """

    correct_SN: ArrayLike
    representative: int = 0
    same_with_every_seed: bool = False


class Sample(NamedTuple):
    """Statistics of a configuration, from its models.

    share_N: the share of seeds that get a text right. variance: of one seed's accuracy on these texts. noise: the part
    of `variance` due to the interaction of seed and text. Both are zero for a single seed. known: whether the sample is
    about the configuration, not only about a single model.
    """

    share_N: np.ndarray
    seeds: int
    variance: float
    noise: float
    known: bool

    @property
    def of_mean(self) -> float:
        """The variance of the mean accuracy over its seeds."""
        return self.variance / self.seeds


def sample(models: Models) -> Sample:
    correct_SN = as_correct(models.correct_SN)
    num_seeds, num_texts = correct_SN.shape
    share_N = correct_SN.mean(axis=0)
    if num_seeds == 1 or models.same_with_every_seed:
        return Sample(share_N, num_seeds, 0.0, 0.0, models.same_with_every_seed)
    observed = float(correct_SN.mean(axis=1).var(ddof=1))
    within = float((share_N * (1 - share_N)).mean()) * num_seeds / (num_seeds - 1)
    noise = max(0.0, within - observed) / max(num_texts - 1, 1)
    return Sample(share_N, num_seeds, max(observed, noise), noise, True)


class Gap(NamedTuple):
    """The expected accuracy of the first configuration minus that of the second, with its uncertainty.

    texts: the part of the variance that no number of seeds removes.
    """

    value: float
    texts: float
    first: Sample
    second: Sample

    @property
    def known(self) -> bool:
        return self.first.known and self.second.known

    @property
    def error(self) -> float:
        return math.sqrt(self.texts + self.first.of_mean + self.second.of_mean)

    @property
    def freedom(self) -> float:
        parts = [(each.of_mean, each.seeds - 1) for each in (self.first, self.second)]
        parts.append((self.texts, max(len(self.first.share_N) - 1, 1)))
        return self.error**4 / sum(part**2 / freedom for part, freedom in parts if part)

    def interval(self, confidence: float = CONFIDENCE) -> Estimate:
        half = float(special.stdtrit(self.freedom, (1 + confidence) / 2)) * self.error
        return Estimate(self.value, self.value - half, self.value + half)

    def p_better(self) -> float:
        """The two-sided p-value that there is no difference."""
        return float(2 * special.stdtr(self.freedom, -abs(self.value) / self.error))

    def p_equal(self, margin: float) -> float:
        """The p-value for a difference of at least the margin, by two one-sided tests (Schuirmann 1987), doubled: it is
        below 0.05 if the 95 % interval is within the margin."""
        return min(1.0, float(2 * special.stdtr(self.freedom, (abs(self.value) - margin) / self.error)))

    def smallest_margin(self, level: float = 1 - CONFIDENCE) -> float:
        """The smallest margin within which these texts can show equality: half the width of the interval with
        infinitely many seeds."""
        return float(special.ndtri(1 - level / 2)) * math.sqrt(self.texts)

    def chance(self, margin: float = MARGIN, level: float = 1 - CONFIDENCE) -> float:
        """The probability that enough further seeds would decide the pair on these texts: that the difference over all
        seeds is far enough from zero to be significant, or near enough to be equal."""
        half = self.smallest_margin(level)
        parts = [(each.of_mean, each.seeds - 1) for each in (self.first, self.second)]
        variance = sum(part for part, _ in parts)
        if not variance:
            return float(abs(self.value) > half or abs(self.value) < margin - half)
        freedom = variance**2 / sum(part**2 / freedom for part, freedom in parts if part)

        def within(bound: float) -> float:
            ends = (np.array([-1, 1]) * max(0.0, bound) - self.value) / math.sqrt(variance)
            return float(np.diff(special.stdtr(freedom, ends))[0])

        return 1 - within(half) + within(min(half, margin - half))

    def seeds_to_decide(self, margin: float = MARGIN, level: float = 1 - CONFIDENCE) -> float:
        """The approximate number of seeds per configuration that would decide the pair if the difference stays the
        same; infinite if there are too few texts."""
        half = max(abs(self.value), margin - abs(self.value))  # the widest half interval that decides
        left = (half / float(special.ndtri(1 - level / 2))) ** 2 - self.texts
        one_each = self.first.variance + self.second.variance
        return math.inf if left <= 0 else max(2, math.ceil(one_each / left))


def gap(first: Sample, second: Sample) -> Gap:
    """The gap between two configurations. For a configuration with a single seed, it is about that model only.

    Adding two texts, of which each configuration gets one right, keeps very few texts from looking like proof (Agresti
    and Min 2005). Raises ValueError unless both are scored on the same texts.
    """
    check_same_texts(first.share_N, second.share_N)
    difference_N = first.share_N - second.share_N
    size = len(difference_N) + 2
    squares = float(difference_N @ difference_N) + 2 - float(difference_N.sum()) ** 2 / size
    texts = squares / size**2 - first.noise / first.seeds - second.noise / second.seeds
    return Gap(float(difference_N.mean()), max(0.0, texts), first, second)


class Decision(NamedTuple):
    """The verdict on a pair, and its two p-values, corrected for the family of pairs; NaN for a single seed."""

    verdict: Verdict
    better_p: float
    equal_p: float


def decide(gaps: Sequence[Gap], margin: float = MARGIN, looks: int = 1) -> list[Decision]:
    """The verdicts on a family of pairs. At most 5 % of families contain a wrong verdict of the same kind (better,
    equal), over all looks.

    Within a family, the p-values of a kind (better, equal) are corrected by Holm's method.
    """
    known = [place for place, found in enumerate(gaps) if found.known]
    better, equal = (np.full(len(gaps), np.nan) for _ in range(2))
    better[known] = holm([over_looks(gaps[place].p_better(), looks) for place in known])
    equal[known] = holm([over_looks(gaps[place].p_equal(margin), looks) for place in known])

    def verdict(place: int) -> Verdict:
        if place not in known:
            return Verdict.ONE_SEED
        if better[place] < 1 - CONFIDENCE:
            return Verdict.FIRST if gaps[place].value > 0 else Verdict.SECOND
        return Verdict.EQUAL if equal[place] < 1 - CONFIDENCE else Verdict.CANNOT_TELL

    return [Decision(verdict(i), float(better[i]), float(equal[i])) for i in range(len(gaps))]


def probability(first_SN: ArrayLike, second_SN: ArrayLike) -> float:
    """P(A > B): the share of pairs of seeds in which the first configuration gets more of these texts right, ties
    counted half (Bouthillier et al. 2021, who call 0.75 and more meaningful)."""
    a_S, b_S = (as_correct(each).sum(axis=1) for each in (first_SN, second_SN))
    return float((np.sign(a_S[:, None] - b_S) / 2 + 0.5).mean())


def compare(models: Mapping[str, Models], margin: float = MARGIN, looks: int = 1) -> pd.DataFrame:
    """Compare all pairs of configurations on the same texts, one row per pair.

    `difference` is the mean accuracy of the first minus that of the second; `low` and `high` are its interval (not
    corrected for other pairs, but for the `looks`); `first_better` is P(A > B) and `hedges_g` the effect size over
    seeds. `better_p` and `equal_p` are those of `decide`; `verdict` is the name of the better one, or the decision in
    words. The rest is about the two representative models only: `only_first` and `only_second` count the texts that
    only one of them got right, `p` is McNemar's, and `holm_p` is corrected for all pairs.
    """
    samples = {name: sample(each) for name, each in models.items()}
    names = list(combinations(models, 2))
    gaps = [gap(samples[first], samples[second]) for first, second in names]
    confidence = 1 - nominal(1 - CONFIDENCE, looks)
    rows = []
    for (first, second), found, decision in zip(names, gaps, decide(gaps, margin, looks), strict=True):
        a_SN, b_SN = as_correct(models[first].correct_SN), as_correct(models[second].correct_SN)
        a_N, b_N = a_SN[models[first].representative], b_SN[models[second].representative]
        only_first, only_second = discordant(a_N, b_N)
        value, low, high = found.interval(confidence)
        rows.append(
            {
                "first": first,
                "second": second,
                "num_texts": len(a_N),
                "first_seeds": len(a_SN),
                "second_seeds": len(b_SN),
                "verdict": in_words(decision.verdict, first, second, margin),
                "difference": value,
                "low": low,
                "high": high,
                "better_p": decision.better_p,
                "equal_p": decision.equal_p,
                "first_better": probability(a_SN, b_SN) if found.known else np.nan,
                "hedges_g": hedges_g(a_SN.mean(axis=1), b_SN.mean(axis=1)),
                "only_first": only_first,
                "only_second": only_second,
                "cohens_g": cohens_g(a_N, b_N),
                "p": mcnemar(a_N, b_N),
            }
        )
    table = pd.DataFrame(rows, columns=_PAIR)
    table["verdict"] = table["verdict"].astype("str")
    table["holm_p"] = holm(table["p"])
    return table


def in_words(verdict: Verdict, first: str, second: str, margin: float) -> str:
    """'gru', 'equal within 0.01', 'cannot tell' or 'one seed'."""
    words = {Verdict.FIRST: first, Verdict.SECOND: second, Verdict.EQUAL: f"equal within {margin:g}"}
    return words.get(verdict, verdict.value)


_PAIR = ["first", "second", "num_texts", "first_seeds", "second_seeds", "verdict", "difference", "low", "high"]
_PAIR += ["better_p", "equal_p", "first_better", "hedges_g", "only_first", "only_second", "cohens_g", "p"]
