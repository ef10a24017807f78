"""The Optuna study of one architecture or baseline: its trials as records, and all that is written to it."""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search.base import names, record
from search.base.origin import now_ms
from search.base.record import Outcome
from search.spec import read as specs
from search.spec import space
from search.spec.goals import FRONT
from search.spec.inherited import Point
from search.spec.spec import Spec
from search.study import fronts
from search.study.samplers import USE_CONSTRAINTS, make_pruner, make_sampler
from search.study.stopping import Stop
from search.study.trial import Trial, Worker
from search.train.config import length_of
from search.train.costs import COSTS
from search.train.metrics import split_metric
from search.train.training import Result

# Its import makes it talk, and its lines on each study and trial would tear the live table. What a user of the API has
# set is put back by `console.quiet`.
optuna.logging.set_verbosity(optuna.logging.ERROR)

Mode = Literal["new", "resume", "read"]

SPEC = "spec"  # in a study's user attributes: what it was started with
STOPPED = "stopped"  # likewise: that it gets no more trials, and why
#: What an Optuna trial keeps in its user attributes; results are kept by report: result-1, result-2, ...
RUN_ID, ATTEMPT, OUTCOME, ERROR, WORKER, RESULT = "run_id", "attempt", "outcome", "error", "worker", "result-"
PROVENANCE = "provenance"  # of the search; and of the worker of each attempt: provenance-1, provenance-2, ...
STARTED, ENDED = "started", "ended"  # in ms since 1970
REFUSED = "refused"  # of a draw that is no trial: the limit that it breaks; of a study: how often others did, by limit
REPEATS = "repeats"  # the name of an earlier trial of the same configuration
SOLVED = "solved"  # hyperparameters that follow from those that were proposed

_STATES = {
    Outcome.COMPLETE: TrialState.COMPLETE,
    Outcome.PRUNED: TrialState.PRUNED,
    Outcome.DIVERGED: TrialState.PRUNED,  # with the worst score, reported as its last
    Outcome.FAILED: TrialState.FAIL,
    Outcome.REFUSED: TrialState.COMPLETE,  # with a constraint that is broken, so that a sampler keeps away
}


_DIRECTIONS = {True: StudyDirection.MAXIMIZE, False: StudyDirection.MINIMIZE}


def derive_seed(*parts: object) -> int:
    """A seed in [0, 2**31) from anything that prints the same everywhere."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big") >> 1


def _ms(local: datetime | None) -> int | None:
    """Optuna's times are local ones, in ms since 1970."""
    return None if local is None else int(local.timestamp() * 1000)


class Study:
    """One architecture's study. Every method that takes a trial also brings the record up to date, once it is written:
    what could not be is not told to MLflow either, and is tried again.

    search: the search's id; the study is named `<search>/<architecture>`. mode: see `Studies`.
    """

    def __init__(
        self, search: str, architecture: str, spec: Spec, folder: Path, storage: optuna.storages.BaseStorage, mode: Mode
    ) -> None:
        self.architecture = architecture
        self._search, self._spec, self._folder = search, spec.of(architecture), folder.absolute()
        self.space, self.length = self._spec.spaces[architecture], length_of(architecture, spec.length)
        self.optuna = self._open(storage, mode)
        if before := self.optuna.user_attrs.get(SPEC):
            specs.require_unchanged(spec, before)
        elif mode != "read":
            self.optuna.set_user_attr(SPEC, specs.compared(spec))
        # A resumed search must not propose its first trials again; a grid has one order, and goes on in it.
        num_before = 0 if self._spec.sampler == "grid" else len(self.optuna.get_trials(deepcopy=False))
        seed = derive_seed(spec.seed, architecture, "sampler", num_before)
        self._firsts: dict[tuple[str, ...], int] | None = None  # the first trial of each configuration, once asked for
        self.optuna.sampler = make_sampler(self._spec, self.space, seed, self._inherited)
        self.optuna.pruner = make_pruner(self._spec)
        self._live: dict[int, optuna.Trial] = {}  # by number
        for frozen in self.optuna.get_trials(deepcopy=False) if mode == "resume" else ():
            if REFUSED in frozen.user_attrs and not frozen.state.is_finished():  # its driver died in `refuse`
                self.optuna.tell(frozen.number, state=TrialState.PRUNED)
        stopped = Stop(**before) if (before := self.optuna.user_attrs.get(STOPPED)) else None
        #: Why it gets no more trials; what was decided of another budget says nothing of this one.
        self.stopped = stopped if stopped and stopped.of == self.num_planned else None
        #: The complete trials, kept for the pruner of several objectives.
        known = self.trials() if self._spec.objectives else []
        self._finished = [trial for trial in known if trial.outcome is Outcome.COMPLETE]
        #: Cached: to look at every trial whenever one is asked for would be quadratic.
        self.num_asked = len(self._frozen())

    @property
    def _inherited(self) -> list[Point]:
        return [
            point for each in self._spec.inherited if each.architecture == self.architecture for point in each.points
        ]

    def _open(self, storage: optuna.storages.BaseStorage, mode: Mode) -> optuna.Study:
        name = f"{self._search}/{self.architecture}"
        goals = self._spec.objectives or [self._spec.metric]
        directions = [_DIRECTIONS[fronts.maximizes(goal)] for goal in goals]
        if mode == "read":
            try:
                return optuna.load_study(study_name=name, storage=storage)
            except KeyError:  # its driver died before it made them
                return optuna.create_study(directions=directions)
        try:
            return optuna.create_study(
                storage=storage, study_name=name, directions=directions, load_if_exists=mode == "resume"
            )
        except optuna.exceptions.DuplicatedStudyError:
            raise FileExistsError(f"there is a study {name}") from None

    @property
    def objectives(self) -> list[str]:
        """Its several objectives; empty where it has one."""
        return self._spec.objectives

    @property
    def num_wanted(self) -> int:
        """How many trials there are to be: those planned, or those that it had been given when it was stopped."""
        return self.stopped.trials if self.stopped else self.num_planned

    @property
    def num_planned(self) -> int:
        """How many trials the spec gives it: a grid, or a space of which no point is drawn twice, is never searched
        beyond its end."""
        if self._spec.sampler != "grid":
            points = space.num_points(self.space) if self._spec.duplicate_trials == "redraw" else None
            most = self._spec.num_trials if points is None else points - sum(self.refused.values())
            return min(most, self._spec.num_trials)
        size = space.grid_size(self.space) - sum(self.refused.values())
        return min(size, self._spec.trials or size)

    @property
    def num_owed(self) -> int:
        """Trials still to be finished, those that run or wait to be adopted counted."""
        ended = [frozen.state.is_finished() for frozen in self._frozen()]
        return max(self.num_wanted - sum(ended), len(ended) - sum(ended))

    # --- Read

    def trials(self) -> list[Trial]:
        """All trials, by number."""
        later = self.optuna.user_attrs  # what was noted of a trial after it had finished
        return [self._load(frozen, later) for frozen in self._frozen()]

    def value(self, trial: Trial) -> float | None:
        """Optuna's own value of a trial, by the metric of the search."""
        place = self._spec.objectives.index(self._spec.metric) if self._spec.objectives else 0
        found = next(frozen.values for frozen in self._frozen() if frozen.number == trial.number)
        return found[place] if found else None

    def is_finished(self, trial: Trial) -> bool:
        return self._read(trial).state.is_finished()

    def _frozen(self) -> list[FrozenTrial]:
        everything = self.optuna.get_trials(deepcopy=False)
        return [each for each in everything if each.state is not TrialState.WAITING and REFUSED not in each.user_attrs]

    @property
    def refused(self) -> Counter[str]:
        """How many draws broke a limit by their size, by limit."""
        if not self._spec.limits:
            return Counter()
        everything = self.optuna.get_trials(deepcopy=False)
        found = Counter(each.user_attrs[REFUSED] for each in everything if REFUSED in each.user_attrs)
        return found + Counter(self.optuna.user_attrs.get(REFUSED, {}))

    def _load(self, frozen: FrozenTrial, later: dict[str, Any]) -> Trial:
        attrs, ended = frozen.user_attrs, frozen.state.is_finished()
        attempts = {
            int(key.removeprefix(f"{PROVENANCE}-")): tags
            for key, tags in attrs.items()
            if key.startswith(f"{PROVENANCE}-")
        }
        trial = self._make(
            frozen.number,
            attempt=attrs.get(ATTEMPT, 0),
            outcome=Outcome(attrs[OUTCOME]) if ended else Outcome.RUNNING,
            error=attrs.get(ERROR) if ended else None,
            worker=Worker(*attrs[WORKER]) if WORKER in attrs else None,
            run_id=later.get(f"{RUN_ID}-{frozen.number}", attrs.get(RUN_ID)),
            provenance=attrs.get(PROVENANCE, {}) | (attempts[max(attempts)] if attempts else {}),
            attempts=attempts,
            started=attrs.get(STARTED, _ms(frozen.datetime_start)),
            ended=attrs.get(ENDED, _ms(frozen.datetime_complete)) if ended else None,
            timed=STARTED in attrs or ATTEMPT not in attrs,
        )
        self._unpack(trial, frozen.params)
        trial.hyperparameters |= attrs.get(SOLVED, {})
        trial.repeats = attrs.get(REPEATS)
        for step in sorted(int(key.removeprefix(RESULT)) for key in attrs if key.startswith(RESULT)):
            self._add(trial, Result.from_dict(attrs[f"{RESULT}{step}"]))
        return trial

    def _make(self, number: int, **more: Any) -> Trial:
        seed = derive_seed(self._spec.seed, self.architecture, number)
        return Trial(
            architecture=self.architecture,
            number=number,
            search=self._search,
            folder=self._folder,
            metric=self._spec.metric,
            seed=seed,
            **more,
        )

    def _add(self, trial: Trial, result: Result) -> None:
        trial.add(result, self.length.reports_per_epoch)
        if not result.diverged and self.length.out_of_patience(result.step, result.best_step):
            trial.ended_by = record.PATIENCE

    def _unpack(self, trial: Trial, params: dict[str, Any]) -> None:
        """What Optuna holds of a trial: its hyperparameters, and which configuration, fold and repetition it is."""
        hyperparameters, design = space.split_design(params)
        trial.configuration, trial.repetition = design.get(record.CONFIGURATION), design.get(record.REPETITION)
        trial.fold = design.get(record.FOLD)
        if self._spec.path_of and trial.repetition is not None:  # steps are compared on the same seeds
            trial.seed = derive_seed(self._spec.seed, self.architecture, "path", trial.repetition)
        if trial.configuration is not None:
            hyperparameters = self._spec.points[self.architecture][trial.configuration]
        trial.hyperparameters = dict(hyperparameters)

    # --- Written

    def ask(self) -> Trial:
        """A new trial, without its hyperparameters yet."""
        if not self.num_asked and self._spec.sampler != "grid":
            before = len(self.optuna.get_trials(deepcopy=False))  # a crash may have come between two
            for point in self._spec.first_points(self.architecture)[before:]:
                self.optuna.enqueue_trial(point)
        asked = self.optuna.ask()
        self.num_asked += 1
        self._live[asked.number] = asked
        return self._make(asked.number)

    def refuse(self, trial: Trial, limit: str, costs: Mapping[str, float]) -> None:
        """A draw that breaks a limit by its size is no trial; the sampler learns to keep away."""
        self._set(trial, REFUSED, limit)
        self._constrain(trial, costs)
        self.optuna.tell(self._optuna(trial), state=TrialState.PRUNED)
        self._live.pop(trial.number, None)
        self.num_asked -= 1

    def drew(self, point: dict[str, Any] | None, refused: Counter[str]) -> None:
        """A point that was drawn elsewhere, which is the next trial's, and those that broke a limit before it."""
        if refused:
            self.optuna.set_user_attr(REFUSED, Counter(self.optuna.user_attrs.get(REFUSED, {})) + refused)
        if point is not None:
            self.optuna.enqueue_trial(point)

    def _constrain(self, trial: Trial, costs: Mapping[str, float]) -> None:
        """Tell Optuna how far this is from the limits; what is not known breaks none."""
        limits = self._spec.limits if self._spec.sampler in USE_CONSTRAINTS else {}
        for name, limit in limits.items():
            self._optuna(trial).set_constraint(name, costs.get(name, limit) / limit - 1)

    def stop(self, stop: Stop) -> None:
        """No trial is asked for from now on; those that run go on."""
        self.stopped = replace(stop, trials=self.num_asked, of=self.num_planned, time=now_ms())
        self.optuna.set_user_attr(STOPPED, self.stopped.to_dict())

    def suggest(self, trial: Trial) -> None:
        """Give a trial its hyperparameters. What an adopted one has been given stands; a crash may have come before it
        was given everything."""
        params = space.suggest(self._optuna(trial), self.space)
        self._unpack(trial, params)
        if self._spec.sampler == "grid" or self._spec.duplicate_trials == "allow":
            return
        first = self._known_firsts().setdefault(space.point_key(self.space, params) or (), trial.number)
        if first != trial.number:
            name = names.trial_name(self.architecture, first)
            self._set(trial, REPEATS, name)
            trial.repeats = name

    def _known_firsts(self) -> dict[tuple[str, ...], int]:
        if self._firsts is None:
            self._firsts = {}
            for frozen in self._frozen():
                if REPEATS not in frozen.user_attrs and (key := space.point_key(self.space, frozen.params)):
                    self._firsts.setdefault(key, frozen.number)
        return self._firsts

    def keep_solved(self, trial: Trial, hyperparameters: dict[str, Any]) -> None:
        self._set(trial, SOLVED, hyperparameters)
        trial.hyperparameters |= hyperparameters

    def keep_provenance(self, trial: Trial, tags: dict[str, str]) -> None:
        self._set(trial, PROVENANCE, tags)
        trial.provenance = tags

    def keep_attempt(self, trial: Trial) -> None:
        """Another process starts on it."""
        if not trial.attempt:
            started = now_ms()
            self._set(trial, STARTED, started)
            trial.started = started
        self._set(trial, ATTEMPT, trial.attempt + 1)
        trial.attempt += 1

    def keep_run_id(self, trial: Trial, run_id: str | None) -> None:
        try:
            self._set(trial, RUN_ID, run_id)
        except optuna.exceptions.UpdateFinishedTrialError:  # MLflow was away while it ran, or has lost its run
            self.optuna.set_user_attr(f"{RUN_ID}-{trial.number}", run_id)
        trial.run_id = run_id  # now that it is written: else it would not be tried again

    def keep_result(self, trial: Trial, result: Result, worker: Worker) -> None:
        result = replace(result, time=now_ms())
        if worker.provenance and trial.attempt not in trial.attempts:
            self._set(trial, f"{PROVENANCE}-{trial.attempt}", dict(worker.provenance))
            trial.attempts[trial.attempt] = dict(worker.provenance)
            trial.provenance = trial.provenance | trial.attempts[trial.attempt]
        self._set(trial, WORKER, [worker.node, worker.pid])
        trial.worker = worker
        self._set(trial, f"{RESULT}{result.step}", result.to_dict())
        self._add(trial, result)

    def report(self, trial: Trial, value: float, step: int) -> None:
        """Give Optuna the value that its pruner sees of a report, once."""
        if not self._spec.objectives and step not in self._read(trial).intermediate_values:
            self._optuna(trial).report(value, step=step)

    def should_prune(self, trial: Trial) -> bool:
        """A repetition only where the first trial of its configuration was pruned: else what is left of several seeds
        would be the lucky ones."""
        if trial.repeats is not None:
            first = next(each for each in self._frozen() if self._name(each) == trial.repeats)
            if first.state is not TrialState.PRUNED:
                return False
        if self._spec.pruner == FRONT:
            return fronts.hopeless(trial, self._finished, self._spec.objectives, self.length)
        return not self._spec.objectives and self._optuna(trial).should_prune()

    def _name(self, frozen: FrozenTrial) -> str:
        return names.trial_name(self.architecture, frozen.number)

    def end(self, trial: Trial, outcome: Outcome, error: str | None) -> None:
        """End a trial. An interrupted one stays RUNNING, to be adopted when the search is resumed."""
        if outcome is not Outcome.INTERRUPTED:
            ended = now_ms()
            self._set(trial, ENDED, ended)
            self._set(trial, OUTCOME, outcome.value)
            self._set(trial, ERROR, error)
            state = _STATES[outcome]
            if state is not TrialState.FAIL:
                self._constrain(trial, trial.costs)
            values: Any = None
            if outcome is Outcome.REFUSED and self._spec.sampler not in USE_CONSTRAINTS:
                state = TrialState.PRUNED
            elif self._spec.objectives and state is not TrialState.FAIL:
                values, state = self._values(trial, outcome), TrialState.COMPLETE  # Optuna prunes by one value only
            elif state is TrialState.COMPLETE:
                values = trial.score
            self.optuna.tell(self._optuna(trial), values, state=state)
            trial.ended = ended
        trial.outcome, trial.error = outcome, error
        if outcome is Outcome.COMPLETE:
            self._finished.append(trial)
        self._live.pop(trial.number, None)

    def _values(self, trial: Trial, outcome: Outcome) -> list[float]:
        """What Optuna is told of several objectives: of a trial that was ended early what it might have come to, for
        some time in training is no merit; of one that diverged the worst that the metrics can be."""
        goals = self._spec.objectives
        if outcome is Outcome.PRUNED:
            found = fronts.optimistic(trial, self._finished, goals, self.length)
        else:
            found = fronts.values(trial, goals)
        if outcome is Outcome.DIVERGED:
            found = [each if goal in COSTS else None for goal, each in zip(goals, found, strict=True)]
        worst = [math.inf if goal in COSTS else split_metric(goal)[1].worst for goal in goals]
        return [bad if each is None else each for bad, each in zip(worst, found, strict=True)]

    def _set(self, trial: Trial, name: str, value: Any) -> None:
        self._optuna(trial).set_user_attr(name, value)

    def _read(self, trial: Trial) -> FrozenTrial:
        found = self._optuna(trial)
        return found.storage.get_trial(found._trial_id)

    def _optuna(self, trial: Trial) -> optuna.Trial:
        """Optuna's own object, made for a trial of an earlier process when it is first written."""
        if trial.number not in self._live:
            frozen = next(each for each in self._frozen() if each.number == trial.number)
            self._live[trial.number] = optuna.Trial(self.optuna, frozen._trial_id)
        return self._live[trial.number]
