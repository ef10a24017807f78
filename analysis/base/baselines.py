"""Separates a search's baselines (what one would use instead of a network) from the trials that were searched."""

import pandas as pd

import models
from search.base.schema import ROLE

SEARCHED, BASELINE = "searched", "baseline"  # the values of `ROLE`


def is_baseline(trials: pd.DataFrame) -> bool:
    """Whether these trials, all of one architecture, are of a baseline."""
    return bool(_mask(trials).any())


def role(trials: pd.DataFrame) -> str:
    """The role of these trials, all of one architecture: SEARCHED or BASELINE."""
    return BASELINE if is_baseline(trials) else SEARCHED


def role_by_name(architecture: str | None) -> str:
    """The role by the architecture's name alone."""
    return BASELINE if models.baseline(architecture or "") else SEARCHED


def searched(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials that are not of a baseline."""
    return trials[~_mask(trials)]


def baselines(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials of baselines."""
    return trials[_mask(trials)]


def shown(trials: pd.DataFrame) -> list[str]:
    """The column `role` of a table for readers, as a list; empty without baselines."""
    return [ROLE] if ROLE in trials and is_baseline(trials) else []


def _mask(trials: pd.DataFrame) -> pd.Series:
    return trials[ROLE] == BASELINE
