"""Trials inherited from earlier searches: the key `from` names these searches, and their trials are stored in the spec
when the search starts.

So a search can be resumed, read and repeated when the earlier ones are gone.
"""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Point(BaseModel):
    """One configuration of an earlier search, mapped into the space of this one.

    trial: the name of its (best) trial. values: hyperparameter -> value in the space. quantile: its mid-rank among the
    earlier search's configurations of this architecture, in (0, 1), higher for better ones.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    trial: str
    values: dict[str, Any]
    quantile: float = Field(gt=0, lt=1)


class Inherited(BaseModel):
    """The inheritance from one earlier search for one architecture.

    trials, epochs, seconds: the cost of that search for the architecture, including what it had inherited. points: the
    best first. clipped: number of trials with a value that was moved to the nearest one in the space. dropped: number
    of trials with a value that has no counterpart in the space.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    search: str
    architecture: str
    trials: int
    epochs: float
    seconds: float
    points: list[Point]
    clipped: int = 0
    dropped: int = 0


def lines(inherited: Sequence[Inherited]) -> list[str]:
    """One line per earlier search, for people."""
    listed = []
    for search in dict.fromkeys(part.search for part in inherited):
        parts = [part for part in inherited if part.search == search]
        counts = ", ".join(f"{part.architecture} {part.trials}" for part in parts)
        spent = f"{sum(part.epochs for part in parts):,.0f} epochs, {sum(part.seconds for part in parts):,.0f} s"
        clipped, dropped = (sum(getattr(part, name) for part in parts) for name in ("clipped", "dropped"))
        moved = f"; {clipped} with values moved to the nearest in the space" * (clipped > 0)
        left = f"; {dropped} left out for values outside of the space" * (dropped > 0)
        listed.append(f"Inherited from {search}: trials of {counts} ({spent}){moved}{left}.")
    return listed


def enqueued(inherited: Sequence[Inherited], most: int) -> list[dict[str, Any]]:
    """The configurations of an architecture to try first, at most `most`: the best of every search, then the second
    best, and so on."""
    configurations: list[dict[str, Any]] = []
    for rank in range(most):
        for earlier in inherited:
            if rank < len(earlier.points) and len(configurations) < most:
                values = earlier.points[rank].values
                configurations += [values] * (values not in configurations)
    return configurations
