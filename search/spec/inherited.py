"""What a search takes from earlier ones: `from:` names these, and what was found in them is filled in when it starts.

So a search can be resumed, read and repeated when those that it learned from are gone.
"""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Point(BaseModel):
    """One configuration of an earlier search, as it lies in the space of this one.

    trial: whose it was, the best one's. values: a hyperparameter's, each in the space. quantile: the share of the
    earlier search's configurations of this architecture that are no better, less half of its own: in (0, 1).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    trial: str
    values: dict[str, Any]
    quantile: float = Field(gt=0, lt=1)


class Inherited(BaseModel):
    """What comes from an earlier search for one architecture.

    trials, epochs, seconds: what that search had spent on it, with what it had inherited itself. points: the best
    first. clipped: trials of which a value was moved to the nearest one of the space; dropped: those with
    a value that has none.
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
    """A line for each earlier search, for people."""
    found = []
    for search in dict.fromkeys(each.search for each in inherited):
        own = [each for each in inherited if each.search == search]
        counts = ", ".join(f"{each.architecture} {each.trials}" for each in own)
        spent = f"{sum(each.epochs for each in own):,.0f} epochs, {sum(each.seconds for each in own):,.0f} s"
        clipped, dropped = (sum(getattr(each, name) for each in own) for name in ("clipped", "dropped"))
        moved = f"; {clipped} with values moved to the nearest in the space" * (clipped > 0)
        left = f"; {dropped} left out, with values that are not in it" * (dropped > 0)
        found.append(f"Inherited from {search}: trials of {counts} ({spent}){moved}{left}.")
    return found


def enqueued(inherited: Sequence[Inherited], most: int) -> list[dict[str, Any]]:
    """The configurations of one architecture that are tried first, at most so many: the best of each search in turn."""
    found: list[dict[str, Any]] = []
    for place in range(most):
        for each in inherited:
            if place < len(each.points) and len(found) < most and each.points[place].values not in found:
                found.append(each.points[place].values)
    return found
