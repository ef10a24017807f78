"""The scheduler that Ray Tune sees: it hands results to the studies, which decide when a trial ends."""

from collections.abc import Callable
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.base.record import Outcome
from search.study.studies import Studies
from search.study.trial import Worker
from search.tune.searcher import _Face


class StudyScheduler(_Face, FIFOScheduler):
    """Lets the studies take Tune's results and stop trials early."""

    # Tune would hold back results of fast trials and hand them over in bulk.
    _supports_buffered_results = False

    def __init__(self, studies: Studies, warn: Callable[[str], None] = print) -> None:
        super().__init__()
        self._studies, self._warn = studies, warn
        self._warned: set[str] = set()

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        problem = result["problem"]
        if problem and problem not in self._warned:
            self._warned.add(problem)
            self._warn(problem)
        live = self._studies.live(trial.config)
        worker = Worker(result["node_ip"], result["pid"], dict(result["provenance"]))
        goes_on = self._studies.report(live, result["result"], worker)
        return TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        if not self._studies.stopping:
            return super().choose_trial_to_run(tune_controller)
        # A trial that waits for a core, or for a node that may never come, has nothing to report at which to end it.
        for trial in [each for each in tune_controller.get_live_trials() if each.status == each.PENDING]:
            trial.init_local_path()  # Tune asks for it in the end, and gives it to those only that have started
            tune_controller.stop_trial(trial)
        return None

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        self._studies.finish(self._studies.live(trial.config), Outcome.INTERRUPTED)
