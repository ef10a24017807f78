"""The state of a search that is not running."""

from collections.abc import Iterator
from pathlib import Path

from data.base.errors import UserError
from search.base import timings
from search.base.schema import Outcome
from search.base.timings import Event
from search.run.folders import find_searches
from search.spec.read import read_spec
from search.study.studies import Studies
from search.track.tracking import Tracker


def reconcile(studies: Studies, tracker: Tracker) -> None:
    """Bring MLflow up to date with the studies of earlier processes; trials that were running count as interrupted."""
    for trial in studies.trials():
        if trial.attempt == 0:
            continue  # the driver died before the trial had all hyperparameters; the trial has no run yet
        if trial.outcome is Outcome.RUNNING:
            trial.outcome = Outcome.INTERRUPTED
        tracker.changed(trial, None)


def note_training(folder: Path) -> None:
    """Note the times of the first training step and of the last trial's end."""
    results = [trial.results for trial in Studies(folder.name, read_spec(folder), folder).trials()]
    reports = [each for each in results if each and each[0].time and each[-1].time]
    if reports:
        timings.note(Event.FIRST_STEP, min((each[0].time or 0) / 1000 - each[0].seconds for each in reports))
        timings.note(Event.LAST_END, max((each[-1].time or 0) / 1000 for each in reports))


def summaries(root: Path) -> Iterator[str]:
    """One line per search under `root`, oldest first."""
    for folder in find_searches("", root):
        try:
            studies = Studies(folder.name, read_spec(folder), folder)
        except UserError as error:
            yield f"{folder.name:<32}  cannot be read: {str(error).splitlines()[0]}"
            continue
        names = ", ".join(studies.spec.architectures)
        if studies.spec.baselines:
            names += f" (baselines {', '.join(studies.spec.baselines)})"
        wanted = sum(studies.num_wanted(name) for name in studies.spec.studied)
        state = f"{studies.num_owed} of {wanted} trials to go" if studies.num_owed else f"{wanted} trials, finished"
        yield f"{folder.name:<32}  {state:<24}  {names}  {folder}"


def outcome_of(studies: Studies) -> Outcome:
    """The outcome of a search that is not running: INTERRUPTED if trials are left, FAILED if no network is valid."""
    if studies.num_owed:
        return Outcome.INTERRUPTED
    outcomes = {trial.outcome for name in studies.spec.architectures for trial in studies.trials(name)}
    return Outcome.COMPLETE if Outcome.COMPLETE in outcomes else Outcome.FAILED
