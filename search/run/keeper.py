"""Keeps the checkpoints that the spec's `keep_checkpoints` requires, and removes the others."""

from pathlib import Path

from search.base.schema import Outcome
from search.spec.space import num_points
from search.study import fronts
from search.study.ranking import order
from search.study.studies import Studies
from search.study.trial import Trial
from search.train import checkpoints
from search.train.training import Result


class _Keeper:
    """Removes the checkpoints that `keep_checkpoints` does not require, whenever a trial has ended."""

    def __init__(self, studies: Studies, folder: Path) -> None:
        self._studies, self._folder, self._num_kept = studies, checkpoints.root(folder), studies.spec.num_kept
        self._kept: dict[tuple[str, str | None], dict[str, Trial]] = {}  # trials with weights, by name
        for architecture in studies.spec.studied:
            for trial in studies.ranked(architecture):
                self.changed(trial, None)

    def changed(self, trial: Trial, result: Result | None) -> None:
        if self._num_kept == float("inf") or trial.outcome in (Outcome.RUNNING, Outcome.INTERRUPTED):
            return
        # A search with named configurations keeps the best repetition of each: which configuration is the best is known
        # only once all repetitions have ended.
        kept = self._kept.setdefault((trial.architecture, trial.configuration), {})
        if trial.outcome is Outcome.COMPLETE:
            kept[trial.name] = trial
        else:
            checkpoints.remove(self._folder / trial.name)
        if len(kept) > self._num_kept and self._is_settled(trial.architecture):
            for name in self._surplus(trial.architecture, list(kept.values())):
                checkpoints.drop_weights(self._folder / name)
                del kept[name]

    def _may_repeat(self, architecture: str) -> bool:
        """Whether the sampler may propose a configuration twice; in a continuous range it never does."""
        spec = self._studies.spec.of(architecture)
        repeats = spec.duplicate_trials == "repeat" and spec.sampler != "grid"
        return repeats and num_points(spec.spaces[architecture]) is not None

    def _is_settled(self, architecture: str) -> bool:
        """Whether no later trial can change the order of those that have ended. A repetition can: with a low score, it
        lowers the mean of the leading configuration, and any other configuration may take the lead."""
        if not self._may_repeat(architecture):
            return True
        ended = [trial for trial in self._studies.trials(architecture) if trial.outcome is not Outcome.RUNNING]
        return len(ended) >= self._studies.num_wanted(architecture)

    def _surplus(self, architecture: str, trials: list[Trial]) -> list[str]:
        """The names of the trials whose weights are removed."""
        goals, metric = self._studies.spec.objectives, self._studies.spec.metric
        if goals:  # any point of the front may be exported
            ranked = fronts.ranked(trials, goals, metric, lambda each: fronts.values(each, goals))
            return [trial.name for trial, number in ranked[int(self._num_kept) :] if number != 1]
        among = self._studies.trials(architecture) if self._may_repeat(architecture) else ()
        return [trial.name for trial in sorted(trials, key=order(metric, among))[int(self._num_kept) :]]
