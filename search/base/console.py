"""What every command shares: quiet libraries, and a user's mistake as one line that helps instead of a traceback."""

import functools
import logging
import os
import sys
from collections.abc import Callable
from typing import NoReturn, ParamSpec, TypeVar

P = ParamSpec("P")


R = TypeVar("R")


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
    """A ValueError (a wrong argument, spec or file) ends the command with its message and exit status 2, and an OSError
    (a full disk, a folder that cannot be written) with exit status 1.

    BAKEOFF_TRACEBACK=1 shows where it came from.
    """

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except ValueError as error:
            if os.environ.get("BAKEOFF_TRACEBACK"):
                raise
            fail(str(error), status=2)
        except OSError as error:
            if os.environ.get("BAKEOFF_TRACEBACK"):
                raise
            fail(f"{error.filename}: {error.strerror}" if error.filename else str(error), status=1)

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
