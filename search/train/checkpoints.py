"""Checkpoints of one trial: files written so that a crash leaves either the old one or the new one.

Each worker that has begun with a trial is an attempt, numbered by the driver, whose number is in the names of its
files. One that the driver takes for lost may go on all the same: it never writes or removes what a later one wrote.

They are in the search's own folder or, where a cluster's nodes have to reach them, in a folder that all nodes share or
a bucket of an object store.
"""

import contextlib
import functools
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from data.base.errors import UserError
from data.base.files import write_whole
from search.train import packing

#: In a search's folder: the folder of checkpoints, or a file that says where it is instead.
FOLDER = "checkpoints"

#: While a trial goes on: the last one, and the one before it in case the last is damaged. The best report's weights are
#: inside each. Of a trial that has ended, only the last one.
NUM_KEPT = 2


@dataclass(frozen=True)
class ObjectPath:
    """A path in an object store: what is needed here of a Path's interface, through pyarrow.

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
        pass  # an object store knows no folders

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
        """A stream; the object appears when it is closed, with all that has arrived."""
        filesystem, path = self._place
        return filesystem.open_output_stream(path)

    def unlink(self) -> None:
        filesystem, path = self._place
        filesystem.delete_file(path)

    def remove_all(self) -> None:
        """The folder with all that is in it."""
        filesystem, path = self._place
        filesystem.delete_dir(path)


Folder = Path | ObjectPath


class SupersededError(Exception):
    """Another attempt has begun with the trial, or its driver has removed its files: this one has nothing to add."""


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

    Raises UserError when the shared folder is not there, FileExistsError when a search that is kept elsewhere has this
    id and its checkpoints there.
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
    """Note that this attempt begins with the trial; none before it may write from now on.

    Raises SupersededError when a later one has begun.
    """
    if attempt not in _begun(folder):
        _write(folder / f"attempt-{attempt}", b"")
    require_current(folder, attempt)


def require_current(folder: Folder, attempt: int) -> None:
    """Raise SupersededError unless this attempt is the last that has begun."""
    if max(_begun(folder), default=None) != attempt:
        raise SupersededError(f"attempt {attempt} of {folder.name} goes on in another worker, or has ended")


def _begun(folder: Folder) -> list[int]:
    """The attempts that have begun, in no order."""
    return [int(path.name.removeprefix("attempt-")) for path in _files(folder, "attempt-*")]


def save(folder: Folder, step: int, content: dict[str, Any], num_kept: int = NUM_KEPT, attempt: int = 0) -> Folder:
    """Write the checkpoint of a report, then, when it is there as a whole, remove those before the last `num_kept`.

    Its file is named by the number of the report, which is the epoch's where an epoch has one, and by the attempt.
    What a later attempt wrote stays.
    """
    path = folder / (f"epoch-{step:04d}-attempt-{attempt}.pt" if attempt else f"epoch-{step:04d}.pt")
    _write(path, packing.pack(content))
    saved = [each for each in _checkpoints(folder) if _order(each)[0] <= attempt]
    earlier = [each for each in saved if _order(each)[1] < step]
    others = [each for each in saved if _order(each)[1] >= step and each.name != path.name]  # these are damaged
    _unlink([*earlier, path][:-num_kept] + others)
    return path


def save_file(folder: Folder, name: str, content: bytes) -> None:
    """Write a file beside a trial's checkpoints."""
    _write(folder / name, content)


@contextlib.contextmanager
def open_file(folder: Folder, name: str) -> Iterator[BinaryIO]:
    """The same of a file that is written a part at a time."""
    with _open(folder / name) as file:
        yield file


def load_file(folder: Folder, name: str) -> bytes | None:
    """A file beside a trial's checkpoints, or None."""
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError:
        return None


def save_text(folder: Folder, name: str, text: str) -> None:
    """The same of a text."""
    save_file(folder, name, text.encode())


def load_text(folder: Folder, name: str) -> str | None:
    content = load_file(folder, name)
    return None if content is None else content.decode()


def _files(folder: Folder, pattern: str) -> list[Folder]:
    """The files in a trial's folder of a pattern."""
    with contextlib.suppress(FileNotFoundError):
        return [path for path in folder.iterdir() if fnmatch(path.name, pattern)]
    return []


def _checkpoints(folder: Folder) -> list[Folder]:
    """The checkpoints in a trial's folder, whole or not; the oldest first."""
    return sorted(_files(folder, "epoch-*.pt"), key=_order)


def _order(path: Folder) -> tuple[int, int]:
    """The attempt and the report of a checkpoint, by which a later one is greater."""
    found = re.fullmatch(r"epoch-(\d+)(?:-attempt-(\d+))?\.pt", path.name)
    return (int(found[2] or 0), int(found[1])) if found else (-1, 0)


def _unlink(paths: Iterable[Folder]) -> None:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def remove_unfinished(folder: Folder) -> None:
    """Remove what workers left that were killed while they wrote; call before a worker starts to write."""
    _unlink(_files(folder, ".epoch-*"))


def load_last(folder: Folder) -> dict[str, Any] | None:
    """The newest whole checkpoint in a trial's folder, on the CPU, or None."""
    for _, content in _whole(folder):
        with contextlib.suppress(Exception):  # what the checksums miss can raise nearly anything: the one before it
            return packing.unpack(content)
    return None


def last_step(folder: Folder) -> int:
    """The report of the newest whole checkpoint in a trial's folder, or 0."""
    return next((step for step, _ in _whole(folder)), 0)


def num_bytes(folder: Folder) -> int:
    """The size of a trial's checkpoints, where they are files."""
    return sum(path.stat().st_size for path in _checkpoints(folder) if isinstance(path, Path))


def drop_weights(folder: Folder) -> None:
    """Remove a trial's checkpoints, and leave the other files beside them."""
    _unlink(_checkpoints(folder))


def remove(folder: Folder) -> None:
    """Remove a trial's files, or those of all trials."""
    if isinstance(folder, Path):
        shutil.rmtree(folder, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            folder.remove_all()


def _write(path: Folder, content: bytes) -> None:
    """Write a file of a trial whole or not at all."""
    with _open(path) as file:
        file.write(content)


@contextlib.contextmanager
def _open(path: Folder) -> Iterator[BinaryIO]:
    """A file of a trial, to be written whole or not at all; in an object store what was written before an exception.

    The folder that it is in must have one around it: a node that lacks the shared folder must not make its own.
    """
    if isinstance(path, Path):
        path.parent.mkdir(exist_ok=True)
        with write_whole(path) as file:
            yield file
    else:
        with path.open_to_write() as file:
            yield file


def _whole(folder: Folder) -> Iterator[tuple[int, bytes]]:
    """The reports of the whole checkpoints in a trial's folder, and what is in these, the newest first."""
    for path in reversed(_checkpoints(folder)):
        with contextlib.suppress(Exception):  # a changed byte in a zip's headers can raise nearly anything
            content = path.read_bytes()
            if packing.is_whole(content):
                yield _order(path)[1], content
