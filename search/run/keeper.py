"""Keeps the checkpoints that a spec asks for, and removes the others."""

from pathlib import Path

from search.base.record import Outcome
from search.study import fronts
from search.study.ranking import order
from search.study.studies import Studies
from search.study.trial import Trial
from search.train import checkpoints
from search.train.training import Result


class _Keeper:
    """Removes the checkpoints that `keep_checkpoints` does not want, when a trial has ended."""

    def __init__(self, studies: Studies, folder: Path) -> None:
        self._studies, self._folder, self._num_kept = studies, checkpoints.root(folder), studies.spec.num_kept
        self._kept: dict[tuple[str, str | None], dict[str, Trial]] = {}  # the best ones so far, by name
        for architecture in studies.spec.studied:
            for trial in studies.ranked(architecture):
                self.changed(trial, None)

    def changed(self, trial: Trial, result: Result | None) -> None:
        if self._num_kept == float("inf") or trial.outcome in (Outcome.RUNNING, Outcome.INTERRUPTED):
            return
        if trial.outcome is not Outcome.COMPLETE:
            checkpoints.remove(self._folder / trial.name)
            return
        # Which of several repeated configurations is the best is known when all their repetitions have ended.
        kept = self._kept.setdefault((trial.architecture, trial.configuration), {})
        kept[trial.name] = trial
        if len(kept) > self._num_kept:
            goals, metric = self._studies.spec.objectives, self._studies.spec.metric
            if goals:  # any point of the front may be exported
                ranked = fronts.ranked(kept.values(), goals, metric, lambda each: fronts.values(each, goals))
                worst, number = ranked[-1]
                if number == 1:
                    return
            else:
                worst = max(kept.values(), key=order(metric))
            checkpoints.drop_weights(self._folder / worst.name)
            del kept[worst.name]
