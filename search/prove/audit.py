"""Do Optuna, MLflow and the checkpoints tell the same story? Trial by trial; and the repair where they do not.

The study is what counts: MLflow's runs are made to agree with it.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from search.base.record import Outcome
from search.run.state import outcome_of, reconcile
from search.spec import kept
from search.spec.read import read_spec
from search.study.studies import Studies
from search.study.trial import Trial
from search.track.entities import STATUS
from search.track.recorded import Run, read_runs
from search.track.tracking import Tracker
from search.train import checkpoints
from search.train.config import length_of


def audit(folder: Path, uri: str) -> list[str]:
    """What differs, a line each; an empty list when everything agrees. Writes nothing."""
    studies = Studies(folder.name, read_spec(folder), folder)
    outcome, runs = read_runs(uri, folder.name)
    lines = [] if outcome == outcome_of(studies) else [f"the search is {outcome_of(studies)}, its run says {outcome}"]
    by_trial: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_trial[run.trial].append(run)
    trials = {trial.name: trial for trial in studies.trials()}
    lines += [
        f"{name}: {len(its_runs)} runs in MLflow, no trial in the study"
        for name, its_runs in by_trial.items()
        if name not in trials
    ]
    for name, trial in trials.items():
        if trial.attempt == 0 and not by_trial[name]:
            continue  # its driver died while it was being made; a resume goes on with it
        lines += [f"{name}: {line}" for line in _compare(trial, by_trial[name], studies)]
        lines += [f"{name}: {line}" for line in _compare_checkpoint(trial, folder, studies)]
    place = checkpoints.root(folder)
    strays = {path.name for path in place.iterdir()} - {*trials, kept.FOLDER} if place.is_dir() else set()
    return lines + [f"{name}: checkpoints of no trial" for name in sorted(strays)]


def _compare(trial: Trial, runs: list[Run], studies: Studies) -> Iterator[str]:
    if len(runs) != 1:
        yield f"{len(runs)} runs in MLflow, not 1"
    for run in runs:
        outcome = Outcome.INTERRUPTED if trial.outcome is Outcome.RUNNING else trial.outcome
        if run.run_id != trial.run_id:
            yield f"its run is {trial.run_id}, MLflow has {run.run_id}"
        if run.outcome != outcome:
            yield f"outcome {outcome}, its run says {run.outcome or 'nothing'}"
        if run.status != STATUS[outcome]:
            yield f"{outcome} is status {STATUS[outcome]}, its run has {run.status}"
        if run.ended_by != trial.ended_by:
            yield f"ended by {trial.ended_by or 'nothing'}, its run says {run.ended_by or 'nothing'}"
        wanted = trial.params
        for key in sorted({*wanted, *run.params}):
            if str(wanted.get(key)) != run.params.get(key):
                yield f"{key} {wanted.get(key)}, its run says {run.params.get(key)}"
        if run.epochs != trial.epochs:
            yield f"{trial.epochs:.4g} epochs, its run has {run.epochs:.4g}"
            continue
        for key, best in trial.best.items():
            if run.best.get(key) != best:
                yield f"best {key} {best}, its run says {run.best.get(key)}"
    if trial.outcome is Outcome.COMPLETE and (value := studies.value(trial)) != trial.score:
        yield f"Optuna's value is {value}, its best report's {trial.score}"


def _compare_checkpoint(trial: Trial, folder: Path, studies: Studies) -> Iterator[str]:
    last = max((result.step for result in trial.results if not result.diverged), default=0)
    found = checkpoints.last_step(checkpoints.folder_of(folder, trial.name))
    # Each epoch has one, and so has the end of a complete trial; other reports may be without.
    per_epoch = length_of(trial.architecture, studies.spec.length).reports_per_epoch
    first = last if trial.outcome is Outcome.COMPLETE else last - last % per_epoch
    # A worker saves a report before it sends it; a trial that is to go on may thus be one ahead.
    allowed = {*range(first, last + 1 + (trial.outcome is Outcome.RUNNING))}
    if studies.spec.num_kept < float("inf"):
        allowed.add(0)
    if found not in allowed:
        of = f"{found / per_epoch:.4g}" if found else "none"
        yield f"{last / per_epoch:.4g} epochs, its last whole checkpoint is of epoch {of}"


def repair(folder: Path, uri: str) -> None:
    """Make MLflow agree with the study: missing runs and reports written, ended runs ended, runs of no trial closed."""
    studies = Studies(folder.name, read_spec(folder), folder, "go on")
    tracker = Tracker(uri, studies)
    reconcile(studies, tracker)
    tracker.own.provenance = next((trial.provenance for trial in studies.trials() if trial.provenance), {})
    ours = {trial.run_id for trial in studies.trials()}
    for run in read_runs(uri, folder.name)[1]:
        if run.run_id not in ours:
            tracker.drop(run.run_id)
    tracker.close(outcome_of(studies))
