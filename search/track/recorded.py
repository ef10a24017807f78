"""What MLflow holds of a search, as far as its studies must agree with it."""

from dataclasses import dataclass
from typing import Any

from search.base import record
from search.track.client import experiment_ids, open_client, unusable


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
    if (database := record.sqlite_file(uri)) and not database.exists():
        return None, []  # MLflow would create it
    found: list[Any] = []
    try:
        client = open_client(uri)
        experiments = experiment_ids(client)
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
