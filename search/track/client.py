"""Opens MLflow, and says in one line why it cannot be used."""

import mlflow

from data.base.errors import UserError
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
    return record.without_password((str(error).strip().splitlines() or [repr(error)])[0])[:200]
