"""Optuna's samplers and pruners by the names that a spec gives them."""

import itertools
import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search.spec import space
from search.spec.inherited import Point
from search.spec.spec import Spec

#: Samplers that support constraints; the others never see them.
USE_CONSTRAINTS = ("tpe", "gp", "nsga2")
PRIOR = 4.0  # after this many trials the prior of earlier searches is used for half of the draws
DRAWS = 20  # attempts of a sampler to propose a new point before points are drawn at random

Wanted = dict[str, BaseDistribution]


class _GridSampler(optuna.samplers.GridSampler):
    """Optuna's grid sampler, except that it does not stop the study after the last combination, which would raise an
    error outside of `study.optimize`."""

    def after_trial(self, *args: Any) -> None:
        pass  # the studies count the trials


class _Whole(optuna.samplers.BaseSampler):
    """Draws all hyperparameters of a trial together; the base class of the wrappers around Optuna's samplers."""

    def __init__(self, drawing: optuna.samplers.BaseSampler, grid: space.Space, seed: int) -> None:
        self._drawing, self._space, self._seed = drawing, grid, seed

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> Wanted:
        return {name: values.distribution() for name, values in self._space.items() if not values.is_fixed}

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: Wanted) -> dict[str, Any]:
        if "fixed_params" in trial.system_attrs:  # it was enqueued
            return {}
        return self._draw(study, trial, search_space)

    def _draw(self, study: Study, trial: FrozenTrial, wanted: Wanted) -> dict[str, Any]:
        raise NotImplementedError

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._drawing.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._drawing.before_trial(study, trial)

    def after_trial(self, *args: Any) -> None:
        self._drawing.after_trial(*args)

    def reseed_rng(self) -> None:
        self._drawing.reseed_rng()


class _Redrawing(_Whole):
    """Redraws points that were tried before: from the sampler, then at random; in the end takes the first untried
    point."""

    def _draw(self, study: Study, trial: FrozenTrial, wanted: Wanted) -> dict[str, Any]:
        others = [each for each in study.get_trials(deepcopy=False) if each.number != trial.number]
        taken = {space.point_key(self._space, each.params) for each in others}
        fixed = {name: values.ends()[0] for name, values in self._space.items() if values.is_fixed}
        point: dict[str, Any] = {}
        at_random = optuna.samplers.RandomSampler(seed=_seed_of(self._seed, trial))
        for sampler in [self._drawing] * DRAWS + [at_random] * DRAWS:
            point = _draw(sampler, study, trial, wanted)
            if space.point_key(self._space, fixed | point) not in taken:
                return point
        grids = [self._space[name].every() or () for name in wanted]
        untried = (dict(zip(wanted, values, strict=True)) for values in itertools.product(*grids))
        return next((each for each in untried if space.point_key(self._space, fixed | each) not in taken), point)


class _Inheriting(_Whole):
    """Draws from a prior that earlier searches shape, with probability PRIOR / (PRIOR + n) after n trials; else from
    the sampler of the search.

    The prior is TPE fitted to the trials of the earlier searches and of this one. Scores are replaced by normal scores
    of their quantiles within their search, which makes searches of different texts comparable (Salinas et al. 2020, "A
    Quantile-based Approach for Hyperparameter Transfer Learning"). The decay bounds the cost of a misleading search, as
    in PriorBand (Mallik et al. 2023).
    """

    def __init__(
        self, drawing: optuna.samplers.BaseSampler, grid: space.Space, seed: int, earlier: Sequence[Point]
    ) -> None:
        super().__init__(drawing, grid, seed)
        self._earlier = earlier

    def _draw(self, study: Study, trial: FrozenTrial, wanted: Wanted) -> dict[str, Any]:
        others = [each for each in study.get_trials(deepcopy=False) if each.number != trial.number]
        ended = [each for each in others if each.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        seed = _seed_of(self._seed, trial)
        if np.random.default_rng(seed).random() * (PRIOR + len(ended)) >= PRIOR:
            return _draw(self._drawing, study, trial, wanted)
        sign = 1 if study.direction == StudyDirection.MAXIMIZE else -1
        ended.sort(key=lambda each: (each.state == TrialState.COMPLETE, sign * _last_value(each, sign)))
        known = [(each.values, each.quantile) for each in self._earlier]
        known += [(each.params, (place + 0.5) / len(ended)) for place, each in enumerate(ended)]
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=1)
        together = optuna.create_study(direction="maximize", sampler=sampler)
        for values, quantile in known:
            params = {name: values[name] for name in wanted}
            value = NormalDist().inv_cdf(quantile)
            together.add_trial(optuna.create_trial(params=params, distributions=wanted, value=value))
        for each in others:  # TPE avoids the points of running trials, too
            if each.state == TrialState.RUNNING and wanted.keys() <= each.params.keys():
                params = {name: each.params[name] for name in wanted}
                together.add_trial(optuna.create_trial(params=params, distributions=wanted, state=TrialState.RUNNING))
        return together.ask(wanted).params


def _seed_of(seed: int, trial: FrozenTrial) -> int:
    return int(np.random.SeedSequence([seed, trial.number]).generate_state(1)[0])


def _last_value(trial: FrozenTrial, sign: int) -> float:
    if trial.value is not None:
        return trial.value
    return trial.intermediate_values[max(trial.intermediate_values)] if trial.intermediate_values else -sign * math.inf


def _draw(sampler: optuna.samplers.BaseSampler, study: Study, trial: FrozenTrial, wanted: Wanted) -> dict[str, Any]:
    """All hyperparameters of a trial, drawn as `trial.suggest_...` would draw them."""
    together = sampler.sample_relative(study, trial, sampler.infer_relative_search_space(study, trial))
    return {
        name: together[name] if name in together else sampler.sample_independent(study, trial, name, distribution)
        for name, distribution in wanted.items()
    }


def make_sampler(
    spec: Spec, grid: space.Space, seed: int, earlier: Sequence[Point] = ()
) -> optuna.samplers.BaseSampler:
    """The sampler of a study. earlier: trials that shape a prior; random draws and a grid use none."""
    sampler = _optunas(spec, grid, seed)
    if earlier and spec.sampler not in ("random", "grid"):
        sampler = _Inheriting(sampler, grid, seed, earlier)
    return _Redrawing(sampler, grid, seed) if spec.duplicate_trials == "redraw" and spec.sampler != "grid" else sampler


def _optunas(spec: Spec, grid: space.Space, seed: int) -> optuna.samplers.BaseSampler:
    # With Optuna's default of 10, a short search would end before the sampler's model is used.
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
        case "nsga2":
            # Optuna's default of 50 would leave most searches in their first, random generation.
            return optuna.samplers.NSGAIISampler(seed=seed, population_size=max(4, spec.num_trials // 5))
        case "cmaes":
            return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)


def make_pruner(spec: Spec) -> optuna.pruners.BasePruner:
    match spec.pruner:
        case "asha":
            # A report within an epoch predicts the final score less well than a whole epoch does: prune fewer per rung.
            factor = 3 if spec.reports_per_epoch == 1 else 2
            return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=factor)
        case "hyperband":
            return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=spec.length.num_reports)
        case "median":
            return optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=1)
        case "none" | "front":  # `front` is our own: see `fronts.hopeless`
            return optuna.pruners.NopPruner()
