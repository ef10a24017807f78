"""The cost that `folds` adds to a search: the best of each architecture and baseline is trained on every fold."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from data.encoded import EncodedCorpus
from search.run.plan import Cost, Prediction, seconds_of
from search.run.progress import duration
from search.run.simulation import Ran, makespan
from search.spec.spec import Spec
from search.train.config import length_of


@dataclass(frozen=True)
class OverFolds:
    """The cost of the folds. trial_seconds: summed over all trials. wall_seconds: elapsed time."""

    folds: int
    num_trials: int
    trial_seconds: float
    wall_seconds: float
    disk_bytes: float
    num_rows: int


def predict(
    spec: Spec, corpus: EncodedCorpus, cost: Mapping[str, Cost], concurrency: int, start_seconds: float
) -> OverFolds | None:
    """The cost of the folds; None for a spec without folds. The time of a fold is assumed proportional to its number of
    training texts (all parts but two), and that of the best configurations, which are not known yet, to be average.
    """
    if not spec.folds or spec.repeats:
        return None
    num_texts = sum(map(len, (corpus.train, corpus.val, corpus.test)))
    share = num_texts * (1 - 2 / spec.folds) / len(corpus.train)
    reports = {name: length_of(name, spec.length).num_reports for name in spec.studied}
    seconds = [
        share * seconds_of(cost[name], Ran(num, True)) for name, num in reports.items() for _ in range(spec.folds)
    ]
    return OverFolds(
        folds=spec.folds,
        num_trials=len(seconds),
        trial_seconds=sum(seconds),
        wall_seconds=makespan(seconds, concurrency) + start_seconds,
        disk_bytes=sum(cost[name].last_checkpoint_bytes for name in reports),  # one checkpoint stays per model
        num_rows=round(spec.folds * sum(num * cost[name].num_points for name, num in reports.items())),
    )


def lines(found: OverFolds, search: Prediction) -> Iterator[str]:
    """The cost of the folds as lines of text, to show below those of the search itself."""
    trials, wall = search.pruned_trial_seconds + found.trial_seconds, search.pruned_wall_seconds + found.wall_seconds
    yield ""
    yield (
        f"Then {found.folds} folds, {found.num_trials} trials: the best of each architecture and baseline on each fold"
    )
    for name, trial_seconds, wall_seconds in (
        ("folds", found.trial_seconds, found.wall_seconds),
        ("in all", trials, wall),
    ):
        yield f"{name:<12} {trial_seconds / 3600:>12.2f} {duration(wall_seconds):>10}"
    yield (
        f"and {found.disk_bytes / 1e6:,.1f} MB more of checkpoints, {found.num_trials + 1} runs and {found.num_rows:,} "
        "metric rows"
    )
    hourly = (search.price or 0.0) / search.pruned_wall_seconds if search.pruned_wall_seconds else 0.0
    if hourly:
        yield f"Money        {hourly * wall:,.2f} in all"
