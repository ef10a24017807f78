"""A surrogate model of an architecture's runs at any point of its space, fitted to the runs in a table.

Shapes: C configurations, F features, R reports, M metrics.
"""

import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from scipy import stats

from data.base.errors import UserError
from search.simulate.table import Run
from search.spec.space import Choice, Range, Space, Values
from search.train.length import Length

FOLDS = 5
FEWEST = 8  # minimum number of configurations
NEIGHBOURS = 20  # runs from which the noise of a simulated run is drawn


class Surrogate:
    """Gaussian processes (Rasmussen and Williams 2006) from hyperparameters to learning curves and times.

    A simulated curve is the predicted mean over seeds plus the noise of one seed. The noise is the residual of a random
    run in the table from the mean of its configuration, for all reports and metrics jointly, scaled by
    sqrt(S / (S - 1)) for S seeds. It is drawn from the NEIGHBOURS, the runs whose mean final score is nearest to the
    prediction: bad configurations have noisier seeds, and their noise would lift good ones above any recorded score.
    Differences between configurations that do not depend smoothly on hyperparameters are not modelled, so these
    landscapes are smoother than real ones.

    runs: configuration -> runs; diverged runs are left out, so simulated runs never diverge. metrics: the metrics to
    model. Raises UserError if there are too few configurations.
    """

    def __init__(self, runs: Mapping[int, Sequence[Run]], space: Space, metrics: Sequence[str], length: Length) -> None:
        self._space, self._metrics, self._reports = space, metrics, length.num_reports
        sound = [[run for run in seeds if run.diverged is None] for seeds in runs.values()]
        sound = [seeds for seeds in sound if seeds]
        if len(sound) < FEWEST:
            raise UserError(f"a surrogate needs {FEWEST} configurations of an architecture; the table has {len(sound)}")
        curves = [np.stack([self._curves(run) for run in seeds]) for seeds in sound]
        self._features_CF = np.stack([self._encode(seeds[0].hyperparameters) for seeds in sound])
        self._means_C = np.stack([curve.mean(axis=0) for curve in curves])
        repeated = [curve for curve in curves if len(curve) > 1] or [np.zeros((1, curves[0].shape[1]))]
        means = [curve.mean(axis=0) for curve in repeated]
        factors = [(len(curve) / max(1, len(curve) - 1)) ** 0.5 for curve in repeated]
        self._noise = np.concatenate(
            [(curve - mean) * factor for curve, mean, factor in zip(repeated, means, factors, strict=True)]
        )
        self._noisy_ends = np.repeat([mean[self._reports - 1] for mean in means], [len(curve) for curve in repeated])
        seconds_CR = np.log([np.mean([run.seconds for run in seeds], axis=0) for seeds in sound])
        self._scores, self._seconds = self._fitted(self._means_C), self._fitted(seconds_CR)
        self._num_parameters_C = [seeds[0].num_parameters for seeds in sound]

    @cached_property
    def rank_correlation(self) -> float:
        """Spearman's correlation of predicted and recorded final scores, by cross-validation over configurations."""
        last = self._means_C[:, self._reports - 1]
        places = np.arange(len(last))
        predicted = np.empty(len(last))
        for fold in range(FOLDS):
            out = places % FOLDS == fold
            model = self._process(self._scores.kernel_, optimizer=None)
            model.fit(self._features_CF[~out], last[~out])
            predicted[out] = model.predict(self._features_CF[out])
        return float(stats.spearmanr(predicted, last).statistic)

    def run(self, hyperparameters: Mapping[str, Any], rng: np.random.Generator) -> Run:
        """A run of this configuration, with a random seed."""
        features_1F = self._encode(hyperparameters)[None]
        expected = self._scores.predict(features_1F)[0]
        nearest = np.argsort(np.abs(self._noisy_ends - expected[self._reports - 1]), kind="stable")[:NEIGHBOURS]
        curves_MR = (expected + self._noise[rng.choice(nearest)]).reshape(len(self._metrics), -1)
        metrics = [
            dict(zip(self._metrics, map(float, curves_MR[:, step]), strict=True)) for step in range(self._reports)
        ]
        alike = int(np.argmin(((self._features_CF - features_1F) ** 2).sum(axis=1)))
        seconds = np.maximum.accumulate(np.exp(self._seconds.predict(features_1F)[0]))
        return Run(dict(hyperparameters), self._num_parameters_C[alike], seconds.tolist(), metrics)

    def _curves(self, run: Run) -> np.ndarray:
        """The metrics at all reports, concatenated."""
        return np.array([metrics[name] for name in self._metrics for metrics in run.metrics])

    def _encode(self, hyperparameters: Mapping[str, Any]) -> np.ndarray:
        searched = [(name, values) for name, values in self._space.items() if not values.is_fixed]
        return np.array([number for name, values in searched for number in _numbers(values, hyperparameters[name])])

    def _fitted(self, targets: np.ndarray) -> Any:
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

        features = self._features_CF.shape[1]
        kernel = ConstantKernel(1.0, (1e-2, 1e2)) * Matern(np.ones(features), (0.1, 30.0), nu=2.5)
        with (
            warnings.catch_warnings()
        ):  # warns about a length scale at its bound, which means that the hyperparameter has no effect
            warnings.simplefilter("ignore")
            return self._process(kernel + WhiteKernel(0.1, (1e-4, 1.0))).fit(self._features_CF, targets)

    def _process(self, kernel: Any, **more: Any) -> Any:
        from sklearn.gaussian_process import GaussianProcessRegressor

        return GaussianProcessRegressor(kernel, normalize_y=True, random_state=0, **more)


def _numbers(values: Values, value: Any) -> list[float]:
    """A hyperparameter's value as features in [0, 1]: its relative position in a range, or a one-hot encoded choice."""
    if isinstance(values, Choice):
        return [float(value == choice) for choice in values.values]
    assert isinstance(values, Range)
    scale = np.log if values.log else float
    low, high, place = scale(values.low), scale(values.high), scale(value)
    return [float((place - low) / ((high - low) or 1.0))]
