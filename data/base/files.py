"""Where files are kept on this machine, and how one is written: whole or not at all."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def default_cache() -> Path:
    """$BAKEOFF_CACHE, else the folder `bakeoff` in $XDG_CACHE_HOME or ~/.cache."""
    if given := os.environ.get("BAKEOFF_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bakeoff"


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An OSError that names no file, as one of a write or of fsync does not, names this one."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def write_whole(path: Path, *, private: bool = False, new: bool = False) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `path` when the block ends: a crash leaves either the old file or the
    new one, whoever else writes it. After an exception it is the old one.

    private: only its owner may read it. new: raise FileExistsError where there is one already, which stays as it is.
    """
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with naming(path), partial.open("xb") as file:
            if private:
                partial.chmod(0o600)
            yield file
            file.flush()
            os.fsync(file.fileno())
        if new:
            os.link(partial, path)
        else:
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
