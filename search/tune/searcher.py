"""The searcher that Ray Tune sees: it asks the studies for trials."""

from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from search.base import record
from search.study.studies import Studies
from search.study.trial import Trial


class _Face:
    """Tune pickles its searcher and scheduler to restore them; these hold no state that a restore could need."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def save(self, checkpoint_path: str) -> None:
        pass

    def restore(self, checkpoint_path: str) -> None:
        pass


class StudySearcher(_Face, Searcher):
    """Lets Tune ask the studies for as many trials as there is room for, and again for those that go on elsewhere.

    Tune does not try again itself: it would give the next worker the config of the last, with its attempt.
    """

    def __init__(self, studies: Studies, room: Callable[[], int]) -> None:
        super().__init__()
        self._studies, self._room = studies, room
        self._running: set[str] = set()  # by Tune's ids
        self._again: list[Trial] = []
        self._asked_all = False

    def set_search_properties(self, *args: Any, **kwargs: Any) -> bool:
        return True  # the spec is the only source of what is searched and by which metric

    def again(self, trial: Trial) -> None:
        """Its worker is gone, and Tune has given it up: another one is to go on with it."""
        self._again.append(trial)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        if len(self._running) >= max(1, self._room()):
            return None
        trial: Trial | None
        if self._again and not self._studies.stopping:
            trial = self._again.pop()
            self._studies.restarted(trial)
        elif self._asked_all and self._running and not self._studies.stopping:
            return None  # Tune takes an end for final, and one of those that run may be lost yet
        else:
            trial = self._studies.ask()
        if trial is None:
            self._asked_all = True
            ended: Any = Searcher.FINISHED  # a str, says Ray's own
            return None if self._running and not self._studies.stopping else ended
        self._running.add(trial_id)
        return trial.config | {record.ATTEMPT: trial.attempt}

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        self._running.discard(trial_id)  # the scheduler face has told the study already
