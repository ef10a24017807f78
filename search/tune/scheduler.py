"""The scheduler that Ray Tune sees: it passes reports to the studies, which decide when a trial ends."""

from collections.abc import Callable
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.base.schema import Outcome
from search.study.studies import Studies
from search.study.trial import Worker
from search.tune import answers
from search.tune.answers import Answer
from search.tune.callback import reason
from search.tune.hosted import config_of
from search.tune.searcher import Stateless, StudySearcher


class StudyScheduler(Stateless, FIFOScheduler):
    """Passes the reports of packs to the studies, which may end trials early, and sends each pack an `Answer`."""

    # Otherwise Tune would hold back the results of fast trials and deliver them in bulk.
    _supports_buffered_results = False

    def __init__(
        self,
        studies: Studies,
        searcher: StudySearcher,
        warn: Callable[[str], None] = print,
        give: Callable[[str, Answer], None] = answers.give,
    ) -> None:
        """give: sends an answer to the pack of the Tune trial with this id."""
        super().__init__()
        self._studies, self._searcher, self._warn, self._give = studies, searcher, warn, give
        self._warned: set[str] = set()

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        hosted = self._searcher.hosted(trial.trial_id)
        worker = Worker(result["node_ip"], result["pid"], dict(result["provenance"]))
        left = []
        for name, reported, problem in result["reports"]:
            if problem and problem not in self._warned:
                self._warned.add(problem)
                self._warn(problem)
            live = hosted.members.get(name)
            if live is None or not self._studies.report(live, reported, worker):
                hosted.members.pop(name, None)
                left.append(name)
        for name, why in result["failures"]:
            if live := hosted.members.pop(name, None):
                self._searcher.failed(live, reason(why))
        joined = self._searcher.join(hosted)
        if not hosted.members:
            return TrialScheduler.STOP
        if left or joined:
            self._give(trial.trial_id, Answer(left, [config_of(each) for each in joined]))
        return TrialScheduler.CONTINUE

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        if not self._studies.stopping:
            return super().choose_trial_to_run(tune_controller)
        # A trial ends at a report, but trials that wait for a core, or for a node that may never come, make no reports.
        for trial in [each for each in tune_controller.get_live_trials() if each.status == each.PENDING]:
            trial.init_local_path()  # Tune needs it at the end, but sets it only for trials that have started
            tune_controller.stop_trial(trial)
        return None

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        for live in self._searcher.hosted(trial.trial_id).members.values():
            self._studies.finish(live, Outcome.INTERRUPTED)
