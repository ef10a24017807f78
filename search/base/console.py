"""What every command shares: quiet libraries, and a user's mistake as one line that helps instead of a traceback."""

import errno
import functools
import logging
import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn, ParamSpec, TypeVar

from data.base.errors import UserError

P = ParamSpec("P")


R = TypeVar("R")

#: What is wrong with a disk or a folder rather than with us.
OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR)


def quiet_libraries() -> None:
    """No telemetry, no banners. Call before Ray or MLflow is imported; what the user has set stays."""
    for name, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        # A tracking server that is away holds up the driver; what it misses is delivered later (search/track).
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "PGCONNECT_TIMEOUT": "10",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_prestart_worker_first_driver": "false",  # these workers have not the environment that Tune asks for
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # MLflow is the record; no result.json, csv and tfevents beside it
        "TUNE_DISABLE_SIGINT_HANDLER": "1",  # ours lets running trials report and checkpoint
        "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
        "GIT_PYTHON_REFRESH": "quiet",
    }.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def one_line_errors(command: Callable[P, R]) -> Callable[P, R]:
    """A UserError (a wrong argument, spec or file) ends the command with its message and exit status 2, a disk that is
    full or cannot be written with one line and exit status 1; anything else is a bug, shown whole.

    BAKEOFF_TRACEBACK=1 shows where a mistake was noticed.
    """

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
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
