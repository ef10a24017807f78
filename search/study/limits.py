"""Replacements for configurations whose size breaks a limit, so that no trial is spent on them.

A sampler learns about every refused proposal (Optuna's constraints). After several refusals in a row, points are drawn
at random until one is within the limits.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import optuna

from data.base.errors import UserError
from search.base import schema
from search.spec import space
from search.spec.spec import Spec
from search.train.costs import broken, shown

IN_A_ROW = 10  # refused proposals of a sampler, after which points are drawn at random
DRAWS = 500  # random points, after which an architecture is taken to have none within the limits

#: Maps a trial's config to the costs that are known before it is trained.
Measure = Callable[[dict[str, Any]], Mapping[str, float]]


@dataclass
class Drawn:
    """point: the first one within the limits, or None. refused: the number of refused points, by limit. least: the
    lowest cost among the refused points, by the limit that they broke."""

    point: dict[str, Any] | None = None
    refused: Counter[str] = field(default_factory=Counter)
    least: dict[str, float] = field(default_factory=dict)


def draw(points: space.Space, limits: Mapping[str, float], measure: Measure, seed: int) -> Drawn:
    """Draw from a space at random until a point is within the limits. Every different point is measured once."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    drawn, known = Drawn(), set()
    for _ in range(DRAWS):
        point = space.suggest(study.ask(), points)
        if (key := tuple(point.values())) in known:
            continue
        known.add(key)
        try:
            costs = measure(point)
        except UserError:  # `match_parameters`: no hidden size fits this point
            continue
        name = broken(limits, costs)
        if name is None:
            drawn.point = point
            break
        drawn.refused[name] += 1
        drawn.least[name] = min(costs[name], drawn.least.get(name, costs[name]))
    return drawn


def require_room(spec: Spec, measure: Measure) -> None:
    """Raises UserError, with the lowest costs found, if no architecture has a configuration within the limits."""
    if not spec.limits or spec.configurations is not None or spec.match_parameters is not None:
        return
    least: dict[str, float] = {}
    for name in spec.architectures:
        identity = {schema.ARCHITECTURE: name, schema.SEED: 0}
        drawn = draw(spec.spaces[name], spec.limits, partial(_measured, measure, identity), spec.seed)
        if drawn.point is not None:
            return
        least = {limit: min(least.get(limit, cost), cost) for limit, cost in drawn.least.items()}
    limits = {name: shown(spec.limits[name]) for name in least}
    reasons = (f"{name} is at least {shown(cost)}, with {limits[name]} allowed" for name, cost in least.items())
    raise UserError(f"limits: no configuration of the space keeps them: {', '.join(reasons)}")


def _measured(measure: Measure, identity: Mapping[str, Any], point: Mapping[str, Any]) -> Mapping[str, float]:
    return measure({**identity, **point})
