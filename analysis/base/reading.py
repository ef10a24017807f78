"""MLflow's client, as one reads with it: pages of runs, small files, and a line where it cannot be used.

Reading never changes anything: MLflow would create a database that isn't there, so that is looked at first.
"""

import gc
import io
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, redirect_stderr
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from data.base.errors import UserError, in_short
from search.base import record

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PAGE_SIZE = 1000


def read_runs(uri: str, where: str, page_size: int = PAGE_SIZE) -> Iterator["Run"]:
    """All runs of all experiments that fulfil a condition, page by page, oldest first.

    In that order a run that starts between two pages comes after both.
    """
    with open_client(uri) as client:
        from search.track.client import experiment_ids

        experiments = experiment_ids(client)
        token = None
        while experiments and token != "":
            with no_garbage_collection():
                page = client.search_runs(
                    experiments, where, max_results=page_size, order_by=["attributes.start_time ASC"], page_token=token
                )
            yield from page
            token = page.token or ""


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """For what makes many objects and no garbage: looking for it took two thirds of the time to read runs (SQLAlchemy
    makes some 60 objects a run), and a tenth of the time to draw figures."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def open_client(uri: str) -> Iterator["MlflowClient"]:
    """A client to read with. Raises UserError when there is no database or no server answers."""
    _check_database(uri)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        record.require_database(uri)
        yield MlflowClient(tracking_uri=uri)
    except (MlflowException, ConnectionError) as error:
        reason = record.without_password(in_short(str(error)))
        raise UserError(f"cannot read {record.without_password(uri)}: {reason}") from error


def _check_database(uri: str) -> None:
    """Raise UserError for a SQLite database that isn't there or isn't MLflow's: MLflow would make it one."""
    if "://" not in uri and Path(uri).is_file():
        raise UserError(f"tracking URI {uri!r}: a database file is written 'sqlite:///{Path(uri).absolute()}'")
    path = record.sqlite_file(uri)
    if path is None:
        return
    if not path.is_file():
        raise UserError(f"no MLflow database {path}; run a search there first, or say which with --tracking-uri")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            found = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'runs'").fetchone()
    except sqlite3.Error as error:
        raise UserError(f"cannot read {path}: {error}") from error
    if not found:
        raise UserError(f"{path} is not an MLflow database: it has no runs")


def read_artifact(uri: str, run_id: str, name: str) -> str | None:
    """The text of a file that is kept with a run; None when it cannot be had."""
    from mlflow.exceptions import MlflowException

    # MLflow draws a progress bar on stderr, for one small file.
    with open_client(uri) as client, TemporaryDirectory() as folder, redirect_stderr(io.StringIO()):
        try:
            return Path(client.download_artifacts(run_id, name, folder)).read_text(encoding="utf-8")
        except (MlflowException, OSError, UnicodeDecodeError):
            return None
