"""What every command shares: quiet libraries, and a user's mistake as one line that helps instead of a traceback."""

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

#: What is wrong with a disk or a folder rather than with us.
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


#: No telemetry, no banners; set before Ray or MLflow is imported.
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # A tracking server that is away holds up the driver; what it misses is delivered later (search/track).
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "PGCONNECT_TIMEOUT": "10",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Nobody reads a search's own Ray's metrics, and any user of the machine could: two ports have no other switch than
    # a number that is none.
    "RAY_enable_metrics_collection": "false",
    "AUTOSCALER_METRIC_PORT": "65536",
    "DASHBOARD_METRIC_PORT": "65536",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # MLflow is the record; no result.json, csv and tfevents beside it
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # ours lets running trials report and checkpoint
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # Tune's own bound on waiting trials is fixed when it starts; the searcher's follows the cluster.
    "TUNE_MAX_PENDING_TRIALS_PG": "1000000",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # the studies are what a resume reads, not Tune's own record
    "GIT_PYTHON_REFRESH": "quiet",
}

#: What Ray writes into the environment when it is imported and started.
OF_RAY = {"RAY_AUTH_MODE", "RAY_CLIENT_MODE", "PYTHONBREAKPOINT"}

_lock = threading.Lock()
_num_open, _new, _verbosity = 0, {""}, logging.INFO  # of `quiet`


def quiet_libraries() -> None:
    """Quiet libraries for as long as this process lives; what the user has set stays."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("optuna").setLevel(logging.ERROR)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # 150 lines of a database that is locked
    # In a notebook without widgets, which nothing here uses.
    logging.getLogger("ray.widgets.util").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", "IProgress not found")


@contextmanager
def quiet() -> Iterator[None]:
    """Quiet libraries while this is open, in however many threads; then the environment, and what Optuna says, are as
    they were before."""
    global _num_open, _new, _verbosity
    optuna = logging.getLogger("optuna")  # not optuna.logging, whose import takes a second
    with _lock:
        if not _num_open:
            _new = (QUIET.keys() | OF_RAY) - os.environ.keys()
            _verbosity = optuna.level or logging.INFO  # what its import, which may be still to come, sets
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
    """For a process of our own: the libraries make a million objects that live as long as it does.

    With Python's own settings a third of the time of their import goes into looking for garbage among them, and
    another second when the process ends.
    """
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)


def command(command: Callable[P, R]) -> Callable[P, R]:
    """A command, in a process of its own with quiet libraries: a UserError (a wrong argument, spec or file) ends it
    with its message and exit status 2, a disk that is full or cannot be written with one line and exit status 1;
    anything else is a bug, shown whole.

    BAKEOFF_TRACEBACK=1 shows where a mistake was noticed.
    """

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        quiet_libraries()
        collect_rarely()
        try:
            return command(*args, **kwargs)
        except BrokenPipeError:  # whoever reads what is printed has seen enough, as `head` has
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python's own end would fail again
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
    """Say what is wrong, a line for each thing, on standard error; end with this exit status."""
    for line in message.splitlines() or [""]:
        print(f"error: {line}", file=sys.stderr)
    raise SystemExit(status)


def python() -> str:
    """How a user starts this Python: `python` in an activated environment, else its path from here."""
    if os.environ.get("VIRTUAL_ENV") == sys.prefix:
        return "python"
    path = os.path.relpath(sys.executable)
    return path if not path.startswith("..") else sys.executable
