"""Which trials of a search are those of its baselines, which nobody searches for: what anyone would use instead."""

from collections.abc import Iterable

import pandas as pd

from models import BASELINES

KIND, SEARCHED, BASELINE = "kind", "searched", "baseline"


def is_baseline(architecture: str | None) -> bool:
    return architecture in BASELINES


def reads_whole_texts(architecture: str) -> bool:
    """Whether a baseline reads all words of a text where the networks of its search read the first ones."""
    return BASELINES[architecture].whole


def kinds(architectures: Iterable[str | None]) -> list[str]:
    """What each of these is: SEARCHED or BASELINE."""
    return [BASELINE if is_baseline(each) else SEARCHED for each in architectures]


def searched(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials that are no baseline's."""
    return trials[~_mask(trials)]


def baselines(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials that are a baseline's."""
    return trials[_mask(trials)]


def shown(trials: pd.DataFrame) -> list[str]:
    """The column `kind` of a table for readers: where there are no baselines, it tells nothing."""
    return [KIND] if _mask(trials).any() else []


def _mask(trials: pd.DataFrame) -> pd.Series:
    return trials["architecture"].isin(list(BASELINES))
