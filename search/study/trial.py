"""The record of a trial, wherever it was read: from its study or from its MLflow run. Imports nothing heavy."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.base import names, record
from search.base.record import Outcome
from search.train.costs import COSTS

if TYPE_CHECKING:
    from search.train.training import Result


@dataclass(frozen=True)
class Worker:
    """Where a result came from."""

    node: str  # its address
    pid: int
    provenance: Mapping[str, str] = field(default_factory=dict)  # tags: its processor, device, versions, ...


@dataclass(kw_only=True)
class Trial:
    """All that is known of a trial; from what its study keeps, its MLflow run can be made at any time.

    search, folder: its search's id, and where that keeps its files.
    metric: what its search ranks by.
    seed: None of a run that was only half written.
    configuration, repetition: which of several configurations it is, by name, and which of equal trials, from 0.
    repeats: the name of the trial of its search whose configuration was proposed again, as this one.
    fold: which division of the texts it learned and was tested on ('2/5'), where each text is tested once.
    attempt: 0 until it starts, then 1, and one more for each worker that died and each resume.
    provenance: tags: the data's digest and the commit, and its last worker's processor, device and versions.
    attempts: those tags of the worker of each attempt that has reported; empty in searches that did not keep them.
    epochs: how many it has made, and best_epoch: after how many it was best; a fraction within one.
    seconds: spent in them, all attempts together.
    best: its metrics at `best_epoch`, such as val_accuracy; of a complete trial also the test metrics of that report.
    costs: what it costs, as far as that is known (see `search.train.costs`).
    ended_by: what ended a complete trial before its last epoch, if anything.
    started, ended: when, in ms since 1970; None before, and where that is not known. An interrupted one has not ended.
    timed: whether its study noted these times when they came; older ones did not.
    results: one for each report, in order; only studies keep them.
    worker: that of its last result.
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
        """Its search's metric at its best report."""
        return self.best.get(self.metric)

    @property
    def step(self) -> int:
        """Its last report; 0 before the first."""
        return self.results[-1].step if self.results else 0

    @property
    def last_event(self) -> int | None:
        """When it ended, reported last or started, whichever is known of these in this order; in ms since 1970."""
        reported = next((result.time for result in reversed(self.results) if result.time), None)
        return self.ended or reported or self.started

    @property
    def config(self) -> dict[str, Any]:
        """The flat config that the trainable gets."""
        identity = {record.ARCHITECTURE: self.architecture, record.NUMBER: self.number, record.SEED: self.seed}
        fold = {record.FOLD: self.fold} if self.fold else {}
        return identity | fold | self.hyperparameters

    @property
    def params(self) -> dict[str, Any]:
        """The parameters of its MLflow run."""
        design = {
            record.CONFIGURATION: self.configuration,
            record.FOLD: self.fold,
            record.REPETITION: self.repetition,
            record.REPEATS: self.repeats,
        }
        given = {name: value for name, value in design.items() if value is not None}
        return {record.ARCHITECTURE: self.architecture, record.SEED: self.seed} | given | self.hyperparameters

    def add(self, result: "Result", reports_per_epoch: int) -> None:
        """Take the next result."""
        self.results.append(result)
        self.epochs, self.best_epoch = result.step / reports_per_epoch, result.best_step / reports_per_epoch
        self.seconds, self.best = result.seconds, result.best
        self.num_parameters = result.metrics.get(record.NUM_PARAMETERS, self.num_parameters)
        told = {name: result.metrics[name] for name in COSTS if name in result.metrics}
        self.costs |= told | {record.TRAIN_SECONDS: result.seconds}
