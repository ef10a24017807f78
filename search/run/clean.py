"""Finds and frees unneeded disk space: checkpoints of finished searches, old Ray sessions, the cache."""

import contextlib
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from data.base.errors import UserError
from data.base.files import default_cache
from search.base import locking
from search.base.schema import Outcome
from search.cluster import session
from search.run.folders import find_searches, write_spec
from search.spec import read as specs
from search.spec.read import read_spec
from search.study.storage import JOURNAL
from search.study.studies import Studies
from search.study.trial import Trial
from search.train import checkpoints


@dataclass(frozen=True)
class Waste:
    """Disk space that can be freed: a one-line description, its size, and a function that frees it or raises."""

    what: str
    num_bytes: int
    free: Callable[[], None]


def find(root: Path, seconds: float, num_kept: int) -> Iterator[Waste]:
    """Non-empty waste of the searches under `root` and of this user that was last touched more than `seconds` ago.

    num_kept: a finished search keeps the checkpoints of its best `num_kept` trials per architecture (per configuration
    if these are repeated). A search with trials still to run keeps all of them.
    """
    before = time.time() - seconds
    for folder in find_searches("", root):
        with contextlib.suppress(UserError):  # written by an older version, or running
            if waste := _checkpoints(folder, before, num_kept):
                yield waste
    sessions = [path for path in session.left_over() if path.stat().st_mtime < before]
    if sessions:
        what = f"{len(sessions)} sessions of Ray that have ended, in {sessions[0].parent}"
        yield Waste(what, sum(map(_size, sessions)), partial(_remove, sessions))
    cached = [path for path in default_cache().rglob("*") if path.is_file() and _last_used(path) < before]
    if cached:
        what = f"{len(cached)} files of the cache {default_cache()}, recreated when needed"
        yield Waste(what, sum(map(_size, cached)), partial(_remove, cached))


def superfluous(studies: Studies, num_kept: float) -> list[Trial]:
    """The ended trials that are not among the best `num_kept` of their architecture or configuration."""
    better: Counter[tuple[str, str | None]] = Counter()
    found = []
    for architecture in studies.spec.studied:
        for trial in studies.ranked(architecture):
            group = trial.architecture, trial.configuration
            better[group] += 1
            if better[group] > num_kept:
                found.append(trial)
        going_on = (Outcome.COMPLETE, Outcome.RUNNING, Outcome.INTERRUPTED)
        found += [trial for trial in studies.trials(architecture) if trial.outcome not in going_on]
    return found


def _checkpoints(folder: Path, before: float, num_kept: int) -> Waste | None:
    with locking.hold(folder):
        studies = Studies(folder.name, read_spec(folder), folder)
    touched = folder / JOURNAL if (folder / JOURNAL).exists() else folder
    if studies.num_owed or touched.stat().st_mtime >= before:
        return None
    trials = superfluous(studies, num_kept)
    sizes = [checkpoints.num_bytes(checkpoints.folder_of(folder, trial.name)) for trial in trials]
    if not any(sizes):
        return None
    what = f"checkpoints of {sum(map(bool, sizes))} trials of {folder.name} that are not among its best {num_kept}"
    return Waste(what, sum(sizes), partial(_drop, folder, [trial.name for trial in trials], num_kept))


def _drop(folder: Path, trials: list[str], num_kept: int) -> None:
    with locking.hold(folder):
        spec = read_spec(folder)
        if num_kept < spec.num_kept:  # first, so that an audit does not expect the removed checkpoints
            changes = {"keep_checkpoints": f"top:{num_kept}"}
            write_spec(specs.validate(spec.model_dump() | changes, files=False), folder)
        for trial in trials:
            checkpoints.drop_weights(checkpoints.folder_of(folder, trial))


def _remove(paths: list[Path]) -> None:
    for path in paths:
        try:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"cannot remove {error.filename or path}: {error.strerror or error}") from None


def _last_used(path: Path) -> float:
    status = path.stat()
    return max(status.st_atime, status.st_mtime)


def _size(path: Path) -> int:
    """Bytes on disk of a file or of all files in a folder; 0 for files that another process removes meanwhile."""
    num_bytes = 0
    for each in path.rglob("*") if path.is_dir() else [path]:
        with contextlib.suppress(OSError):
            status = os.lstat(each)
            num_bytes += status.st_blocks * 512
    return num_bytes
