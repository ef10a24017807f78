"""The folders of Ray's sessions, of logs and sockets: ours is removed after it went well, others by `clean`."""

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
from ray._common.utils import get_default_ray_temp_dir  # that of RAY_TMPDIR and TMPDIR

from data.base.errors import UserError
from search.base import timings
from search.base.timings import Event

PREFIX = "session_"

_kept: set[Path] = set()  # sessions whose logs somebody has been pointed to


def own() -> Path:
    """The folder of the session that this process has started."""
    node: Any = ray._private.worker._global_node
    return Path(node.get_session_dir_path())


def keep() -> Path:
    """Leave the folder of our own session when that ends, for its logs; where these are."""
    _kept.add(own())
    return own() / "logs"


@contextmanager
def tidy(begun: "Future[None]") -> Iterator[None]:
    """Shuts our own Ray down at the end, and removes the folder of its session unless that is to be kept, or what was
    done meanwhile broke off for a reason that Ray's logs may tell. begun: is done once Ray has started, or cannot."""
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
    return begun.exception() is None  # which waits for it


@contextmanager
def deaf_to_hangups() -> Iterator[None]:
    """Processes that are started meanwhile never see SIGHUP: when its terminal is closed the driver ends them, once
    their trials have reported. Ray does the same for Ctrl-C. One that comes meanwhile is taken afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def left_over() -> list[Path]:
    """The folders of this user's sessions that no process uses any more."""
    found = [
        path for path in Path(get_default_ray_temp_dir()).glob(f"{PREFIX}*") if path.is_dir() and not path.is_symlink()
    ]
    if not found:
        return []
    used = "\n".join(argument for each in psutil.process_iter(["cmdline"]) for argument in each.info["cmdline"] or ())
    ours = [path for path in found if path.stat().st_uid == os.getuid()]
    # One that is just being started is named by the process that starts it.
    return sorted(path for path in ours if path.name not in used and not _is_alive(path.name.rpartition("_")[2]))


def _is_alive(pid: str) -> bool:
    return pid.isdecimal() and psutil.pid_exists(int(pid))
