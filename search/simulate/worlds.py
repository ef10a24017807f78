"""Worlds give the results of trials in a simulated search: recorded runs of a table, or a surrogate fitted to it."""

from collections.abc import Mapping
from statistics import fmean
from typing import Any, Protocol

import numpy as np

from data.base.errors import UserError
from search.simulate.surrogate import Surrogate
from search.simulate.table import Run, Table, replace_keys
from search.spec.spec import Spec
from search.study.trial import Trial


class World(Protocol):
    """The interface of a world. label: a description for people."""

    label: str

    def spec(self, rng: np.random.Generator) -> Spec:
        """The spec of the next simulated search."""

    def run(self, trial: Trial, rng: np.random.Generator) -> Run:
        """The complete run of a trial, with a random seed, as if it was never ended early."""

    def mean(self, trial: Trial, metric: str) -> float | None:
        """The mean of the metric on validation and test at the best report, over all known seeds of the trial's
        configuration; None if unknown."""


class Replay:
    """Replays recorded runs: random search draws configurations of the table, at most once per search, with a random
    seed."""

    def __init__(self, spec: Spec, table: Table) -> None:
        most = min(len(table.runs[name]) for name in spec.architectures)
        if spec.num_trials > most:
            raise UserError(
                f"trials: should be at most {most}, the table's configurations of an architecture; got "
                f"{spec.num_trials}"
            )
        self._spec, self._table = spec, table
        self.label = f"replayed: real runs, rows of the table (of {most} configurations of each architecture)"

    def spec(self, rng: np.random.Generator) -> Spec:
        """The spec as a grid of randomly drawn configurations, which are run in random order."""
        drawn: dict[str, dict[str, Any]] = {}
        for name in self._spec.architectures:
            numbers = rng.choice(list(self._table.runs[name]), self._spec.num_trials, replace=False)
            drawn[name] = {str(number): self._table.runs[name][number][0].hyperparameters for number in numbers}
        repeated = {"sampler": "grid", "configurations": drawn, "space": {}, "trials": None, "match_parameters": None}
        return replace_keys(self._spec, repeated | {"seed": _seed(rng)})

    def run(self, trial: Trial, rng: np.random.Generator) -> Run:
        runs = self._table.runs[trial.architecture][int(trial.configuration or "")]
        return runs[int(rng.integers(len(runs)))]

    def mean(self, trial: Trial, metric: str) -> float | None:
        runs = self._table.runs[trial.architecture][int(trial.configuration or "")]
        bests = [run.results(metric, self._spec.length)[-1].best for run in runs if run.diverged is None]
        on_test = f"test_{metric.removeprefix('val_')}"
        return fmean((best[metric] + best[on_test]) / 2 for best in bests) if bests and on_test in bests[0] else None


class Modelled:
    """Predicts the results of any point of the space with a surrogate, and adds the noise of the table's seeds."""

    def __init__(self, spec: Spec, table: Table) -> None:
        self._spec, self._table = spec, table
        metrics = [spec.metric, f"test_{spec.metric.removeprefix('val_')}"]
        self._models: Mapping[str, Surrogate] = {
            name: Surrogate(table.runs[name], table.spec.spaces[name], metrics, table.spec.length)
            for name in spec.architectures
        }
        correlations = ", ".join(f"{name} {model.rank_correlation:.2f}" for name, model in self._models.items())
        self.label = (
            "a surrogate: not real runs but a Gaussian process that is fitted to the table, with its seeds' noise "
            f"(rank correlation with configurations left out: {correlations})"
        )

    def spec(self, rng: np.random.Generator) -> Spec:
        return replace_keys(self._spec, {"seed": _seed(rng)})

    def run(self, trial: Trial, rng: np.random.Generator) -> Run:
        return self._models[trial.architecture].run(trial.hyperparameters, rng)

    def mean(self, trial: Trial, metric: str) -> float | None:
        return None


def world(spec: Spec, table: Table) -> World:
    """A replay for the random sampler, whose draws do not depend on results; a surrogate for other samplers."""
    return Replay(spec, table) if spec.sampler == "random" else Modelled(spec, table)


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))
