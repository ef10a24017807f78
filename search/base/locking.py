"""Locking a search for one process at a time, and repairing its journal after a crash."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from data.base.errors import UserError

LOCK = "lock"


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Holds the lock of a search. Raises UserError if another process holds it.

    The kernel releases the lock of a process that dies, so stale locks need no treatment.
    """
    path = folder / LOCK
    try:
        held = FileLock(path).acquire(blocking=False)
    except Timeout:
        owner = path.read_text(encoding="utf-8") or "another host"
        raise UserError(f"search {folder.name} is running on {owner}; wait for it or stop it there") from None
    with held:
        path.write_text(f"{socket.gethostname()} as process {os.getpid()}", encoding="utf-8")
        yield


def mend_journal(path: Path) -> None:
    """Removes an incomplete last line, left by a crash or a full disk, to which Optuna would append. Call it only while
    holding the lock of the search, as no other process may be writing."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        if content and not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)
