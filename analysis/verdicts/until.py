"""One look of a sequential confirmation: which pairs are open, which architectures' seeds would help most to decide
them, and which pairs no number of seeds can decide because there are too few texts.

The significance levels come from `base/looks.py`. Allocating seeds to the architectures with the largest variance, and
none to pairs limited by texts, needs no further correction: neither makes differences look larger.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

from scipy import special

from analysis.base import pairs, stats
from analysis.base.looks import nominal
from analysis.base.pairs import Decision, Gap, Sample, Verdict

HOPELESS = 0.05  # a pair gets no more seeds if the probability that they would decide it is smaller
SMALL = 0.25  # an architecture with a smaller share of a pair's variance over seeds gets no more
SHOWN = 8  # the most open pairs shown


class Pair(NamedTuple):
    first: str
    second: str
    gap: Gap
    decision: Decision

    @property
    def is_open(self) -> bool:
        return self.decision.verdict in (Verdict.CANNOT_TELL, Verdict.ONE_SEED)


@dataclass(frozen=True)
class Look:
    """A look at all pairs of configurations, which are named after their architectures.

    looks: the planned number of looks. pursued: the configurations that may get seeds; pairs of two others stay as they
    are.
    """

    samples: Mapping[str, Sample]
    margin: float
    looks: int
    pursued: Collection[str]

    @cached_property
    def pairs(self) -> list[Pair]:
        names = list(combinations(self.samples, 2))
        gaps = [pairs.gap(self.samples[first], self.samples[second]) for first, second in names]
        decisions = pairs.decide(gaps, self.margin, self.looks)
        return [Pair(*pair, gap, found) for pair, gap, found in zip(names, gaps, decisions, strict=True)]

    @cached_property
    def open(self) -> list[Pair]:
        return [pair for pair in self.pairs if pair.is_open]

    @property
    def level(self) -> float:
        """The level of an open pair at one look, of 5 % for the family over all looks."""
        return nominal((1 - stats.CONFIDENCE) / max(1, len(self.open)), self.looks)

    @property
    def smallest_margin(self) -> float:
        """The smallest margin within which any open pair can be shown to be equal on these texts."""
        known = [pair.gap.smallest_margin(self.level) for pair in self.open if pair.gap.known]
        return min(known, default=math.nan)

    def of_texts(self, pair: Pair) -> bool:
        """Whether an open pair is limited by the number of texts, not of seeds."""
        return pair.gap.known and pair.gap.chance(self.margin, self.level) < HOPELESS

    @property
    def promising(self) -> list[Pair]:
        """The open pairs that more seeds may decide."""
        return [pair for pair in self.open if not self.of_texts(pair)]

    def seeds(self, name: str) -> int:
        """The number of an architecture's seeds. A single seed counts as none: it may be that of the search."""
        return self.samples[name].seeds if self.samples[name].known else 0

    def wanted(self, most: int) -> list[str]:
        """The architectures whose seeds help most: those that may cause a large share of the variance over seeds of a
        promising pair. most: the limit of seeds per architecture."""
        found = set()
        for pair in self.promising:
            both = {pair.first: pair.gap.first, pair.second: pair.gap.second}
            total = sum(sample.of_mean for sample in both.values())
            found |= {
                name
                for name, sample in both.items()
                if name in self.pursued
                and (most_of_mean(sample) > SMALL * total if pair.gap.known else not sample.known)
            }
        return [name for name in self.samples if name in found and self.seeds(name) < most]

    def room(self, most: int) -> int:
        """The number of seeds that every `wanted` architecture may still get."""
        return max(0, most - max((self.seeds(name) for name in self.wanted(most)), default=most))

    def lines(self) -> Iterable[str]:
        """The findings of this look, in sentences."""
        num = len(self.pairs)
        decided = f"{num - len(self.open)} of {num} pair{'s' * (num != 1)} decided"
        yield f"{decided}: better, or equal within {self.margin:g}."
        for pair in self.open[:SHOWN]:
            yield f"  {pair.first} and {pair.second}: {self._needs(pair)}"
        if len(self.open) > SHOWN:
            yield f"  and {len(self.open) - SHOWN} more open pairs"
        if not math.isnan(least := self.smallest_margin):
            texts = len(next(iter(self.samples.values())).share_N)
            line = f"Smallest margin that these {texts:,} texts can resolve with any number of seeds: {least:.4f}"
            yield line + (
                f"; that is more than {self.margin:g}, so no open pair can be shown to be equal."
                if least >= self.margin
                else "."
            )

    def _needs(self, pair: Pair) -> str:
        if not pair.gap.known:
            return "one seed"
        value, low, high = pair.gap.interval(1 - nominal(1 - stats.CONFIDENCE, self.looks))
        seen = f"cannot tell, {value:+.4f} ({low:.4f} to {high:.4f})"
        seeds = pair.gap.seeds_to_decide(self.margin, self.level)
        if self.of_texts(pair):
            return f"{seen}; more texts are needed, not seeds"
        if math.isinf(seeds):
            return f"{seen}; more seeds decide it only if the difference changes"
        return f"{seen}; about {seeds:,} seeds per architecture would decide it if the difference stays"


def most_of_mean(found: Sample) -> float:
    """The upper 95 % confidence limit of the variance of a mean over seeds (chi-squared).

    A few seeds may agree by luck. Without this limit, such an architecture would get no more seeds, and its variance
    would stay underestimated.
    """
    freedom = found.seeds - 1
    return found.of_mean * freedom / float(special.chdtri(freedom, stats.CONFIDENCE)) if freedom else 0.0


def look_at(
    models: Mapping[str, pairs.Models], margin: float, looks: int, pursued: Collection[str] | None = None
) -> Look:
    """A look at models by architecture. pursued: None for all whose training depends on a seed."""
    if pursued is None:
        pursued = {name for name, repeated in models.items() if not repeated.same_with_every_seed}
    return Look({name: pairs.sample(repeated) for name, repeated in models.items()}, margin, looks, pursued)


FEWEST = 5  # seeds per look: three estimate a spread too poorly to test it
MOST_LOOKS = 5


def planned(room: int) -> int:
    """The number of looks for this many seeds. Fewer looks have higher significance levels."""
    return min(MOST_LOOKS, max(1, room // FEWEST))


def step(room: int, left: int) -> int:
    """The number of seeds that the next of `left` looks adds, of the `room` of all of them."""
    return math.ceil(room / left)
