"""Where studies are kept."""

import os
from pathlib import Path
from typing import Any

import optuna
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from data.base.errors import UserError
from data.base.files import naming
from search.base import record
from search.spec.spec import Spec

JOURNAL = "studies.journal"


class _Unlocked(JournalFileSymlinkLock):
    """For a journal that one process writes. Optuna's own locks make, rename and remove a file for each line: a disk
    that refuses one of these ends the search with a RuntimeError, and a lock left behind holds up the next line for
    30 s."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None: ...


class _Journal(JournalFileBackend):
    """Optuna's journal, in which a line that could not be written whole, on a full disk, leaves no part of itself: the
    next would be appended to it, and neither could be read again. One process writes it (`locking.hold`)."""

    def __init__(self, path: str) -> None:
        super().__init__(path, _Unlocked(path))
        self._path = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        size = os.path.getsize(self._path)
        try:
            with naming(Path(self._path)):
                super().append_logs(logs)
        except OSError:
            os.truncate(self._path, size)
            raise


def open_storage(spec: Spec, folder: Path) -> optuna.storages.BaseStorage:
    """The storage a spec names, else the journal in the search's folder. Raises UserError when it cannot be opened."""
    where = spec.storage or str((folder / JOURNAL).absolute())
    try:
        if spec.storage:
            return optuna.storages.get_storage(spec.storage)
        return optuna.storages.JournalStorage(_Journal(where))
    except OSError:
        raise
    except Exception as error:  # a URL that is none, a driver that is missing, a server that is away, a broken line
        problem = record.without_password(str(error)).strip().splitlines() or [repr(error)]
        raise UserError(f"the studies in {record.without_password(where)} cannot be opened: {problem[0]}") from error
