"""Which trials of a search are those of its baselines, which nobody searches for: what anyone would use instead."""

import pandas as pd

import models
from search.base.record import ROLE

SEARCHED, BASELINE = "searched", "baseline"  # the values of `ROLE`


def is_baseline(trials: pd.DataFrame) -> bool:
    """Whether these trials of one architecture are a baseline's."""
    return bool(_mask(trials).any())


def role(trials: pd.DataFrame) -> str:
    """What these trials of one architecture are: SEARCHED or BASELINE."""
    return BASELINE if is_baseline(trials) else SEARCHED


def role_by_name(architecture: str | None) -> str:
    """The same where nothing but the name is known."""
    return BASELINE if models.baseline(architecture or "") else SEARCHED


def searched(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials that are no baseline's."""
    return trials[~_mask(trials)]


def baselines(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials that are a baseline's."""
    return trials[_mask(trials)]


def shown(trials: pd.DataFrame) -> list[str]:
    """The column `role` of a table for readers: where there are no baselines, it tells nothing."""
    return [ROLE] if ROLE in trials and is_baseline(trials) else []


def _mask(trials: pd.DataFrame) -> pd.Series:
    return trials[ROLE] == BASELINE
