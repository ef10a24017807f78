"""The cache folder on this machine, and atomic writing of files."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def default_cache() -> Path:
    """$BAKEOFF_CACHE, or else the folder `bakeoff` in $XDG_CACHE_HOME or ~/.cache."""
    if given := os.environ.get("BAKEOFF_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bakeoff"


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Adds the path to an OSError that names no file, such as those raised by write and fsync."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def write_whole(path: Path, *, private: bool = False, new: bool = False, synced: bool = True) -> Iterator[BinaryIO]:
    """Writes a file atomically: the file yielded here replaces `path` when the block ends.

    A crash leaves either the old or the new file, even with several writers; after an exception the old file stays.

    private: readable by its owner only. new: raise FileExistsError, and keep the existing file, if `path` exists.
    synced: wait for the disk; otherwise a power failure, unlike the death of a process, may leave a damaged new file.
    """
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with naming(path), partial.open("xb") as file:
            if private:
                partial.chmod(0o600)
            yield file
            if synced:
                file.flush()
                os.fsync(file.fileno())
        if new:
            os.link(partial, path)
        else:
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
