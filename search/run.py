"""Runs a search: the corpus, Ray, the studies, the trainable, the tracking and Tune, put together."""

import logging
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import tune
from rich.console import Console

import data
from search import spec as specs
from search.console import python
from search.progress import Progress
from search.record import Outcome
from search.spec import Spec
from search.studies import Studies, StudyScheduler, StudySearcher
from search.tracking import Tracker
from search.trainable import Setting, trainable, trial_name

SPEC_FILE = "spec.yaml"


@dataclass(frozen=True)
class SearchResult:
    """How a search ended: COMPLETE (every trial accounted for and one of them valid), INTERRUPTED or FAILED."""

    search: str
    outcome: Outcome
    num_owed: int  # trials that a resume would still run


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
    partial = folder / f".{SPEC_FILE}"
    partial.write_text(specs.dump(spec), encoding="utf-8")
    partial.replace(folder / SPEC_FILE)
    return folder


def discard(folder: Path) -> None:
    """Remove the folder of a search that was refused before anything but its spec was written."""
    if [path.name for path in folder.iterdir()] == [SPEC_FILE]:
        (folder / SPEC_FILE).unlink()
        folder.rmdir()


def find_search(search: str, root: Path) -> Path:
    """The folder of a search by its id, its name (the newest of that name) or `latest`. Raises ValueError."""
    ids = sorted((path.parent.name for path in root.glob(f"*/{SPEC_FILE}")), key=lambda each: each[-15:])
    matching = [each for each in ids if search in ("latest", each, each[:-16])]
    if not matching:
        known = specs.did_you_mean(search, ids[-5:]) if ids else "; there are none yet"
        raise ValueError(f"no search {search!r} in {root}{known}")
    return root / matching[-1]


def read_spec(folder: Path) -> Spec:
    """The spec that a search was started with."""
    return specs.read(str(folder / SPEC_FILE))


def finished(folder: Path) -> SearchResult | None:
    """How a search ended that owes no trial; None for one that does."""
    studies = Studies(folder.name, read_spec(folder), folder)
    return None if studies.num_owed else SearchResult(folder.name, _outcome(studies), 0)


def run(folder: Path, uri: str, console: Console, address: str | None = None) -> SearchResult:
    """Run the search in `folder` until no trial is owed, the time budget is spent, or Ctrl-C; earlier trials count.

    uri: MLflow tracking URI. address: of a running Ray cluster; without one Ray is started on this machine.
    Raises ValueError when the spec's resources do not fit.
    """
    spec, search = read_spec(folder), folder.name
    corpus = data.load(
        spec.corpus,
        vectors=spec.vectors,
        embeddings=spec.embeddings,
        embedding_size=spec.embedding_size,
        max_words=spec.max_words,
        limit=spec.limit,
        progress=console.is_terminal,
    )
    console.print(corpus.summary, highlight=False)
    with _ray(address):
        num_parallel = _num_parallel(spec)
        tracker = Tracker(uri, search, spec, folder, warn=lambda line: console.print(line, style="yellow"))
        studies = Studies(search, spec, folder)
        reconcile(studies, tracker)
        tracker.describe_corpus(corpus)
        outcome = Outcome.FAILED
        try:
            with _progress(studies, console, num_parallel) as progress, _signals(studies, console):
                studies.listeners = (tracker, progress)
                try:
                    _tune(studies, spec, corpus, folder, num_parallel)
                except KeyboardInterrupt:
                    pass  # the second Ctrl-C
                finally:
                    studies.interrupt_all()
            outcome = _outcome(studies)
        finally:
            if not tracker.close(outcome):
                console.print(f"MLflow lacks some of it; later: {python()} -m search audit {search} --repair")
    return SearchResult(search, outcome, studies.num_owed)


def reconcile(studies: Studies, tracker: Tracker) -> None:
    """Make MLflow say what the studies know of earlier processes; what was running then is interrupted now."""
    for trial in studies.trials():
        if trial.outcome is Outcome.RUNNING:
            trial.outcome = Outcome.INTERRUPTED
        tracker.changed(trial, None)


def summaries(root: Path) -> Iterator[str]:
    """A line for each search under `root`, the oldest first."""
    for path in sorted(root.glob(f"*/{SPEC_FILE}"), key=lambda each: each.parent.name[-15:]):
        folder = path.parent
        studies = Studies(folder.name, read_spec(folder), folder)
        names = studies.spec.architectures
        wanted = sum(studies.num_wanted(name) for name in names)
        state = f"{studies.num_owed} of {wanted} trials to go" if studies.num_owed else f"{wanted} trials, finished"
        yield f"{folder.name:<32}  {state:<24}  {', '.join(names)}  {folder}"


def _tune(studies: Studies, spec: Spec, corpus: Any, folder: Path, num_parallel: int) -> None:
    setting = Setting(
        epochs=spec.epochs,
        metric=spec.metric,
        curve_interval=spec.curve_interval,
        embeddings=spec.embeddings,
        threads=max(1, int(spec.resources.cpu)),
        gpu=spec.resources.gpu > 0,
        checkpoints=(folder / "checkpoints").absolute(),
    )
    tune.Tuner(
        tune.with_resources(
            tune.with_parameters(trainable, corpus=corpus, setting=setting), spec.resources.model_dump()
        ),
        tune_config=tune.TuneConfig(
            search_alg=StudySearcher(studies),
            scheduler=StudyScheduler(studies),
            num_samples=-1,  # the searcher says when it has finished
            max_concurrent_trials=num_parallel,
            reuse_actors=True,
            trial_name_creator=lambda trial: trial_name(trial.config),
            trial_dirname_creator=lambda trial: trial_name(trial.config),
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(folder.absolute()),
            failure_config=tune.FailureConfig(max_failures=spec.retries),
            callbacks=[_Restarts(studies)],
            verbose=0,
        ),
    ).fit()


class _Restarts(tune.Callback):
    """Tells the studies when Tune goes on with a trial whose worker died."""

    def __init__(self, studies: Studies) -> None:
        self._studies = studies

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._studies.restarted(self._studies.live(trial.config))


def _outcome(studies: Studies) -> Outcome:
    if studies.num_owed:
        return Outcome.INTERRUPTED
    outcomes = {trial.outcome for trial in studies.trials()}
    return Outcome.COMPLETE if Outcome.COMPLETE in outcomes else Outcome.FAILED


def _progress(studies: Studies, console: Console, num_parallel: int) -> Progress:
    """The progress display, knowing what an earlier process of this search has finished."""
    ended = [trial for trial in studies.trials() if trial.outcome is not Outcome.RUNNING]
    pick = max if studies.maximize else min
    best: dict[str, float] = {}
    for trial in ended:
        if trial.outcome is Outcome.COMPLETE:
            score = trial.results[-1].best[studies.spec.metric]
            best[trial.architecture] = pick(score, best.get(trial.architecture, score))
    names = studies.spec.architectures
    return Progress(
        console,
        studies.spec.metric,
        studies.spec.epochs,
        {name: studies.num_wanted(name) for name in names},
        num_parallel,
        {name: Counter(trial.outcome for trial in ended if trial.architecture == name) for name in names},
        best,
    )


@contextmanager
def _ray(address: str | None) -> Iterator[None]:
    """Ray on this machine, or a connection to a cluster; shut down at the end."""
    root = str(Path(__file__).parent.parent)
    # Workers import this project whatever directory the command was started in.
    environment = {"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}}
    local: dict[str, Any] = {} if address else {"include_dashboard": False}
    # Below ERROR, Ray and Tune speak of files that we tell them not to write.
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    ray.init(
        address=address or "local",
        log_to_driver=False,
        logging_level=logging.ERROR,
        runtime_env=environment,
        **local,
    )
    try:
        yield
    finally:
        ray.shutdown()


def _num_parallel(spec: Spec) -> int:
    """How many trials fit the cluster at once. Raises ValueError when not even one does."""
    wanted = {"CPU": spec.resources.cpu, "GPU": spec.resources.gpu}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    fits = [min(int(node.get(kind, 0) / each) for kind, each in wanted.items() if each) for node in nodes]
    if not sum(fits):
        most = {kind: max((node.get(kind, 0) for node in nodes), default=0) for kind in wanted}
        raise ValueError(
            f"resources: a trial wants {wanted['CPU']:g} CPU and {wanted['GPU']:g} GPU; "
            f"no node has more than {most['CPU']:g} CPU and {most['GPU']:g} GPU"
        )
    return sum(fits)


@contextmanager
def _signals(studies: Studies, console: Console) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) lets running trials report and checkpoint; the second stops at once."""

    def stop(number: int, frame: Any) -> None:
        if studies.stopping:
            raise KeyboardInterrupt
        studies.stop()
        console.print("Stopping: running trials end with their epoch. Once more stops at once.", style="yellow")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
