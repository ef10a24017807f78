"""The Optuna studies of a search, one for each architecture, and their thin faces for Tune.

The Optuna trial is the one identity: the Tune trial and the MLflow run hang off it. Nothing else keeps state, so
resuming a search is opening its studies again and adopting the trials found RUNNING.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import optuna
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import TrialState
from ray.tune import Callback
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from search import record, space
from search import spec as specs
from search.record import Outcome
from search.spec import Spec
from search.training import EpochResult

# Its lines on each study and trial would tear the live table.
optuna.logging.set_verbosity(optuna.logging.ERROR)

#: What an Optuna trial keeps in its user attributes; results are kept by epoch: result-1, result-2, ...
RUN_ID, ATTEMPT, OUTCOME, ERROR, WORKER, RESULT = "run_id", "attempt", "outcome", "error", "worker", "result-"
PROVENANCE = "provenance"
SOLVED = "solved"  # hyperparameters that follow from those that were proposed

SPEC = "spec"  # and a study, in its own

JOURNAL = "studies.journal"

_STATES = {
    Outcome.COMPLETE: TrialState.COMPLETE,
    Outcome.PRUNED: TrialState.PRUNED,
    Outcome.DIVERGED: TrialState.PRUNED,  # with the worst score, reported as its last
    Outcome.FAILED: TrialState.FAIL,
}


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


def make_pruner(spec: Spec) -> optuna.pruners.BasePruner:
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
    """The storage a spec names, else the journal in the search's folder. Raises ValueError when it cannot be opened."""
    # Optuna's lock is a link to the path as given, and it waits for ever on one that leads nowhere.
    where = spec.storage or str((folder / JOURNAL).absolute())
    try:
        if spec.storage:
            return optuna.storages.get_storage(spec.storage)
        return optuna.storages.JournalStorage(JournalFileBackend(where))
    except OSError:
        raise
    except Exception as error:  # a URL that is none, a driver that is missing, a server that is away, a broken line
        problem = record.without_password(str(error)).strip().splitlines() or [repr(error)]
        raise ValueError(f"the studies in {record.without_password(where)} cannot be opened: {problem[0]}") from error


@dataclass(frozen=True)
class Worker:
    """Where a result came from."""

    node: str  # its address
    pid: int


@dataclass
class Trial:
    """All that is known of a trial; its Optuna trial keeps it, so that MLflow's run can be made from it at any time."""

    architecture: str
    number: int
    hyperparameters: dict[str, Any]
    seed: int
    study_trial: optuna.Trial
    attempt: int = 0
    outcome: Outcome = Outcome.RUNNING
    score: float | None = None  # Optuna's own value
    error: str | None = None
    results: list[EpochResult] = field(default_factory=list)  # in the order of their epochs
    worker: Worker | None = None  # of the last result
    run_id: str | None = None  # of its MLflow run
    provenance: dict[str, str] = field(default_factory=dict)  # tags: data digest, versions, commit
    design: dict[str, Any] = field(default_factory=dict)  # which configuration and repetition it is, if it is one

    @property
    def name(self) -> str:
        return f"{self.architecture}-{self.number}"

    @property
    def config(self) -> dict[str, Any]:
        """The flat config that the trainable gets."""
        return {
            record.ARCHITECTURE: self.architecture,
            record.NUMBER: self.number,
            record.SEED: self.seed,
            **self.hyperparameters,
        }

    @property
    def params(self) -> dict[str, Any]:
        """The parameters of its MLflow run."""
        named = {record.ARCHITECTURE: self.architecture, record.SEED: self.seed}
        return named | self.design | self.hyperparameters

    def keep_run_id(self, run_id: str) -> None:
        self.run_id = run_id
        try:
            self.study_trial.set_user_attr(RUN_ID, run_id)
        except optuna.exceptions.UpdateFinishedTrialError:  # MLflow was away while it ran, or has lost its run
            self.study_trial.study.set_user_attr(f"{RUN_ID}-{self.number}", run_id)

    def keep_provenance(self, tags: dict[str, str]) -> None:
        self.provenance = tags
        self.study_trial.set_user_attr(PROVENANCE, tags)

    def keep_solved(self, hyperparameters: dict[str, Any]) -> None:
        self.hyperparameters = self.hyperparameters | hyperparameters
        self.study_trial.set_user_attr(SOLVED, hyperparameters)

    def keep_attempt(self) -> None:
        """Another process starts on it."""
        self.attempt += 1
        self.study_trial.set_user_attr(ATTEMPT, self.attempt)

    def keep_result(self, result: EpochResult, worker: Worker) -> None:
        self.results.append(result)
        self.worker = worker
        self.study_trial.set_user_attr(f"{RESULT}{result.epoch}", result.to_dict())
        self.study_trial.set_user_attr(WORKER, [worker.node, worker.pid])

    def keep_outcome(self, outcome: Outcome, error: str | None) -> None:
        self.outcome, self.error = outcome, error
        if outcome is not Outcome.INTERRUPTED:
            self.study_trial.set_user_attr(OUTCOME, outcome.value)
            self.study_trial.set_user_attr(ERROR, error)


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
        #: From a trial's config to the hyperparameters that follow from it; ValueError when there are none.
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
            study.sampler = _sampler(spec, self._spaces[architecture], seed)
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
            except ValueError as unsolvable:
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
        goes_on = self._studies.report(live, result["result"], Worker(result["node_ip"], result["pid"]))
        return TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        if not self._studies.stopping:
            return super().choose_trial_to_run(tune_controller)
        # A trial that waits for a core, or for a node that may never come, has nothing to report at which to end it.
        for trial in [each for each in tune_controller.get_live_trials() if each.status == each.PENDING]:
            tune_controller.stop_trial(trial)
        return None

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        self._studies.finish(self._studies.live(trial.config), Outcome.INTERRUPTED)


class StudyCallback(_Face, Callback):
    """Tells the studies of workers that died, whether or not Tune tries again.

    Tune tells its scheduler of both alike.
    """

    def __init__(self, studies: Studies) -> None:
        self._studies = studies

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._studies.restarted(self._studies.live(trial.config))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        raised = Path(trial.error_file).read_text(encoding="utf-8", errors="replace") if trial.error_file else ""
        self._studies.finish(self._studies.live(trial.config), Outcome.FAILED, reason(raised))


def reason(raised: str) -> str:
    """The line of a remote traceback that says what was wrong."""
    lines = [line.strip() for line in raised.splitlines() if line.strip()]
    of_ray = [line for line in lines if "running low on memory" in line or line.startswith("The actor is dead because")]
    return (of_ray or lines or ["unknown"])[-1][:500]
