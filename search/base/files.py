"""The files of a search: written whole or not at all, and one process at a time."""

import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from data.base.errors import UserError

LOCK = "lock"


def write_atomically(path: Path, write: Callable[[BinaryIO], object], *, private: bool = False) -> None:
    """Write under a temporary name, flush, rename: a crash leaves either the old file or the new one.

    private: only its owner may read it.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if private:
            partial.touch(mode=0o600)
        with partial.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Own a search while this process runs it. Raises UserError when another process does.

    The kernel releases the lock of a process that dies, so a stale one is simply taken over.
    """
    with (folder / LOCK).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = json.loads(file.read() or "{}")
            raise UserError(
                f"search {folder.name} is running on {owner.get('host', 'another host')} as process "
                f"{owner.get('pid', '?')}; wait for it or stop it there"
            ) from None
        file.truncate(0)
        json.dump({"host": socket.gethostname(), "pid": os.getpid()}, file)
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def mend_journal(path: Path) -> None:
    """Remove what a crash or a full disk left of a journal's last line, to which Optuna would append, and the lock of a
    process that died. Hold the search: nobody else may be writing."""
    Path(f"{path}.lock").unlink(missing_ok=True)
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        if content and not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)
