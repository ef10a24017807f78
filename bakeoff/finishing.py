"""Runs the command of `--on-finish` when a search has ended, with the result as JSON on its standard input."""

import contextlib
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.base import mlflow_uri

if TYPE_CHECKING:
    from bakeoff.api import Search


def result(search: "Search", page: Path | None) -> dict[str, Any]:
    """How a search ended, as JSON-serializable containers; unknown values (MLflow unreachable, no trials) are None.

    status: complete, interrupted or failed. best: the best searched trial (not a baseline) by `metric`; `score` is its
    value. gain: its test accuracy minus that of the best baseline, with a 95 % interval. page: path of the report.
    """
    known: dict[str, Any] = {
        "search": search.id,
        "status": search.result.outcome.value if search.result else None,
        "trials_to_go": search.result.num_owed if search.result else None,
        "best": None,
        "metric": None,
        "score": None,
        "gain": None,
        "folder": str(search.folder),
        "page": str(page.absolute()) if page else None,
        "tracking_uri": mlflow_uri.without_password(search.tracking_uri),
    }
    with contextlib.suppress(Exception):  # the command must run even if the results cannot be read
        known["metric"] = search.spec.metric
        best = search.best()
        known["score"] = best.score
        known["best"] = {
            "trial": best.name,
            "architecture": best.architecture,
            "hyperparameters": best.hyperparameters,
            "run_id": best.run_id,
        }
        if found := search.gain().against:
            numbers = {name: getattr(found, name) for name in ("difference", "low", "high")}
            known["gain"] = {"over": found.baseline} | {
                name: value if math.isfinite(value) else None for name, value in numbers.items()
            }
    return known


def call(command: str, search: "Search", page: Path | None) -> None:
    """Run a shell command with the result on its standard input.

    The search has ended and does not depend on it: a failure is reported as one line on standard error.
    """
    problem = None
    try:
        status = subprocess.run(command, shell=True, input=f"{json.dumps(result(search, page))}\n".encode()).returncode
        if status:
            problem = f"ended by signal {-status}" if status < 0 else f"exit status {status}"
    except KeyboardInterrupt:
        problem = "interrupted"
    except OSError as error:
        problem = error.strerror or str(error)
    if problem:
        with contextlib.suppress(OSError):  # the terminal was closed
            print(f"--on-finish: {problem}; the search {search.id} is not affected", file=sys.stderr)
