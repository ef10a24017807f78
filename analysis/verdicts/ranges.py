"""What the hyperparameters of an architecture could be, and whether a value is at the edge of that."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

EDGE = 0.05  # so near to a bound, as a share of the range, is at the edge


def distributions(space: Mapping[str, Any] | None, architecture: str) -> dict[str, BaseDistribution]:
    """What an architecture's hyperparameters could be, by the `space` of a spec; without those it leaves fixed."""
    found = {}
    for name, written in (space or {}).items():
        if isinstance(written, dict) and not {"low", "high"} <= set(written):
            written = written.get(architecture)  # each architecture has a range of its own
        if isinstance(written, list | dict):
            found[name] = _distribution(written)
    return {name: each for name, each in found.items() if each is not None}


def _distribution(written: Any) -> BaseDistribution | None:
    try:
        with warnings.catch_warnings():  # where the steps end below `high`, Optuna says so and takes the last one
            warnings.simplefilter("ignore")
            if isinstance(written, list):
                return CategoricalDistribution(written)
            low, high, step, log = (written.get(key) for key in ("low", "high", "step", "log"))
            if all(isinstance(number, int) for number in (low, high, step or 1)):
                return IntDistribution(low, high, step=step or 1, log=bool(log))
            return FloatDistribution(low, high, step=step, log=bool(log))
    except (ValueError, TypeError):  # written by hand, or by a version to come
        return None


def bound_near(value: Any, distribution: BaseDistribution) -> float | None:
    """The bound of a range, or of a list of numbers, that a value is at; None within, and where nothing is within."""
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
