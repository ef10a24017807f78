"""Opens MLflow, and says in one line why it cannot be used."""

import mlflow
from mlflow.entities import ViewType

from data.base.errors import UserError, in_short
from search.base import record
from search.track import tables


def unusable(uri: str, error: Exception) -> UserError:
    """What to tell the user of an MLflow that does not work."""
    return UserError(
        f"MLflow at {record.without_password(uri)} cannot be used: {first_line(error)}; is it running, and is its "
        "disk writable? --tracking-uri or MLFLOW_TRACKING_URI names another"
    )


def open_client(uri: str) -> mlflow.MlflowClient:
    """Raises ConnectionError when its database cannot be used. A SQLite database that is not there yet is made."""
    tables.make(uri)
    record.require_database(uri)
    return mlflow.MlflowClient(tracking_uri=uri)


def first_line(error: BaseException) -> str:
    """Of what an error says, but for a hint of SQLAlchemy's to programmers, which comes before what is wrong."""
    lines = [line for line in str(error).strip().splitlines() if not line.startswith("(raised as a result of")]
    return in_short(record.without_password((lines or [repr(error)])[0]))


def experiment_ids(client: mlflow.MlflowClient, view: int = ViewType.ACTIVE_ONLY) -> list[str]:
    """Of all experiments, of which MLflow tells a thousand at a time."""
    found: list[str] = []
    token = None
    while token != "":
        page = client.search_experiments(view_type=view, page_token=token)
        found += [experiment.experiment_id for experiment in page]
        token = page.token or ""
    return found
