"""The storage of a search's studies."""

import os
from pathlib import Path
from typing import Any

import optuna
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from data.base.errors import UserError
from data.base.files import naming
from search.base import mlflow_uri
from search.spec.spec import Spec

JOURNAL = "studies.journal"


class _Unlocked(JournalFileSymlinkLock):
    """No lock, for a journal with a single writer. Optuna's own locks create, rename and remove a file for each line:
    if the disk refuses one of these, the search ends with a RuntimeError; a stale lock delays the next line by 30 s.
    """

    def acquire(self) -> bool:
        return True

    def release(self) -> None: ...


class _Journal(JournalFileBackend):
    """Optuna's journal, without the beginning of a line that did not fit on a full disk: the next line would be
    appended to it, and neither could be read. It has a single writer (see `search.base.locking.hold`)."""

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
    """The storage that a spec names, or else the journal in the search's folder. Raises UserError when it cannot be
    opened."""
    where = spec.storage or str((folder / JOURNAL).absolute())
    try:
        if spec.storage:
            return optuna.storages.get_storage(spec.storage)
        return optuna.storages.JournalStorage(_Journal(where))
    except OSError:
        raise
    except Exception as error:  # an invalid URL, a missing driver, a server that is down, a broken line
        problem = mlflow_uri.without_password(str(error)).strip().splitlines() or [repr(error)]
        raise UserError(
            f"the studies in {mlflow_uri.without_password(where)} cannot be opened: {problem[0]}"
        ) from error
