"""Simulated searches: the studies of real ones ask, prune, stop and rank, but what they are told was recorded."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import optuna

from search.base.record import Outcome
from search.simulate.table import Table, simulated
from search.simulate.worlds import World, world
from search.spec.spec import Spec
from search.study.ranking import order
from search.study.studies import Studies
from search.study.study import derive_seed
from search.study.trial import Trial, Worker
from search.train.metrics import split_metric
from search.train.training import Result

if TYPE_CHECKING:
    import pandas as pd

SIMULATED = Worker("simulated", 0)


@dataclass(frozen=True)
class Ended:
    """A simulated search.

    whole: by the name of each trial, its last result if nothing had ended it before its time. wall_seconds: until the
    last of its trials ended.
    """

    trials: list[Trial]
    whole: dict[str, Result]
    wall_seconds: float


def search(spec: Spec, world: World, workers: int) -> Ended:
    """Run the studies of a search with so many trials at once, each of which takes as long as was recorded.

    Which seed a trial has follows from the spec's and from what it is, not from the order in which trials end.
    """
    studies = Studies("simulated", spec, Path(), "new", storage=optuna.storages.InMemoryStorage())
    whole: dict[str, Result] = {}
    running: list[tuple[float, int, Trial, float, Iterator[Result], Result]] = []  # the next report of each
    now, count = 0.0, 0
    while True:
        while len(running) < workers and (trial := studies.ask()) is not None:
            luck = derive_seed(spec.seed, trial.architecture, trial.configuration or trial.number)
            results = world.run(trial, np.random.default_rng(luck)).results(spec.metric, spec.length)
            whole[trial.name] = results[-1]
            first, *rest = results
            count += 1
            heapq.heappush(running, (now + first.seconds, count, trial, now, iter(rest), first))
        if not running:
            return Ended(studies.trials(), whole, now)
        now, place, trial, started, rest_of, result = heapq.heappop(running)
        if studies.report(trial, result, SIMULATED):
            following = next(rest_of)
            heapq.heappush(running, (started + following.seconds, place, trial, started, rest_of, following))


def searches(spec: Spec, table: Table, repeats: int, workers: int) -> "tuple[pd.DataFrame, str]":
    """So many simulated searches, a row each (see `outcome`), and what their results are, for people.

    Those of one spec and seed are the same each time, and of specs that differ only in pruner or patience the trials
    are the same that a replay draws.
    """
    import pandas as pd

    spec = simulated(spec, table)
    results = world(spec, table)
    rows = []
    for repeat in range(repeats):
        drawn = results.spec(np.random.default_rng((spec.seed, repeat)))
        rows.append(outcome(drawn, search(drawn, results, workers)))
    return pd.DataFrame(rows), results.label


def outcome(spec: Spec, ended: Ended) -> dict[str, float | str | None]:
    """What a search came to: what it chose, and what it would have if it had trained all its trials to their end.

    `regret` is how much better on validation the best of all of these would have been than the one that was chosen,
    `test_regret` by how much its test score differs, both in the metric's unit and 0 or more where something was lost
    (on test also less). `epochs_share`: of the epochs of whole trials.
    """
    sign = 1 if split_metric(spec.metric)[1].maximize else -1
    on_test = f"test_{spec.metric.removeprefix('val_')}"
    complete = sorted((each for each in ended.trials if each.outcome is Outcome.COMPLETE), key=order(spec.metric))
    chosen = complete[0] if complete else None
    known = {name: result for name, result in ended.whole.items() if not result.diverged}
    full = max(known, key=lambda name: sign * known[name].best[spec.metric]) if known else None
    best = known[full].best if full else {}
    epochs = sum(trial.epochs for trial in ended.trials)
    row: dict[str, float | str | None] = {
        "chosen": chosen.architecture if chosen else None,
        "full": full.rpartition("-")[0] if full else None,
        spec.metric: chosen.score if chosen else None,
        on_test: chosen.best.get(on_test) if chosen else None,
        "regret": sign * (best[spec.metric] - (chosen.score or 0.0)) if chosen else None,
        "test_regret": sign * (best[on_test] - chosen.best[on_test]) if chosen and on_test in best else None,
        "trials": len(ended.trials),
        "epochs": epochs,
        "epochs_share": epochs / (len(ended.trials) * spec.epochs),
        "core_seconds": sum(trial.seconds for trial in ended.trials),
        "wall_seconds": ended.wall_seconds,
    }
    return row | {f"{each.value}_share": _share(ended.trials, each) for each in (Outcome.COMPLETE, Outcome.PRUNED)}


def _share(trials: list[Trial], outcome: Outcome) -> float:
    return sum(trial.outcome is outcome for trial in trials) / max(1, len(trials))
