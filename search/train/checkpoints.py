"""Checkpoints of one trial: a file an epoch, written so that a crash leaves either the old one or the new one.

A file is what `torch.save` writes of plain tensors, numbers and containers, so that any torch reads it with
`weights_only=True`. torch writes a zip archive, whose checksums tell a torn file from a whole one.

They are in the search's own folder or, where a cluster's nodes have to reach them, in a folder that all nodes share or
a bucket of an object store.
"""

import contextlib
import fnmatch
import functools
import io
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import torch

from data.base.errors import UserError
from search.base.files import write_atomically

#: In a search's folder: the folder of checkpoints, or a file that says where it is instead.
FOLDER = "checkpoints"

#: The last one, and the one before it in case the last is damaged. The best epoch's weights are inside each.
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
    def stem(self) -> str:
        return self.path.stem

    @property
    def _place(self) -> tuple[Any, str]:
        filesystem, root = _open_store(self.uri)
        return filesystem, str(PurePosixPath(root) / self.path)

    def mkdir(self, **_: Any) -> None:
        pass  # an object store knows no folders

    def iterdir(self) -> Iterator["ObjectPath"]:
        from pyarrow.fs import FileSelector

        filesystem, path = self._place
        for info in filesystem.get_file_info(FileSelector(path, allow_not_found=True)):
            yield self / info.base_name

    def glob(self, pattern: str) -> list["ObjectPath"]:
        return [path for path in self.iterdir() if fnmatch.fnmatch(path.name, pattern)]

    def is_dir(self) -> bool:
        return any(self.iterdir())

    def is_file(self) -> bool:
        filesystem, path = self._place
        return bool(filesystem.get_file_info(path).is_file)

    def open(self, mode: str = "rb") -> BinaryIO:
        assert mode == "rb", mode
        return io.BytesIO(self.read_bytes())

    def read_bytes(self) -> bytes:
        filesystem, path = self._place
        with filesystem.open_input_stream(path) as stream:
            return bytes(stream.read())

    def write_bytes(self, content: bytes) -> None:
        """The object appears whole, when all of it has arrived, or not at all."""
        filesystem, path = self._place
        with filesystem.open_output_stream(path) as stream:
            stream.write(content)

    def unlink(self, missing_ok: bool = False) -> None:
        filesystem, path = self._place
        try:
            filesystem.delete_file(path)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def remove_all(self) -> None:
        """The folder with all that is in it."""
        filesystem, path = self._place
        filesystem.delete_dir(path)


Folder = Path | ObjectPath


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
        noted = (where.uri if isinstance(where, ObjectPath) else str(where)).encode()
        write_atomically(search / FOLDER, lambda file: file.write(noted))
    folder = root(search)
    folder.mkdir(exist_ok=True)
    return folder


def save(folder: Folder, epoch: int, content: dict[str, Any]) -> Folder:
    """Write the checkpoint of an epoch, then remove those that are no longer needed."""
    path = folder / f"epoch-{epoch:04d}.pt"
    buffer = io.BytesIO()
    torch.save(content, buffer)
    _write(path, buffer.getvalue())
    saved = _saved(folder)
    earlier = [each for each in saved if each.name <= path.name]
    later = [each for each in saved if each.name > path.name]  # these are damaged
    for old in earlier[:-NUM_KEPT] + later:
        old.unlink(missing_ok=True)
    return path


def save_file(folder: Folder, name: str, content: bytes) -> None:
    """Write a file beside a trial's checkpoints."""
    _write(folder / name, content)


def load_file(folder: Folder, name: str) -> bytes | None:
    """A file beside a trial's checkpoints, or None."""
    path = folder / name
    return path.read_bytes() if path.is_file() else None


def save_text(folder: Folder, name: str, text: str) -> None:
    """The same of a text."""
    save_file(folder, name, text.encode())


def load_text(folder: Folder, name: str) -> str | None:
    content = load_file(folder, name)
    return None if content is None else content.decode()


def _saved(folder: Folder) -> list[Folder]:
    """The files of its epochs, whole or not, the oldest first."""
    return sorted([*folder.glob("epoch-*.pt")], key=lambda path: path.name)


def remove_unfinished(folder: Folder) -> None:
    """Remove what workers left that were killed while they wrote; call before a worker starts to write."""
    for partial in folder.glob(".epoch-*"):
        partial.unlink(missing_ok=True)


def load_last(folder: Folder) -> dict[str, Any] | None:
    """The newest whole checkpoint in a trial's folder, on the CPU, or None."""
    for path in reversed(_saved(folder)):
        try:
            if _is_whole(path):
                with path.open("rb") as file:
                    return torch.load(file, map_location="cpu", weights_only=True)
        except Exception:  # a changed byte can raise nearly anything, and the answer is the same: the one before it
            continue
    return None


def last_epoch(folder: Folder) -> int:
    """The epoch of the newest whole checkpoint in a trial's folder, or 0."""
    whole = (path for path in reversed(_saved(folder)) if _is_whole(path))
    return next((int(path.stem.removeprefix("epoch-")) for path in whole), 0)


def drop_weights(folder: Folder) -> None:
    """Remove a trial's checkpoints, and leave the other files beside them."""
    for path in _saved(folder):
        path.unlink(missing_ok=True)


def remove(folder: Folder) -> None:
    """Remove a trial's files, or those of all trials."""
    if isinstance(folder, Path):
        shutil.rmtree(folder, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            folder.remove_all()


def _write(path: Folder, content: bytes) -> None:
    """Write a file of a trial whole or not at all.

    The folder that it is in must have one around it: a node that lacks the shared folder must not make its own.
    """
    if isinstance(path, Path):
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, lambda file: file.write(content))
    else:
        path.write_bytes(content)


def _is_whole(path: Folder) -> bool:
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except Exception:  # a changed byte in a zip's headers can raise nearly anything, and the answer is the same
        return False
