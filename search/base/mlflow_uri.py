"""MLflow's tracking URIs. Imports nothing heavy, so that `--help` is fast."""

import os
import re
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import unquote


def tracking_uri(given: str | None = None) -> str:
    """The MLflow tracking URI: the given one, or else MLFLOW_TRACKING_URI, or else a database in the working directory.

    The path in a `sqlite:` URI is made absolute, because Ray's workers run in another directory.
    """
    uri = given or os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    scheme, path = split_sqlite(uri)
    if scheme and not path.startswith("/"):
        here = str(Path.cwd()).replace("%", "%25").replace("?", "%3F")  # readers of the URI decode these
        uri = f"{scheme}{here.rstrip('/')}/{Path(path)}"
    return uri


def split_sqlite(uri: str) -> tuple[str, str]:
    """'sqlite+pysqlite:///mlflow.db' -> ('sqlite+pysqlite:///', 'mlflow.db'); ('', '') if the URI names no file."""
    match = re.match(r"(sqlite(?:\+\w+)?:///)(?!:memory:|file:)(?=[^?])", uri)
    return (match[1], uri.removeprefix(match[1])) if match else ("", "")


def sqlite_file(uri: str) -> Path | None:
    """The file of a `sqlite:` URI; None for other URIs."""
    _, path = split_sqlite(uri)
    return Path(unquote(path.partition("?")[0])) if path else None


def require_database(uri: str) -> None:
    """Raises ConnectionError if the database of a tracking URI is unusable. MLflow would retry for 100 seconds."""
    if path := sqlite_file(uri):
        try:
            with closing(sqlite3.connect(path)) as database:
                database.execute("PRAGMA schema_version")
        except sqlite3.Error as error:  # missing folder, no permission, not a database
            if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY:  # locks are temporary
                raise ConnectionError(str(error)) from error
    if re.match(r"(postgresql|mysql|mssql)\b", uri):
        import sqlalchemy

        try:
            sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool).connect().close()
        except Exception as error:  # unreachable, wrong password, missing driver, ...
            raise ConnectionError(str(error)) from error


@contextmanager
def mlflow_at(uri: str) -> Iterator[None]:
    """Sets MLFLOW_TRACKING_URI inside the block, for parts of MLflow that take no URI, such as registered models."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    os.environ["MLFLOW_TRACKING_URI"] = uri
    try:
        yield
    finally:
        if before is None:
            del os.environ["MLFLOW_TRACKING_URI"]
        else:
            os.environ["MLFLOW_TRACKING_URI"] = before


#: Host names accepted by MLflow's UI. By default it also accepts names such as 10.example.com, which anybody may own.
UI_HOSTS = "localhost:*,127.0.0.1:*"


def ui_command(uri: str) -> str:
    """The arguments after `python -m` that open a database in MLflow's UI, for browsers on this machine."""
    return f"mlflow ui --allowed-hosts {shlex.quote(UI_HOSTS)} --backend-store-uri {shlex.quote(without_password(uri))}"


def without_password(text: str) -> str:
    """Masks the passwords in a URI, or in a text that contains URIs: 'postgresql://me:***@host/db'."""

    def mask(match: re.Match[str]) -> str:
        scheme, user, password = match["scheme"], match["user"], match["password"]
        if scheme.startswith(("sqlite", "file")):
            return match[0]
        return f"{scheme}://{user}:***@" if password else f"{scheme}://***@"

    # A password may contain spaces; but text after a port number is not a password.
    password = r":(?:\S*|(?!\d+\s)[^@\n]*)"
    text = re.sub(rf"(?P<scheme>[\w+.-]+)://(?P<user>[^\s@:/]*)(?P<password>{password})?@", mask, text)
    return re.sub(r"(?i)([?&][^=&\s]*(?:password|passwd|pwd|token|secret|key)[^=&\s]*=)[^&\s]*", r"\1***", text)
