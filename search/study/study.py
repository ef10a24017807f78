"""The Optuna study of one architecture or baseline: reads its trials as records and writes all that it keeps."""

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

from search.base import names, schema
from search.base.origin import now_ms
from search.base.schema import Outcome
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

# Importing Optuna turns its log on, and a line for each study and trial would break the live table. `console.quiet`
# restores what a user of the API has set.
optuna.logging.set_verbosity(optuna.logging.ERROR)

Mode = Literal["new", "resume", "read"]

SPEC = "spec"  # user attribute of a study: the spec that it was started with
STOPPED = "stopped"  # likewise: why it gets no more trials
#: User attributes of an Optuna trial; each report has its own result: result-1, result-2, ...
RUN_ID, ATTEMPT, OUTCOME, ERROR, WORKER, RESULT = "run_id", "attempt", "outcome", "error", "worker", "result-"
PROVENANCE = "provenance"  # of the search; that of each attempt's worker is provenance-1, provenance-2, ...
STARTED, ENDED = "started", "ended"  # in ms since 1970
REFUSED = "refused"  # of a draw too large to be a trial: the limit that it broke; of a study: more such draws, by limit
REPEATS = "repeats"  # the name of an earlier trial of the same configuration
SOLVED = "solved"  # hyperparameters that follow from those that were proposed

_STATES = {
    Outcome.COMPLETE: TrialState.COMPLETE,
    Outcome.PRUNED: TrialState.PRUNED,
    Outcome.DIVERGED: TrialState.PRUNED,  # with the worst score, reported as its last
    Outcome.FAILED: TrialState.FAIL,
    Outcome.REFUSED: TrialState.COMPLETE,  # with a violated constraint, so that the sampler avoids it
}


_DIRECTIONS = {True: StudyDirection.MAXIMIZE, False: StudyDirection.MINIMIZE}


def derive_seed(*parts: object) -> int:
    """A seed in [0, 2**31), derived from values whose repr is the same on every machine."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big") >> 1


def _ms(local: datetime | None) -> int | None:
    """Optuna's times, which are local ones, as ms since 1970."""
    return None if local is None else int(local.timestamp() * 1000)


class Study:
    """One architecture's study. A method that changes a trial writes the change before it updates the record, so MLflow
    never gets what the study lacks, and failed writes are retried.

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
        # A resumed search must not propose its first trials again; a grid has a single order, which it continues.
        num_before = 0 if self._spec.sampler == "grid" else len(self.optuna.get_trials(deepcopy=False))
        seed = derive_seed(spec.seed, architecture, "sampler", num_before)
        self._firsts: dict[tuple[str, ...], int] | None = None  # the first trial of each configuration; None: not read
        self.optuna.sampler = make_sampler(self._spec, self.space, seed, self._inherited)
        self.optuna.pruner = make_pruner(self._spec)
        self._live: dict[int, optuna.Trial] = {}  # by number
        for frozen in self.optuna.get_trials(deepcopy=False) if mode == "resume" else ():
            if REFUSED in frozen.user_attrs and not frozen.state.is_finished():  # its driver died in `refuse`
                self.optuna.tell(frozen.number, state=TrialState.PRUNED)
        stopped = Stop(**before) if (before := self.optuna.user_attrs.get(STOPPED)) else None
        #: Why it gets no more trials; a decision about another budget does not apply to this one.
        self.stopped = stopped if stopped and stopped.of == self.num_planned else None
        #: The complete trials, kept for the pruner of several objectives.
        known = self.trials() if self._spec.objectives else []
        self._finished = [trial for trial in known if trial.outcome is Outcome.COMPLETE]
        #: Cached: counting the trials whenever one is asked for would take quadratic time.
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
            except KeyError:  # its driver died before it had created them
                return optuna.create_study(directions=directions)
        try:
            return optuna.create_study(
                storage=storage, study_name=name, directions=directions, load_if_exists=mode == "resume"
            )
        except optuna.exceptions.DuplicatedStudyError:
            raise FileExistsError(f"there is a study {name}") from None

    @property
    def objectives(self) -> list[str]:
        """The objectives if there are several, otherwise empty."""
        return self._spec.objectives

    @property
    def num_wanted(self) -> int:
        """How many trials it gets: as many as planned, or those that it had when it was stopped."""
        return self.stopped.trials if self.stopped else self.num_planned

    @property
    def num_planned(self) -> int:
        """How many trials the spec gives it; at most one for each point of a grid, or of a space that is drawn from
        without repetition."""
        if self._spec.sampler != "grid":
            points = space.num_points(self.space) if self._spec.duplicate_trials == "redraw" else None
            most = self._spec.num_trials if points is None else points - sum(self.refused.values())
            return min(most, self._spec.num_trials)
        size = space.grid_size(self.space) - sum(self.refused.values())
        return min(size, self._spec.trials or size)

    @property
    def num_owed(self) -> int:
        """Trials still to be finished, including those that are running or waiting to be adopted."""
        ended = [frozen.state.is_finished() for frozen in self._frozen()]
        return max(self.num_wanted - sum(ended), len(ended) - sum(ended))

    # --- Read

    def trials(self) -> list[Trial]:
        """All trials, by number."""
        later = self.optuna.user_attrs  # what was noted about trials after they had finished
        return [self._load(frozen, later) for frozen in self._frozen()]

    def value(self, trial: Trial) -> float | None:
        """The value that Optuna has for a trial and the metric of the search."""
        place = self._spec.objectives.index(self._spec.metric) if self._spec.objectives else 0
        values = next(frozen.values for frozen in self._frozen() if frozen.number == trial.number)
        return values[place] if values else None

    def is_finished(self, trial: Trial) -> bool:
        return self._read(trial).state.is_finished()

    def _frozen(self) -> list[FrozenTrial]:
        everything = self.optuna.get_trials(deepcopy=False)
        return [each for each in everything if each.state is not TrialState.WAITING and REFUSED not in each.user_attrs]

    @property
    def refused(self) -> Counter[str]:
        """How many draws were too large to become trials, by the limit that they broke."""
        if not self._spec.limits:
            return Counter()
        everything = self.optuna.get_trials(deepcopy=False)
        counts = Counter(each.user_attrs[REFUSED] for each in everything if REFUSED in each.user_attrs)
        return counts + Counter(self.optuna.user_attrs.get(REFUSED, {}))

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
            trial.ended_by = schema.PATIENCE

    def _unpack(self, trial: Trial, params: dict[str, Any]) -> None:
        """Take what Optuna has of a trial: its hyperparameters, and its configuration, fold and repetition."""
        hyperparameters, design = space.split_design(params)
        trial.configuration, trial.repetition = design.get(schema.CONFIGURATION), design.get(schema.REPETITION)
        trial.fold = design.get(schema.FOLD)
        if self._spec.path_of and trial.repetition is not None:  # steps are compared on the same seeds
            trial.seed = derive_seed(self._spec.seed, self.architecture, "path", trial.repetition)
        if trial.configuration is not None:
            hyperparameters = self._spec.points[self.architecture][trial.configuration]
        trial.hyperparameters = dict(hyperparameters)

    # --- Written

    def ask(self) -> Trial:
        """A new trial, still without hyperparameters."""
        if not self.num_asked and self._spec.sampler != "grid":
            before = len(self.optuna.get_trials(deepcopy=False))  # the driver may have died between two
            for point in self._spec.first_points(self.architecture)[before:]:
                self.optuna.enqueue_trial(point)
        new = self.optuna.ask()
        self.num_asked += 1
        self._live[new.number] = new
        return self._make(new.number)

    def refuse(self, trial: Trial, limit: str, costs: Mapping[str, float]) -> None:
        """Discard a draw that is too large for a limit; the sampler learns to avoid such draws."""
        self._set(trial, REFUSED, limit)
        self._constrain(trial, costs)
        self.optuna.tell(self._optuna(trial), state=TrialState.PRUNED)
        self._live.pop(trial.number, None)
        self.num_asked -= 1

    def drew(self, point: dict[str, Any] | None, refused: Counter[str]) -> None:
        """Enqueue a randomly drawn point for the next trial, and count the draws refused before it."""
        if refused:
            self.optuna.set_user_attr(REFUSED, Counter(self.optuna.user_attrs.get(REFUSED, {})) + refused)
        if point is not None:
            self.optuna.enqueue_trial(point)

    def _constrain(self, trial: Trial, costs: Mapping[str, float]) -> None:
        """Tell Optuna how far this trial is from the limits; an unknown cost violates none."""
        limits = self._spec.limits if self._spec.sampler in USE_CONSTRAINTS else {}
        for name, limit in limits.items():
            self._optuna(trial).set_constraint(name, costs.get(name, limit) / limit - 1)

    def stop(self, stop: Stop) -> None:
        """Ask for no more trials; those that are running continue."""
        self.stopped = replace(stop, trials=self.num_asked, of=self.num_planned, time=now_ms())
        self.optuna.set_user_attr(STOPPED, self.stopped.to_dict())

    def suggest(self, trial: Trial) -> None:
        """Give a trial its hyperparameters. An adopted one keeps those that it has, which may not be all if the driver
        died."""
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
        """Note that another worker starts on the trial."""
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
        trial.run_id = run_id  # after it is written, or it would not be tried again

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
        """Give Optuna the value of a report for its pruner, once."""
        if not self._spec.objectives and step not in self._read(trial).intermediate_values:
            self._optuna(trial).report(value, step=step)

    def should_prune(self, trial: Trial) -> bool:
        """Whether the pruner ends the trial. A repetition is pruned only if the first trial of its configuration was;
        otherwise only the lucky seeds of a configuration would remain."""
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
        """End a trial. An interrupted one stays RUNNING and is adopted when the search is resumed."""
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
        """The values that Optuna gets for several objectives: for a pruned trial the best that it could still have
        reached, since a short training time is no merit; for a diverged one the worst that the metrics can be."""
        goals = self._spec.objectives
        if outcome is Outcome.PRUNED:
            values = fronts.optimistic(trial, self._finished, goals, self.length)
        else:
            values = fronts.values(trial, goals)
        if outcome is Outcome.DIVERGED:
            values = [each if goal in COSTS else None for goal, each in zip(goals, values, strict=True)]
        worst = [math.inf if goal in COSTS else split_metric(goal)[1].worst for goal in goals]
        return [bad if each is None else each for bad, each in zip(worst, values, strict=True)]

    def _set(self, trial: Trial, name: str, value: Any) -> None:
        self._optuna(trial).set_user_attr(name, value)

    def _read(self, trial: Trial) -> FrozenTrial:
        trial_of_optuna = self._optuna(trial)
        return trial_of_optuna.storage.get_trial(trial_of_optuna._trial_id)

    def _optuna(self, trial: Trial) -> optuna.Trial:
        """The Optuna trial; for a trial of an earlier process, it is created on first access."""
        if trial.number not in self._live:
            frozen = next(each for each in self._frozen() if each.number == trial.number)
            self._live[trial.number] = optuna.Trial(self.optuna, frozen._trial_id)
        return self._live[trial.number]
