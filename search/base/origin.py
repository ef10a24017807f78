"""The file in a search's folder that stores its start time and its MLflow tracking URI."""

import contextlib
import getpass
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from data.base.errors import UserError
from data.base.files import write_whole
from search.base import mlflow_uri, names

FILE = "search.json"  # in the search's folder
SPEC_FILE = "spec.yaml"  # likewise; a folder without it is not a search
MASKED = ":***"  # replaces a password


@dataclass(frozen=True)
class Origin:
    """started: ms since 1970. tracking_uri: without secrets; None before anything was recorded."""

    started: int
    tracking_uri: str | None = None


def user() -> str:
    """The name of the current user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container may have no user names
        return "unknown"


def now_ms() -> int:
    """The time in ms since 1970, the unit that MLflow uses."""
    return time.time_ns() // 1_000_000


def read(folder: Path, *, to_keep: bool = False) -> Origin:
    """Reads the origin of a search. An older search has no such file; its start is the local time in its id.

    to_keep: the result will be stored, so a failing disk raises OSError instead of being taken for an older search.
    """
    try:
        stored = json.loads((folder / FILE).read_bytes())
        origin = Origin(int(stored["started"]), stored["tracking_uri"])
    except (OSError, ValueError, KeyError, TypeError) as error:  # an older search, or a damaged file
        if to_keep and isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            raise
        return Origin(_started_by_id(folder))
    uri = origin.tracking_uri
    scheme, path = mlflow_uri.split_sqlite(uri or "")
    if scheme and not path.startswith("/"):
        # Normalised without following links, as the URI was when the user wrote it.
        uri = scheme + os.path.normpath(folder.absolute() / path)
    return Origin(origin.started, uri)


def folders(search: str, root: Path) -> list[Path]:
    """The folders of searches with this id or name, or of all searches for '' and `latest`; sorted by start time."""
    paths = [path.parent for path in root.glob(f"*/{SPEC_FILE}")]
    wanted = [path for path in paths if search in ("", "latest", path.name, names.split_search(path.name)[0])]
    return sorted(wanted, key=lambda folder: (read(folder).started, folder.name))


def noted(folder: Path) -> int | None:
    """The stored start time of a search, ms since 1970; None for an older search, which did not store it."""
    started = read(folder).started
    # Resuming an older search stores the start by its id, which is only approximate.
    return started if (folder / FILE).exists() and started != _started_by_id(folder) else None


def start(folder: Path) -> None:
    """Stores the current time as the start of a search."""
    _write(folder, Origin(now_ms()))


def keep_uri(folder: Path, uri: str) -> None:
    """Stores the tracking URI of a search. The path of a database next to the folder of searches is stored relative to
    the search, so that they can be moved or copied together."""
    shown = mlflow_uri.without_password(uri)
    with contextlib.suppress(OSError):  # a full disk; the search works without it
        before = read(folder, to_keep=True)
        if before.tracking_uri == shown:
            return
        scheme, path = mlflow_uri.split_sqlite(shown)
        if scheme and Path(path).is_relative_to(folder.absolute().parent.parent):
            shown = scheme + os.path.relpath(path, folder.absolute())
        _write(folder, Origin(before.started, shown))


def _write(folder: Path, origin: Origin) -> None:
    with write_whole(folder / FILE) as file:
        file.write(json.dumps(asdict(origin)).encode())


def _started_by_id(folder: Path) -> int:
    try:
        return int(time.mktime(time.strptime(names.split_search(folder.name)[1], names.STAMP)) * 1000)
    except (ValueError, OverflowError):  # the id has no date
        with contextlib.suppress(OSError):
            return int(folder.stat().st_mtime * 1000)
        return now_ms()


def say(line: str) -> None:
    """Prints a line for the user on standard error; standard output is for programs."""
    print(line, file=sys.stderr)


def say_which(requested: str, search: str, user: str | None = None) -> None:
    """Tells the user which search `latest` stands for, or a name if another user started that search.

    requested: as written by the user. user: the other user who started the search.
    """
    if requested == "latest" or (user and requested != search):
        say(f"{requested} is {search}" + (f", started by {user}" if user else ""))


def tracking_uri(folder: Path, given: str | None = None, warn: Callable[[str], None] = say) -> str:
    """The MLflow tracking URI of a search: the given one, or else MLFLOW_TRACKING_URI, or else the URI where the search
    is recorded, or else a database in the working directory.

    warn: callback for a warning if the search is recorded elsewhere. Raises UserError if the stored URI needs a
    password and no URI is given.
    """
    stored, uri = read(folder).tracking_uri, mlflow_uri.tracking_uri(given)
    if stored is None or mlflow_uri.without_password(uri) == stored:
        return uri
    if given or os.environ.get("MLFLOW_TRACKING_URI"):
        warn(
            f"{folder.name} is recorded at {stored}, not at the given tracking URI, {mlflow_uri.without_password(uri)}"
        )
        return uri
    if MASKED in stored or "://***" in stored or "=***" in stored:
        raise UserError(
            f"{folder.name} is recorded at {stored}, whose password is not kept: give the whole URI with "
            "--tracking-uri or MLFLOW_TRACKING_URI"
        )
    exist = [path.exists() for candidate in (stored, uri) if (path := mlflow_uri.sqlite_file(candidate))]
    if exist == [False, True]:
        warn(f"{folder.name} is recorded at {stored}, which no longer exists; using {uri}")
        return uri
    return stored
