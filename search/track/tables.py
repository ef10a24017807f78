"""Creates MLflow's tables in a new SQLite database.

MLflow creates them by running all of its migrations since 2018, which takes more than a second. The tables are
therefore created once per version of MLflow, in the cache, and new databases are copies.
"""

import contextlib
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow

from data.base.files import default_cache, write_whole
from search.base import mlflow_uri


def make(uri: str) -> None:
    """Create the SQLite database of this URI unless it exists. If that fails, MLflow will try."""
    path = mlflow_uri.sqlite_file(uri)
    # SQLite would roll the journal of a database that was deleted back into the new one.
    if path is None or "?" in uri or any(Path(f"{path}{end}").exists() for end in ("", "-journal", "-wal")):
        return
    with contextlib.suppress(OSError), write_whole(path, new=True) as file:  # another search may have created it first
        file.write(_empty())


def _empty() -> bytes:
    """A database with MLflow's tables, all empty. Raises OSError."""
    cached = default_cache() / "mlflow" / f"{mlflow.__version__}.db"
    if not cached.is_file():
        from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine

        with TemporaryDirectory() as folder:
            made = Path(folder, "mlflow.db")
            engine = create_sqlalchemy_engine(f"sqlite:///{made}")
            _initialize_tables(engine)
            engine.dispose()
            cached.parent.mkdir(parents=True, exist_ok=True)
            with write_whole(cached) as file:
                file.write(made.read_bytes())
    return cached.read_bytes()
