"""Adds to finished runs: tags, the report page, and versions of registered models."""

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.entities import LoggedModelOutput, Metric, Param, Run, RunTag
from mlflow.entities.model_registry import ModelVersion

from search.base import mlflow_uri, schema
from search.track.client import experiment_ids, open_client, unusable
from search.train.metrics import split_metric

SCORE = "score"  # tag of a registered version: its validation score by the search's metric
REPORT = "report"  # the folder of a search's artifacts with its report page


def add_tags(uri: str, run_id: str, tags: dict[str, str]) -> None:
    """Add tags to a run. Raises UserError when MLflow cannot be used or has no such run."""
    try:
        client = open_client(uri)
        client.log_batch(run_id, tags=[RunTag(k, v) for k, v in tags.items()])
    except Exception as error:
        raise unusable(uri, error) from error


def _search_runs(client: mlflow.MlflowClient, search: str) -> list[Run]:
    """The own run of a search, if any."""
    where = f"tags.`{schema.SEARCH}` = '{search}' and tags.`{schema.KIND}` = '{schema.KIND_SEARCH}'"
    return list(client.search_runs(experiment_ids(client), where))


def log_report(uri: str, search: str, folder: Path) -> None:
    """Log the files of a report to the search's own run. Raises UserError when MLflow cannot be used."""
    try:
        client = open_client(uri)
        for parent in _search_runs(client, search):
            client.log_artifacts(parent.info.run_id, str(folder), REPORT)
    except Exception as error:
        raise unusable(uri, error) from error


def log_ensemble(
    uri: str, search: str, params: dict[str, str], metrics: dict[str, float], tags: dict[str, str], predictions: str
) -> str:
    """Log an ensemble of trials as a child run of the search, and return its id.

    predictions: see `schema.PREDICTIONS`. Raises UserError when MLflow cannot be used or has no such search.
    """
    try:
        client = open_client(uri)
        (parent,) = _search_runs(client, search)
        identity = {schema.KIND: schema.KIND_ENSEMBLE, schema.SEARCH: search, schema.PARENT_RUN_ID: parent.info.run_id}
        run = client.create_run(parent.info.experiment_id, tags=tags | identity, run_name=schema.KIND_ENSEMBLE)
        now = time.time_ns() // 1_000_000
        client.log_batch(
            run.info.run_id,
            metrics=[Metric(name, value, now, 0) for name, value in metrics.items()],
            params=[Param(name, value) for name, value in params.items()],
        )
        client.log_text(run.info.run_id, predictions, schema.PREDICTIONS)
        client.set_terminated(run.info.run_id)
    except Exception as error:
        raise unusable(uri, error) from error
    return str(run.info.run_id)


@dataclass(frozen=True)
class Standing:
    """The validation score of a model, and the data and metric that make it comparable with others."""

    data_digest: str
    metric: str
    score: float

    @property
    def tags(self) -> dict[str, str]:
        return {schema.DATA_DIGEST: self.data_digest, schema.METRIC: self.metric, SCORE: repr(self.score)}

    def not_better(self, version: ModelVersion) -> str:
        """A clause that says why this is not better than a registered version; '' if it is."""
        tags = version.tags
        if not {schema.DATA_DIGEST, schema.METRIC, SCORE} <= set(tags):
            return "does not say what it was measured on"
        if tags[schema.DATA_DIGEST] != self.data_digest:
            return f"was trained on other data ({tags[schema.DATA_DIGEST][:12]}, this one on {self.data_digest[:12]})"
        if tags[schema.METRIC] != self.metric:
            return f"was chosen by {tags[schema.METRIC]}, this one by {self.metric}"
        sign, score = 1 if split_metric(self.metric)[1].maximize else -1, float(tags[SCORE])
        better = sign * self.score > sign * score
        return "" if better else f"has {self.metric} {score:.4f}, this one {self.score:.4f}, which is not better"


def register(
    uri: str, name: str, alias: str, model: Path, run_id: str, tags: dict[str, str], standing: Standing | None = None
) -> tuple[str, str]:
    """Log the MLflow model in a folder to this run, register it, and give it the alias; returns its version.

    standing: move the alias only if this is better than the standing of the version that holds it, or if both are from
    the same run. Otherwise the second return value is a sentence that says why not; it is '' if the alias moved.
    The run's status stays as it is. Raises UserError when MLflow cannot be used.
    """
    try:
        client = open_client(uri)
        run = client.get_run(run_id)
        logged = client.create_logged_model(run.info.experiment_id, alias, run_id, tags, run.data.params)
        client.log_model_artifacts(logged.model_id, str(model))
        client.finalize_logged_model(logged.model_id, "READY")
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
        with contextlib.suppress(mlflow.MlflowException):  # the registered model already exists
            client.create_registered_model(name)
        tags = tags | (standing.tags if standing else {})
        with mlflow_uri.mlflow_at(uri):
            version = client.create_model_version(
                name, f"models:/{logged.model_id}", run_id, tags, model_id=logged.model_id
            ).version
        holder = client.get_registered_model(name).aliases.get(alias) if standing else None
        held = client.get_model_version(name, holder) if holder else None
        reason = standing.not_better(held) if standing and held and held.run_id != run_id else ""
        if not reason:
            client.set_registered_model_alias(name, alias, version)
    except Exception as error:
        raise unusable(uri, error) from error
    return str(version), f"{alias} stays at version {holder}, which {reason}" if reason else ""
