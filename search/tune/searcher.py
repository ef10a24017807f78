"""The searcher that Ray Tune sees: it asks the studies for trials, and knows which of them each Tune trial hosts."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from search.base.schema import Outcome
from search.study.studies import Studies
from search.study.trial import Trial
from search.tune.hosted import Hosted


class Stateless:
    """Tune pickles its searcher and scheduler to restore them; these hold no state that a restore would need."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def save(self, checkpoint_path: str) -> None:
        pass

    def restore(self, checkpoint_path: str) -> None:
        pass


class StudySearcher(Stateless, Searcher):
    """Asks the studies for trials while there is room, and for a new worker for those whose worker is gone.

    Each Tune trial hosts a pack of trials, also where that is only one. Tune does not retry any itself: it would give
    the next worker the config of the last, with its attempt.
    """

    def __init__(self, studies: Studies, room: Callable[[], int]) -> None:
        super().__init__()
        self._studies, self._room = studies, room
        self._hosted: dict[str, Hosted] = {}  # by Tune's ids
        self._running: set[str] = set()  # Tune's ids
        self._waiting: list[Hosted] = []  # for a new worker
        self._retries: Counter[str] = Counter()  # used, by trial
        self._asked_all = False

    def set_search_properties(self, *args: Any, **kwargs: Any) -> bool:
        return True  # the spec is the only source of what is searched and by which metric

    def hosted(self, tune_id: str) -> Hosted:
        return self._hosted[tune_id]

    def node_lost(self, hosted: Hosted) -> None:
        """Have another worker go on with these trials, which had no part in the loss of theirs."""
        if hosted.members:
            self._waiting.append(hosted)

    def failed(self, trial: Trial, why: str) -> None:
        """End a trial that raised or whose worker died, unless it has a retry left. It goes on alone: were it what ends
        its workers, it would end trials that share them."""
        if self._retries[trial.name] < self._studies.spec.retries:
            self._retries[trial.name] += 1
            self._waiting.append(Hosted.of([trial], size=1))
        else:
            self._studies.finish(trial, Outcome.FAILED, why)

    def join(self, hosted: Hosted) -> list[Trial]:
        """Fill the places that are free in a pack; the trials that join it. None do while a worker is idle: it is to
        have a pack of its own."""
        joined: list[Trial] = []
        if hosted.size == 1 or self._num_free > 0:
            return joined
        while len(hosted.members) < hosted.size and (trial := self._studies.ask(hosted.architecture)):
            hosted.members[trial.name] = trial
            joined.append(trial)
        return joined

    @property
    def _num_free(self) -> int:
        """How many more Tune trials there is room for."""
        return max(1, self._room()) - len(self._running)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        if self._num_free <= 0:
            return None
        hosted: Hosted | None
        if self._waiting and not self._studies.stopping:
            hosted = self._waiting.pop()
            for trial in hosted.members.values():
                self._studies.restarted(trial)
        elif self._asked_all and self._running and not self._studies.stopping:
            return None  # Tune takes an end for final, and one of those that run may be lost yet
        else:
            hosted = self._new()
        if hosted is None:
            self._asked_all = True
            ended: Any = Searcher.FINISHED  # a str, says Ray's own
            return None if self._running and not self._studies.stopping else ended
        self._hosted[trial_id] = hosted
        self._running.add(trial_id)
        return hosted.config

    def _new(self) -> Hosted | None:
        """A pack of new trials. The last trials are spread over all workers that are free."""
        share = -(-self._studies.num_unasked // self._num_free)
        trials = [trial] if (trial := self._studies.ask()) else []
        if not trials:
            return None
        size = self._studies.spec.pack_size(trials[0].architecture)
        while len(trials) < min(size, share) and (trial := self._studies.ask(trials[0].architecture)):
            trials.append(trial)
        return Hosted.of(trials, size)

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        self._running.discard(trial_id)  # the scheduler has told the studies already
