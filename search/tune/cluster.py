"""What Tune is told when nodes are lost: such a trial goes on elsewhere, and none of its retries is used."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from search.study.studies import Studies
from search.study.trial import Trial
from search.tune.callback import StudyCallback
from search.tune.searcher import StudySearcher

#: In Ray's message when a worker was lost because its machine was.
NODE_LOST = "its node has died"


class ClusterSearcher(StudySearcher):
    """Asks the studies for as many trials as there is room for, and again for those whose nodes were lost."""

    def __init__(self, studies: Studies, room: Callable[[], int]) -> None:
        super().__init__(studies)
        self._room = room
        self._running: set[str] = set()  # by Tune's ids
        self._lost: list[Trial] = []
        self._asked_all = False

    def lost(self, trial: Trial) -> None:
        """Its node is gone, and Tune has given it up."""
        self._lost.append(trial)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        if len(self._running) >= max(1, self._room()):
            return None
        if self._lost and not self._studies.stopping:
            trial = self._lost.pop()
            self._studies.restarted(trial)
            config: Any = trial.config
        elif self._asked_all and self._running and not self._studies.stopping:
            return None  # Tune takes an end for final, and one of those that run may be lost yet
        else:
            config = super().suggest(trial_id)
            if config == Searcher.FINISHED:
                self._asked_all = True
                return None if self._running and not self._studies.stopping else config
        self._running.add(trial_id)
        return config

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        self._running.discard(trial_id)


class ClusterCallback(StudyCallback):
    """A trial whose node was lost goes on elsewhere, and that is none of its retries: nothing was wrong with it."""

    def __init__(self, studies: Studies, searcher: ClusterSearcher) -> None:
        super().__init__(studies)
        self._searcher = searcher

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if _node_was_lost(trial):
            trial.max_failures += 1
        super().on_trial_recover(iteration, trials, trial, **info)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if _node_was_lost(trial):
            self._searcher.lost(self._studies.live(trial.config))
        else:
            super().on_trial_error(iteration, trials, trial, **info)


def _node_was_lost(trial: Any) -> bool:
    """Whether that is what ended the last attempt of a Tune trial."""
    raised = Path(trial.error_file).read_text(encoding="utf-8", errors="replace") if trial.error_file else ""
    return NODE_LOST in raised.rpartition("Failure # ")[2]
