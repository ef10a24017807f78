"""Reading from MLflow: pages of runs, small artifacts, and one-line errors.

Reading changes nothing. MLflow creates a missing database, so its existence is checked first.
"""

import gc
import io
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, redirect_stderr
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from data.base.errors import UserError, in_short
from search.base import mlflow_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PAGE_SIZE = 1000

P = ParamSpec("P")
R = TypeVar("R")
_results: ContextVar[dict[Any, Any] | None] = ContextVar("results", default=None)


@contextmanager
def reading_once() -> Iterator[None]:
    """Within this context, functions that are decorated with `once` read the same thing only once.

    So everything that is computed within it comes from the same state of MLflow.
    """
    token = _results.set({})
    try:
        yield
    finally:
        _results.reset(token)


def once(read: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function that reads from MLflow: see `reading_once`. Its results must not be changed in place."""

    @wraps(read)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        results = _results.get()
        if results is None:
            return read(*args, **kwargs)
        key = (read, args, *sorted(kwargs.items()))
        if key not in results:
            results[key] = read(*args, **kwargs)
        found: R = results[key]
        return found

    return wrapped


def read_runs(uri: str, where: str, page_size: int = PAGE_SIZE) -> Iterator["Run"]:
    """All runs of all experiments that match a filter, page by page, oldest first.

    In that order, a run that starts while pages are read comes after them.
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
    """Disable garbage collection while many long-lived objects are made: it took two thirds of the time to read runs
    (SQLAlchemy makes about 60 objects per run), and a tenth of the time to draw figures."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def open_client(uri: str) -> Iterator["MlflowClient"]:
    """A client for reading. Raises UserError when there is no database or the server does not answer."""
    _check_database(uri)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        mlflow_uri.require_database(uri)
        yield MlflowClient(tracking_uri=uri)
    except (MlflowException, ConnectionError) as error:
        reason = mlflow_uri.without_password(in_short(str(error)))
        raise UserError(f"cannot read {mlflow_uri.without_password(uri)}: {reason}") from error


def _check_database(uri: str) -> None:
    """Raise UserError for a SQLite file that is missing or not of MLflow: MLflow would create its tables in it."""
    if "://" not in uri and Path(uri).is_file():
        raise UserError(f"tracking URI {uri!r}: a database file is written 'sqlite:///{Path(uri).absolute()}'")
    path = mlflow_uri.sqlite_file(uri)
    if path is None:
        return
    if not path.is_file():
        raise UserError(f"no MLflow database {path}; run a search there first, or name one with --tracking-uri")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            found = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'runs'").fetchone()
    except sqlite3.Error as error:
        raise UserError(f"cannot read {path}: {error}") from error
    if not found:
        raise UserError(f"{path} is not an MLflow database: it has no runs")


@once
def read_artifact(uri: str, run_id: str, name: str) -> str | None:
    """The text of an artifact of a run; None when it is missing or cannot be read."""
    from mlflow.exceptions import MlflowException

    # MLflow draws a progress bar on stderr even for one small file.
    with open_client(uri) as client, TemporaryDirectory() as folder, redirect_stderr(io.StringIO()):
        try:
            return Path(client.download_artifacts(run_id, name, folder)).read_text(encoding="utf-8")
        except (MlflowException, OSError, UnicodeDecodeError):
            return None
