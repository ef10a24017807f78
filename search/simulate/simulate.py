"""Simulated searches: real studies propose, prune, stop and rank, but the results of trials are recorded ones."""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import optuna

from search.base.schema import Outcome
from search.simulate.table import Table, replace_keys, simulated
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
    """A simulated search that has ended.

    whole: trial name -> the last result that the trial would have had if it had not ended early. wall_seconds: until
    the last trial ended. num_planned: the planned number of trials.
    """

    trials: list[Trial]
    whole: dict[str, Result]
    wall_seconds: float
    num_planned: int

    def chosen(self, metric: str) -> Trial | None:
        """The best of the complete trials."""
        complete = (trial for trial in self.trials if trial.outcome is Outcome.COMPLETE)
        return min(complete, key=order(metric, self.trials), default=None)


def search(
    spec: Spec,
    world: World,
    workers: int,
    core_seconds: float = float("inf"),
    until: Callable[[Trial], bool] = lambda trial: False,
) -> Ended:
    """Simulates a search with `workers` trials at a time, which take as long as recorded.

    core_seconds: once the trials have spent this much, no more are started. until: called after every report; the
    search ends at the first report for which it returns true.

    The seed of a trial is derived from the spec's seed and the trial, not from the order in which trials end.
    """
    studies = Studies("simulated", spec, Path(), "new", storage=optuna.storages.InMemoryStorage())
    whole: dict[str, Result] = {}
    running: list[tuple[float, int, Trial, float, Iterator[Result], Result]] = []  # by time of the next report
    now, count, spent = 0.0, 0, 0.0
    while True:
        while spent < core_seconds and len(running) < workers and (trial := studies.ask()) is not None:
            seed = derive_seed(spec.seed, trial.architecture, trial.configuration or trial.number)
            results = world.run(trial, np.random.default_rng(seed)).results(spec.metric, spec.length)
            whole[trial.name] = results[-1]
            first, *rest = results
            count += 1
            heapq.heappush(running, (now + first.seconds, count, trial, now, iter(rest), first))
        if not running:
            return Ended(studies.trials(), whole, now, sum(map(studies.num_planned, spec.studied)))
        now, place, trial, started, rest_of, result = heapq.heappop(running)
        continues = studies.report(trial, result, SIMULATED)
        if until(trial):
            studies.stop()
            running.clear()
        elif continues:
            following = next(rest_of)
            heapq.heappush(running, (started + following.seconds, place, trial, started, rest_of, following))
        else:
            spent += trial.seconds


def searches(spec: Spec, table: Table, repeats: int, workers: int) -> "tuple[pd.DataFrame, str]":
    """Simulates `repeats` searches. Returns a row for each (see `outcome`), and a description of the world for people.

    The same spec and seed give the same searches. With a replay, specs that differ only in pruner or patience draw the
    same trials.
    """
    import pandas as pd

    spec = simulated(spec, table)
    results = world(spec, table)
    rows = []
    for repeat in range(repeats):
        drawn = results.spec(np.random.default_rng((spec.seed, repeat)))
        ended = search(drawn, results, workers)
        if drawn.stop == "none":
            rows.append(outcome(drawn, ended))
        else:  # also simulates the same search without the stopping rule
            without = search(replace_keys(drawn, {"stop": "none"}), results, workers)
            ended = replace(ended, whole=without.whole | ended.whole)
            rows.append(outcome(drawn, ended) | beside(drawn, ended, without, results))
    return pd.DataFrame(rows), results.label


def beside(spec: Spec, ended: Ended, without: Ended, results: World) -> dict[str, float | str | None]:
    """The effect of a stopping rule, compared with the same search without the rule.

    `epochs_saved`: the share of epochs saved. `stop_regret`: by how much the chosen trial is worse on validation, in
    the metric's unit. `stop_regret_mean`: likewise for the mean of validation and test over all seeds,
    which depends less on single texts of a small validation split (see `World.mean`).
    """
    sign = 1 if split_metric(spec.metric)[1].maximize else -1
    ours, theirs = ended.chosen(spec.metric), without.chosen(spec.metric)
    epochs, whole = (sum(trial.epochs for trial in search.trials) for search in (ended, without))
    row: dict[str, float | str | None] = {
        "epochs_saved": 1 - epochs / whole,
        "stop_regret": None,
        "stop_regret_mean": None,
    }
    if ours and theirs and ours.score is not None and theirs.score is not None:
        row["stop_regret"] = sign * (theirs.score - ours.score)
        means = results.mean(theirs, spec.metric), results.mean(ours, spec.metric)
        if means[0] is not None and means[1] is not None:
            row["stop_regret_mean"] = sign * (means[0] - means[1])
    return row


def outcome(spec: Spec, ended: Ended) -> dict[str, float | str | None]:
    """The outcome of a search: its choice, compared with the best trial if all trials had been trained in full.

    `regret`: by how much the best trial is better on validation; `test_regret`: likewise on test; both
    in the metric's unit, and positive for a loss (`regret` is never negative). `epochs_share`: the share of the epochs
    that all planned trials would have in full.
    """
    sign = 1 if split_metric(spec.metric)[1].maximize else -1
    on_test = f"test_{spec.metric.removeprefix('val_')}"
    chosen = ended.chosen(spec.metric)
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
        "epochs_share": epochs / (ended.num_planned * spec.epochs),
        "core_seconds": sum(trial.seconds for trial in ended.trials),
        "wall_seconds": ended.wall_seconds,
    }
    shares = {f"{kind.value}_share": _share(ended.trials, kind) for kind in (Outcome.COMPLETE, Outcome.PRUNED)}
    return row | shares


def _share(trials: list[Trial], outcome: Outcome) -> float:
    return sum(trial.outcome is outcome for trial in trials) / max(1, len(trials))
