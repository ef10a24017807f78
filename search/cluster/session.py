"""The folders of Ray's sessions, with logs and sockets: ours is removed after success, left-over ones by `clean`."""

import os
import shutil
import signal
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
from search.base.timings import Event

PREFIX = "session_"

_kept: set[Path] = set()  # sessions whose logs were mentioned to the user


def own() -> Path:
    """The folder of the session started by this process."""
    node: Any = ray._private.worker._global_node
    return Path(node.get_session_dir_path())


def keep() -> Path:
    """Keeps the folder of our session when it ends. Returns its folder of logs."""
    _kept.add(own())
    return own() / "logs"


@contextmanager
def tidy(begun: "Future[None]") -> Iterator[None]:
    """Shuts our Ray down at the end of the block, and removes the folder of its session. The folder stays if `keep` was
    called, or if an unexpected exception was raised, which the logs may explain.

    begun: is done once Ray has started, or has failed to.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, UserError) and _is_up(begun):
            error.add_note(f"Ray's logs are in {keep()}")
        raise
    finally:
        folder = own() if _is_up(begun) else None
        ray.shutdown()
        timings.note(Event.RAY_ENDED)
        if folder in _kept:
            _kept.discard(folder)
        elif folder:
            shutil.rmtree(folder, ignore_errors=True)


def _is_up(begun: "Future[None]") -> bool:
    return begun.exception() is None  # waits until it is done


@contextmanager
def deaf_to_hangups() -> Iterator[None]:
    """Makes processes started inside the block ignore SIGHUP: when the terminal is closed, the driver ends them once
    their trials have reported. (Ray does the same for Ctrl-C.) The driver receives a SIGHUP after the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def left_over() -> list[Path]:
    """The session folders of this user that no process uses any more."""
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
