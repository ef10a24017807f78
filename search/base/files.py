"""A search belongs to one process at a time; what a crash left of its journal is mended."""

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
    """Own a search while this process runs it. Raises UserError when another process does.

    The kernel releases the lock of a process that dies, so a stale one is simply taken over.
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
    """Remove what a crash or a full disk left of a journal's last line, to which Optuna would append. Hold the search:
    nobody else may be writing."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        if content and not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)
