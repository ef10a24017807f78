"""Why is the best configuration better than the default? An ablation path from one to the other, to be trained again.

Each step of the path makes the change for which a random forest, fitted to the search's trials, predicts the best score
(Biedenkapp et al. 2017, Efficient parameter importance analysis via ablation with surrogates).
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from data.base.errors import UserError, choose
from search.run.confirm import trials_of
from search.spec import read as specs
from search.spec.code import require_unchanged
from search.spec.read import read_spec
from search.spec.spec import Spec
from search.study import ranking
from search.study.study import derive_seed
from search.study.trial import Trial
from search.train.metrics import split_metric

SUFFIX = "-path"
START = "default"
Point = Mapping[str, Any]


def of_path(folder: Path, architecture: str, seeds: int) -> tuple[Spec, str]:
    """The spec of a search that trains every configuration on an architecture's path on the same fresh seeds, and a
    line that says what this will cost.

    Raises UserError when there is no path: for a baseline, or if the default was not tried or is the best.
    """
    spec, search = read_spec(folder), folder.name
    require_unchanged(spec.code)
    if spec.repeats:
        raise UserError(f"{search} repeats trials of {spec.repeats}; give that search")
    if not architecture:
        raise UserError(
            f"name an architecture too: {search}:{spec.architectures[0]}; choose from {', '.join(spec.architectures)}"
        )
    if architecture in spec.baselines:
        raise UserError(
            f"{architecture} is a baseline, which is not searched; choose from {', '.join(spec.architectures)}"
        )
    choose("architecture", architecture, spec.architectures)
    if spec.configurations is not None:
        raise UserError(f"{search} has configurations instead of a space, and so no default to start from")
    known = [trial for trial in trials_of(folder, folder.parent) if trial.architecture == architecture]
    spec = read_spec(folder)  # read last, so that custom names are registered as in this spec
    ranked = [trial for trial in known if ranking.is_ranked(trial)]
    if not ranked:
        raise UserError(f"{architecture} has no complete trial in {search}; resume it first")
    usual = spec.default_point(architecture).items()
    start = next((each for each in known if each.search == search and usual <= each.hyperparameters.items()), None)
    if start is None:
        raise UserError(f"{search} has not tried the default configuration of {architecture}, where the path starts")
    best = ranking.best(ranked, spec.metric, search)
    first, last = start.hyperparameters, best.hyperparameters
    if first == last:
        raise UserError(f"the best configuration of {architecture} is its default; there is nothing to explain")
    points = path(first, last, _surrogate(ranked, spec.metric))
    changes = {
        "name": spec.name[: 64 - len(SUFFIX)] + SUFFIX,
        "folds": None,
        "path_of": search,
        "architectures": [architecture],
        "baselines": "none",
        "configurations": {architecture: points},
        "seeds": seeds,
        "seed": derive_seed(spec.seed, search, time.time_ns()),
        "sampler": "grid",
        "pruner": "none",
        "space": {},
        "match_parameters": None,  # hidden sizes are already solved
        "limits": {},
        "objectives": [],
        "trials": None,
        "time_budget": None,
        "keep_checkpoints": "best",
    }
    seconds = len(points) * seeds * best.seconds
    budget = f"{len(points)} configurations of {architecture}, {seeds} seeds each: about {seconds:,.0f} s of training"
    return specs.validate(spec.model_dump() | changes, files=False), budget


def path(first: Point, last: Point, predicted: Callable[[Point], float]) -> dict[str, dict[str, Any]]:
    """The configurations from `first` to `last`, by name. Each step takes over the value of `last` that is predicted to
    score best; ties go to the alphabetically first hyperparameter."""
    here, points = dict(first), {f"0 {START}": dict(first)}
    left = sorted(name for name in last if name not in first or first[name] != last[name])
    while left:
        name = max(left, key=lambda each: predicted(here | {each: last[each]}))
        left.remove(name)
        here = here | {name: last[name]}
        value = last[name]
        points[f"{len(points)} {name} {value:.4g}" if isinstance(value, float) else f"{len(points)} {name} {value}"] = (
            here
        )
    return points


def _surrogate(trials: list[Trial], metric: str) -> Callable[[Point], float]:
    """The score that a random forest predicts for a configuration; higher is better."""
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.feature_extraction import DictVectorizer

    sign = 1 if split_metric(metric)[1].maximize else -1
    scored = [(_features(each.hyperparameters), sign * each.score) for each in trials if each.score is not None]
    vectorizer = DictVectorizer(sparse=False)
    forest = RandomForestRegressor(random_state=0)
    forest.fit(vectorizer.fit_transform([point for point, _ in scored]), [score for _, score in scored])
    return lambda point: float(forest.predict(vectorizer.transform([_features(point)]))[0])


def _features(point: Point) -> dict[str, float | str]:
    """Numbers unchanged, everything else as a string."""
    return {
        name: value if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
        for name, value in point.items()
    }
