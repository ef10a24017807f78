"""The studies of a search, one for each baseline and architecture: they propose trials, take results and end trials.

A trial is identified by its Optuna trial; Tune trials and MLflow runs refer to it. Nothing else keeps state, so a
search is resumed by opening its studies again and adopting the trials that are RUNNING.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import optuna

from data.base.errors import UserError
from search.base.schema import Outcome
from search.spec.spec import Spec
from search.study import fronts
from search.study.limits import IN_A_ROW, Measure, draw
from search.study.ranking import order
from search.study.stopping import NO_ROOM, Stop, decide, drawn
from search.study.storage import open_storage
from search.study.study import Mode, Study, derive_seed
from search.study.trial import Trial, Worker
from search.train import costs as costs_of
from search.train.metrics import split_metric
from search.train.training import Result


class Listener(Protocol):
    """Told about trials once the study has recorded the event; `result` is None at a start and at an end."""

    def changed(self, trial: Trial, result: Result | None) -> None: ...


class Studies:
    """The studies of one search: propose trials, take their results and decide when they end.

    search: the search's id; its studies are named `<search>/<architecture>`.
    mode: 'new' creates the studies and raises FileExistsError if they exist; 'resume' creates those that are missing;
        'read' writes nothing.
    listeners: told about every start, result and end, one after the other in this order.
    storage: where the studies are kept; by default the spec's.
    """

    def __init__(
        self,
        search: str,
        spec: Spec,
        folder: Path,
        mode: Mode = "read",
        listeners: Sequence[Listener] = (),
        storage: optuna.storages.BaseStorage | None = None,
    ) -> None:
        self.search, self.spec, self.folder = search, spec, folder
        self.listeners = listeners
        self.provenance: dict[str, str] = {}  # of the trials that start from now on
        #: Computes the hyperparameters that follow from a trial's config; raises UserError if there is no solution.
        self.solve: Callable[[dict[str, Any]], dict[str, Any]] = lambda config: {}
        #: Called when an architecture gets no more trials.
        self.on_stop: Callable[[str, Stop], None] = lambda architecture, stop: None
        #: Computes the costs that are known before training from a trial's config (see `limits`).
        self.measure: Measure = lambda config: {}
        self._refused_in_a_row: Counter[str] = Counter()  # by architecture
        self._stopping, self._decided = False, False
        self._deadline = time.monotonic() + (spec.time_budget or float("inf"))
        self._live: dict[str, Trial] = {}
        self._longest = dict.fromkeys(spec.studied, 0.0)  # seconds of an architecture's longest trial so far
        storage = storage or open_storage(spec, folder)
        self._studies = {name: Study(search, name, spec, folder, storage, mode) for name in spec.studied}
        before = self.trials()
        self._orphans = [trial for trial in before if trial.outcome is Outcome.RUNNING]
        #: Kept for `stop`: reading all of them again for each trial would take quadratic time.
        self._ended = [trial for trial in before if trial.outcome is not Outcome.RUNNING]

    @property
    def stopping(self) -> bool:
        """Whether no new trials start. Running ones are interrupted at their next report, waiting ones at once."""
        return self._stopping or time.monotonic() >= self._deadline

    def stop(self) -> None:
        self._stopping = True

    def num_wanted(self, architecture: str) -> int:
        """How many trials this architecture gets."""
        return self._studies[architecture].num_wanted

    def num_planned(self, architecture: str) -> int:
        """How many trials the spec gives this architecture, stopped or not."""
        return self._studies[architecture].num_planned

    @property
    def stopped(self) -> dict[str, Stop]:
        """The architectures that get fewer trials than planned, and why."""
        return {name: study.stopped for name, study in self._studies.items() if study.stopped}

    @property
    def refused(self) -> dict[str, Counter[str]]:
        """For each architecture, how many draws were too large to become trials, by the limit that they broke."""
        return {name: refused for name, study in self._studies.items() if (refused := study.refused)}

    @property
    def exhausted(self) -> list[str]:
        """A line for each architecture whose space has fewer points than trials were planned."""
        fewer = {name: self.num_planned(name) for name in self.spec.architectures}
        return [
            f"{name}: {num} trials, not {self.spec.num_trials}: each point of its space once (duplicate_trials: redraw)"
            for name, num in fewer.items()
            if self.spec.sampler != "grid" and num < self.spec.num_trials
        ]

    @property
    def num_owed(self) -> int:
        """Trials still to be finished, including those that are running or waiting to be adopted."""
        return sum(study.num_owed for study in self._studies.values())

    def trials(self, architecture: str | None = None) -> list[Trial]:
        """The trials of one architecture or of all, from their studies."""
        studies = [self._studies[architecture]] if architecture else self._studies.values()
        return [trial for study in studies for trial in study.trials()]

    def ranked(self, architecture: str) -> list[Trial]:
        """The complete trials, the best first."""
        trials = self.trials(architecture)
        complete = [trial for trial in trials if trial.outcome is Outcome.COMPLETE]
        goals = self._studies[architecture].objectives
        if not goals:
            return sorted(complete, key=order(self.spec.metric, trials))
        ranking = fronts.ranked(complete, goals, self.spec.metric, lambda trial: fronts.values(trial, goals))
        return [trial for trial, _ in ranking]

    def value(self, trial: Trial) -> float | None:
        """The value that Optuna has for a trial."""
        return self._studies[trial.architecture].value(trial)

    @property
    def num_unasked(self) -> int:
        """The number of trials that `ask` has yet to return, as far as is known."""
        return len(self._orphans) + sum(max(0, each.num_wanted - each.num_asked) for each in self._studies.values())

    def ask(self, architecture: str | None = None) -> Trial | None:
        """The next trial: one that an earlier process left RUNNING, else a new one, of a baseline while any is owed,
        then of the architecture that has the fewest. None when no trial is owed or the search is stopping.

        architecture: for a pack, the architecture that the trial has to be of; the result is then also None if that
        architecture is a whole pack ahead of another.
        """
        while not self.stopping:
            trial = self._next_orphan(architecture) or self._new_trial(architecture)
            if trial is None:
                return None
            self._live[trial.name] = trial
            study = self._studies[trial.architecture]
            study.suggest(trial)
            if not trial.provenance:
                study.keep_provenance(trial, self.provenance)
            try:
                study.keep_solved(trial, self.solve(trial.config))
            except UserError as unsolvable:
                study.keep_attempt(trial)
                self.finish(trial, Outcome.FAILED, str(unsolvable))
                continue
            if self._is_refused(trial, study):
                del self._live[trial.name]
                continue
            study.keep_attempt(trial)
            self._tell_listeners(trial)
            return trial
        return None

    def _is_refused(self, trial: Trial, study: Study) -> bool:
        """Whether a trial is too large for a limit. It then does not count as a trial, and another is drawn; if none is
        found, its architecture gets no more.

        When a sampler keeps proposing such trials, a point is drawn at random instead.
        """
        limits = self.spec.limits
        costs = self.measure(trial.config) if limits else {}
        limit = costs_of.broken(limits, costs)
        if limit is None:
            self._refused_in_a_row[trial.architecture] = 0
            return False
        study.refuse(trial, limit, costs)
        self._refused_in_a_row[trial.architecture] += 1
        if self._refused_in_a_row[trial.architecture] >= IN_A_ROW and self.spec.sampler != "grid":
            self._refused_in_a_row[trial.architecture] = 0

            def measured(point: dict[str, Any]) -> Mapping[str, float]:
                config = {**trial.config, **point}
                return self.measure(config | self.solve(config))

            redrawn = draw(study.space, limits, measured, derive_seed(self.spec.seed, trial.name, "limits"))
            study.drew(redrawn.point, redrawn.refused)
            if redrawn.point is None:
                self._stop_study(trial.architecture, Stop(NO_ROOM, chance=0.0, gain=0.0))
        return True

    def _stop_study(self, architecture: str, stop: Stop) -> None:
        study = self._studies[architecture]
        study.stop(stop)
        if study.stopped:
            self.on_stop(architecture, study.stopped)

    def _stop_what_is_decided(self) -> None:
        """Everything that has finished so far counts, so a resumed search decides as it would have uninterrupted."""
        if self.spec.stop == "none" or self._decided:
            return
        self._decided, sign = True, 1 if split_metric(self.spec.metric)[1].maximize else -1
        scores_of = {}
        for name in self.spec.architectures:
            study = self._studies[name]
            ended = [trial for trial in self._ended if trial.architecture == name]
            # A stopped architecture has no trials left but those that are running; it can still lead.
            scores_of[name] = drawn(ended, sign, study.num_wanted - len(ended))
        for name, stop in decide(scores_of, self.spec.min_gain).items():
            study = self._studies[name]
            if study.num_asked < study.num_wanted:
                self._stop_study(name, stop)

    def _next_orphan(self, architecture: str | None) -> Trial | None:
        orphan = next((trial for trial in self._orphans if architecture in (None, trial.architecture)), None)
        if orphan:
            self._orphans.remove(orphan)
        return orphan

    def _new_trial(self, architecture: str | None) -> Trial | None:
        self._stop_what_is_decided()
        counts = {name: study.num_asked for name, study in self._studies.items()}
        owed = [name for name, num in counts.items() if num < self.num_wanted(name)]
        if architecture is not None:
            if self._orphans:
                return None  # those of other architectures come first
            ahead = counts[architecture] - min((counts[name] for name in owed), default=0)
            allowed = architecture in owed and ahead < self.spec.pack_size(architecture)
            return self._studies[architecture].ask() if allowed else None
        if not owed:
            return None
        if baselines := [name for name in owed if name in self.spec.baselines]:
            return self._studies[baselines[0]].ask()
        # The slowest architecture may be one trial ahead, and ties go to the slower one: if short trials come last,
        # fewer cores are idle.
        slowest = max(self.spec.architectures, key=self._longest.__getitem__)
        fewest = min(owed, key=lambda name: (counts[name] - (name == slowest), name == slowest, -self._longest[name]))
        return self._studies[fewest].ask()

    def restarted(self, trial: Trial) -> None:
        """Note that another worker continues the trial, whose worker is gone."""
        self._studies[trial.architecture].keep_attempt(trial)
        self._tell_listeners(trial)

    def report(self, trial: Trial, result: Result, worker: Worker) -> bool:
        """Take one result; True when the trial continues.

        The intermediate value of a report is the best value so far, so that the pruner and the final score follow one
        rule. A worker that starts from a checkpoint repeats the checkpoint's report, and those that came after it. Each
        counts once, and a report that was followed by another has already passed the pruner.
        """
        if trial.outcome is not Outcome.RUNNING:
            return False
        study, metric = self._studies[trial.architecture], self.spec.metric
        is_new = result.step > trial.step
        if is_new:
            study.keep_result(trial, result, worker)
        limit = costs_of.broken(self.spec.limits, trial.costs)
        if limit is not None and not result.diverged:  # before the pruner compares others with it
            self.finish(trial, Outcome.REFUSED, costs_of.why(limit, trial.costs[limit], self.spec.limits[limit]))
            return False
        if is_new:
            self._tell_listeners(trial, result)
        worst = split_metric(metric)[1].worst
        study.report(trial, worst if result.diverged else result.best[metric], result.step)
        if result.diverged:
            self.finish(trial, Outcome.DIVERGED, result.diverged)
        elif study.length.over(result.step, result.best_step):
            self.finish(trial, Outcome.COMPLETE)
        elif result.step == trial.step and study.should_prune(trial):
            self.finish(trial, Outcome.PRUNED)
        elif self.stopping:
            self.finish(trial, Outcome.INTERRUPTED)
        return trial.outcome is Outcome.RUNNING

    def finish(self, trial: Trial, outcome: Outcome, error: str | None = None) -> None:
        """End a trial. An interrupted one stays RUNNING in its study and is adopted when the search is resumed."""
        self._longest[trial.architecture] = max(self._longest[trial.architecture], trial.seconds)
        self._studies[trial.architecture].end(trial, outcome, error)
        self._live.pop(trial.name, None)
        if outcome is not Outcome.INTERRUPTED:
            self._ended.append(trial)
            self._decided = False
        self._tell_listeners(trial)

    def interrupt_all(self) -> None:
        """Interrupt all running trials: the driver is about to stop."""
        for trial in list(self._live.values()):
            if self._studies[trial.architecture].is_finished(trial):
                self._tell_listeners(trial)  # the driver was interrupted just after the trial's end
            else:
                self.finish(trial, Outcome.INTERRUPTED)

    def keep_run_id(self, trial: Trial, run_id: str | None) -> None:
        """Note the id of the trial's MLflow run; None if that has yet to be created."""
        self._studies[trial.architecture].keep_run_id(trial, run_id)

    def _tell_listeners(self, trial: Trial, result: Result | None = None) -> None:
        if not trial.attempt:
            return  # its driver died before the trial had all its hyperparameters
        for listener in self.listeners:
            listener.changed(trial, result)
