"""Checkpoints of one trial: files written so that a crash leaves either the old one or the new one.

Each worker that starts a trial is an attempt. The driver numbers attempts, and the number is part of the file names. A
worker that the driver believes lost may still be running: it never overwrites or removes files of a later attempt.

Checkpoints lie in the search's folder or, if the nodes of a cluster must reach them, in a shared folder or a bucket of
an object store.
"""

import contextlib
import functools
import io
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from data.base.errors import UserError
from data.base.files import write_whole
from search.train import checkpoint_archive

#: In a search's folder: the folder of checkpoints, or a file that names their location.
FOLDER = "checkpoints"

#: Checkpoints kept while a trial runs: the last one, and the one before in case the last is damaged. Each contains the
#: weights of the best report. An ended trial keeps only the last one.
NUM_KEPT = 2


@dataclass(frozen=True)
class ObjectPath:
    """A path in an object store, with the part of Path's interface that is needed here, through pyarrow.

    uri: of a folder, as pyarrow takes it: s3://bucket/folder?region=eu-west-1. path: in that folder.
    """

    uri: str
    path: PurePosixPath = field(default_factory=PurePosixPath)

    def __truediv__(self, name: str) -> "ObjectPath":
        return ObjectPath(self.uri, self.path / name)

    def __str__(self) -> str:
        base, mark, query = self.uri.partition("?")
        return f"{base.rstrip('/')}/{self.path}{mark}{query}"

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def _place(self) -> tuple[Any, str]:
        filesystem, root = _open_store(self.uri)
        return filesystem, str(PurePosixPath(root) / self.path)

    def mkdir(self, **_: Any) -> None:
        pass  # an object store has no folders

    def iterdir(self) -> Iterator["ObjectPath"]:
        from pyarrow.fs import FileSelector

        filesystem, path = self._place
        return (self / info.base_name for info in filesystem.get_file_info(FileSelector(path, allow_not_found=True)))

    def is_dir(self) -> bool:
        return any(self.iterdir())

    def read_bytes(self) -> bytes:
        filesystem, path = self._place
        with filesystem.open_input_stream(path) as stream:
            return bytes(stream.read())

    def open_to_write(self) -> Any:
        """A stream; the object appears when the stream is closed, with everything written so far."""
        filesystem, path = self._place
        return filesystem.open_output_stream(path)

    def unlink(self) -> None:
        filesystem, path = self._place
        filesystem.delete_file(path)

    def remove_all(self) -> None:
        """Remove the folder and its contents."""
        filesystem, path = self._place
        filesystem.delete_dir(path)


Folder = Path | ObjectPath


class SupersededError(Exception):
    """A later attempt has started the trial, or the driver has removed its files: this attempt must not write."""


@functools.cache
def _open_store(uri: str) -> tuple[Any, str]:
    """The file system of a URI, and the path in it. Keys come from the environment or the machine's role."""
    from pyarrow.fs import FileSystem

    return FileSystem.from_uri(uri)


def place(storage_path: str, search: str) -> Folder:
    """Where a search of this id keeps its checkpoints in a shared folder or an object store."""
    if "://" not in storage_path:
        return Path(storage_path).expanduser().absolute() / search
    base, mark, query = storage_path.partition("?")
    return ObjectPath(f"{base.rstrip('/')}/{search}{mark}{query}")


def root(search: Path) -> Folder:
    """Where the trials of the search in this folder keep their files."""
    inside = search.absolute() / FOLDER
    if not inside.is_file():
        return inside
    where = inside.read_text(encoding="utf-8").strip()
    return ObjectPath(where) if "://" in where else Path(where)


def folder_of(search: Path, trial: str) -> Folder:
    """Where a trial of the search in this folder keeps its files."""
    return root(search) / trial


def prepare(search: Path, storage_path: str | None) -> Folder:
    """Make the folder of a search's checkpoints, and note in the search's folder where it is.

    Raises UserError if the shared folder does not exist, FileExistsError if it holds checkpoints of another search with
    this id.
    """
    if storage_path is not None and not (search / FOLDER).exists():
        where = place(storage_path, search.name)
        if isinstance(where, Path) and not where.parent.is_dir():
            raise UserError(f"storage_path: no folder {where.parent} on this machine; make it, or mount it")
        if where.is_dir() and any(where.iterdir()):
            raise FileExistsError(f"{where} holds the checkpoints of another search")
        with write_whole(search / FOLDER) as file:
            file.write((where.uri if isinstance(where, ObjectPath) else str(where)).encode())
    folder = root(search)
    folder.mkdir(exist_ok=True)
    return folder


def begin(folder: Folder, attempt: int) -> None:
    """Record that this attempt starts the trial; earlier attempts may not write from now on.

    Raises SupersededError if a later attempt has started.
    """
    if attempt not in _begun(folder):
        _write(folder / f"attempt-{attempt}", b"")
    require_current(folder, attempt)


def require_current(folder: Folder, attempt: int) -> None:
    """Raise SupersededError unless this attempt is the last one started."""
    if max(_begun(folder), default=None) != attempt:
        raise SupersededError(f"attempt {attempt} of {folder.name} goes on in another worker, or has ended")


def _begun(folder: Folder) -> list[int]:
    """The attempts started so far, in no particular order."""
    return [int(path.name.removeprefix("attempt-")) for path in _files(folder, "attempt-*")]


def save(folder: Folder, step: int, content: dict[str, Any], num_kept: int = NUM_KEPT, attempt: int = 0) -> Folder:
    """Write the checkpoint of a report; once it is complete, remove all but the last `num_kept`.

    The file name contains the number of the report, equal to the epoch if there is one report per epoch, and of the
    attempt. Files of later attempts are kept. num_kept: 1 for the last checkpoint of a trial.
    """
    path = folder / (f"epoch-{step:04d}-attempt-{attempt}.pt" if attempt else f"epoch-{step:04d}.pt")
    if isinstance(path, Path):
        # A power failure may cost an unfinished trial its checkpoints of the last half minute, which it then trains
        # again. Waiting for the disk at each checkpoint would cost more.
        with _open(path, synced=num_kept == 1) as file:
            checkpoint_archive.write(content, file)
    else:  # an archive that is written in parts looks whole even if writing fails in the middle
        memory = io.BytesIO()
        checkpoint_archive.write(content, memory)
        _write(path, memory.getvalue())
    saved = [file for file in _checkpoints(folder) if _order(file)[0] <= attempt]
    earlier = [file for file in saved if _order(file)[1] < step]
    others = [file for file in saved if _order(file)[1] >= step and file.name != path.name]  # these are damaged
    _unlink([*earlier, path][:-num_kept] + others)
    return path


def save_file(folder: Folder, name: str, content: bytes) -> None:
    """Write a file beside a trial's checkpoints."""
    _write(folder / name, content)


@contextlib.contextmanager
def open_file(folder: Folder, name: str) -> Iterator[BinaryIO]:
    """Like `save_file`, for a file that is written in parts."""
    with _open(folder / name) as file:
        yield file


def load_file(folder: Folder, name: str) -> bytes | None:
    """A file beside a trial's checkpoints, or None."""
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError:
        return None


def save_text(folder: Folder, name: str, text: str) -> None:
    """Like `save_file`, for text."""
    save_file(folder, name, text.encode())


def load_text(folder: Folder, name: str) -> str | None:
    content = load_file(folder, name)
    return None if content is None else content.decode()


def _files(folder: Folder, pattern: str) -> list[Folder]:
    """The files in a trial's folder that match a pattern."""
    with contextlib.suppress(FileNotFoundError):
        return [path for path in folder.iterdir() if fnmatch(path.name, pattern)]
    return []


def _checkpoints(folder: Folder) -> list[Folder]:
    """The checkpoints in a trial's folder, complete or not, oldest first."""
    return sorted(_files(folder, "epoch-*.pt"), key=_order)


def _order(path: Folder) -> tuple[int, int]:
    """The attempt and the report of a checkpoint: a sort key, greater for later ones."""
    match = re.fullmatch(r"epoch-(\d+)(?:-attempt-(\d+))?\.pt", path.name)
    return (int(match[2] or 0), int(match[1])) if match else (-1, 0)


def _unlink(paths: Iterable[Folder]) -> None:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def remove_unfinished(folder: Folder) -> None:
    """Remove files left by workers killed while writing; call before a worker starts to write."""
    _unlink(_files(folder, ".epoch-*"))


def load_last(folder: Folder) -> dict[str, Any] | None:
    """The newest complete checkpoint in a trial's folder, loaded to the CPU, or None."""
    for _, content in _whole(folder):
        with contextlib.suppress(Exception):  # damage that the checksums miss can raise nearly anything
            return checkpoint_archive.unpack(content)
    return None


def last_step(folder: Folder) -> int:
    """The report number of the newest complete checkpoint in a trial's folder, or 0."""
    return next((step for step, _ in _whole(folder)), 0)


def num_bytes(folder: Folder) -> int:
    """The total size of a trial's checkpoints; 0 in an object store."""
    return sum(path.stat().st_size for path in _checkpoints(folder) if isinstance(path, Path))


def drop_weights(folder: Folder) -> None:
    """Remove a trial's checkpoints and keep its other files."""
    _unlink(_checkpoints(folder))


def remove(folder: Folder) -> None:
    """Remove the files of a trial or of all trials."""
    if isinstance(folder, Path):
        shutil.rmtree(folder, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            folder.remove_all()


def _write(path: Folder, content: bytes) -> None:
    """Write a file of a trial atomically."""
    with _open(path) as file:
        file.write(content)


@contextlib.contextmanager
def _open(path: Folder, *, synced: bool = True) -> Iterator[BinaryIO]:
    """A file of a trial, written atomically; in an object store, an exception leaves the part written so far.

    The parent of the trial's folder must exist: a node without the shared folder must not create one of its own.
    """
    if isinstance(path, Path):
        path.parent.mkdir(exist_ok=True)
        with write_whole(path, synced=synced) as file:
            yield file
    else:
        with path.open_to_write() as file:
            yield file


def _whole(folder: Folder) -> Iterator[tuple[int, bytes]]:
    """Report number and content of each complete checkpoint in a trial's folder, newest first."""
    for path in reversed(_checkpoints(folder)):
        with contextlib.suppress(Exception):  # a changed byte in a zip's headers can raise nearly anything
            content = path.read_bytes()
            if checkpoint_archive.is_whole(content):
                yield _order(path)[1], content
