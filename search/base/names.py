"""Formats and parses the names of searches and trials."""

import re
import time
from collections.abc import Mapping
from typing import Any

from search.base import schema

STAMP = "%Y%m%d-%H%M%S"


def search_id(name: str) -> str:
    """The id of a search that starts now (UTC): 'default' -> 'default-20260101-120000'."""
    return f"{name}-{time.strftime(STAMP, time.gmtime())}"


def split_search(search: str) -> tuple[str, str]:
    """'default-20260101-120000' -> ('default', '20260101-120000'). '' if the id has no date and time."""
    match = re.fullmatch(r"(.*)-(\d{8}-\d{6})", search, re.DOTALL)
    return (match[1], match[2]) if match else (search, "")


def trial_name(architecture: str, number: int) -> str:
    """'gru', 3 -> 'gru-3'."""
    return f"{architecture}-{number}"


def config_name(config: Mapping[str, Any]) -> str:
    """The name of the trial with this config."""
    return trial_name(config[schema.ARCHITECTURE], config[schema.NUMBER])


def split_trial(trial: str) -> tuple[str, int] | None:
    """'gru-3' -> ('gru', 3); None if the text is not a trial's name."""
    architecture, _, number = trial.rpartition("-")
    return (architecture, int(number)) if architecture and number.isdecimal() else None
