"""One look at seeds that are added until every pair is decided: which pairs are open, which architectures' seeds would
decide most of them, and where no seed will, because there are too few texts.

What a look decides has its bounds from `base/looks.py`. That seeds stop where texts are the limit, and go where
variance is, needs no correction of its own: neither makes a difference seem larger.
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

HOPELESS = 0.05  # a pair that more seeds would decide with a smaller chance is left to more texts
SMALL = 0.25  # of a pair's variance over seeds: an architecture with a smaller part of it gets no more
SHOWN = 8  # open pairs


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
    """A look at configurations, by the names of their architectures. looks: how many there are to be, all counted.
    pursued: names of those that may get seeds; a pair of two others is decided, or stays open, as it is."""

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
        """What is left for each open pair of the family's 5 %, at each look."""
        return nominal((1 - stats.CONFIDENCE) / max(1, len(self.open)), self.looks)

    @property
    def smallest_margin(self) -> float:
        """Within less, none of the open pairs can be shown to be equal on these texts."""
        known = [pair.gap.smallest_margin(self.level) for pair in self.open if pair.gap.known]
        return min(known, default=math.nan)

    def of_texts(self, pair: Pair) -> bool:
        """Whether texts, not seeds, are the limit of an open pair."""
        return pair.gap.known and pair.gap.chance(self.margin, self.level) < HOPELESS

    @property
    def promising(self) -> list[Pair]:
        """The open pairs that more seeds may decide."""
        return [pair for pair in self.open if not self.of_texts(pair)]

    def seeds(self, name: str) -> int:
        """How many an architecture has; a single one, which may be that of the search itself, is none."""
        return self.samples[name].seeds if self.samples[name].known else 0

    def wanted(self, most: int) -> list[str]:
        """The architectures whose seeds decide most: those that may have a large part of the variance over seeds of a
        pair that is promising. most: seeds of an architecture."""
        found = set()
        for pair in self.promising:
            both = {pair.first: pair.gap.first, pair.second: pair.gap.second}
            total = sum(each.of_mean for each in both.values())
            found |= {
                name
                for name, each in both.items()
                if name in self.pursued and (most_of_mean(each) > SMALL * total if pair.gap.known else not each.known)
            }
        return [name for name in self.samples if name in found and self.seeds(name) < most]

    def room(self, most: int) -> int:
        """How many seeds those that are `wanted` may still get, each."""
        return max(0, most - max((self.seeds(name) for name in self.wanted(most)), default=most))

    def lines(self) -> Iterable[str]:
        """What the look found, for people."""
        num = len(self.pairs)
        decided = f"{num - len(self.open)} of {num} pair{'s' * (num != 1)} decided"
        yield f"{decided}: better, or equal within {self.margin:g}."
        for pair in self.open[:SHOWN]:
            yield f"  {pair.first} and {pair.second}: {self._needs(pair)}"
        if len(self.open) > SHOWN:
            yield f"  and {len(self.open) - SHOWN} more open pairs"
        if not math.isnan(least := self.smallest_margin):
            texts = len(next(iter(self.samples.values())).share_N)
            line = f"Smallest margin that these {texts:,} texts can resolve, however many seeds: {least:.4f}"
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
            return f"{seen}; seeds decide only if the difference is not what it seems"
        return f"{seen}; about {seeds:,} seeds of each would decide, were it what it seems"


def most_of_mean(found: Sample) -> float:
    """The upper 95 % limit of the variance of a mean over seeds, by chi-squared. Few seeds may agree by luck, and who
    got no more for that would go on to look steadier than it is."""
    freedom = found.seeds - 1
    return found.of_mean * freedom / float(special.chdtri(freedom, stats.CONFIDENCE)) if freedom else 0.0


def look_at(
    models: Mapping[str, pairs.Models], margin: float, looks: int, pursued: Collection[str] | None = None
) -> Look:
    """pursued: all that have seeds, if it is not given."""
    if pursued is None:
        pursued = {name for name, each in models.items() if not each.same_with_every_seed}
    return Look({name: pairs.sample(each) for name, each in models.items()}, margin, looks, pursued)


FEWEST, MOST_LOOKS = 5, 5  # seeds that a look adds: from three, spreads are too poorly known to be looked at; looks


def planned(room: int) -> int:
    """At how many looks so many seeds are added: the fewer, the narrower the bounds of each."""
    return min(MOST_LOOKS, max(1, room // FEWEST))


def step(room: int, left: int) -> int:
    """How many seeds the next of so many looks adds, of those that may still be added in all of them."""
    return math.ceil(room / left)
