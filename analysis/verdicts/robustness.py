"""Robustness of the leading architecture: the smallest number of trials, seeds or test texts whose removal costs it the
lead.

A worst case (after Broderick, Giordano and Meager 2020), not a probability: if a handful of texts decides, so does
luck. Shapes: S seeds, N test texts.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from analysis.base.pairs import Models
from analysis.base.stats import as_correct


class Flip(NamedTuple):
    """The smallest number of removals after which the second is at least level with the first.

    fewest: None if no removal does that (one of each kind must stay). of: the total number.
    """

    fewest: int | None
    of: int


def texts(first_SN: ArrayLike, second_SN: ArrayLike) -> Flip:
    """Removal of test texts, beginning with those that favour the first most."""
    gain_N = np.sort(as_correct(first_SN).mean(axis=0) - as_correct(second_SN).mean(axis=0))[::-1]
    left_N = gain_N.sum() - np.concatenate([[0.0], np.cumsum(gain_N)[:-1]])
    return Flip(_first(left_N <= 1e-9), len(gain_N))


def seeds(first_SN: ArrayLike, second_SN: ArrayLike) -> Flip:
    """Removal of seeds of both, beginning with the best of the first and the worst of the second."""
    first_S = np.sort(as_correct(first_SN).mean(axis=1))  # ascending: the worst seeds are kept
    second_S = np.sort(as_correct(second_SN).mean(axis=1))[::-1]
    means, others = (np.cumsum(kept_S) / np.arange(1, len(kept_S) + 1) for kept_S in (first_S, second_S))
    lost = [
        (len(first_S) - 1 - i) + (len(second_S) - 1 - j)
        for i in range(len(means))
        for j in range(len(others))
        if others[j] >= means[i] - 1e-12
    ]
    return Flip(min(lost, default=None), len(first_S) + len(second_S))


def trials(first: pd.Series, second: pd.Series, maximize: bool = True) -> Flip:
    """Removal of the first's trials: all that score better than the second's best."""
    sign = 1 if maximize else -1
    first, second = sign * first.dropna(), sign * second.dropna()
    better = int((first > second.max()).sum())
    return Flip(better if better < len(first) else None, len(first))


def sentence(models: Mapping[str, Models], scores: Mapping[str, pd.Series], maximize: bool = True) -> str:
    """A sentence on the two models that lead by mean test accuracy; '' if there is no leader.

    scores: the validation scores of the search's trials, by architecture.
    """
    correct = {name: as_correct(each.correct_SN) for name, each in models.items()}
    leading = sorted(correct, key=lambda name: -correct[name].mean())[:2]
    if len(leading) < 2 or correct[leading[0]].mean() <= correct[leading[1]].mean():
        return ""
    first, second = leading
    flips = {"test texts": texts(correct[first], correct[second])}
    if len(correct[first]) + len(correct[second]) > 2:
        flips |= {"seeds": seeds(correct[first], correct[second])}
    if len(scores.get(first, ())) and len(scores.get(second, ())):
        found = trials(scores[first], scores[second], maximize)
        if found.fewest != 0:  # 0 means that the second led in the search
            flips |= {f"trials of {first} in validation": found}
    parts = [
        f"{flip.fewest:,} of {flip.of:,} {what}" if flip.fewest is not None else f"no number of {what}"
        for what, flip in flips.items()
    ]
    return f"Robustness: {first} leads {second} on test; removals that would cost it the lead: {', '.join(parts)}."


def _first(true: np.ndarray) -> int | None:
    return int(np.argmax(true)) if true.any() else None
