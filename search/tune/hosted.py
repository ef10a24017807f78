"""What a Tune trial hosts: a pack of trials of one architecture, which may be only one."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from search.base import schema
from search.base.names import config_name
from search.study.trial import Trial

MEMBERS, SIZE = "members", "size"  # the keys of a Tune trial's config


@dataclass
class Hosted:
    """The trials that a Tune trial hosts at the moment, by name.

    size: how many it may host at once. Where it is 1, nobody joins and Tune's own decisions are the only answers.
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
        """That of the Tune trial."""
        return {MEMBERS: [config_of(trial) for trial in self.members.values()], SIZE: self.size}


def config_of(trial: Trial) -> dict[str, Any]:
    """What a worker is told of a trial."""
    return trial.config | {schema.ATTEMPT: trial.attempt}


def tune_name(config: dict[str, Any]) -> str:
    """The name of a Tune trial: that of the first trial that it hosts."""
    return config_name(config[MEMBERS][0])
