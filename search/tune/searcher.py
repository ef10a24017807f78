"""The searcher that Ray Tune sees: it gets trials from the studies and records which Tune trial hosts them."""

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
    """Gets new trials from the studies while there is room, and assigns trials that have lost their worker to a new
    one.

    A Tune trial always hosts a pack, even of a single trial. Retries by Tune are disabled, since Tune would give the
    next worker the config of the last one, with the old attempt number.
    """

    def __init__(self, studies: Studies, room: Callable[[], int]) -> None:
        super().__init__()
        self._studies, self._room = studies, room
        self._hosted: dict[str, Hosted] = {}  # by Tune's trial id
        self._running: set[str] = set()  # Tune's trial ids
        self._waiting: list[Hosted] = []  # packs that need a new worker
        self._retries: Counter[str] = Counter()  # retries used, by trial
        self._asked_all = False

    def set_search_properties(self, *args: Any, **kwargs: Any) -> bool:
        return True  # the spec is the only source of what is searched and by which metric

    def hosted(self, tune_id: str) -> Hosted:
        return self._hosted[tune_id]

    def node_lost(self, hosted: Hosted) -> None:
        """Let another worker continue these trials, which did not cause the loss of their machine."""
        if hosted.members:
            self._waiting.append(hosted)

    def failed(self, trial: Trial, why: str) -> None:
        """End a trial that raised or whose worker died, unless it has a retry left. The retry runs in a pack of its
        own: if the trial kills its worker, no other trial is lost with it."""
        if self._retries[trial.name] < self._studies.spec.retries:
            self._retries[trial.name] += 1
            self._waiting.append(Hosted.of([trial], size=1))
        else:
            self._studies.finish(trial, Outcome.FAILED, why)

    def join(self, hosted: Hosted) -> list[Trial]:
        """Fill the free places of a pack with trials that have lost their machine, then with new ones; return these.
        None joins while there is an idle worker, which should get its own pack."""
        joined: list[Trial] = []
        if hosted.size == 1 or self._num_free > 0:
            return joined
        while len(hosted.members) < hosted.size:
            trial = self._lost(hosted.architecture) or self._studies.ask(hosted.architecture)
            if trial is None:
                break
            hosted.members[trial.name] = trial
            joined.append(trial)
        return joined

    def _lost(self, architecture: str) -> Trial | None:
        """A trial of this architecture whose pack waits for a worker, which it leaves: packs take in trials as long as
        there are new ones, so the wait could last until the end of the search."""
        packs = (each for each in self._waiting if each.architecture == architecture and each.size > 1)
        waiting = None if self._studies.stopping else next(packs, None)
        if waiting is None:
            return None
        trial = waiting.members.pop(next(iter(waiting.members)))
        if not waiting.members:
            self._waiting.remove(waiting)
        self._studies.restarted(trial)
        return trial

    @property
    def _num_free(self) -> int:
        """The number of further Tune trials for which there is room."""
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
            return None  # FINISHED would be final, but a running pack may still be lost and have to restart
        else:
            hosted = self._new()
        if hosted is None:
            self._asked_all = True
            ended: Any = Searcher.FINISHED  # Ray declares it as a str
            return None if self._running and not self._studies.stopping else ended
        self._hosted[trial_id] = hosted
        self._running.add(trial_id)
        return hosted.config

    def _new(self) -> Hosted | None:
        """A pack of new trials; None if there are none left. The last trials are spread over all free workers."""
        share = -(-self._studies.num_unasked // self._num_free)
        trials = [trial] if (trial := self._studies.ask()) else []
        if not trials:
            return None
        size = self._studies.spec.pack_size(trials[0].architecture)
        while len(trials) < min(size, share) and (trial := self._studies.ask(trials[0].architecture)):
            trials.append(trial)
        return Hosted.of(trials, size)

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        self._running.discard(trial_id)  # the scheduler has already notified the studies
