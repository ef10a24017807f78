"""The callback that Ray Tune sees: it decides what happens to trials whose worker has died."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray.core.generated.common_pb2 import ActorDiedErrorContext  # type: ignore[attr-defined]
from ray.exceptions import RayActorError
from ray.tune import Callback
from ray.tune.progress_reporter import TrialProgressCallback

from data.base.errors import in_short
from search.tune.searcher import Stateless, StudySearcher

KNOWN_SECONDS = 40.0  # the time that Ray may need to notice a lost machine; it notices a dead worker at once


class StudyCallback(Stateless, Callback):
    """Hands the trials of a dead worker to other workers, as often as `retries` allows.

    The loss of a whole machine does not count as a retry, since the trials did not cause it.

    after_step: called after each step of Tune, usually ten times a second or more, when the worker that reported has
    been told to continue.
    """

    def __init__(self, searcher: StudySearcher, after_step: Callable[[], object] = lambda: None) -> None:
        self._searcher, self._after_step = searcher, after_step

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._after_step()

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        hosted = self._searcher.hosted(trial.trial_id)
        if node_was_lost(_error(trial)):
            self._searcher.node_lost(hosted)
            return
        raised = Path(trial.error_file).read_text(encoding="utf-8", errors="replace") if trial.error_file else ""
        for live in hosted.members.values():
            self._searcher.failed(live, reason(raised))


class Silent(Stateless, TrialProgressCallback):
    """Replaces Ray's callback, which at any verbosity prints a line for a trial that ends before it has started."""

    def _print(self, msg: str) -> None:
        pass


def _error(trial: Any) -> Exception | None:
    """The error that ended a Tune trial. Tune's method would read it from the shared storage, where it arrives
    later."""
    path = trial.pickled_error_file
    if path is None or not Path(path).is_file():
        return None
    error: Exception = ray.cloudpickle.loads(Path(path).read_bytes())
    return error


def node_was_lost(error: Exception | None) -> bool:
    """Whether a worker was lost together with its machine, according to Ray's table of actors."""
    if not isinstance(error, RayActorError) or error.actor_id is None:
        return False
    deadline = time.monotonic() + KNOWN_SECONDS
    while not error.preempted:
        died = ray._private.state.actors(error.actor_id)
        lost = {node["NodeID"] for node in ray.nodes() if not node["Alive"]}
        if died and died["Address"]["NodeID"] in lost:
            return True
        if not died or died["State"] == "DEAD" or time.monotonic() > deadline:
            return bool(died) and died["DeathCause"].actor_died_error_context.reason == ActorDiedErrorContext.NODE_DIED
        time.sleep(0.1)
    return True


def reason(raised: str) -> str:
    """The line with the cause of the error, from a worker's traceback."""
    lines = [line.strip() for line in raised.splitlines() if line.strip()]
    of_ray = [line for line in lines if "running low on memory" in line or line.startswith("The actor is dead because")]
    return in_short((of_ray or lines or ["unknown"])[-1], 500)
