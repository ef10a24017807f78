"""What a search's folder remembers of its beginning: when that was, and in which MLflow the search is recorded."""

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
from search.base import names, record

FILE = "search.json"  # in the search's folder
SPEC_FILE = "spec.yaml"  # likewise; what has none is no search
MASKED = ":***"  # in place of a password


@dataclass(frozen=True)
class Origin:
    """started: in ms since 1970. tracking_uri: without secrets; None before anything was recorded."""

    started: int
    tracking_uri: str | None = None


def user() -> str:
    """Who this is."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container may know no name
        return "unknown"


def now_ms() -> int:
    """The time in ms since 1970, as MLflow counts it."""
    return time.time_ns() // 1_000_000


def read(folder: Path, *, to_keep: bool = False) -> Origin:
    """What this folder remembers. Of an older search the start is that of its id, which was in local time.

    to_keep: it will be written somewhere, so a disk that fails to read it is an OSError, and no older search.
    """
    try:
        kept = json.loads((folder / FILE).read_bytes())
        origin = Origin(int(kept["started"]), kept["tracking_uri"])
    except (OSError, ValueError, KeyError, TypeError) as error:  # an older search's; or damaged
        if to_keep and isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            raise
        return Origin(_started_by_id(folder))
    uri = origin.tracking_uri
    scheme, path = record.split_sqlite(uri or "")
    if scheme and not path.startswith("/"):
        # Normalised without following links, which the user's own spelling does not either.
        uri = scheme + os.path.normpath(folder.absolute() / path)
    return Origin(origin.started, uri)


def folders(search: str, root: Path) -> list[Path]:
    """The folders of the searches with this id or name, or of all for '' and `latest`; the oldest first, by the start
    that each has noted."""
    found = [path.parent for path in root.glob(f"*/{SPEC_FILE}")]
    wanted = [each for each in found if search in ("", "latest", each.name, names.split_search(each.name)[0])]
    return sorted(wanted, key=lambda folder: (read(folder).started, folder.name))


def noted(folder: Path) -> int | None:
    """When the search in this folder started, in ms since 1970; None of an older one, which did not note it."""
    started = read(folder).started
    # Where an older one was resumed, the start by its id was noted, which is only near.
    return started if (folder / FILE).exists() and started != _started_by_id(folder) else None


def start(folder: Path) -> None:
    """Note that the search in this folder starts now."""
    _write(folder, Origin(now_ms()))


def keep_uri(folder: Path, uri: str) -> None:
    """Note where the search in this folder is recorded. A database beside the folder of the searches is noted by its
    relative path, so that all of them can be moved or copied together."""
    shown = record.without_password(uri)
    with contextlib.suppress(OSError):  # a full disk: the search can do without
        before = read(folder, to_keep=True)
        if before.tracking_uri == shown:
            return
        scheme, path = record.split_sqlite(shown)
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
    """For the user, beside what is printed for programs."""
    print(line, file=sys.stderr)


def say_which(asked: str, found: str, user: str | None = None) -> None:
    """Tell which search `latest` means, and which a name means that somebody else has started, the user."""
    if asked == "latest" or (user and asked != found):
        say(f"{asked} is {found}" + (f", started by {user}" if user else ""))


def tracking_uri(folder: Path, given: str | None = None, warn: Callable[[str], None] = say) -> str:
    """The MLflow tracking URI of the search in this folder: the given one, else MLFLOW_TRACKING_URI, else the one that
    it is recorded at, else a database in the working directory.

    warn: is told when that is not where the search is recorded. Raises UserError when the search is recorded where a
    password is needed, and no URI is given.
    """
    kept, uri = read(folder).tracking_uri, record.tracking_uri(given)
    if kept is None or record.without_password(uri) == kept:
        return uri
    if given or os.environ.get("MLFLOW_TRACKING_URI"):
        warn(
            f"{folder.name} is recorded at {kept}, not at the tracking URI that is given now, "
            f"{record.without_password(uri)}"
        )
        return uri
    if MASKED in kept or "://***" in kept or "=***" in kept:
        raise UserError(
            f"{folder.name} is recorded at {kept}, whose password is not kept: give the whole URI with "
            "--tracking-uri or MLFLOW_TRACKING_URI"
        )
    there = [path.exists() for each in (kept, uri) if (path := record.sqlite_file(each))]
    if there == [False, True]:
        warn(f"{folder.name} is recorded at {kept}, which is not there any more; {uri} is used")
        return uri
    return kept
