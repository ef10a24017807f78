"""Opens MLflow, and explains in one line why MLflow cannot be used."""

import mlflow
from mlflow.entities import ViewType

from data.base.errors import UserError, in_short
from search.base import mlflow_uri
from search.track import tables


def unusable(uri: str, error: Exception) -> UserError:
    """The error to show the user when MLflow does not work."""
    return UserError(
        f"MLflow at {mlflow_uri.without_password(uri)} cannot be used: {first_line(error)}; is it running, and is its "
        "disk writable? --tracking-uri or MLFLOW_TRACKING_URI names another"
    )


def open_client(uri: str) -> mlflow.MlflowClient:
    """A client; a missing SQLite database is created. Raises ConnectionError when the database cannot be used."""
    tables.make(uri)
    mlflow_uri.require_database(uri)
    return mlflow.MlflowClient(tracking_uri=uri)


def first_line(error: BaseException) -> str:
    """The first line of an error message, without the hint for programmers that SQLAlchemy puts first."""
    lines = [line for line in str(error).strip().splitlines() if not line.startswith("(raised as a result of")]
    return in_short(mlflow_uri.without_password((lines or [repr(error)])[0]))


def experiment_ids(client: mlflow.MlflowClient, view: int = ViewType.ACTIVE_ONLY) -> list[str]:
    """The ids of all experiments; MLflow returns pages of a thousand."""
    found: list[str] = []
    token = None
    while token != "":
        page = client.search_experiments(view_type=view, page_token=token)
        found += [experiment.experiment_id for experiment in page]
        token = page.token or ""
    return found
