"""Reads the records in MLflow that must agree with the studies of a search. Writes nothing."""

import contextlib
import io
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
from mlflow.entities import LifecycleStage, ViewType

from data.base.errors import UserError
from search.base import mlflow_uri, schema
from search.spec import read as specs
from search.track.client import experiment_ids, open_client, unusable


@dataclass(frozen=True)
class Run:
    """A trial as recorded in MLflow. Times are in ms since 1970; `times` are those of the reports, by step."""

    run_id: str
    trial: str
    status: str
    outcome: str
    ended_by: str | None
    params: dict[str, str]
    epochs: float
    best: dict[str, float]
    parent: str | None
    start: int | None
    end: int | None
    times: dict[int, int]


@dataclass(frozen=True)
class Own:
    """The run of a search itself. spec: as recorded, or None if it cannot be read. behind_server: whether its files can
    only be read through a tracking server, while MLflow is used without one."""

    run_id: str
    deleted: bool
    outcome: str
    tags: dict[str, str]
    start: int | None
    spec: dict[str, Any] | None
    behind_server: bool = False


@dataclass(frozen=True)
class Recorded:
    """The records of a search. own: the runs of the search itself, deleted ones last. runs: of its trials. others: ids
    and parents of further runs, such as those of ensembles."""

    own: list[Own] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    others: dict[str, str | None] = field(default_factory=dict)

    @property
    def outcome(self) -> str | None:
        """The outcome in the search's own run; None without a run."""
        return self.own[0].outcome if self.own and not self.own[0].deleted else None


def read_runs(uri: str, search: str, *, details: bool = False) -> Recorded:
    """The records of a search. details: include the times of all reports, and the spec.

    Raises UserError when MLflow cannot be used.
    """
    if (database := mlflow_uri.sqlite_file(uri)) and not database.exists():
        return Recorded()  # MLflow would create the database
    try:
        client = open_client(uri)
        found = find_own(client, search)
        if found and details:
            require_experiment(client.get_experiment(found[0].info.experiment_id), uri)
        own = [_read_own(client, run, details) for run in found]
        kinds, runs, others = (schema.KIND_SEARCH, schema.KIND_ENSEMBLE), [], {}
        for run in _search_runs(client, f"tags.`{schema.SEARCH}` = '{search}'"):
            if run.data.tags.get(schema.KIND) not in kinds:
                runs.append(_read_run(client, run, details))
            elif run.data.tags[schema.KIND] != schema.KIND_SEARCH:
                others[run.info.run_id] = run.data.tags.get(schema.PARENT_RUN_ID)
    except UserError:
        raise
    except Exception as error:
        raise unusable(uri, error) from error
    return Recorded(own, runs, others)


def find_own(client: mlflow.MlflowClient, search: str) -> list[Any]:
    """The search's own runs in any experiment, oldest first, deleted ones last."""
    where = f"tags.`{schema.SEARCH}` = '{search}' and tags.`{schema.KIND}` = '{schema.KIND_SEARCH}'"
    found = _search_runs(client, where, ViewType.ALL)
    return sorted(found, key=lambda run: (run.info.lifecycle_stage == LifecycleStage.DELETED, run.info.start_time))


def require_experiment(experiment: Any, uri: str) -> None:
    """Raises UserError, with the command to restore it, if the experiment was deleted."""
    if experiment.lifecycle_stage == LifecycleStage.DELETED:
        raise UserError(
            f"the experiment {experiment.name!r} was deleted in MLflow, and all its searches with it; restore it with: "
            f"MLFLOW_TRACKING_URI={shlex.quote(mlflow_uri.without_password(uri))} "
            f"mlflow experiments restore --experiment-id {experiment.experiment_id}"
        )


def _search_runs(client: mlflow.MlflowClient, where: str, view: int = ViewType.ACTIVE_ONLY) -> Iterator[Any]:
    """The runs of all experiments that match a filter, page by page."""
    experiments, token = experiment_ids(client, view), None
    while experiments and token != "":
        page = client.search_runs(experiments, where, run_view_type=view, page_token=token)
        yield from page
        token = page.token or ""


def _read_own(client: mlflow.MlflowClient, run: Any, details: bool) -> Own:
    tags = run.data.tags
    return Own(
        run_id=run.info.run_id,
        deleted=run.info.lifecycle_stage == LifecycleStage.DELETED,
        outcome=tags.get(schema.OUTCOME, ""),
        tags=tags,
        start=run.info.start_time,
        spec=_read_spec(client, run.info.run_id) if details else None,
        behind_server=run.info.artifact_uri.startswith("mlflow-artifacts:")
        and not client.tracking_uri.startswith("http"),
    )


def _read_spec(client: mlflow.MlflowClient, run_id: str) -> dict[str, Any] | None:
    for name in (schema.SPEC, specs.SPEC_FILE):  # old searches have only the YAML file
        with contextlib.suppress(mlflow.MlflowException, OSError, ValueError), TemporaryDirectory() as folder:
            with contextlib.redirect_stderr(io.StringIO()):  # MLflow draws a progress bar
                text = Path(client.download_artifacts(run_id, name, folder)).read_text(encoding="utf-8")
            return specs.parse(text, name)
    return None


def _read_run(client: mlflow.MlflowClient, run: Any, details: bool) -> Run:
    tags, metrics = run.data.tags, run.data.metrics
    epochs_history = client.get_metric_history(run.info.run_id, schema.EPOCHS_RUN) if details else []
    return Run(
        run_id=run.info.run_id,
        trial=tags.get(schema.TRIAL, ""),
        status=run.info.status,
        outcome=tags.get(schema.OUTCOME, ""),
        ended_by=tags.get(schema.ENDED_BY),
        params=run.data.params,
        epochs=metrics.get(schema.EPOCHS_RUN, 0.0),
        best=schema.of_best_epoch(metrics),
        parent=tags.get(schema.PARENT_RUN_ID),
        start=run.info.start_time,
        end=run.info.end_time,
        times={point.step: point.timestamp for point in epochs_history},
    )
