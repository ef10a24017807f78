"""The only MLflow writer: one experiment for a search's name, a parent run for a search, a child run for each trial.

It runs in the driver and makes one batched call a report.
"""

import importlib.metadata
import platform
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Metric, Param, RunStatus, RunTag

from data.encode import EncodedCorpus
from search import record
from search.record import Outcome
from search.spec import Spec, dump
from search.studies import LiveTrial, Worker
from search.training import EpochResult

MAX_METRICS, MAX_PARAMS = 1000, 100  # of one MLflow batch
LIBRARIES = ("torch", "ray", "optuna", "mlflow", "torchtext", "torchmetrics", "numpy", "pandas")

_STATUS = {
    Outcome.COMPLETE: RunStatus.FINISHED,
    Outcome.PRUNED: RunStatus.KILLED,
    Outcome.DIVERGED: RunStatus.FAILED,
    Outcome.FAILED: RunStatus.FAILED,
    Outcome.INTERRUPTED: RunStatus.KILLED,
}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def git_commit() -> str | None:
    """The commit of this checkout, with '-dirty' when it has changes; None outside a repository."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()


def versions() -> dict[str, str]:
    """Tags with the versions that a result depends on."""
    tags = {name: importlib.metadata.version(name) for name in LIBRARIES} | {"python": platform.python_version()}
    return {record.VERSION_PREFIX + name: version for name, version in tags.items()}


class Tracker:
    """Records one search. Listens to its studies; each trial's run id is kept in its Optuna trial.

    uri: an MLflow tracking URI. search: the search's id. folder: where the search keeps its files.
    """

    def __init__(self, uri: str, search: str, spec: Spec, folder: Path) -> None:
        self._client = mlflow.MlflowClient(tracking_uri=uri)
        self._search, self._spec = search, spec
        self._experiment_id = self._open_experiment(uri, spec.name)
        self._common_tags: dict[str, str] = {}
        self.run_id = self._open_parent(folder)

    def _open_experiment(self, uri: str, name: str) -> str:
        experiment = self._client.get_experiment_by_name(name)
        if experiment is not None:
            return experiment.experiment_id
        # A server decides by itself where artifacts go; MLflow's default for a local database is ./mlruns, which
        # makes later MLflow commands in this directory take it for a file store.
        location = None if uri.startswith("http") else (Path.cwd() / "mlartifacts").as_uri()
        try:
            # The kind decides which views MLflow's UI opens with: this is no GenAI experiment.
            kind = {"mlflow.experimentKind": "custom_model_development"}
            return self._client.create_experiment(name, artifact_location=location, tags=kind)
        except mlflow.MlflowException:  # another search has just created it
            experiment = self._client.get_experiment_by_name(name)
            if experiment is None:
                raise
            return experiment.experiment_id

    def _open_parent(self, folder: Path) -> str:
        """The search's own run: the one it has, reopened, or a new one."""
        found = self._client.search_runs(
            [self._experiment_id],
            f"tags.`{record.SEARCH}` = '{self._search}' and tags.`{record.KIND}` = '{record.KIND_SEARCH}'",
        )
        if found:
            self._client.update_run(found[0].info.run_id, status="RUNNING")
            return found[0].info.run_id
        tags = {
            record.KIND: record.KIND_SEARCH,
            record.SEARCH: self._search,
            record.METRIC: self._spec.metric,
            record.OUTCOME: Outcome.RUNNING.value,
            record.FOLDER: str(folder.absolute()),
        }
        run = self._client.create_run(self._experiment_id, tags=tags, run_name=self._search)
        run_id: str = run.info.run_id
        self._client.log_text(run_id, dump(self._spec), "spec.yaml")
        flat = {k: v for k, v in self._spec.model_dump(mode="json").items() if k not in ("space", "storage")}
        self._client.log_batch(run_id, params=[Param(k, str(v)) for k, v in flat.items()])
        return run_id

    def describe_corpus(self, corpus: EncodedCorpus) -> None:
        """Record what the trials learn from, and with which code; call before the first trial starts."""
        self._common_tags = {record.DATA_DIGEST: corpus.digest, **versions()}
        if commit := git_commit():
            self._common_tags[record.GIT_COMMIT] = commit
        counts = {f"num_{split}": float(len(getattr(corpus, split).labels_N)) for split in record.SPLITS} | {
            "num_classes": float(len(corpus.classes)),
            "num_words": float(len(corpus.vocabulary)),
        }
        self._log(self.run_id, [Metric(k, v, now_ms(), 0) for k, v in counts.items()], tags=self._common_tags)

    def started(self, trial: LiveTrial) -> None:
        tags = {
            record.KIND: record.KIND_TRIAL,
            record.SEARCH: self._search,
            record.TRIAL: trial.name,
            record.NUMBER: str(trial.number),
            record.OUTCOME: Outcome.RUNNING.value,
            record.ATTEMPT: str(trial.attempt),
            record.PARENT_RUN_ID: self.run_id,
            **self._common_tags,
        }
        if trial.run_id is None:
            run = self._client.create_run(self._experiment_id, tags=tags, run_name=trial.name)
            trial.run_id = run.info.run_id
            params = {record.ARCHITECTURE: trial.architecture, record.SEED: trial.seed, **trial.hyperparameters}
            self._log(run.info.run_id, params=params)
        else:
            self._client.update_run(trial.run_id, status="RUNNING")
            self._log(trial.run_id, tags=tags)

    def reported(self, trial: LiveTrial, result: EpochResult, worker: Worker) -> None:
        timestamp = now_ms()
        by_epoch = (
            result.metrics
            | {record.best(name): value for name, value in result.best.items()}
            | {
                record.BEST_EPOCH: result.best_epoch,
                record.EPOCHS_RUN: result.epoch,
                record.TRIAL_SECONDS: result.seconds,
            }
        )
        points = [Metric(name, value, timestamp, result.epoch) for name, value in by_epoch.items()]
        for iteration, loss, accuracy in result.curve:
            points.append(Metric(record.CURVE_LOSS, loss, timestamp, iteration))
            points.append(Metric(record.CURVE_ACCURACY, accuracy, timestamp, iteration))
        assert trial.run_id is not None
        self._log(trial.run_id, points, tags={record.NODE: worker.node, record.WORKER: str(worker.pid)})

    def finished(self, trial: LiveTrial, outcome: Outcome, error: str | None) -> None:
        tags = {record.OUTCOME: outcome.value} | ({record.ERROR: error} if error else {})
        assert trial.run_id is not None
        self._log(trial.run_id, tags=tags)
        self._client.set_terminated(trial.run_id, status=RunStatus.to_string(_STATUS[outcome]))

    def close(self, outcome: Outcome) -> None:
        """End the search's own run."""
        self._log(self.run_id, tags={record.OUTCOME: outcome.value})
        self._client.set_terminated(self.run_id, status=RunStatus.to_string(_STATUS[outcome]))

    def _log(
        self,
        run_id: str,
        points: Sequence[Metric] = (),
        *,
        params: dict[str, Any] | None = None,
        tags: dict[str, str] | None = None,
    ) -> None:
        """One batched call, or as many as MLflow's limits ask for."""
        written = [Param(k, str(v)) for k, v in (params or {}).items()]
        assert len(written) <= MAX_PARAMS, "a trial has far fewer hyperparameters"
        self._client.log_batch(
            run_id,
            metrics=points[:MAX_METRICS],
            params=written,
            tags=[RunTag(k, v) for k, v in (tags or {}).items()],
        )
        for start in range(MAX_METRICS, len(points), MAX_METRICS):
            self._client.log_batch(run_id, metrics=points[start : start + MAX_METRICS])
