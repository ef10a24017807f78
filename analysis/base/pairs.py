"""Is one configuration better than another, equal to it, or can that not be told? Three verdicts by one model.

Whether a configuration's seed s gets text i right (`correct_SN`, in whatever way it was predicted) is the sum of what
is expected of the configuration, what it makes of the text, what the seed is worth, and noise of both. Seeds and texts
are samples: the verdict is on the accuracy to be expected over all seeds and all texts like these. The variance of the
difference D of two mean accuracies is then, as in studies of several readers and cases (Dorfman, Berbaum, Metz 1992),

    var D = seeds_1 / S_1 + seeds_2 / S_2 + texts

with the variances of one seed's accuracy on these texts, and that of the texts' paired differences without the noise
that is in the first two already. The first two are poorly known from few seeds. Each is therefore no less than the
noise of seeds and texts alone, of which there is plenty to estimate it from (a seed's accuracy cannot vary less), and
not pooled over architectures, whose spreads differ: D has Student's distribution, with Satterthwaite's (1946) degrees
of freedom. Both were chosen by `python -m benchmarks.calibration`.

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
    """What can be said of a pair."""

    FIRST = "the first is better"
    SECOND = "the second is better"
    EQUAL = "equal within the margin"
    CANNOT_TELL = "cannot tell"
    ONE_SEED = "one seed"

    @property
    def is_better(self) -> bool:
        return self in (Verdict.FIRST, Verdict.SECOND)


class Models(NamedTuple):
    """The models of one configuration, a seed each: `correct_SN`, and which of them stands for all.

    same_with_every_seed: there is nothing that another seed would change, as of a baseline.
    """

    correct_SN: ArrayLike
    representative: int = 0
    same_with_every_seed: bool = False


class Sample(NamedTuple):
    """What the models of a configuration say of it.

    share_N: of its seeds that get a text right. variance: of one seed's accuracy on these texts. noise: the part of
    that which is of seeds and texts together. Both are zero for a single seed. known: whether something is known of the
    configuration, and not of a single model of it alone.
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
    """By how much the first configuration's expected accuracy exceeds the second's, and how well that is known.

    texts: the part of the variance that however many seeds leave.
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
        """The p-value that the difference is the margin or more, by two one-sided tests (Schuirmann 1987), doubled: it
        is below 0.05 where the 95 % interval is within the margin."""
        return min(1.0, float(2 * special.stdtr(self.freedom, (abs(self.value) - margin) / self.error)))

    def smallest_margin(self, level: float = 1 - CONFIDENCE) -> float:
        """Half the interval that however many seeds leave: two are shown to be equal within no smaller margin on these
        texts."""
        return float(special.ndtri(1 - level / 2)) * math.sqrt(self.texts)

    def chance(self, margin: float = MARGIN, level: float = 1 - CONFIDENCE) -> float:
        """How likely any number of further seeds would tell the two apart or equal, by what is seen now: the chance
        that the difference over all seeds is far enough from, or near enough to, zero for these texts."""
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
        """About how many seeds each of the two would need to be told apart or equal, if the difference stays as it is;
        infinite where these texts are too few."""
        half = max(abs(self.value), margin - abs(self.value))  # so wide may the interval be to either side
        left = (half / float(special.ndtri(1 - level / 2))) ** 2 - self.texts
        one_each = self.first.variance + self.second.variance
        return math.inf if left <= 0 else max(2, math.ceil(one_each / left))


def gap(first: Sample, second: Sample) -> Gap:
    """Raises ValueError unless both are scored on the same texts.

    Two more texts, of which each gets one right, keep few texts from being taken for proof (Agresti and Min 2005).
    Where there is a single seed of one, the gap is that of this model.
    """
    check_same_texts(first.share_N, second.share_N)
    difference_N = first.share_N - second.share_N
    size = len(difference_N) + 2
    squares = float(difference_N @ difference_N) + 2 - float(difference_N.sum()) ** 2 / size
    texts = squares / size**2 - first.noise / first.seeds - second.noise / second.seeds
    return Gap(float(difference_N.mean()), max(0.0, texts), first, second)


class Decision(NamedTuple):
    """The verdict on a pair, and the two p-values that it is by, corrected for the family; NaN for a single seed."""

    verdict: Verdict
    better_p: float
    equal_p: float


def decide(gaps: Sequence[Gap], margin: float = MARGIN, looks: int = 1) -> list[Decision]:
    """The verdicts on a family of pairs, each wrong in 5 % of families at most, over all looks.

    Of a family the p-values of one kind (that none is better, that none are equal) are corrected by Holm's method.
    """
    told = [place for place, each in enumerate(gaps) if each.known]
    better, equal = (np.full(len(gaps), np.nan) for _ in range(2))
    better[told] = holm([over_looks(gaps[place].p_better(), looks) for place in told])
    equal[told] = holm([over_looks(gaps[place].p_equal(margin), looks) for place in told])

    def verdict(place: int) -> Verdict:
        if place not in told:
            return Verdict.ONE_SEED
        if better[place] < 1 - CONFIDENCE:
            return Verdict.FIRST if gaps[place].value > 0 else Verdict.SECOND
        return Verdict.EQUAL if equal[place] < 1 - CONFIDENCE else Verdict.CANNOT_TELL

    return [Decision(verdict(i), float(better[i]), float(equal[i])) for i in range(len(gaps))]


def probability(first_SN: ArrayLike, second_SN: ArrayLike) -> float:
    """P(A > B): how often a seed of the first gets more of these texts right than one of the second, of all such pairs,
    ties counted half (Bouthillier et al. 2021, who call 0.75 and more meaningful)."""
    a_S, b_S = (as_correct(each).sum(axis=1) for each in (first_SN, second_SN))
    return float((np.sign(a_S[:, None] - b_S) / 2 + 0.5).mean())


def compare(models: Mapping[str, Models], margin: float = MARGIN, looks: int = 1) -> pd.DataFrame:
    """Every pair of configurations on the same texts, by name.

    `difference` is the first's mean accuracy minus the second's, `low` and `high` its interval (of this pair alone, at
    any of the `looks`), `first_better` P(A > B) and `hedges_g` the effect size over seeds. `better_p` and `equal_p` are
    those of `decide`, and `verdict` is the name of the better one or the words for what else is decided. Of the two
    representatives, as given models, `only_first` and `only_second` are the texts that only that one got right, `p` is
    McNemar's and `holm_p` corrected for all pairs.
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
