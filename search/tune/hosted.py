"""The pack of trials that a Tune trial hosts: one or more trials of one architecture."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from search.base import schema
from search.base.names import config_name
from search.study.trial import Trial

MEMBERS, SIZE = "members", "size"  # the keys of a Tune trial's config


@dataclass
class Hosted:
    """The trials that a Tune trial currently hosts, by name.

    size: the largest number of concurrent trials. If it is 1, no trial joins, and only Tune itself ends the trial.
    """

    members: dict[str, Trial]
    architecture: str
    size: int

    @classmethod
    def of(cls, trials: Iterable[Trial], size: int) -> Self:
        members = {trial.name: trial for trial in trials}
        return cls(members, next(iter(members.values())).architecture, size)

    @property
    def config(self) -> dict[str, Any]:
        """The config of the Tune trial."""
        return {MEMBERS: [config_of(trial) for trial in self.members.values()], SIZE: self.size}


def config_of(trial: Trial) -> dict[str, Any]:
    """The config of a trial for a worker, with the number of the attempt."""
    return trial.config | {schema.ATTEMPT: trial.attempt}


def tune_name(config: dict[str, Any]) -> str:
    """The name of a Tune trial: the name of the first trial in its config."""
    return config_name(config[MEMBERS][0])
