"""The callback that Ray Tune sees: it tells the studies of workers that died."""

from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.progress_reporter import TrialProgressCallback

from data.base.errors import in_short
from search.base.record import Outcome
from search.study.studies import Studies
from search.tune.searcher import _Face


class StudyCallback(_Face, Callback):
    """Tells the studies of workers that died, whether or not Tune tries again.

    Tune tells its scheduler of both alike.
    """

    def __init__(self, studies: Studies) -> None:
        self._studies = studies

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._studies.restarted(self._studies.live(trial.config))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        raised = Path(trial.error_file).read_text(encoding="utf-8", errors="replace") if trial.error_file else ""
        self._studies.finish(self._studies.live(trial.config), Outcome.FAILED, reason(raised))


class Silent(_Face, TrialProgressCallback):
    """In place of Ray's own, which whatever the verbosity prints a line for a trial that ends before it has started."""

    def _print(self, msg: str) -> None:
        pass


def reason(raised: str) -> str:
    """The line of a remote traceback that says what was wrong."""
    lines = [line.strip() for line in raised.splitlines() if line.strip()]
    of_ray = [line for line in lines if "running low on memory" in line or line.startswith("The actor is dead because")]
    return in_short((of_ray or lines or ["unknown"])[-1], 500)
