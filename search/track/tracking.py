"""The only MLflow writer: one experiment for a search's name, a parent run for a search, a child run for each trial.

It runs in the driver and makes one batched call a report.
"""

import io
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.entities import Metric, Param, RunTag

from data.base.errors import UserError
from data.encoded import EncodedCorpus
from data.inspecting.findings import Inspection
from models import architecture
from search.base import inspected, record
from search.base.record import Outcome
from search.spec.read import SPEC_FILE, dump
from search.study.studies import Studies
from search.study.trial import Trial
from search.track.client import first_line, open_client, unusable
from search.train import checkpoints
from search.train.config import length_of
from search.train.metrics import declaration
from search.train.tasks import TASKS
from search.train.training import Result

#: The status of a run in MLflow, by how its trial or search ended.
STATUS = {
    Outcome.COMPLETE: "FINISHED",
    Outcome.PRUNED: "KILLED",
    Outcome.DIVERGED: "FAILED",
    Outcome.FAILED: "FAILED",
    Outcome.INTERRUPTED: "KILLED",
}


RETRY_SECONDS = 10.0


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass
class _Known:
    """What MLflow holds of a trial's run."""

    epochs: float
    outcome: str
    attempt: int
    status: str


@dataclass(frozen=True)
class Run:
    """What MLflow holds of a trial, as far as the study must agree with it."""

    run_id: str
    trial: str
    status: str
    outcome: str
    ended_by: str | None
    params: dict[str, str]
    epochs: float
    best: dict[str, float]


def read_runs(uri: str, search: str) -> tuple[str | None, list[Run]]:
    """The outcome of the search's own run, None without one, and the runs of its trials. Writes nothing.

    Raises UserError when MLflow cannot be used.
    """
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        return None, []  # MLflow would create it
    found: list[Any] = []
    try:
        client = open_client(uri)
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        token = None
        while token != "":
            page = client.search_runs(experiments, f"tags.`{record.SEARCH}` = '{search}'", page_token=token)
            found += page
            token = page.token or ""
    except Exception as error:
        raise unusable(uri, error) from error
    parent = [run for run in found if run.data.tags.get(record.KIND) == record.KIND_SEARCH]
    outcome = parent[0].data.tags.get(record.OUTCOME, "") if parent else None
    kinds = (record.KIND_SEARCH, record.KIND_ENSEMBLE)
    return outcome, [_read_run(run) for run in found if run.data.tags.get(record.KIND) not in kinds]


def _read_run(run: Any) -> Run:
    tags, metrics = run.data.tags, run.data.metrics
    return Run(
        run_id=run.info.run_id,
        trial=tags.get(record.TRIAL, ""),
        status=run.info.status,
        outcome=tags.get(record.OUTCOME, ""),
        ended_by=tags.get(record.ENDED_BY),
        params=run.data.params,
        epochs=metrics.get(record.EPOCHS_RUN, 0.0),
        best=record.of_best_epoch(metrics),
    )


class Tracker:
    """Makes MLflow say what the studies know. Listens to them; after each event the trial's run is brought up to date.

    The studies keep everything a run is made of, so they are the spool when MLflow cannot be written: training goes
    on, the user is warned once, and what is missing is delivered, in order, when MLflow is back or by a later `sync`.

    uri: an MLflow tracking URI. warn: is given a line for the user. new: the search must not be there yet, else
    FileExistsError.
    Raises UserError when MLflow cannot be used at the start.
    """

    def __init__(
        self,
        uri: str,
        studies: Studies,
        warn: Callable[[str], None] = print,
        new: bool = False,
    ) -> None:
        self._studies, self._search, self._spec, self._warn = studies, studies.search, studies.spec, warn
        self.provenance: dict[str, str] = {}  # tags of the search's own run
        self._counts: list[Metric] = []  # of its data, where they could not be written
        self._files: dict[str, str] = {}  # what is found out about its texts, likewise
        self._known: dict[str, _Known] = {}
        self._pending: dict[str, Trial] = {}
        self._retry_at = 0.0
        try:
            self._client = open_client(uri)
            self._experiment_id = self._open_experiment(uri, self._spec.name)
            self._look_first, self.run_id = self._open_parent()
        except Exception as error:  # a driver that is missing, a server that is away, a disk that is full, ...
            raise unusable(uri, error) from error
        if new and self._look_first:
            raise FileExistsError(f"there is a search {self._search} in MLflow")

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

    def _open_parent(self) -> tuple[bool, str]:
        """The search's own run: whether it was there already, and its id."""
        found = self._client.search_runs(
            [self._experiment_id],
            f"tags.`{record.SEARCH}` = '{self._search}' and tags.`{record.KIND}` = '{record.KIND_SEARCH}'",
        )
        if found:
            if not found[0].data.params:  # its driver died at the next line but one
                self._write_spec(found[0].info.run_id)
            return True, found[0].info.run_id
        tags = {
            record.KIND: record.KIND_SEARCH,
            record.SEARCH: self._search,
            record.METRIC: self._spec.metric,
            record.OUTCOME: Outcome.RUNNING.value,
            record.FOLDER: str(self._studies.folder.absolute()),
            **({record.METRICS: declaration(self._spec.metrics)} if self._spec.metrics else {}),
            **({record.CONFIRMS: self._spec.confirms} if self._spec.confirms else {}),
            **({record.SIZES_OF: self._spec.sizes_of} if self._spec.sizes_of else {}),
        }
        run_id: str = self._client.create_run(self._experiment_id, tags=tags, run_name=self._search).info.run_id
        self._write_spec(run_id)
        return False, run_id

    def _write_spec(self, run_id: str) -> None:
        spec = self._spec.model_copy(update={"storage": None})  # an Optuna storage URL may hold a password
        self._client.log_text(run_id, dump(spec), SPEC_FILE)
        self._client.log_text(run_id, spec.model_dump_json(), record.SPEC)
        self._client.log_batch(run_id, params=[Param(k, str(v)) for k, v in spec.short().items()])

    def describe(self, corpus: EncodedCorpus, tags: dict[str, str], inspection: Inspection | None = None) -> None:
        """Record on the search's run, which is running now, what its trials learn from, and their provenance.

        inspection: what is found out about its texts, where that is not on record yet.
        """
        counts = {f"num_{split}": float(len(getattr(corpus, split).labels_N)) for split in record.SPLITS} | {
            "num_classes": float(len(corpus.classes)),
            "num_words": float(len(corpus.vocabulary)),
        }
        if corpus.label_separator is None:
            shares_C = np.bincount(corpus.test.labels_N, minlength=len(corpus.classes)) / max(1, len(corpus.test))
            counts[record.MAJORITY_SHARE] = float(shares_C.max())
            tags = tags | {record.MAJORITY: corpus.classes[shares_C.argmax()]}
            tags |= {record.POSITIVE_CLASS: corpus.classes[1]} if len(corpus.classes) == 2 else {}
        self.provenance = tags
        self._counts = [Metric(k, v, now_ms(), 0) for k, v in counts.items()]
        if inspection and self._spec.texts != "all":
            inspection = inspection.without_texts()
        if inspection:
            lines = "".join(f"{line}\n" for line in inspected.lines(inspection))
            self._files = {inspected.FILE: lines, inspected.RECORD: inspection.to_json()}
        started = time.monotonic()
        try:
            self._client.update_run(self.run_id, status="RUNNING")
            self._log(self.run_id, self._counts, tags=tags | {record.OUTCOME: Outcome.RUNNING.value})
            self._counts = []
            self._log_files()
        except (mlflow.MlflowException, OSError) as error:  # OSError: its artifacts' disk or server
            self._failed(error, time.monotonic() - started)

    def _log_files(self) -> None:
        for name in list(self._files):
            self._client.log_text(self.run_id, self._files[name], name)
            del self._files[name]

    def changed(self, trial: Trial, result: Result | None) -> None:
        """A trial started, reported or ended."""
        self._pending[trial.name] = trial
        if time.monotonic() >= self._retry_at:
            self.deliver()

    def deliver(self, every: bool = False) -> bool:
        """Bring the runs that wait up to date; whether it worked. After a failure the next attempt waits a while.

        every: try every run, even after one could not be written, unless MLflow hangs.
        """
        complete = True
        for name in list(self._pending):
            started = time.monotonic()
            try:
                self.sync(self._pending[name])
            except BaseException as error:
                # An answer may have been lost after MLflow had written: look before writing again.
                self._known.pop(name, None)
                self._look_first = True
                self._pending[name] = self._pending.pop(name)  # the others first, next time
                if not isinstance(error, mlflow.MlflowException | OSError):  # OSError: its artifacts' disk or server
                    raise
                seconds = time.monotonic() - started
                self._failed(error, seconds)
                complete = False
                if not every or seconds > 1:
                    return False
            else:
                del self._pending[name]
        if not complete:
            return False
        if self._retry_at:
            self._warn("MLflow is back; what was missing has been delivered.")
            self._retry_at = 0.0
        return True

    def _failed(self, error: Exception, seconds: float) -> None:
        if not self._retry_at:
            self._warn(
                f"MLflow cannot be written ({first_line(error)}). The search goes on; its folder keeps what is "
                "missing, to be delivered when MLflow is back."
            )
        # A server that hangs holds up the driver, and so the workers: for a tenth of the time at most.
        self._retry_at = time.monotonic() + max(RETRY_SECONDS, 10 * seconds)

    def sync(self, trial: Trial) -> bool:
        """Make a trial's run say what its study knows; True when something was missing or different."""
        params: dict[str, Any] = {}
        exact: dict[str, str] = {}
        run_id = trial.run_id or self._find_run(trial)
        known = self._known.get(trial.name) or self._read(run_id)
        if run_id is None or known is None:
            known = _Known(epochs=0, outcome=Outcome.RUNNING, attempt=0, status="RUNNING")
            run_id = self._create_run(trial)
        if run_id != trial.run_id:
            self._studies.keep_run_id(trial, run_id)
        if known.attempt == 0:
            params = trial.params
            exact = {record.HYPERPARAMETERS: json.dumps(trial.hyperparameters)}
        per_epoch = length_of(trial.architecture, self._spec.length).reports_per_epoch
        new = [result for result in trial.results if result.step / per_epoch > known.epochs]
        status = "RUNNING" if trial.outcome is Outcome.RUNNING else STATUS[trial.outcome]
        epochs = trial.epochs if new else known.epochs
        wanted = _Known(epochs, trial.outcome.value, max(trial.attempt, 1), status)
        if wanted == known:
            self._known[trial.name] = known
            return False
        tags = {record.OUTCOME: wanted.outcome, record.ATTEMPT: str(wanted.attempt)} | exact
        if trial.error:
            tags[record.ERROR] = trial.error
        if trial.ended_by:
            tags[record.ENDED_BY] = trial.ended_by
        if trial.worker:
            tags |= {record.NODE: trial.worker.node, record.WORKER: str(trial.worker.pid)}
        if TASKS[architecture(trial.architecture).task].has_pictures:
            self._log_pictures(run_id, trial, [result.step for result in new])  # before the reports count as written
        self._log(run_id, [point for result in new for point in _points(result, per_epoch)], params=params, tags=tags)
        if trial.outcome is Outcome.COMPLETE:
            for name in (record.PREDICTIONS, record.RELIABILITY):
                text = checkpoints.load_text(checkpoints.folder_of(trial.folder, trial.name), name)
                if text is not None:
                    self._client.log_text(run_id, text, name)
        if status != known.status:
            if status == "RUNNING":
                self._client.update_run(run_id, status=status)
            else:
                self._client.set_terminated(run_id, status=status)
        self._known[trial.name] = wanted
        return True

    def _log_pictures(self, run_id: str, trial: Trial, steps: Sequence[int]) -> None:
        from PIL import Image

        folder = checkpoints.folder_of(trial.folder, trial.name)
        there = {each.path for each in self._client.list_artifacts(run_id, "images")} if self._look_first else set()
        for step in steps:
            picture = checkpoints.load_file(folder, record.picture(step))
            # The last that MLflow writes of an image is the small one.
            logged = any(f"+step+{step}+" in path and path.endswith(".webp") for path in there)
            if picture is not None and not logged:
                with Image.open(io.BytesIO(picture)) as image:
                    self._client.log_image(run_id, image, key=record.PICTURE, step=step)

    def _find_run(self, trial: Trial) -> str | None:
        """The run of a trial whose driver died between creating it and noting its id."""
        if not self._look_first:
            return None
        found = self._client.search_runs(
            [self._experiment_id],
            f"tags.`{record.SEARCH}` = '{self._search}' and tags.`{record.TRIAL}` = '{trial.name}'",
        )
        return found[0].info.run_id if found else None

    def _create_run(self, trial: Trial) -> str:
        tags = {
            record.KIND: record.KIND_TRIAL,
            record.SEARCH: self._search,
            record.TRIAL: trial.name,
            record.NUMBER: str(trial.number),
            record.PARENT_RUN_ID: self.run_id,
            **trial.provenance,
            **({record.BASELINE: record.IS_BASELINE} if trial.architecture in self._spec.baselines else {}),
        }
        run_id: str = self._client.create_run(self._experiment_id, tags=tags, run_name=trial.name).info.run_id
        return run_id

    def _read(self, run_id: str | None) -> _Known | None:
        """What MLflow holds of a run, which is restored if somebody has deleted it; None if there is none."""
        if run_id is None:
            return None
        try:
            run = self._client.get_run(run_id)
        except mlflow.MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        if run.info.lifecycle_stage == "deleted":
            self._client.restore_run(run_id)
        data = run.data
        return _Known(
            epochs=data.metrics.get(record.EPOCHS_RUN, 0.0),
            outcome=data.tags.get(record.OUTCOME, Outcome.RUNNING),
            attempt=int(data.tags.get(record.ATTEMPT, 0)),
            status=run.info.status,
        )

    def drop(self, run_id: str) -> None:
        """Delete a run that belongs to no trial; `mlflow` can restore it. Raises UserError if it cannot."""
        try:
            self._client.set_terminated(run_id, status=STATUS[Outcome.FAILED])
            self._client.delete_run(run_id)
        except mlflow.MlflowException as error:
            raise UserError(f"MLflow cannot be written: {first_line(error)}") from error

    def close(self, outcome: Outcome) -> bool:
        """Deliver what waits and end the search's own run; whether MLflow has everything."""
        complete = self.deliver(every=True)
        try:
            self._log(self.run_id, self._counts, tags=self.provenance | {record.OUTCOME: outcome.value})
            self._log_files()
            self._client.set_terminated(self.run_id, status=STATUS[outcome])
        except (mlflow.MlflowException, OSError):
            return False
        return complete

    def _log(
        self,
        run_id: str,
        points: Sequence[Metric] = (),
        *,
        params: dict[str, Any] | None = None,
        tags: dict[str, str] | None = None,
    ) -> None:
        """One batched call, which MLflow divides where there is too much for one of its batches."""
        self._client.log_batch(
            run_id,
            metrics=points,
            params=[Param(key, str(value)) for key, value in (params or {}).items()],
            tags=[RunTag(key, value) for key, value in (tags or {}).items()],
        )


def _points(result: Result, reports_per_epoch: int) -> list[Metric]:
    """A report's metrics at its step, the curve's at their iterations."""
    timestamp = now_ms()
    points = []
    for iteration, loss, accuracy in result.curve:
        points.append(Metric(record.CURVE_LOSS, loss, timestamp, iteration))
        points.append(Metric(record.CURVE_ACCURACY, accuracy, timestamp, iteration))
    by_step = (
        result.metrics
        | {record.best(name): value for name, value in result.best.items()}
        | {
            record.BEST_EPOCH: result.best_step / reports_per_epoch,
            record.TRIAL_SECONDS: result.seconds,
            # The last of all: where it stands, MLflow has the report.
            record.EPOCHS_RUN: result.step / reports_per_epoch,
        }
    )
    return points + [Metric(name, value, timestamp, result.step) for name, value in by_step.items()]
