"""The record of a trial, read from its study or from its MLflow run. Imports nothing heavy."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.base import names, schema
from search.base.schema import Outcome
from search.train.costs import COSTS

if TYPE_CHECKING:
    from search.train.training import Result


@dataclass(frozen=True)
class Worker:
    """Where a result came from."""

    node: str  # the address of its machine
    pid: int
    provenance: Mapping[str, str] = field(default_factory=dict)  # as tags: processor, device, versions, ...


@dataclass(kw_only=True)
class Trial:
    """All that is known about a trial. The study stores enough to rebuild the MLflow run at any time.

    search, folder: the id of its search, and the folder of that search.
    metric: what its search ranks by.
    seed: None for a run that was only partly written.
    configuration, repetition: the name of its configuration, if the spec names configurations, and its number among the
        trials of that configuration, from 0.
    repeats: the name of the earlier trial of its search whose configuration was proposed again for this one.
    fold: the division of the texts that it was trained and tested on ('2/5'), where each text is tested once.
    attempt: 0 until it starts, then 1, and one more for each worker that died and each resume.
    provenance: tags: the data's digest, the commit, and the processor, device and versions of its last worker.
    attempts: those tags for the worker of each attempt that has reported; empty in searches that did not keep them.
    epochs, best_epoch: how many epochs it has trained, and after how many it was best; may be fractions.
    seconds: spent on these epochs, in all attempts.
    best: its metrics at `best_epoch`, such as val_accuracy; for a complete trial also the test metrics of that report.
    costs: its costs as far as they are known (see `search.train.costs`).
    ended_by: what ended a complete trial before its last epoch, if anything.
    started, ended: in ms since 1970; None before that, and where it is not known. An interrupted trial has not ended.
    timed: whether its study recorded these times as they happened; older studies did not.
    results: one for each report, in order; only studies keep them.
    worker: the worker of its last result.
    """

    architecture: str
    number: int
    search: str
    folder: Path
    metric: str
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    configuration: str | None = None
    repetition: int | None = None
    repeats: str | None = None
    fold: str | None = None
    outcome: Outcome = Outcome.RUNNING
    ended_by: str | None = None
    error: str | None = None
    attempt: int = 0
    epochs: float = 0
    seconds: float = 0.0
    best_epoch: float = 0
    best: dict[str, float] = field(default_factory=dict)
    num_parameters: float | None = None
    costs: dict[str, float] = field(default_factory=dict)
    run_id: str | None = None
    worker: Worker | None = None
    provenance: dict[str, str] = field(default_factory=dict)
    attempts: dict[int, dict[str, str]] = field(default_factory=dict)
    started: int | None = None
    ended: int | None = None
    timed: bool = True
    results: list["Result"] = field(default_factory=list, repr=False)

    @property
    def name(self) -> str:
        return names.trial_name(self.architecture, self.number)

    @property
    def score(self) -> float | None:
        """The metric of its search at its best report."""
        return self.best.get(self.metric)

    @property
    def step(self) -> int:
        """The number of its last report; 0 before the first."""
        return self.results[-1].step if self.results else 0

    @property
    def last_event(self) -> int | None:
        """When it ended, else when it last reported, else when it started, as far as known; in ms since 1970."""
        reported = next((result.time for result in reversed(self.results) if result.time), None)
        return self.ended or reported or self.started

    @property
    def config(self) -> dict[str, Any]:
        """The flat config that the trainable gets."""
        identity = {schema.ARCHITECTURE: self.architecture, schema.NUMBER: self.number, schema.SEED: self.seed}
        fold = {schema.FOLD: self.fold} if self.fold else {}
        return identity | fold | self.hyperparameters

    @property
    def params(self) -> dict[str, Any]:
        """The parameters of its MLflow run."""
        design = {
            schema.CONFIGURATION: self.configuration,
            schema.FOLD: self.fold,
            schema.REPETITION: self.repetition,
            schema.REPEATS: self.repeats,
        }
        given = {name: value for name, value in design.items() if value is not None}
        return {schema.ARCHITECTURE: self.architecture, schema.SEED: self.seed} | given | self.hyperparameters

    def add(self, result: "Result", reports_per_epoch: int) -> None:
        """Take the next result."""
        self.results.append(result)
        self.epochs, self.best_epoch = result.step / reports_per_epoch, result.best_step / reports_per_epoch
        self.seconds, self.best = result.seconds, result.best
        self.num_parameters = result.metrics.get(schema.NUM_PARAMETERS, self.num_parameters)
        known_costs = {name: result.metrics[name] for name in COSTS if name in result.metrics}
        self.costs |= known_costs | {schema.TRAIN_SECONDS: result.seconds}
