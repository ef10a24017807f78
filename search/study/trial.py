"""What a study keeps of a trial."""

from dataclasses import dataclass, field
from typing import Any

import optuna

from search.base import record
from search.base.record import Outcome
from search.train.training import EpochResult

#: What an Optuna trial keeps in its user attributes; results are kept by epoch: result-1, result-2, ...
RUN_ID, ATTEMPT, OUTCOME, ERROR, WORKER, RESULT = "run_id", "attempt", "outcome", "error", "worker", "result-"


PROVENANCE = "provenance"


SOLVED = "solved"  # hyperparameters that follow from those that were proposed


@dataclass(frozen=True)
class Worker:
    """Where a result came from."""

    node: str  # its address
    pid: int


@dataclass
class Trial:
    """All that is known of a trial; its Optuna trial keeps it, so that MLflow's run can be made from it at any time."""

    architecture: str
    number: int
    hyperparameters: dict[str, Any]
    seed: int
    study_trial: optuna.Trial
    attempt: int = 0
    outcome: Outcome = Outcome.RUNNING
    score: float | None = None  # Optuna's own value
    error: str | None = None
    results: list[EpochResult] = field(default_factory=list)  # in the order of their epochs
    worker: Worker | None = None  # of the last result
    run_id: str | None = None  # of its MLflow run
    provenance: dict[str, str] = field(default_factory=dict)  # tags: data digest, versions, commit
    design: dict[str, Any] = field(default_factory=dict)  # which configuration and repetition it is, if it is one

    @property
    def name(self) -> str:
        return f"{self.architecture}-{self.number}"

    @property
    def config(self) -> dict[str, Any]:
        """The flat config that the trainable gets."""
        return {
            record.ARCHITECTURE: self.architecture,
            record.NUMBER: self.number,
            record.SEED: self.seed,
            **self.hyperparameters,
        }

    @property
    def params(self) -> dict[str, Any]:
        """The parameters of its MLflow run."""
        named = {record.ARCHITECTURE: self.architecture, record.SEED: self.seed}
        return named | self.design | self.hyperparameters

    def keep_run_id(self, run_id: str) -> None:
        self.run_id = run_id
        try:
            self.study_trial.set_user_attr(RUN_ID, run_id)
        except optuna.exceptions.UpdateFinishedTrialError:  # MLflow was away while it ran, or has lost its run
            self.study_trial.study.set_user_attr(f"{RUN_ID}-{self.number}", run_id)

    def keep_provenance(self, tags: dict[str, str]) -> None:
        self.provenance = tags
        self.study_trial.set_user_attr(PROVENANCE, tags)

    def keep_solved(self, hyperparameters: dict[str, Any]) -> None:
        self.hyperparameters = self.hyperparameters | hyperparameters
        self.study_trial.set_user_attr(SOLVED, hyperparameters)

    def keep_attempt(self) -> None:
        """Another process starts on it."""
        self.attempt += 1
        self.study_trial.set_user_attr(ATTEMPT, self.attempt)

    def keep_result(self, result: EpochResult, worker: Worker) -> None:
        self.results.append(result)
        self.worker = worker
        self.study_trial.set_user_attr(f"{RESULT}{result.epoch}", result.to_dict())
        self.study_trial.set_user_attr(WORKER, [worker.node, worker.pid])

    def keep_outcome(self, outcome: Outcome, error: str | None) -> None:
        self.outcome, self.error = outcome, error
        if outcome is not Outcome.INTERRUPTED:
            self.study_trial.set_user_attr(OUTCOME, outcome.value)
            self.study_trial.set_user_attr(ERROR, error)
