"""Translates the records of a search into MLflow entities: run statuses, metrics, datasets."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

from search.base import schema
from search.base.origin import now_ms
from search.base.schema import Outcome
from search.train.training import Result

#: The status of a run in MLflow, by how its trial or search ended.
STATUS = {
    Outcome.COMPLETE: "FINISHED",
    Outcome.PRUNED: "KILLED",
    Outcome.DIVERGED: "FAILED",
    Outcome.FAILED: "FAILED",
    Outcome.REFUSED: "KILLED",
    Outcome.INTERRUPTED: "KILLED",
}


def log(
    client: mlflow.MlflowClient,
    run_id: str,
    points: Sequence[Metric] = (),
    *,
    params: dict[str, Any] | None = None,
    tags: dict[str, str] | None = None,
) -> None:
    """Log everything in one call, which MLflow splits into batches of its maximum size."""
    client.log_batch(
        run_id,
        metrics=points,
        params=[Param(key, str(value)) for key, value in (params or {}).items()],
        tags=[RunTag(key, value) for key, value in (tags or {}).items()],
    )


def dataset(corpus: str, digest: str, counts: Mapping[str, float]) -> DatasetInput:
    """The training data of a run, for MLflow's dataset column. corpus: the name in the spec. counts: numbers of
    texts."""
    made = Dataset(
        name=Path(corpus).name,
        digest=digest[:36],  # MLflow's limit
        source_type="corpus",
        source=json.dumps({"corpus": corpus}),
        profile=json.dumps(counts),
    )
    return DatasetInput(made, [InputTag("mlflow.data.context", "train, validation, test")])


def points(result: Result, reports_per_epoch: int, started: int | None) -> list[Metric]:
    """The metrics of a report at its step, and those of the training curve at their iterations.

    Their timestamp is the time of the report. Results from before it was recorded get the trial's start plus the
    seconds of training.
    """
    timestamp = result.time or ((started or now_ms()) + int(1000 * result.seconds))
    found = []
    for iteration, loss, accuracy in result.curve:
        found.append(Metric(schema.CURVE_LOSS, loss, timestamp, iteration))
        found.append(Metric(schema.CURVE_ACCURACY, accuracy, timestamp, iteration))
    by_step = (
        result.metrics
        | {schema.best(name): value for name, value in result.best.items()}
        | {
            schema.BEST_EPOCH: result.best_step / reports_per_epoch,
            schema.TRIAL_SECONDS: result.seconds,
            # Written last: if MLflow has this metric, it has the whole report.
            schema.EPOCHS_RUN: result.step / reports_per_epoch,
        }
    )
    return found + [Metric(name, value, timestamp, result.step) for name, value in by_step.items()]
