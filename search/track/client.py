"""Opens MLflow, and says in one line why it cannot be used."""

import mlflow
from mlflow.entities import ViewType

from data.base.errors import UserError, in_short
from search.base import record


def unusable(uri: str, error: Exception) -> UserError:
    """What to tell the user of an MLflow that does not work."""
    return UserError(
        f"MLflow at {record.without_password(uri)} cannot be used: {first_line(error)}; is it running, and is its "
        "disk writable? --tracking-uri or MLFLOW_TRACKING_URI names another"
    )


def open_client(uri: str) -> mlflow.MlflowClient:
    record.require_database(uri)
    return mlflow.MlflowClient(tracking_uri=uri)


def first_line(error: BaseException) -> str:
    return in_short(record.without_password((str(error).strip().splitlines() or [repr(error)])[0]))


def experiment_ids(client: mlflow.MlflowClient, view: int = ViewType.ACTIVE_ONLY) -> list[str]:
    """Of all experiments, of which MLflow tells a thousand at a time."""
    found: list[str] = []
    token = None
    while token != "":
        page = client.search_experiments(view_type=view, page_token=token)
        found += [experiment.experiment_id for experiment in page]
        token = page.token or ""
    return found
