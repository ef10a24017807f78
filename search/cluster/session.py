"""The folders of Ray's sessions, with logs and sockets. This process removes its session's after success; `clean`
removes those that were left over."""

import os
import shutil
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import ray
from ray._common.utils import get_default_ray_temp_dir  # considers RAY_TMPDIR and TMPDIR

from data.base.errors import UserError
from search.base import timings
from search.base.handlers import restoring
from search.base.timings import Event

PREFIX = "session_"

_kept: set[Path] = set()  # sessions whose logs were mentioned to the user


def current_folder() -> Path:
    """The folder of the session that this process started."""
    node: Any = ray._private.worker._global_node
    return Path(node.get_session_dir_path())


def keep() -> Path:
    """Keeps the folder of this process's session when the session ends. Returns the folder of its logs."""
    _kept.add(current_folder())
    return current_folder() / "logs"


@contextmanager
def tidy(begun: "Future[None]") -> Iterator[None]:
    """Shuts Ray down at the end of the block, and removes the folder of its session. The folder is kept if `keep` was
    called, or if an unexpected exception was raised, which the logs may explain.

    begun: a future that is done once Ray has started or failed to start.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, UserError) and _is_up(begun):
            error.add_note(f"Ray's logs are in {keep()}")
        raise
    finally:
        folder = current_folder() if _is_up(begun) else None
        with _undisturbed():
            ray.shutdown()
        timings.note(Event.RAY_ENDED)
        if folder in _kept:
            _kept.discard(folder)
        elif folder:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignores Ctrl-C and the like inside the block: half a shutdown would leave processes behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stops = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    with restoring(stops):
        for number in stops:
            signal.signal(number, lambda *_: None)
        yield


def _is_up(begun: "Future[None]") -> bool:
    return begun.exception() is None  # waits for the future


@contextmanager
def blocking_hangups() -> Iterator[None]:
    """Blocks SIGHUP for processes started inside the block: when the terminal is closed, the driver ends them after
    their trials have reported. (Ray does the same for Ctrl-C.) A SIGHUP to the driver is delivered after the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def left_over() -> list[Path]:
    """This user's session folders that no process uses any more."""
    folders = [
        path for path in Path(get_default_ray_temp_dir()).glob(f"{PREFIX}*") if path.is_dir() and not path.is_symlink()
    ]
    if not folders:
        return []
    processes = psutil.process_iter(["cmdline"])
    used = "\n".join(argument for process in processes for argument in process.info["cmdline"] or ())
    ours = [path for path in folders if path.stat().st_uid == os.getuid()]
    # A session that is being started has the id of the starting process in its name.
    return sorted(path for path in ours if path.name not in used and not _is_alive(path.name.rpartition("_")[2]))


def _is_alive(pid: str) -> bool:
    return pid.isdecimal() and psutil.pid_exists(int(pid))
