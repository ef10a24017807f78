"""Shared by all commands: silencing libraries, and reporting users' mistakes in one line without a traceback."""

import atexit
import errno
import functools
import gc
import logging
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, ParamSpec, TypeVar

from data.base.errors import UserError

P = ParamSpec("P")
R = TypeVar("R")

#: Errors caused by a disk or a folder rather than by a bug.
OF_THE_DISK = (
    errno.EIO,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOENT,
    errno.ENOTDIR,
)


#: Environment without telemetry and banners; set before Ray or MLflow is imported.
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Short, since an unreachable tracking server blocks the driver; missing records are delivered later (search/track).
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "PGCONNECT_TIMEOUT": "10",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_AUTO_CONNECT": "0",  # otherwise a call after Ray's end would start another Ray
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Metrics of the search's private Ray are not used, and their ports are open to all users of the machine. Two of the
    # ports can only be disabled by an invalid number.
    "RAY_enable_metrics_collection": "false",
    "AUTOSCALER_METRIC_PORT": "65536",
    "DASHBOARD_METRIC_PORT": "65536",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no result.json, csv and tfevents: MLflow has the results
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # our handler lets running trials report and checkpoint
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # Tune fixes its limit of pending trials at the start; the searcher has a limit that follows the cluster.
    "TUNE_MAX_PENDING_TRIALS_PG": "1000000",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # a resume reads the studies, not Tune's checkpoints
    "GIT_PYTHON_REFRESH": "quiet",
}

#: Variables that Ray sets when it is imported and started.
OF_RAY = {"RAY_AUTH_MODE", "RAY_CLIENT_MODE", "PYTHONBREAKPOINT"}

_lock = threading.Lock()
_num_open, _new, _verbosity = 0, {""}, logging.INFO  # state of `quiet`


def quiet_libraries() -> None:
    """Silences libraries for the rest of this process. Variables that the user has set are kept."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("optuna").setLevel(logging.ERROR)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # 150 lines per locked database
    # Warns in a notebook without widgets, which are not used here.
    logging.getLogger("ray.widgets.util").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", "IProgress not found")


@contextmanager
def quiet() -> Iterator[None]:
    """Silences libraries inside the block. Environment and Optuna's log level are restored once no thread is inside."""
    global _num_open, _new, _verbosity
    optuna = logging.getLogger("optuna")  # not optuna.logging, whose import takes a second
    with _lock:
        if not _num_open:
            _new = (QUIET.keys() | OF_RAY) - os.environ.keys()
            _verbosity = optuna.level or logging.INFO  # the level set by importing Optuna, which may happen later
            quiet_libraries()
        _num_open += 1
    try:
        yield
    finally:
        with _lock:
            _num_open -= 1
            if not _num_open:
                optuna.setLevel(_verbosity)
                for name in _new:
                    os.environ.pop(name, None)


def collect_rarely() -> None:
    """Makes garbage collection rare, for a process that runs nothing but a command of ours.

    Imported libraries create a million permanent objects. With Python's default settings, searching them for garbage
    takes a third of the import time, and another second at exit.
    """
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)


def command(command: Callable[P, R]) -> Callable[P, R]:
    """Decorates the main function of a command, which runs in a separate process with silenced libraries.

    A UserError (a wrong argument, spec or file) ends it with the message and exit status 2, a full or unwritable disk
    with one line and exit status 1. Any other exception is a bug and shows its traceback. BAKEOFF_TRACEBACK=1 shows the
    traceback in the first two cases, too.
    """

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        quiet_libraries()
        collect_rarely()
        try:
            return command(*args, **kwargs)
        except BrokenPipeError:  # the reader of our output has closed it, as `head` does
            # Otherwise Python fails again when it flushes standard output at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(1) from None
        except Exception as error:
            if isinstance(error, UserError):
                message, status = str(error), 2
            elif isinstance(error, OSError) and error.errno in OF_THE_DISK:
                message, status = f"{error.filename}: {error.strerror}" if error.filename else str(error), 1
            else:
                traceback.print_exc()
                fail("this is a bug in Bakeoff: please report it with the lines above", status=1)
            if os.environ.get("BAKEOFF_TRACEBACK"):
                raise
            fail(message, status)

    return wrapped


def fail(message: str, status: int) -> NoReturn:
    """Prints every line of the message as an error on standard error, and exits with the status."""
    for line in message.splitlines() or [""]:
        print(f"error: {line}", file=sys.stderr)
    raise SystemExit(status)


def python() -> str:
    """The command that starts this Python: `python` in an activated environment, otherwise its relative path."""
    if os.environ.get("VIRTUAL_ENV") == sys.prefix:
        return "python"
    path = os.path.relpath(sys.executable)
    return path if not path.startswith("..") else sys.executable
