"""What is done when a search has ended: the command of `--on-finish` is told how, as JSON on its standard input."""

import contextlib
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.base import record

if TYPE_CHECKING:
    from bakeoff.api import Search


def result(search: "Search", page: Path | None) -> dict[str, Any]:
    """How a search ended, in plain containers; None for what is not known, as where MLflow is away or nothing ran.

    status: complete, interrupted or failed. best: of what was searched, no baseline, by `metric`, of which it has
    `score`. gain: of that in test accuracy over the best baseline, with its 95 % interval. page: of the report.
    """
    told: dict[str, Any] = {
        "search": search.id,
        "status": search.result.outcome.value if search.result else None,
        "trials_to_go": search.result.num_owed if search.result else None,
        "best": None,
        "metric": None,
        "score": None,
        "gain": None,
        "folder": str(search.folder),
        "page": str(page.absolute()) if page else None,
        "tracking_uri": record.without_password(search.tracking_uri),
    }
    with contextlib.suppress(Exception):  # whoever waits for the end is told of it all the same
        told["metric"] = search.spec.metric
        best = search.best()
        told["score"] = best.score
        told["best"] = {
            "trial": best.name,
            "architecture": best.architecture,
            "hyperparameters": best.hyperparameters,
            "run_id": best.run_id,
        }
        if found := search.gain().against:
            known = {name: getattr(found, name) for name in ("difference", "low", "high")}
            told["gain"] = {"over": found.baseline} | {
                name: value if math.isfinite(value) else None for name, value in known.items()
            }
    return told


def call(command: str, search: "Search", page: Path | None) -> None:
    """Run a command of the shell with the result on its standard input. The search is done and does not depend on it:
    what goes wrong is a line on standard error."""
    problem = None
    try:
        status = subprocess.run(command, shell=True, input=f"{json.dumps(result(search, page))}\n".encode()).returncode
        if status:
            problem = f"it was ended by signal {-status}" if status < 0 else f"exit status {status}"
    except KeyboardInterrupt:
        problem = "it was stopped"
    except OSError as error:
        problem = error.strerror or str(error)
    if problem:
        with contextlib.suppress(OSError):  # a terminal that is gone
            print(f"--on-finish: {problem}; that changes nothing for {search.id}", file=sys.stderr)
