"""Compares Optuna's studies, MLflow's runs and the checkpoints, trial by trial, and repairs differences.

The studies are authoritative: a repair makes MLflow's runs agree with them.
"""

import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from search.base import origin
from search.base.schema import SPEC, Outcome
from search.run.state import outcome_of, reconcile
from search.spec import kept
from search.spec.read import read_spec
from search.study.studies import Studies
from search.study.trial import Trial
from search.track.entities import STATUS
from search.track.own_run import spec_tags, stop_tags
from search.track.recorded import Recorded, Run, read_runs
from search.track.tracking import Tracker
from search.train import checkpoints
from search.train.config import length_of


def audit(folder: Path, uri: str) -> list[str]:
    """All differences, one line each; an empty list if everything agrees. Writes nothing."""
    studies = Studies(folder.name, read_spec(folder), folder)
    recorded = read_runs(uri, folder.name, details=True)
    lines = [*_compare_own(recorded, studies)]
    parent = recorded.own[0].run_id if recorded.outcome is not None else None
    by_trial: dict[str, list[Run]] = defaultdict(list)
    for run in recorded.runs:
        by_trial[run.trial].append(run)
    trials = {trial.name: trial for trial in studies.trials()}
    lines += [
        f"{name}: {len(runs)} runs in MLflow, no trial in the study"
        for name, runs in by_trial.items()
        if name not in trials
    ]
    for name, trial in trials.items():
        if trial.attempt == 0 and not by_trial[name]:
            continue  # the driver died while creating the trial; a resume continues it
        lines += [f"{name}: {line}" for line in _compare(trial, by_trial[name], studies, parent)]
        lines += [f"{name}: {line}" for line in _compare_checkpoint(trial, folder, studies)]
    others = recorded.others.items()
    lines += [f"run {run_id}: not a child of the search's run" for run_id, actual in others if actual != parent]
    place = checkpoints.root(folder)
    strays = {path.name for path in place.iterdir()} - {*trials, kept.FOLDER} if place.is_dir() else set()
    return lines + [f"{name}: checkpoints of no trial" for name in sorted(strays)]


def _compare_own(recorded: Recorded, studies: Studies) -> Iterator[str]:
    """Differences between the search and its run in MLflow."""
    existing = [run for run in recorded.own if not run.deleted]
    if not existing:
        yield f"the search's run {recorded.own[0].run_id} was deleted" if recorded.own else "no run of the search"
        return
    if len(existing) > 1:
        yield f"{len(existing)} runs of the search in MLflow, not 1"
    run, outcome = existing[0], outcome_of(studies)
    if run.outcome != outcome:
        yield f"the search is {outcome}, its run says {run.outcome}"
    started = origin.noted(studies.folder)
    if started is not None and run.start != started:
        yield f"the search started at {_at(started)}, its run at {_at(run.start)}"
    if run.spec is None:
        if not run.behind_server:
            yield f"the search's run has no {SPEC}"
        return
    spec = studies.spec.model_copy(update={"storage": None}).model_dump(mode="json")
    keys = sorted(key for key in spec.keys() & run.spec.keys() if run.spec[key] != spec[key])
    yield from (f"{key} {shown(spec[key])} in the search's spec, its run says {shown(run.spec[key])}" for key in keys)
    tags = spec_tags(studies.spec) | stop_tags(studies)
    yield from (
        f"{name} {tags[name]}, its run says {run.tags[name]}"
        for name in sorted(tags.keys() & run.tags.keys())
        if run.tags[name] != tags[name]
    )


def shown(value: object) -> str:
    """A value of a spec, shortened to 60 characters."""
    return textwrap.shorten(" ".join(str(value).split()), 60, placeholder=" ...")


def _at(time_ms: int | None) -> str:
    return "no known time" if time_ms is None else datetime.fromtimestamp(time_ms / 1000, UTC).isoformat()


def _compare(trial: Trial, runs: list[Run], studies: Studies, parent: str | None) -> Iterator[str]:
    if len(runs) != 1:
        yield f"{len(runs)} runs in MLflow, not 1"
    for run in runs:
        yield from _compare_run(trial, run, parent)
    if trial.outcome is Outcome.COMPLETE and (value := studies.value(trial)) != trial.score:
        yield f"Optuna's value is {value}, its best report's {trial.score}"


def _compare_run(trial: Trial, run: Run, parent: str | None) -> Iterator[str]:
    outcome = Outcome.INTERRUPTED if trial.outcome is Outcome.RUNNING else trial.outcome
    if run.run_id != trial.run_id:
        yield f"its run is {trial.run_id}, MLflow has {run.run_id}"
    if run.parent != parent:
        yield f"its run is a child of {run.parent}, the search's run is {parent or 'not there'}"
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
        return
    yield from _compare_times(trial, run)
    for key, best in trial.best.items():
        if run.best.get(key) != best:
            yield f"best {key} {best}, its run says {run.best.get(key)}"


def _compare_times(trial: Trial, run: Run) -> Iterator[str]:
    """Compares times, if the study has recorded them; older studies have not."""
    if trial.timed and run.start != trial.started:
        yield f"started at {_at(trial.started)}, its run says {_at(run.start)}"
    if trial.timed and trial.outcome is not Outcome.RUNNING and run.end != trial.last_event:
        yield f"ended at {_at(trial.last_event)}, its run says {_at(run.end)}"
    for result in trial.results:
        if result.time and run.times.get(result.step) != result.time:
            noted = _at(run.times.get(result.step))
            yield f"report {result.step} came at {_at(result.time)}, its run says {noted}"
            return


def _compare_checkpoint(trial: Trial, folder: Path, studies: Studies) -> Iterator[str]:
    last = max((result.step for result in trial.results if not result.diverged), default=0)
    saved = checkpoints.last_step(checkpoints.folder_of(folder, trial.name))
    # Every epoch and every complete trial ends with a checkpoint; other reports may have none.
    per_epoch = length_of(trial.architecture, studies.spec.length).reports_per_epoch
    first = last if trial.outcome is Outcome.COMPLETE else last - last % per_epoch
    # A worker saves a checkpoint before it sends the report, so an unfinished trial may be one checkpoint ahead.
    allowed = {*range(first, last + 1 + (trial.outcome is Outcome.RUNNING))}
    if studies.spec.num_kept < float("inf"):
        allowed.add(0)
    if saved not in allowed:
        of = f"{saved / per_epoch:.4g}" if saved else "none"
        yield f"{last / per_epoch:.4g} epochs, its last whole checkpoint is of epoch {of}"


def repair(folder: Path, uri: str, warn: Callable[[str], None] = print) -> None:
    """Makes MLflow agree with the studies: writes missing runs and reports, ends runs that should have ended, closes
    runs without a trial, restores deleted runs, and makes all of them children of the search's run.

    A run that still differs, in something that MLflow cannot change, such as its start or a surplus report, is deleted
    and written again.
    """
    studies = Studies(folder.name, read_spec(folder), folder, "resume")
    tracker = Tracker(uri, studies, warn)
    reconcile(studies, tracker)
    tracker.own.provenance = next((trial.provenance for trial in studies.trials() if trial.provenance), {})
    if tracker.deliver(every=True):  # otherwise MLflow is not up to date, and a comparison is meaningless
        trials = {trial.run_id: trial for trial in studies.trials()}
        recorded = read_runs(uri, folder.name, details=True)
        for run in recorded.runs:
            trial = trials.get(run.run_id)
            if trial is None or any(_compare_run(trial, run, tracker.run_id)):
                tracker.drop(run.run_id)
                if trial:
                    studies.keep_run_id(trial, None)
        reconcile(studies, tracker)
        for other, parent in recorded.others.items():
            if parent != tracker.run_id:
                tracker.adopt(other)
        for own in recorded.own:
            if own.run_id != tracker.run_id and not own.deleted:
                tracker.drop(own.run_id)
    if tracker.close(outcome_of(studies)):
        origin.keep_uri(folder, uri)
