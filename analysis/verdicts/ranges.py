"""The ranges of an architecture's hyperparameters, and whether a value is at the edge of its range."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

if TYPE_CHECKING:
    from search.spec.space import Space

EDGE = 0.05  # the share of a range next to a bound that counts as its edge


def distributions(spaces: "Mapping[str, Space] | None", architecture: str) -> dict[str, BaseDistribution]:
    """The distributions of an architecture's hyperparameters in a spec's spaces, without fixed ones."""
    space = (spaces or {}).get(architecture, {})
    return {name: values.distribution() for name, values in space.items() if not values.is_fixed}


def bound_near(value: Any, distribution: BaseDistribution) -> float | None:
    """The bound of a range, or of a list of numbers, that a value is at or near; None inside, or without an inside."""
    if isinstance(distribution, CategoricalDistribution):
        choices = distribution.choices
        if len(choices) < 3 or not all(type(choice) in (int, float) for choice in choices):
            return None
        low, high = min(choices), max(choices)  # type: ignore[type-var]
        return value if value in (low, high) else None
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    if low == high or (step and (high - low) / step < 1.5):
        return None
    scaled = np.log([low, value, high]) if distribution.log else np.array([low, value, high], dtype=float)
    position = (scaled[1] - scaled[0]) / (scaled[2] - scaled[0])
    return low if position <= EDGE else high if position >= 1 - EDGE else None
