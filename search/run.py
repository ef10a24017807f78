"""Runs a search: the corpus, Ray, the studies, the trainable, the tracking and Tune, put together."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ray import tune
from rich.console import Console

from data.encode import EncodedCorpus
from models import kernels
from search import checkpoints, cluster, files, plan, record
from search import spec as specs
from search.cluster import ClusterCallback, ClusterSearcher
from search.console import did_you_mean, python
from search.matching import solve_hidden_size
from search.progress import Progress
from search.record import Outcome
from search.space import HIDDEN_SIZE
from search.spec import SPEC_FILE, Spec
from search.studies import JOURNAL, Studies, StudyScheduler, Trial, reason
from search.tracking import Tracker, add_tags, provenance
from search.trainable import Setting, trainable, trial_name
from search.trained import load_corpus
from search.training import EpochResult

ERRORS = "errors.log"
TUNE = "tune"  # what Tune writes; nothing reads it


@dataclass(frozen=True)
class SearchResult:
    """How a search ended: COMPLETE (every trial accounted for and one of them valid), INTERRUPTED or FAILED."""

    search: str
    outcome: Outcome
    num_owed: int  # trials that a resume would still run
    still_up: str | None = None  # the nodes of its cluster
    planned: str | None = None  # how far off its plan was


def new_search(spec: Spec, root: Path) -> Path:
    """A folder for a search of this spec, named by the search's id, with the frozen spec in it."""
    root.mkdir(parents=True, exist_ok=True)
    while True:
        folder = root / f"{spec.name}-{time.strftime('%Y%m%d-%H%M%S')}"
        try:
            folder.mkdir()
            break
        except FileExistsError:  # two searches in one second
            time.sleep(1)
    write_spec(specs.freeze(spec), folder)
    return folder


def write_spec(spec: Spec, folder: Path) -> None:
    content = specs.dump(spec).encode()
    # The URL of a storage may hold a password.
    files.write_atomically(folder / SPEC_FILE, lambda file: file.write(content), private=spec.storage is not None)


def discard(folder: Path) -> None:
    """Remove the folder of a search that was refused before its first trial."""
    if not (folder / TUNE).exists():
        checkpoints.remove(checkpoints.root(folder))
        shutil.rmtree(folder)


def find_searches(search: str, root: Path) -> list[Path]:
    """The folders of the searches with this id or name, or of all for '' and `latest`; the oldest first."""
    ids = sorted((path.parent.name for path in root.glob(f"*/{SPEC_FILE}")), key=lambda each: each[-15:])
    return [root / each for each in ids if search in ("", "latest", each, each[:-16])]


def find_search(search: str, root: Path) -> Path:
    """The folder of a search by its id, its name (the newest of that name) or `latest`. Raises ValueError."""
    if found := find_searches(search, root):
        return found[-1]
    ids = [folder.name for folder in find_searches("", root)[-5:]]
    raise ValueError(f"no search {search!r} in {root}{did_you_mean(search, ids) if ids else ' (there are none yet)'}")


def read_spec(folder: Path) -> Spec:
    """The spec that a search was started with."""
    return specs.read(str(folder / SPEC_FILE), files=False)


def run(folder: Path, uri: str, console: Console, address: str | None = None) -> SearchResult:
    """Run the new search in `folder` until no trial is owed, the time budget is spent, or Ctrl-C.

    uri: MLflow tracking URI. address: of a running Ray cluster; without one Ray is started on this machine.
    Raises ValueError when the spec's resources do not fit or MLflow or the storage cannot be used, FileExistsError when
    there is a search of this id already, from another folder.
    """
    with files.hold(folder):
        return _run(folder, uri, console, address, new=True)


def resume(
    folder: Path,
    uri: str,
    console: Console,
    address: str | None = None,
    trials: int | None = None,
    time_budget: str | None = None,
) -> SearchResult:
    """Go on with the search in `folder`: earlier trials count, those that were interrupted are adopted.

    trials, time_budget: raise what the search had. Raises ValueError as `run` does, and when another process runs the
    search, or its spec or its data is not what it was started with.
    """
    with files.hold(folder):
        files.mend_journal(folder / JOURNAL)
        studies = Studies(folder.name, read_spec(folder), folder)
        if trials is not None or time_budget is not None:
            _extend(studies, folder, trials, time_budget)
            studies = Studies(folder.name, read_spec(folder), folder)
        if not studies.num_owed:
            console.print(f"All trials of {folder.name} are done; nothing is left to run.", highlight=False)
            return SearchResult(folder.name, outcome_of(studies), 0)
        return _run(folder, uri, console, address, new=False)


def _extend(studies: Studies, folder: Path, trials: int | None, time_budget: str | None) -> None:
    spec = studies.spec
    had = max(studies.num_wanted(name) for name in spec.architectures)
    if trials is not None and trials < had:
        raise ValueError(f"--trials can only be raised: the search has {had} for each architecture; got {trials}")
    changes = {"trials": trials or spec.trials, "time_budget": time_budget or spec.time_budget}
    write_spec(specs.validate(spec.model_dump() | changes, files=False), folder)


def _run(folder: Path, uri: str, console: Console, address: str | None, *, new: bool) -> SearchResult:
    spec, search = read_spec(folder), folder.name
    with contextlib.suppress(OSError, subprocess.CalledProcessError):  # without a compiler torch does their work
        kernels.build()
    corpus = load_corpus(spec, progress=console.is_terminal)
    console.print(corpus.summary, highlight=False)

    def warn(line: str) -> None:
        console.print(line, style="yellow", highlight=False)

    started = time.monotonic()
    with cluster.connection(address):
        room = cluster.Room(spec, address)
        root = checkpoints.prepare(folder, spec.storage_path)
        if address or spec.storage_path:
            cluster.require_fit(spec, address, root, warn)
        studies = Studies(search, spec, folder, "new" if new else "go on")
        tracker = Tracker(uri, search, spec, folder, warn, new)
        studies.provenance = provenance(corpus)
        studies.solve = partial(solve, spec, corpus)
        _require_same_data(studies, folder)
        outcome = Outcome.INTERRUPTED
        try:
            reconcile(studies, tracker)
            tracker.describe(corpus, studies.provenance)
            with _progress(studies, console, room) as progress, _signals(studies, console):
                try:
                    studies.listeners = (tracker, progress, _Keeper(studies, folder))
                    _tune(studies, spec, corpus, folder, room, warn)
                except KeyboardInterrupt:
                    pass  # the second Ctrl-C
                except Exception as error:  # the disk of the studies is full, their server is away, ...
                    warn(f"Stopped: {reason(str(error))}. Details are in {folder / ERRORS}.")
                    with contextlib.suppress(OSError), (folder / ERRORS).open("a", encoding="utf-8") as file:
                        traceback.print_exc(file=file)
                finally:
                    studies.interrupt_all()
            outcome = outcome_of(studies)
        finally:
            if not tracker.close(outcome):
                console.print(f"MLflow lacks some of it; later: {python()} -m search audit {search} --repair")
        still_up = cluster.still_up() if address else None
    planned = None
    if new and outcome is Outcome.COMPLETE and (prediction := plan.find(spec)):
        trial_seconds = sum(trial.results[-1].seconds for trial in studies.trials() if trial.results)
        planned, tags = plan.compare(prediction, trial_seconds, time.monotonic() - started)
        with contextlib.suppress(ValueError):  # MLflow is away; nothing depends on these
            add_tags(uri, tracker.run_id, tags)
    return SearchResult(search, outcome, studies.num_owed, still_up, planned)


def _require_same_data(studies: Studies, folder: Path) -> None:
    now = studies.provenance[record.DATA_DIGEST]
    trials = studies.trials()
    confirmed = folder.parent / (studies.spec.confirms or "")
    if studies.spec.confirms and (confirmed / SPEC_FILE).is_file():
        trials += Studies(confirmed.name, read_spec(confirmed), confirmed).trials()
    for trial in trials:
        if trial.provenance.get(record.DATA_DIGEST, now) != now:
            raise ValueError(
                f"{studies.spec.corpus} is not what the search was started with: its digest is {now[:12]}, "
                f"{trial.name} learned from {trial.provenance[record.DATA_DIGEST][:12]}; run a new search"
            )


def reconcile(studies: Studies, tracker: Tracker) -> None:
    """Make MLflow say what the studies know of earlier processes; what was running then is interrupted now."""
    for trial in studies.trials():
        if trial.attempt == 0:
            continue  # its driver died before it had all its hyperparameters; it has no run yet
        if trial.outcome is Outcome.RUNNING:
            trial.outcome = Outcome.INTERRUPTED
        tracker.changed(trial, None)


def summaries(root: Path) -> Iterator[str]:
    """A line for each search under `root`, the oldest first."""
    for folder in find_searches("", root):
        try:
            studies = Studies(folder.name, read_spec(folder), folder)
        except ValueError as error:
            yield f"{folder.name:<32}  cannot be read: {str(error).splitlines()[0]}"
            continue
        names = studies.spec.architectures
        wanted = sum(studies.num_wanted(name) for name in names)
        state = f"{studies.num_owed} of {wanted} trials to go" if studies.num_owed else f"{wanted} trials, finished"
        yield f"{folder.name:<32}  {state:<24}  {', '.join(names)}  {folder}"


def solve(spec: Spec, corpus: EncodedCorpus, config: dict[str, Any]) -> dict[str, Any]:
    """The hyperparameters that follow from those of a config. Raises ValueError when there are none."""
    if spec.match_parameters is None:
        return {}
    return {HIDDEN_SIZE: solve_hidden_size(config, spec.match_parameters, corpus, spec.embeddings)}


def make_setting(spec: Spec, folder: Path) -> Setting:
    """What the trainable must know of a spec."""
    return Setting(
        epochs=spec.epochs,
        metric=spec.metric,
        curve_interval=spec.curve_interval,
        embeddings=spec.embeddings,
        threads=max(1, int(spec.resources.cpu)),
        gpu=spec.resources.gpu > 0,
        checkpoints=checkpoints.root(folder),
    )


def _tune(
    studies: Studies,
    spec: Spec,
    corpus: EncodedCorpus,
    folder: Path,
    room: Callable[[], int],
    warn: Callable[[str], None],
) -> None:
    setting = make_setting(spec, folder)
    searcher = ClusterSearcher(studies, room)
    # Tune's own bound on waiting trials is fixed when it starts; the searcher's follows the cluster.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = "1000000"
    os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = "1000000000"  # the studies are what a resume reads, not Tune's own record
    tune.Tuner(
        tune.with_resources(
            tune.with_parameters(trainable, corpus=corpus, setting=setting), spec.resources.model_dump()
        ),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=StudyScheduler(studies, warn),
            num_samples=-1,  # the searcher says when it has finished
            reuse_actors=True,
            trial_name_creator=lambda trial: trial_name(trial.config),
            trial_dirname_creator=lambda trial: trial_name(trial.config),
        ),
        run_config=tune.RunConfig(
            name=TUNE,
            storage_path=str(folder.absolute()),
            failure_config=tune.FailureConfig(max_failures=spec.retries),
            callbacks=[ClusterCallback(studies, searcher)],
            verbose=0,
        ),
    ).fit()


class _Keeper:
    """Removes the checkpoints that `keep_checkpoints` does not want, when a trial has ended."""

    def __init__(self, studies: Studies, folder: Path) -> None:
        self._studies, self._folder, self._num_kept = studies, checkpoints.root(folder), studies.spec.num_kept
        self._kept: dict[tuple[str, str | None], dict[str, Trial]] = {}  # the best ones so far, by name
        for architecture in studies.spec.architectures:
            for trial in studies.ranked(architecture):
                self.changed(trial, None)

    def changed(self, trial: Trial, result: EpochResult | None) -> None:
        if self._num_kept == float("inf") or trial.outcome in (Outcome.RUNNING, Outcome.INTERRUPTED):
            return
        if trial.outcome is not Outcome.COMPLETE:
            checkpoints.remove(self._folder / trial.name)
            return
        # Which of several repeated configurations is the best is known when all their repetitions have ended.
        kept = self._kept.setdefault((trial.architecture, trial.design.get(record.CONFIGURATION)), {})
        kept[trial.name] = trial
        if len(kept) > self._num_kept:
            worst = max(kept.values(), key=self._studies.order)
            checkpoints.drop_weights(self._folder / worst.name)
            del kept[worst.name]


def outcome_of(studies: Studies) -> Outcome:
    """How a search stands that nobody runs: INTERRUPTED while it owes trials, FAILED if none of them is valid."""
    if studies.num_owed:
        return Outcome.INTERRUPTED
    outcomes = {trial.outcome for trial in studies.trials()}
    return Outcome.COMPLETE if Outcome.COMPLETE in outcomes else Outcome.FAILED


def _progress(studies: Studies, console: Console, room: Callable[[], int]) -> Progress:
    """The progress display, knowing what an earlier process of this search has finished."""
    ended = [trial for trial in studies.trials() if trial.outcome is not Outcome.RUNNING]
    names = studies.spec.architectures
    best = {name: ranked[0].results[-1].best[studies.spec.metric] for name in names if (ranked := studies.ranked(name))}
    return Progress(
        console,
        studies.spec.metric,
        studies.spec.epochs,
        {name: studies.num_wanted(name) for name in names},
        room,
        {name: Counter(trial.outcome for trial in ended if trial.architecture == name) for name in names},
        best,
    )


@contextmanager
def _signals(studies: Studies, console: Console) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) lets running trials report and checkpoint; the second stops at once."""

    signals = 0

    def stop(number: int, frame: Any) -> None:
        nonlocal signals
        signals += 1
        if signals == 1:
            studies.stop()
            console.print("Stopping: running trials end with their epoch. Once more stops at once.", style="yellow")
        elif signals == 2:  # those after it would break off the cleaning up
            raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
