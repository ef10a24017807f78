"""Adds to finished runs: tags, the report page, and versions of registered models."""

import contextlib
from pathlib import Path

import mlflow
from mlflow.entities import LoggedModelOutput, RunTag

from search.base import record
from search.track.client import open_client, unusable

REPORT = "report"  # the folder of a search's artifacts with its report page


def add_tags(uri: str, run_id: str, tags: dict[str, str]) -> None:
    """Add tags to a run. Raises UserError when MLflow cannot be used or has no such run."""
    try:
        client = open_client(uri)
        client.log_batch(run_id, tags=[RunTag(k, v) for k, v in tags.items()])
    except Exception as error:
        raise unusable(uri, error) from error


def log_report(uri: str, search: str, folder: Path) -> None:
    """Put the files of a search's report beside its own run's. Raises UserError when MLflow cannot be used."""
    try:
        client = open_client(uri)
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        where = f"tags.`{record.SEARCH}` = '{search}' and tags.`{record.KIND}` = '{record.KIND_SEARCH}'"
        for parent in client.search_runs(experiments, where):
            client.log_artifacts(parent.info.run_id, str(folder), REPORT)
    except Exception as error:
        raise unusable(uri, error) from error


def register(uri: str, name: str, alias: str, model: Path, run_id: str, tags: dict[str, str]) -> str:
    """Log the MLflow model in a folder, as one of this run, and register it; its version, which now has the alias.

    The run itself stays as it ended. Raises UserError when MLflow cannot be used.
    """
    try:
        client = open_client(uri)
        run = client.get_run(run_id)
        logged = client.create_logged_model(run.info.experiment_id, alias, run_id, tags, run.data.params)
        client.log_model_artifacts(logged.model_id, str(model))
        client.finalize_logged_model(logged.model_id, "READY")
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
        with contextlib.suppress(mlflow.MlflowException):  # it is there already
            client.create_registered_model(name)
        with record.mlflow_at(uri):
            version = client.create_model_version(
                name, f"models:/{logged.model_id}", run_id, tags, model_id=logged.model_id
            ).version
        client.set_registered_model_alias(name, alias, version)
    except Exception as error:
        raise unusable(uri, error) from error
    return str(version)
