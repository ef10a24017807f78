"""What trials would score in a simulated search: rows of a table, or a surrogate that is fitted to it."""

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
    """label: what the simulated results are, for people."""

    label: str

    def spec(self, rng: np.random.Generator) -> Spec:
        """That of the next search."""

    def run(self, trial: Trial, rng: np.random.Generator) -> Run:
        """All that a trial would report if nothing ended it, with a random seed."""

    def mean(self, trial: Trial, metric: str) -> float | None:
        """Of the metric on validation and on test at the best report, over all seeds that are known of the trial's
        configuration; None where that is not known."""


class Replay:
    """Random draws from the space are random rows of the table, each at most once in a search, on one of its seeds."""

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
        """The spec as a grid of the rows that are drawn: its trials come in a random order."""
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
    """Any point of the space has the results that a surrogate predicts, with the noise of the table's seeds."""

    def __init__(self, spec: Spec, table: Table) -> None:
        self._spec, self._table = spec, table
        metrics = [spec.metric, f"test_{spec.metric.removeprefix('val_')}"]
        self._models: Mapping[str, Surrogate] = {
            name: Surrogate(table.runs[name], table.spec.spaces[name], metrics, table.spec.length)
            for name in spec.architectures
        }
        told = ", ".join(f"{name} {model.rank_correlation:.2f}" for name, model in self._models.items())
        self.label = (
            "a surrogate: not real runs but a Gaussian process that is fitted to the table, with its seeds' noise "
            f"(rank correlation with configurations left out: {told})"
        )

    def spec(self, rng: np.random.Generator) -> Spec:
        return replace_keys(self._spec, {"seed": _seed(rng)})

    def run(self, trial: Trial, rng: np.random.Generator) -> Run:
        return self._models[trial.architecture].run(trial.hyperparameters, rng)

    def mean(self, trial: Trial, metric: str) -> float | None:
        return None


def world(spec: Spec, table: Table) -> World:
    """Rows of the table where draws are independent of results; any other sampler needs all points of the space."""
    return Replay(spec, table) if spec.sampler == "random" else Modelled(spec, table)


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))
