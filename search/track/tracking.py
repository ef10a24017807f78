"""Writes searches to MLflow: an experiment per search name, a parent run per search, a child run per trial.

It runs in the driver. One batched call writes all reports of a trial since the last one.
"""

import contextlib
import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import mlflow

from data.base.errors import UserError
from data.encoded import EncodedCorpus
from data.inspecting.findings import Inspection
from models import architecture
from search.base import schema, timings
from search.base.schema import Outcome
from search.study.studies import Studies
from search.study.trial import Trial
from search.track.client import first_line, open_client, unusable
from search.track.entities import STATUS, log, points
from search.track.own_run import OwnRun
from search.train import checkpoints
from search.train.config import length_of
from search.train.tasks import TASKS
from search.train.training import Result

RETRY_SECONDS = 10.0
DELIVERY_SECONDS = 1.0  # the interval while trials run, so that few workers wait until their report is in MLflow


@dataclass
class _Known:
    """The state of a trial's run in MLflow."""

    epochs: float
    outcome: str
    attempt: int
    status: str
    provenance: dict[str, str]
    parent: str | None
    end: int | None


class Tracker:
    """Listens to the studies and brings the runs of trials up to date after their events.

    The studies hold everything that is written to a run, so nothing is lost while MLflow is unavailable: training
    continues, the user is warned once, and missing data is delivered in order when MLflow is back, or by a later
    `sync`.

    uri: an MLflow tracking URI. warn: callback for user-facing warnings. new: raise FileExistsError if the search is in
    MLflow already. interval: seconds between deliveries of reports, which `deliver_due` makes; starts and ends are
    written as they happen. If it is 0, so are reports. Raises UserError when MLflow cannot be used at the start.
    """

    def __init__(
        self,
        uri: str,
        studies: Studies,
        warn: Callable[[str], None] = print,
        new: bool = False,
        interval: float = 0.0,
    ) -> None:
        self._studies, self._search, self._spec, self._warn = studies, studies.search, studies.spec, warn
        self._known: dict[str, _Known] = {}
        self._pending: dict[str, Trial] = {}
        self._interval, self._due = interval, 0.0
        self._retry_at = 0.0
        try:
            self._client = open_client(uri)
            self.own = OwnRun(self._client, uri, studies)
        except UserError:
            raise
        except Exception as error:  # a missing database driver, an unreachable server, a full disk, ...
            raise unusable(uri, error) from error
        self._look_first = self.own.found
        if new and self.own.found:
            raise FileExistsError(f"there is a search {self._search} in MLflow")
        timings.note(timings.Event.MLFLOW)

    @property
    def run_id(self) -> str:
        """The id of the search's run."""
        return self.own.run_id

    def describe(self, corpus: EncodedCorpus, tags: dict[str, str], inspection: Inspection | None = None) -> None:
        """Mark the search's run as running, and record its data there (see `OwnRun.describe`)."""
        self.own.describe(corpus, tags, inspection)
        started = time.monotonic()
        try:
            self.own.deliver()
        except (mlflow.MlflowException, OSError) as error:  # OSError: from the storage of artifacts
            self._failed(error, time.monotonic() - started)

    def changed(self, trial: Trial, result: Result | None) -> None:
        """A trial started, reported or ended."""
        self._pending[trial.name] = trial
        if (result is None or not self._interval) and time.monotonic() >= self._retry_at:
            self.deliver()

    def deliver_due(self) -> None:
        """Bring pending runs up to date, unless the last delivery was less than the interval ago."""
        if self._pending and time.monotonic() >= max(self._due, self._retry_at):
            self.deliver()

    def deliver(self, every: bool = False) -> bool:
        """Bring pending runs up to date; returns whether that worked. After a failure the next attempt is delayed.

        every: try all runs even if one fails, unless MLflow hangs.
        """
        complete = True
        for name in list(self._pending):
            started = time.monotonic()
            try:
                self.sync(self._pending[name])
            except BaseException as error:
                # MLflow may have stored the data before the connection failed: read the run before writing again.
                self._known.pop(name, None)
                self._look_first = True
                self._pending[name] = self._pending.pop(name)  # try the others first next time
                if not isinstance(error, mlflow.MlflowException | OSError):
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
            self._warn("MLflow is back; the missing data has been delivered.")
            self._retry_at = 0.0
        self._due = time.monotonic() + self._interval
        return True

    def _failed(self, error: Exception, seconds: float) -> None:
        if not self._retry_at:
            self._warn(
                f"MLflow cannot be written ({first_line(error)}). The search continues; its folder keeps the missing "
                "data, which is delivered when MLflow is back."
            )
        # A hanging server blocks the driver, and so the workers; this limits that to a tenth of the time.
        self._retry_at = time.monotonic() + max(RETRY_SECONDS, 10 * seconds)

    def sync(self, trial: Trial) -> bool:
        """Bring a trial's run up to date with its study; returns whether anything had to be written."""
        params: dict[str, Any] = {}
        exact: dict[str, str] = {}
        run_id = trial.run_id
        # A trial that a resume takes over may lack the id of its run.
        known = (self._known.get(trial.name) if run_id else None) or self._read(run_id)
        if known is None and (self._look_first or run_id):
            # The driver died between creating the run and storing its id, or the id belongs to another database.
            run_id = self._find_run(trial)
            known = self._read(run_id)
        if run_id is None or known is None:
            known = _Known(
                epochs=0,
                outcome=Outcome.RUNNING,
                attempt=0,
                status="RUNNING",
                provenance=trial.provenance,
                parent=self.own.run_id,
                end=None,
            )
            run_id = self._create_run(trial)
        if run_id != trial.run_id:
            self._studies.keep_run_id(trial, run_id)
        if known.attempt == 0:
            params = trial.params
            exact = {schema.HYPERPARAMETERS: json.dumps(trial.hyperparameters)}
        per_epoch = length_of(trial.architecture, self._spec.length).reports_per_epoch
        new = [result for result in trial.results if result.step / per_epoch > known.epochs]
        status = "RUNNING" if trial.outcome is Outcome.RUNNING else STATUS[trial.outcome]
        epochs = trial.epochs if new else known.epochs
        wanted = _Known(
            epochs,
            trial.outcome.value,
            max(trial.attempt, 1),
            status,
            trial.provenance,
            self.own.run_id,
            known.end if status == "RUNNING" or not trial.timed else trial.last_event,
        )
        if wanted == known:
            self._known[trial.name] = known
            return False
        tags = {schema.OUTCOME: wanted.outcome, schema.ATTEMPT: str(wanted.attempt)} | exact
        if wanted.provenance != known.provenance:
            tags |= trial.provenance
        if known.parent != wanted.parent:
            tags[schema.PARENT_RUN_ID] = self.own.run_id
        if trial.error:
            tags[schema.ERROR] = trial.error
        if trial.ended_by:
            tags[schema.ENDED_BY] = trial.ended_by
        if trial.worker:
            tags |= {schema.NODE: trial.worker.node, schema.WORKER: str(trial.worker.pid)}
        if TASKS[architecture(trial.architecture).task].has_pictures:
            self._log_pictures(run_id, trial, new)  # before the reports count as written
        reported = [point for result in new for point in points(result, per_epoch, trial.started)]
        if params:  # the run is new
            self.own.log_dataset(run_id)
        log(self._client, run_id, reported, params=params, tags=tags)
        if trial.outcome is Outcome.COMPLETE:
            for name in (schema.PREDICTIONS, schema.RELIABILITY):
                text = checkpoints.load_text(checkpoints.folder_of(trial.folder, trial.name), name)
                if text is not None:
                    self._client.log_text(run_id, text, name)
        if status == "RUNNING" and known.status != status:
            self._client.update_run(run_id, status=status)
        elif (status, wanted.end) != (known.status, known.end):
            self._client.set_terminated(run_id, status=status, end_time=trial.last_event)
        self._known[trial.name] = wanted
        return True

    def _log_pictures(self, run_id: str, trial: Trial, results: Sequence[Result]) -> None:
        from PIL import Image

        folder = checkpoints.folder_of(trial.folder, trial.name)
        there = {each.path for each in self._client.list_artifacts(run_id, "images")} if self._look_first else set()
        for step, time_ms in ((result.step, result.time) for result in results):
            picture = checkpoints.load_file(folder, schema.picture(step))
            # MLflow writes the thumbnail of an image last.
            logged = any(f"+step+{step}+" in path and path.endswith(".webp") for path in there)
            if picture is not None and not logged:
                with Image.open(io.BytesIO(picture)) as image:
                    self._client.log_image(run_id, image, key=schema.PICTURE, step=step, timestamp=time_ms)

    def _find_run(self, trial: Trial) -> str | None:
        """The id of a trial's run, found by the trial's name."""
        found = self._client.search_runs(
            [self.own.experiment_id],
            f"tags.`{schema.SEARCH}` = '{self._search}' and tags.`{schema.TRIAL}` = '{trial.name}'",
        )
        return found[0].info.run_id if found else None

    def _create_run(self, trial: Trial) -> str:
        tags = {
            schema.KIND: schema.KIND_TRIAL,
            schema.SEARCH: self._search,
            schema.TRIAL: trial.name,
            schema.NUMBER: str(trial.number),
            schema.PARENT_RUN_ID: self.own.run_id,
            **trial.provenance,
            **({schema.BASELINE: schema.IS_BASELINE} if trial.architecture in self._spec.baselines else {}),
        }
        run_id: str = self._client.create_run(
            self.own.experiment_id, start_time=trial.started, tags=tags, run_name=trial.name
        ).info.run_id
        return run_id

    def _read(self, run_id: str | None) -> _Known | None:
        """The state of a run, which is restored if it was deleted; None if there is no such run."""
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
            epochs=data.metrics.get(schema.EPOCHS_RUN, 0.0),
            outcome=data.tags.get(schema.OUTCOME, Outcome.RUNNING),
            attempt=int(data.tags.get(schema.ATTEMPT, 0)),
            status=run.info.status,
            provenance={name: tag for name, tag in data.tags.items() if name.startswith(schema.PROVENANCE)},
            parent=data.tags.get(schema.PARENT_RUN_ID),
            end=run.info.end_time,
        )

    def drop(self, run_id: str) -> None:
        """Delete a run that belongs to no trial; `mlflow` can restore it. Raises UserError if this fails."""
        with self._written():
            self._client.set_terminated(run_id, status=STATUS[Outcome.FAILED])
            self._client.delete_run(run_id)

    def adopt(self, run_id: str) -> None:
        """Make a run a child of the search's run. Raises UserError if this fails."""
        with self._written():
            self._client.set_tag(run_id, schema.PARENT_RUN_ID, self.own.run_id)

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except mlflow.MlflowException as error:
            raise UserError(f"MLflow cannot be written: {first_line(error)}") from error

    def close(self, outcome: Outcome) -> bool:
        """Deliver pending data and end the search's run; returns whether MLflow has everything."""
        complete = self.deliver(every=True)
        try:
            self.own.close(outcome)
        except (mlflow.MlflowException, OSError):
            return False
        return complete
