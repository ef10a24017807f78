"""The Optuna studies of a search, one for each architecture, and their two thin faces for Tune.

The Optuna trial is the one identity: the Tune trial and the MLflow run hang off it. Nothing else keeps state, so
resuming a search is opening its studies again and adopting the trials found RUNNING.
"""

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import optuna
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from search import record, space
from search.record import Outcome
from search.spec import Spec
from search.training import EpochResult

# Its lines on each study and trial would tear the live table.
optuna.logging.set_verbosity(optuna.logging.ERROR)

#: What an Optuna trial keeps in its user attributes.
RUN_ID, ATTEMPT, OUTCOME, ERROR = "run_id", "attempt", "outcome", "error"


def derive_seed(*parts: object) -> int:
    """A seed in [0, 2**31) from anything that prints the same everywhere."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big") >> 1


class _GridSampler(optuna.samplers.GridSampler):
    """Optuna's own stops the study after the last combination, which it may do only inside `study.optimize`."""

    def after_trial(self, *args: Any) -> None:
        pass  # the studies know how many trials there are to be


def _sampler(spec: Spec, grid: space.Space, seed: int) -> optuna.samplers.BaseSampler:
    # Half of a short search would otherwise be over before the model of the space is first used.
    startup = min(10, max(3, spec.num_trials // 3))
    match spec.sampler:
        case "tpe":
            return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup)
        case "random":
            return optuna.samplers.RandomSampler(seed=seed)
        case "grid":
            return _GridSampler({name: values.grid() for name, values in grid.items()}, seed=seed)
        case "gp":
            return optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup, warn_independent_sampling=False)
        case "cmaes":
            return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)


def _pruner(spec: Spec) -> optuna.pruners.BasePruner:
    match spec.pruner:
        case "asha":
            return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
        case "hyperband":
            return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=spec.epochs)
        case "median":
            return optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=1)
        case "none":
            return optuna.pruners.NopPruner()


def open_storage(spec: Spec, folder: Path) -> optuna.storages.BaseStorage:
    """The storage a spec names, else the journal in the search's folder."""
    if spec.storage is not None:
        return optuna.storages.get_storage(spec.storage)
    backend = JournalFileBackend(str(folder / "studies.journal"))
    return optuna.storages.JournalStorage(backend)


@dataclass
class LiveTrial:
    """A trial that is being run: its Optuna trial and the flat config that the trainable gets."""

    architecture: str
    study_trial: optuna.Trial
    hyperparameters: dict[str, Any]
    seed: int
    attempt: int
    outcome: Outcome = Outcome.RUNNING
    adopted: bool = False
    reported: set[int] = field(default_factory=set)  # epochs

    @property
    def number(self) -> int:
        return self.study_trial.number

    @property
    def name(self) -> str:
        return f"{self.architecture}-{self.number}"

    @property
    def run_id(self) -> str | None:
        """The id of its MLflow run, once it has one."""
        return self.study_trial.user_attrs.get(RUN_ID)

    @run_id.setter
    def run_id(self, run_id: str) -> None:
        self.study_trial.set_user_attr(RUN_ID, run_id)

    @property
    def config(self) -> dict[str, Any]:
        return {
            record.ARCHITECTURE: self.architecture,
            record.NUMBER: self.number,
            record.SEED: self.seed,
            **self.hyperparameters,
        }


@dataclass(frozen=True)
class Worker:
    """Where a result came from."""

    node: str  # its address
    pid: int


class Listener(Protocol):
    """Is told what happens to trials, after the study knows it."""

    def started(self, trial: LiveTrial) -> None: ...

    def reported(self, trial: LiveTrial, result: EpochResult, worker: Worker) -> None: ...

    def finished(self, trial: LiveTrial, outcome: Outcome, error: str | None) -> None: ...


class Studies:
    """The studies of one search: proposes trials, takes their results, decides when they end.

    search: the search's id; its studies are named `<search>/<architecture>`.
    listeners: told of every start, result and end, in this order.
    """

    def __init__(self, search: str, spec: Spec, folder: Path, listeners: Sequence[Listener] = ()) -> None:
        self.spec = spec
        self.listeners = listeners
        self._stopping = False
        self._deadline = time.monotonic() + (spec.time_budget or float("inf"))
        self.maximize = record.split_metric(spec.metric)[1].maximize
        self._spaces = space.build(spec)
        self._live: dict[str, LiveTrial] = {}
        storage = open_storage(spec, folder)
        self._studies: dict[str, optuna.Study] = {}
        for architecture in spec.architectures:
            study = optuna.create_study(
                storage=storage,
                study_name=f"{search}/{architecture}",
                direction="maximize" if self.maximize else "minimize",
                pruner=_pruner(spec),
                load_if_exists=True,
            )
            # A resumed search must not propose its first trials again.
            seed = derive_seed(spec.seed, architecture, "sampler", len(study.trials))
            study.sampler = _sampler(spec, self._spaces[architecture], seed)
            self._studies[architecture] = study
        self._orphans = [
            (architecture, trial)
            for architecture, study in self._studies.items()
            for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
        ]

    @property
    def stopping(self) -> bool:
        """No new trials; those that run end, interrupted, at their next report."""
        return self._stopping or time.monotonic() >= self._deadline

    def stop(self) -> None:
        self._stopping = True

    def num_wanted(self, architecture: str) -> int:
        """How many trials this architecture is to have: a grid is never searched beyond its end."""
        if self.spec.sampler != "grid":
            return self.spec.num_trials
        size = space.grid_size(self._spaces[architecture])
        return min(size, self.spec.trials or size)

    def trials(self, architecture: str) -> list[optuna.trial.FrozenTrial]:
        return self._studies[architecture].get_trials(deepcopy=False)

    @property
    def num_owed(self) -> int:
        """Trials still to be finished, those running and those to be adopted counted."""
        owed = 0
        for architecture in self._studies:
            finished = sum(trial.state.is_finished() for trial in self.trials(architecture))
            owed += max(self.num_wanted(architecture) - finished, 0)
        return max(owed, len(self._orphans) + len(self._live))

    def ask(self) -> LiveTrial | None:
        """The next trial: one left RUNNING by an earlier process, else a new one of the architecture with the fewest.

        None when none is owed or the search is stopping.
        """
        if self.stopping:
            return None
        if self._orphans:
            architecture, orphan = self._orphans.pop(0)
            study_trial = optuna.Trial(self._studies[architecture], orphan._trial_id)
        else:
            owed = {
                architecture: num
                for architecture in self._studies
                if (num := len(self.trials(architecture))) < self.num_wanted(architecture)
            }
            if not owed:
                return None
            architecture = min(owed, key=owed.__getitem__)
            orphan = None
            study_trial = self._studies[architecture].ask()
        trial = LiveTrial(
            architecture=architecture,
            study_trial=study_trial,
            hyperparameters=space.suggest(study_trial, self._spaces[architecture]),
            seed=derive_seed(self.spec.seed, architecture, study_trial.number),
            attempt=study_trial.user_attrs.get(ATTEMPT, 0) + 1,
            adopted=orphan is not None,
            reported=set(orphan.intermediate_values) if orphan else set(),
        )
        study_trial.set_user_attr(ATTEMPT, trial.attempt)
        self._live[trial.name] = trial
        for listener in self.listeners:
            listener.started(trial)
        return trial

    def live(self, config: dict[str, Any]) -> LiveTrial:
        """The running trial that a Tune trial's config belongs to."""
        return self._live[f"{config[record.ARCHITECTURE]}-{config[record.NUMBER]}"]

    def report(self, trial: LiveTrial, result: EpochResult, worker: Worker) -> bool:
        """Take one epoch's result; True when the trial goes on.

        The intermediate value of an epoch is the best value up to it, so that the pruner and the final score follow
        one rule. A result that was reported before (a worker that died just after, and was started again) is counted
        once.
        """
        if trial.outcome is not Outcome.RUNNING:
            return False
        metric = self.spec.metric
        if result.epoch not in trial.reported:
            trial.reported.add(result.epoch)
            value = record.split_metric(metric)[1].worst if result.diverged else result.best[metric]
            trial.study_trial.report(value, step=result.epoch)
            for listener in self.listeners:
                listener.reported(trial, result, worker)
        if result.diverged:
            self.finish(trial, Outcome.DIVERGED, result.diverged)
        elif result.epoch >= self.spec.epochs:
            self.finish(trial, Outcome.COMPLETE, score=result.best[metric])
        elif trial.study_trial.should_prune():
            self.finish(trial, Outcome.PRUNED)
        elif self.stopping:
            self.finish(trial, Outcome.INTERRUPTED)
        return trial.outcome is Outcome.RUNNING

    def finish(self, trial: LiveTrial, outcome: Outcome, error: str | None = None, score: float | None = None) -> None:
        """End a trial. An interrupted one stays RUNNING in its study, to be adopted when the search is resumed."""
        trial.outcome = outcome
        self._live.pop(trial.name, None)
        if outcome is not Outcome.INTERRUPTED:
            trial.study_trial.set_user_attr(OUTCOME, outcome.value)
            if error:
                trial.study_trial.set_user_attr(ERROR, error)
            state = {Outcome.COMPLETE: TrialState.COMPLETE, Outcome.FAILED: TrialState.FAIL}.get(
                outcome, TrialState.PRUNED
            )
            self._studies[trial.architecture].tell(trial.study_trial, score, state=state)
        for listener in self.listeners:
            listener.finished(trial, outcome, error)

    def interrupt_all(self) -> None:
        """End what still runs as interrupted: the driver is about to stop."""
        for trial in list(self._live.values()):
            self.finish(trial, Outcome.INTERRUPTED)


class _Face:
    """Tune pickles its searcher and scheduler to restore them; these hold no state that a restore could need."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def save(self, checkpoint_path: str) -> None:
        pass

    def restore(self, checkpoint_path: str) -> None:
        pass


class StudySearcher(_Face, Searcher):
    """Lets Tune ask the studies for trials."""

    def __init__(self, studies: Studies) -> None:
        super().__init__()
        self._studies = studies

    def set_search_properties(self, *args: Any, **kwargs: Any) -> bool:
        return True  # the spec is the only source of what is searched and by which metric

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        trial = self._studies.ask()
        return trial.config if trial else Searcher.FINISHED  # type: ignore[return-value]  # a str, says Ray's own

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        pass  # the scheduler face has told the study already


class StudyScheduler(_Face, FIFOScheduler):
    """Lets the studies take Tune's results, stop trials early, and hear of failures."""

    # Tune would hold back results of fast trials and hand them over in bulk.
    _supports_buffered_results = False

    def __init__(self, studies: Studies) -> None:
        super().__init__()
        self._studies = studies

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        live = self._studies.live(trial.config)
        goes_on = self._studies.report(live, result["result"], Worker(result["node_ip"], result["pid"]))
        return TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        message = last_line(trial.get_error())
        self._studies.finish(self._studies.live(trial.config), Outcome.FAILED, message)


def last_line(error: BaseException | None) -> str:
    """The line of an error that says what was wrong; a remote one ends its traceback with it."""
    lines: Iterable[str] = str(error).strip().splitlines() if error else ()
    return next((line.strip() for line in reversed(list(lines)) if line.strip()), repr(error))[:500]
