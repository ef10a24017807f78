"""Where studies are kept."""

from pathlib import Path

import optuna
from optuna.storages.journal import JournalFileBackend

from data.base.errors import UserError
from search.base import record
from search.spec.spec import Spec

JOURNAL = "studies.journal"


def open_storage(spec: Spec, folder: Path) -> optuna.storages.BaseStorage:
    """The storage a spec names, else the journal in the search's folder. Raises UserError when it cannot be opened."""
    # Optuna's lock is a link to the path as given, and it waits for ever on one that leads nowhere.
    where = spec.storage or str((folder / JOURNAL).absolute())
    try:
        if spec.storage:
            return optuna.storages.get_storage(spec.storage)
        return optuna.storages.JournalStorage(JournalFileBackend(where))
    except OSError:
        raise
    except Exception as error:  # a URL that is none, a driver that is missing, a server that is away, a broken line
        problem = record.without_password(str(error)).strip().splitlines() or [repr(error)]
        raise UserError(f"the studies in {record.without_password(where)} cannot be opened: {problem[0]}") from error
