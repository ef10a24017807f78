"""The names of searches and trials: made here, and taken apart here."""

import re
import time
from collections.abc import Mapping
from typing import Any

from search.base import record

STAMP = "%Y%m%d-%H%M%S"


def search_id(name: str) -> str:
    """The id of a search of this name that starts now, in UTC: 'default' -> 'default-20260101-120000'."""
    return f"{name}-{time.strftime(STAMP, time.gmtime())}"


def split_search(search: str) -> tuple[str, str]:
    """'default-20260101-120000' -> ('default', '20260101-120000'). Of an id without date and time these are ''."""
    match = re.fullmatch(r"(.*)-(\d{8}-\d{6})", search, re.DOTALL)
    return (match[1], match[2]) if match else (search, "")


def trial_name(architecture: str, number: int) -> str:
    """'gru', 3 -> 'gru-3'."""
    return f"{architecture}-{number}"


def config_name(config: Mapping[str, Any]) -> str:
    """The name of the trial that has this config."""
    return trial_name(config[record.ARCHITECTURE], config[record.NUMBER])


def split_trial(trial: str) -> tuple[str, int] | None:
    """'gru-3' -> ('gru', 3); None for what is no trial's name."""
    architecture, _, number = trial.rpartition("-")
    return (architecture, int(number)) if architecture and number.isdecimal() else None
