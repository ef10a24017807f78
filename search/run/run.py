"""Runs a search: sets up the corpus, Ray, the studies and MLflow, and lets Tune run the trials."""

import contextlib
import shlex
import subprocess
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray import tune
from rich.console import Console

from data.base.errors import UserError
from data.base.files import write_whole
from data.cache import release_pages, releasing_pages
from data.dividing import texts_read_once
from data.encoded import EncodedCorpus
from models.native import kernels
from models.parts.estimator import MOST_WORDS
from search.base import inspected, locking, origin, schema
from search.base.console import python
from search.base.mlflow_uri import without_password
from search.base.schema import Outcome
from search.cluster import capacity, check, connection, session
from search.run import plan
from search.run.folders import TUNE, discard, new_search, write_spec
from search.run.inherit import inherit
from search.run.keeper import _Keeper
from search.run.progress import Progress
from search.run.setting import make_setting
from search.run.signals import Signals
from search.run.state import outcome_of, reconcile
from search.spec import inherited, kept
from search.spec import read as specs
from search.spec.code import require_unchanged
from search.spec.read import SPEC_FILE, load_again, load_corpus, read_spec
from search.spec.spec import Spec
from search.study.limits import require_room
from search.study.storage import JOURNAL
from search.study.studies import Studies
from search.track.provenance import of_search, of_worker
from search.track.registry import add_tags
from search.track.tracking import DELIVERY_SECONDS, Tracker
from search.train import checkpoints
from search.train.config import HIDDEN_SIZE, learner
from search.train.costs import COSTS, of_model
from search.train.device import device_of
from search.train.parameter_matching import solve_hidden_size
from search.train.running import build_model
from search.tune.actors import in_any_worker
from search.tune.callback import Silent, StudyCallback, reason
from search.tune.hosted import tune_name
from search.tune.scheduler import StudyScheduler
from search.tune.searcher import StudySearcher
from search.tune.worker import WHOLE, trainable

ERRORS = "errors.log"


@dataclass(frozen=True)
class SearchResult:
    """The end of a search. outcome: COMPLETE (all trials have ended and one is valid), INTERRUPTED or FAILED."""

    search: str
    outcome: Outcome
    num_owed: int  # trials that a resume would run
    still_up: str | None = None  # the nodes of the cluster, which are still running
    planned: str | None = None  # how the actual cost compares with the plan, in words
    recorded: bool = True  # whether MLflow has everything


def start(spec: Spec, root: Path, uri: str, console: Console, address: str | None = None) -> SearchResult:
    """Create a folder for a new search of this spec under `root`, and run it (see `run`), starting from the results of
    the searches named under `from`."""
    spec = inherit(spec, root)
    for line in inherited.lines(spec.inherited):
        console.print(line, highlight=False, markup=False)
    for _ in range(5):
        folder = new_search(spec, root)
        try:
            return run(folder, uri, console, address)
        except FileExistsError:  # a search in another folder has this id: try the next second
            discard(folder)
        except BaseException:
            discard(folder)
            raise
    raise UserError("another search took the same id five times in a row; try again")


def run(folder: Path, uri: str, console: Console, address: str | None = None) -> SearchResult:
    """Run the new search in `folder` until all trials have ended, the time budget is spent, or Ctrl-C.

    uri: MLflow tracking URI. address: of a running Ray cluster; without one, Ray is started on this machine. Raises
    UserError when the spec's resources do not fit, or MLflow or the storage cannot be used; FileExistsError when MLflow
    already has a search with this id, from another folder.
    """
    with locking.hold(folder):
        return _run(folder, uri, console, address, new=True)


def resume(
    folder: Path,
    uri: str,
    console: Console,
    address: str | None = None,
    trials: int | None = None,
    time_budget: str | None = None,
) -> SearchResult:
    """Continue the search in `folder`: finished trials are kept, and interrupted ones continue.

    trials, time_budget: new values; `trials` can only be raised. Raises UserError as `run` does, and when another
    process runs the search, or its code or data has changed.
    """
    read_spec(folder)  # raises if the search is only in MLflow, without a folder to lock
    with locking.hold(folder):
        locking.mend_journal(folder / JOURNAL)
        studies = Studies(folder.name, read_spec(folder), folder)
        require_unchanged(studies.spec.code)
        if trials is not None or time_budget is not None:
            _extend(studies, folder, trials, time_budget)
            studies = Studies(folder.name, read_spec(folder), folder)
        if not studies.num_owed:
            console.print(f"All trials of {folder.name} are done; nothing is left to run.", highlight=False)
            recorded = _record(folder, uri, console)
            return SearchResult(folder.name, outcome_of(studies), 0, recorded=recorded)
        return _run(folder, uri, console, address, new=False)


def _record(folder: Path, uri: str, console: Console) -> bool:
    """Write what MLflow lacks of a finished search, and return whether MLflow now has everything."""
    studies = Studies(folder.name, read_spec(folder), folder, "resume")
    try:
        tracker = Tracker(uri, studies)
    except UserError as error:
        console.print(str(error), style="yellow", highlight=False, markup=False)
        return False
    reconcile(studies, tracker)
    if recorded := tracker.close(outcome_of(studies)):
        origin.keep_uri(folder, uri)
    return recorded


def _extend(studies: Studies, folder: Path, trials: int | None, time_budget: str | None) -> None:
    spec = studies.spec
    had = max(studies.num_planned(name) for name in spec.architectures)
    if trials is not None and trials < had:
        raise UserError(f"--trials can only be raised: the search has {had} for each architecture; got {trials}")
    changes = {"trials": trials or spec.trials, "time_budget": time_budget or spec.time_budget}
    write_spec(specs.validate(spec.model_dump() | changes, files=False), folder)


def _run(folder: Path, uri: str, console: Console, address: str | None, *, new: bool) -> SearchResult:
    with contextlib.ExitStack() as reading, connection.ahead(address, read_spec(folder).resources):
        reading.enter_context(texts_read_once())
        return _run_reading(reading, folder, uri, console, address, new=new)


def _run_reading(
    reading: contextlib.ExitStack, folder: Path, uri: str, console: Console, address: str | None, *, new: bool
) -> SearchResult:
    """Like `_run`, while texts are read once. reading: closed as soon as the texts are no longer needed."""
    spec, search = read_spec(folder), folder.name
    with contextlib.suppress(OSError, subprocess.CalledProcessError):  # without a compiler, torch replaces the kernels
        kernels.build()
    if new and not spec.repeats:
        corpus = load_corpus(spec, progress=console.is_terminal, to_train=True)
        specs.require_folds(spec)
    else:
        purpose = "resume" if not new else "confirm" if spec.confirms else "ablate" if spec.path_of else "train-sizes"
        corpus = load_again(spec, purpose, progress=console.is_terminal)
    # A search with trials keeps its spec; changed data is detected below.
    begun = not new and Studies(search, spec, folder).trials()
    if not begun and (fitting := specs.fitted(spec, corpus)) != spec:
        if fitting.reports_per_epoch < (wanted := spec.reports_per_epoch):
            fewer = (
                f"reports_per_epoch: {fitting.reports_per_epoch}, since an epoch has no more batches (given: {wanted})"
            )
            console.print(fewer, style="yellow", highlight=False, markup=False)
        spec = fitting
        write_spec(spec, folder)
    for fold in spec.cross_validated if new else ():  # fail early; afterwards every fold is cached
        spec = specs.fitted(spec, load_corpus(spec, to_train=True, fold=fold))
        write_spec(spec, folder)
    if new:  # after the corpus is loaded, so that a rejected search is never announced
        console.print(f"Search [bold]{folder.name}[/bold]", highlight=False)
    console.print(corpus.summary, highlight=False, markup=False)
    if (fitted := corpus.num_train_held) < (num_train := len(corpus.train)):
        console.print(
            f"Baselines that read words are fitted on {fitted:,} of the {num_train:,} training texts, as many as have "
            f"{MOST_WORDS:,} words together.",
            highlight=False,
        )

    def warn(line: str) -> None:
        console.print(line, style="yellow", highlight=False, markup=False)

    inspection = None if begun else specs.inspect(spec, corpus)
    release_pages(corpus)
    if inspection:
        if how_read := inspected.how_read(inspection):
            console.print(how_read, highlight=False, markup=False)
        for line in inspected.short(inspection, f"{python()} -m search data {shlex.quote(str(folder / SPEC_FILE))}"):
            warn(line)
    if new:
        require_room(spec, partial(measure, spec, corpus))
    started = time.monotonic()
    signals = Signals(console)
    # Installed again once Ray is up, since Ray replaces the SIGTERM handler.
    with signals.taken(), connection.connection(address) as address, signals.taken():
        room = capacity.Room(spec, address)
        root = checkpoints.prepare(folder, spec.storage_path)
        if address or spec.storage_path:
            check.require_fit(spec, address, root, warn)
        studies = Studies(search, spec, folder, "new" if new else "resume")
        for line in studies.exhausted:
            warn(line)
        studies.provenance = of_search(corpus)
        without = corpus.without_texts()
        studies.solve, studies.measure = partial(solve, spec, without), partial(measure, spec, without)
        _require_same_data(studies, folder)
        tracker = Tracker(uri, studies, warn, new, DELIVERY_SECONDS)  # created last: a search rejected above has no run
        origin.keep_uri(folder, uri)
        outcome, broke_off, num_failed = Outcome.INTERRUPTED, False, _num_failed(studies)
        try:
            reconcile(studies, tracker)
            here = of_worker(device_of(make_setting(spec, folder).gpu))
            tracker.describe(corpus, studies.provenance | here, inspection)
            try:
                if not spec.cross_validated:  # every fold has its own vocabulary, and its models are not kept
                    kept.keep(folder, spec, corpus)
                reading.close()
            except UserError as error:  # for example a full disk; training continues
                warn(f"{error}; the models of this search can be loaded only while its texts stay where they are")
            if inspection:  # for the report page, which may show texts that must not be sent to MLflow
                with contextlib.suppress(OSError), write_whole(folder / inspected.RECORD) as kept_as:
                    kept_as.write(inspection.to_json().encode())
            last = [corpus]
            del corpus  # `last` holds the only reference to the texts
            with _progress(studies, console, room) as progress:
                studies.on_stop = progress.stopped
                try:
                    studies.listeners = (tracker, progress, _Keeper(studies, folder))
                    with signals.of_training(studies):
                        _tune(studies, spec, last, folder, room, tracker.deliver_due, warn)
                except KeyboardInterrupt:
                    pass  # the second Ctrl-C
                except Exception as error:  # for example, the disk is full or the server of the studies is down
                    warn(f"Stopped: {reason(str(error))}. Details are in {folder / ERRORS}.")
                    with contextlib.suppress(OSError), (folder / ERRORS).open("a", encoding="utf-8") as file:
                        traceback.print_exc(file=file)
                    broke_off = True
                finally:
                    studies.interrupt_all()
            outcome = outcome_of(studies)
        finally:
            recorded = tracker.close(outcome)
        still_up = capacity.still_up() if address else None
        if not address and (broke_off or _num_failed(studies) > num_failed):
            console.print(f"Ray's own logs are in {session.keep()}", highlight=False, markup=False)
    if not recorded and not (recorded := tracker.close(outcome)):  # try again: the leaderboard is read from MLflow
        at = f"--searches {shlex.quote(str(folder.parent))} --tracking-uri {shlex.quote(without_password(uri))}"
        warn(f"MLflow lacks a part of it; to repair it later: {python()} -m search audit {search} --repair {at}")
    planned = None
    if new and outcome is Outcome.COMPLETE and (prediction := plan.find(spec)):
        trial_seconds = sum(trial.seconds for trial in studies.trials())
        planned, tags = plan.compare(prediction, trial_seconds, time.monotonic() - started)
        with contextlib.suppress(ValueError):  # MLflow is down; nothing depends on these tags
            add_tags(uri, tracker.run_id, tags)
    return SearchResult(search, outcome, studies.num_owed, still_up, planned, recorded)


def _num_failed(studies: Studies) -> int:
    return sum(trial.outcome is Outcome.FAILED for trial in studies.trials())


def _require_same_data(studies: Studies, folder: Path) -> None:
    now = studies.provenance[schema.DATA_DIGEST]
    trials = studies.trials()
    repeated = folder.parent / (studies.spec.repeats or "")
    if studies.spec.repeats and (repeated / SPEC_FILE).is_file():
        trials += Studies(repeated.name, read_spec(repeated), repeated).trials()
    for trial in trials:
        if trial.provenance.get(schema.DATA_DIGEST, now) != now:
            raise UserError(
                f"the texts of {studies.spec.corpus} have changed since the search was started: their digest is "
                f"{now[:12]}, {trial.name} learned from {trial.provenance[schema.DATA_DIGEST][:12]}; restore them, or "
                "run a new search"
            )


def solve(spec: Spec, corpus: EncodedCorpus, config: dict[str, Any]) -> dict[str, Any]:
    """The hyperparameters that are solved from those of a config. Raises UserError if there is no solution."""
    wanted = spec.of(config[schema.ARCHITECTURE]).match_parameters
    return {} if wanted is None else {HIDDEN_SIZE: solve_hidden_size(config, wanted, corpus, spec.embeddings)}


def measure(spec: Spec, corpus: EncodedCorpus, config: dict[str, Any]) -> dict[str, float]:
    """The limited costs of a trial that an untrained network determines, such as its size."""
    name = config[schema.ARCHITECTURE]
    if not any(COSTS[limit].of_model for limit in spec.limits) or learner(name).in_one_go:
        return {}
    return of_model(spec.limits, build_model(config, corpus, spec.embeddings))


def _put(corpus: list[EncodedCorpus]) -> "ray.ObjectRef[EncodedCorpus]":
    """Move the corpus out of this list into the object store, which frees its memory in this process."""
    with releasing_pages(corpus[0].without_texts()):
        return ray.put(corpus.pop())


def _tune(
    studies: Studies,
    spec: Spec,
    corpus: list[EncodedCorpus],
    folder: Path,
    room: Callable[[], int],
    after_step: Callable[[], None],
    warn: Callable[[str], None],
) -> None:
    setting = make_setting(spec, folder)
    folds = {str(fold): fold for fold in spec.cross_validated}
    # A worker loads only the fold of its trial, and this process holds one fold at a time; Ray spills to disk if memory
    # runs out.
    corpora = {name: ray.put(load_corpus(spec, to_train=True, fold=fold)) for name, fold in folds.items()}
    corpora |= {} if folds else {WHOLE: _put(corpus)}
    searcher = StudySearcher(studies, room)
    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(trainable, corpora=corpora, setting=setting), spec.resources.model_dump()
        ),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=StudyScheduler(studies, searcher, warn),
            num_samples=-1,  # until the searcher has finished
            reuse_actors=True,
            trial_name_creator=lambda trial: tune_name(trial.config),
            trial_dirname_creator=lambda trial: tune_name(trial.config),
        ),
        run_config=tune.RunConfig(
            name=TUNE,
            storage_path=str(folder.absolute()),
            failure_config=tune.FailureConfig(max_failures=0),  # the searcher itself schedules retries
            callbacks=[StudyCallback(searcher, after_step), Silent()],
            progress_reporter=tune.CLIReporter(),  # silent; the reporter for notebooks would clear our output
            verbose=0,
        ),
    )
    with in_any_worker():
        tuner.fit()


def _progress(studies: Studies, console: Console, room: Callable[[], int]) -> Progress:
    """The progress display, including trials that ended before a resume."""
    ended = [trial for trial in studies.trials() if trial.outcome is not Outcome.RUNNING]
    names = studies.spec.studied
    return Progress(
        console,
        studies.spec.metric,
        studies.spec.length,
        {name: studies.num_wanted(name) for name in names},
        room,
        ended,
        studies.spec.baselines,
    )
