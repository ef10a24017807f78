"""Optuna's samplers and pruners by the names that a spec gives them."""

from typing import Any

import optuna

from search.spec import space
from search.spec.spec import Spec

#: Those that keep away from what breaks a constraint; the others are told nothing of it.
USE_CONSTRAINTS = ("tpe", "gp")


class _GridSampler(optuna.samplers.GridSampler):
    """Optuna's own stops the study after the last combination, which it may do only inside `study.optimize`."""

    def after_trial(self, *args: Any) -> None:
        pass  # the studies know how many trials there are to be


def make_sampler(spec: Spec, grid: space.Space, seed: int) -> optuna.samplers.BaseSampler:
    # Half of a short search would otherwise be over before the model of the space is first used.
    startup = min(10, max(3, spec.num_trials // 3))
    match spec.sampler:
        case "tpe":
            return optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup)
        case "random":
            return optuna.samplers.RandomSampler(seed=seed)
        case "grid":
            return _GridSampler({name: values.grid() for name, values in grid.items()}, seed=seed)
        case "gp":
            return optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup, warn_independent_sampling=False)
        case "cmaes":
            return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)


def make_pruner(spec: Spec) -> optuna.pruners.BasePruner:
    match spec.pruner:
        case "asha":
            # A part of an epoch tells less of how a trial will end than a whole one: each rung lets more of them pass.
            factor = 3 if spec.reports_per_epoch == 1 else 2
            return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=factor)
        case "hyperband":
            return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=spec.length.num_reports)
        case "median":
            return optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=1)
        case "none":
            return optuna.pruners.NopPruner()
