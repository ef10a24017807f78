"""The Optuna studies of a search, one for each architecture, and their thin faces for Tune.

The Optuna trial is the one identity: the Tune trial and the MLflow run hang off it. Nothing else keeps state, so
resuming a search is opening its studies again and adopting the trials found RUNNING.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState

from data.base.errors import UserError
from search.base import record
from search.base.record import Outcome
from search.spec import read as specs
from search.spec import space
from search.spec.spec import Spec
from search.study.samplers import make_pruner, make_sampler
from search.study.storage import open_storage
from search.study.trial import ATTEMPT, ERROR, OUTCOME, PROVENANCE, RESULT, RUN_ID, SOLVED, WORKER, Trial, Worker
from search.train.training import EpochResult

# Its lines on each study and trial would tear the live table.
optuna.logging.set_verbosity(optuna.logging.ERROR)


SPEC = "spec"  # and a study, in its own


_STATES = {
    Outcome.COMPLETE: TrialState.COMPLETE,
    Outcome.PRUNED: TrialState.PRUNED,
    Outcome.DIVERGED: TrialState.PRUNED,  # with the worst score, reported as its last
    Outcome.FAILED: TrialState.FAIL,
}


def derive_seed(*parts: object) -> int:
    """A seed in [0, 2**31) from anything that prints the same everywhere."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big") >> 1


class Listener(Protocol):
    """Is told of trials after the study knows; `result` is None at a start and at an end."""

    def changed(self, trial: Trial, result: EpochResult | None) -> None: ...


class Studies:
    """The studies of one search: proposes trials, takes their results, decides when they end.

    search: the search's id; its studies are named `<search>/<architecture>`.
    mode: 'new' makes the studies, FileExistsError if they are there; 'go on' makes those that are not there;
        'read' writes nothing.
    listeners: told of every start, result and end, in this order.
    """

    def __init__(
        self,
        search: str,
        spec: Spec,
        folder: Path,
        mode: Literal["new", "go on", "read"] = "read",
        listeners: Sequence[Listener] = (),
    ) -> None:
        self.spec = spec
        self.listeners = listeners
        self.provenance: dict[str, str] = {}  # of the trials that start from now on
        #: From a trial's config to the hyperparameters that follow from it; UserError when there are none.
        self.solve: Callable[[dict[str, Any]], dict[str, Any]] = lambda config: {}
        self._stopping = False
        self._deadline = time.monotonic() + (spec.time_budget or float("inf"))
        self.maximize = record.split_metric(spec.metric)[1].maximize
        self._spaces = space.build(spec)
        self._configurations = space.configurations(spec) if spec.configurations is not None else {}
        self._live: dict[str, Trial] = {}
        self._longest = dict.fromkeys(spec.architectures, 0.0)  # seconds of an architecture's longest trial so far
        storage = open_storage(spec, folder)
        self._studies: dict[str, optuna.Study] = {}
        for architecture in spec.architectures:
            study = self._open(f"{search}/{architecture}", storage, mode)
            if before := study.user_attrs.get(SPEC):
                specs.require_unchanged(spec, before)
            elif mode != "read":
                study.set_user_attr(SPEC, specs.compared(spec))
            # A resumed search must not propose its first trials again; a grid has one order, and goes on in it.
            num_before = 0 if spec.sampler == "grid" else len(study.get_trials(deepcopy=False))
            seed = derive_seed(spec.seed, architecture, "sampler", num_before)
            study.sampler = make_sampler(spec, self._spaces[architecture], seed)
            study.pruner = make_pruner(spec)
            self._studies[architecture] = study
        earlier = self.trials()
        self._orphans = [trial for trial in earlier if trial.outcome is Outcome.RUNNING]
        # Counted, for to look at every trial whenever one is asked for would take time that grows as their square.
        self._num_asked = {name: sum(trial.architecture == name for trial in earlier) for name in self._studies}

    def _open(self, name: str, storage: optuna.storages.BaseStorage, mode: str) -> optuna.Study:
        direction = StudyDirection.MAXIMIZE if self.maximize else StudyDirection.MINIMIZE
        if mode == "read":
            try:
                return optuna.load_study(study_name=name, storage=storage)
            except KeyError:  # its driver died before it made them
                return optuna.create_study(direction=direction)
        try:
            return optuna.create_study(
                storage=storage, study_name=name, direction=direction, load_if_exists=mode == "go on"
            )
        except optuna.exceptions.DuplicatedStudyError:
            raise FileExistsError(f"there is a study {name}") from None

    @property
    def stopping(self) -> bool:
        """No new trials; those that run end, interrupted, at their next report, those that wait at once."""
        return self._stopping or time.monotonic() >= self._deadline

    def stop(self) -> None:
        self._stopping = True

    def num_wanted(self, architecture: str) -> int:
        """How many trials this architecture is to have: a grid is never searched beyond its end."""
        if self.spec.sampler != "grid":
            return self.spec.num_trials
        size = space.grid_size(self._spaces[architecture])
        return min(size, self.spec.trials or size)

    def trials(self, architecture: str | None = None) -> list[Trial]:
        """The trials of one architecture or of all, as their studies know them."""
        names = [architecture] if architecture else self.spec.architectures
        return [
            self._load(name, frozen, later)
            for name in names
            for later in [self._studies[name].user_attrs]
            for frozen in self._frozen(name)
        ]

    def _frozen(self, architecture: str) -> list[optuna.trial.FrozenTrial]:
        everything = self._studies[architecture].get_trials(deepcopy=False)
        return [frozen for frozen in everything if frozen.state is not TrialState.WAITING]

    def _load(self, architecture: str, frozen: optuna.trial.FrozenTrial, later: dict[str, Any]) -> Trial:
        """The trial as Optuna holds it; `later` is what was noted with its study after it had finished."""
        attrs = frozen.user_attrs
        epochs = sorted(int(key.removeprefix(RESULT)) for key in attrs if key.startswith(RESULT))
        ended = frozen.state.is_finished()
        hyperparameters, design = self._unpack(architecture, frozen.params)
        return Trial(
            architecture=architecture,
            number=frozen.number,
            hyperparameters=hyperparameters | attrs.get(SOLVED, {}),
            design=design,
            seed=derive_seed(self.spec.seed, architecture, frozen.number),
            study_trial=optuna.Trial(self._studies[architecture], frozen._trial_id),
            attempt=attrs.get(ATTEMPT, 0),
            outcome=Outcome(attrs[OUTCOME]) if ended else Outcome.RUNNING,
            score=frozen.value,
            error=attrs.get(ERROR) if ended else None,
            results=[EpochResult.from_dict(attrs[f"{RESULT}{epoch}"]) for epoch in epochs],
            worker=Worker(*attrs[WORKER]) if WORKER in attrs else None,
            run_id=later.get(f"{RUN_ID}-{frozen.number}", attrs.get(RUN_ID)),
            provenance=attrs.get(PROVENANCE, {}),
        )

    def _unpack(self, architecture: str, params: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """What Optuna holds of a trial -> its hyperparameters, and which configuration and repetition it is."""
        hyperparameters, design = space.split_design(params)
        if name := design.get(record.CONFIGURATION):
            hyperparameters = self._configurations[architecture][name]
        return hyperparameters, design

    @property
    def num_owed(self) -> int:
        """Trials still to be finished, those that run or wait to be adopted counted."""
        owed = 0
        for architecture in self._studies:
            ended = [frozen.state.is_finished() for frozen in self._frozen(architecture)]
            owed += max(self.num_wanted(architecture) - sum(ended), len(ended) - sum(ended))
        return owed

    def ask(self) -> Trial | None:
        """The next trial: one left RUNNING by an earlier process, else a new one of the architecture with the fewest.

        None when none is owed or the search is stopping.
        """
        while not self.stopping:
            trial = self._orphans.pop(0) if self._orphans else self._new_trial()
            if trial is None:
                return None
            self._live[trial.name] = trial
            # What an adopted trial has been given stands; a crash may have come before it was given everything.
            params = space.suggest(trial.study_trial, self._spaces[trial.architecture])
            trial.hyperparameters, trial.design = self._unpack(trial.architecture, params)
            if not trial.provenance:
                trial.keep_provenance(self.provenance)
            try:
                trial.keep_solved(self.solve(trial.config))
            except UserError as unsolvable:
                trial.keep_attempt()
                self.finish(trial, Outcome.FAILED, str(unsolvable))
                continue
            trial.keep_attempt()
            self._tell_listeners(trial)
            return trial
        return None

    def _new_trial(self) -> Trial | None:
        counts = self._num_asked
        owed = [architecture for architecture, num in counts.items() if num < self.num_wanted(architecture)]
        if not owed:
            return None
        # The slowest may be one ahead of the others, and of equals the slower is next: short trials at the end leave
        # fewer cores idle.
        slowest = max(self._longest, key=self._longest.__getitem__)
        architecture = min(
            owed, key=lambda name: (counts[name] - (name == slowest), name == slowest, -self._longest[name])
        )
        study = self._studies[architecture]
        if not counts[architecture] and not study.get_trials(deepcopy=False) and self.spec.sampler != "grid":
            # The defaults come first: a baseline in every search, and a fair start for every architecture.
            study.enqueue_trial(space.default_point(architecture, self._spaces[architecture]))
        study_trial = study.ask()
        counts[architecture] += 1
        seed = derive_seed(self.spec.seed, architecture, study_trial.number)
        return Trial(architecture, study_trial.number, {}, seed, study_trial)

    def ranked(self, architecture: str) -> list[Trial]:
        """The trials that ran all their epochs, the best first, of equals the smaller and earlier."""
        return sorted((t for t in self.trials(architecture) if t.outcome is Outcome.COMPLETE), key=self.order)

    def order(self, trial: Trial) -> tuple[float, float, int]:
        """Sorts trials that ran all their epochs as `ranked` does."""
        last, sign = trial.results[-1], -1 if self.maximize else 1
        return sign * last.best[self.spec.metric], last.metrics.get(record.NUM_PARAMETERS, 0.0), trial.number

    def live(self, config: dict[str, Any]) -> Trial:
        """The running trial that a Tune trial's config belongs to."""
        return self._live[f"{config[record.ARCHITECTURE]}-{config[record.NUMBER]}"]

    def restarted(self, trial: Trial) -> None:
        """Its worker died, and another one goes on with it."""
        trial.keep_attempt()
        self._tell_listeners(trial)

    def report(self, trial: Trial, result: EpochResult, worker: Worker) -> bool:
        """Take one epoch's result; True when the trial goes on.

        The intermediate value of an epoch is the best value up to it, so that the pruner and the final score follow
        one rule. A worker that goes on from a checkpoint reports the checkpoint's epoch again: it counts once.
        """
        if trial.outcome is not Outcome.RUNNING:
            return False
        metric = self.spec.metric
        if not trial.results or result.epoch > trial.results[-1].epoch:
            trial.keep_result(result, worker)
            self._tell_listeners(trial, result)
        value = record.split_metric(metric)[1].worst if result.diverged else result.best[metric]
        if result.epoch not in trial.study_trial.storage.get_trial(trial.study_trial._trial_id).intermediate_values:
            trial.study_trial.report(value, step=result.epoch)
        if result.diverged:
            self.finish(trial, Outcome.DIVERGED, result.diverged)
        elif result.epoch >= self.spec.epochs:
            self.finish(trial, Outcome.COMPLETE)
        elif trial.study_trial.should_prune():
            self.finish(trial, Outcome.PRUNED)
        elif self.stopping:
            self.finish(trial, Outcome.INTERRUPTED)
        return trial.outcome is Outcome.RUNNING

    def finish(self, trial: Trial, outcome: Outcome, error: str | None = None) -> None:
        """End a trial. An interrupted one stays RUNNING in its study, to be adopted when the search is resumed."""
        trial.keep_outcome(outcome, error)
        if trial.results:
            longest = self._longest[trial.architecture]
            self._longest[trial.architecture] = max(longest, trial.results[-1].seconds)
        if outcome is not Outcome.INTERRUPTED:
            score = trial.results[-1].best[self.spec.metric] if outcome is Outcome.COMPLETE else None
            self._studies[trial.architecture].tell(trial.study_trial, score, state=_STATES[outcome])
        self._live.pop(trial.name, None)
        self._tell_listeners(trial)

    def interrupt_all(self) -> None:
        """End what still runs as interrupted: the driver is about to stop."""
        for trial in list(self._live.values()):
            study_trial = trial.study_trial
            if study_trial.storage.get_trial(study_trial._trial_id).state.is_finished():
                self._tell_listeners(trial)  # interrupted just after its end
            else:
                self.finish(trial, Outcome.INTERRUPTED)

    def _tell_listeners(self, trial: Trial, result: EpochResult | None = None) -> None:
        for listener in self.listeners:
            listener.changed(trial, result)
