"""Warm start: maps the results of the searches that a spec names under `from:` into the spec's space.

Scores on other texts, words or seeds cannot be compared, so a configuration keeps its quantile within its own search
(Salinas et al. 2020, "A Quantile-based Approach for Hyperparameter Transfer Learning").
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.base.errors import UserError
from search.base.schema import Outcome
from search.run.folders import find_search
from search.spec import read as specs
from search.spec.inherited import Inherited, Point
from search.spec.read import SPEC_FILE, read_spec
from search.spec.space import Choice, Space, point_key
from search.spec.spec import Spec
from search.study.ranking import first_of, is_ranked, order
from search.study.studies import Studies
from search.study.trial import Trial

MOST = 100  # most configurations per search and architecture, evenly spaced from the best to the worst


def inherit(spec: Spec, root: Path) -> Spec:
    """The spec with the results of the earlier searches that it names. root: the folder of searches by id and name.

    Raises UserError for a missing search, and for one without a usable trial of any architecture of the spec.
    """
    if not spec.earlier or spec.inherited:
        return spec
    if spec.sampler == "grid":
        raise UserError("from: a grid learns nothing from earlier searches; leave it out, or choose another sampler")
    folders = [_find(each, root) for each in spec.earlier]
    found: list[Inherited] = []
    for folder in dict.fromkeys(folders):
        theirs = read_spec(folder)
        trials = Studies(folder.name, theirs, folder).trials()
        results = [each for name in spec.architectures if (each := taken(folder.name, name, theirs, trials, spec))]
        if not any(each.points for each in results):
            known = ", ".join(dict.fromkeys(trial.architecture for trial in trials if is_ranked(trial))) or "nothing"
            raise UserError(
                f"from: no trial of {folder.name} (it has trained {known}) fits the space of "
                f"{', '.join(spec.architectures)}; leave it out"
            )
        found += results
    # Validated last: reading an earlier spec replaces the custom architectures that this spec has registered.
    content = spec.model_dump() | {"from": [folder.name for folder in folders], "inherited": found}
    return specs.validate(content, files=False)


def _find(asked: str, root: Path) -> Path:
    path = Path(asked).expanduser()
    return path.absolute() if (path / SPEC_FILE).is_file() else find_search(asked, root)


def taken(search: str, architecture: str, theirs: Spec, trials: Sequence[Trial], spec: Spec) -> Inherited | None:
    """The results of a search for an architecture of another spec; None if it has not trained that architecture.

    theirs: the spec of the earlier search. spec: the spec that inherits.
    """
    of_architecture = [trial for trial in trials if trial.architecture == architecture]
    if not of_architecture:
        return None
    ended = [trial for trial in of_architecture if is_ranked(trial) or trial.outcome is Outcome.DIVERGED]
    best_first = sorted(ended, key=order(theirs.metric, of_architecture))
    best_of: dict[Any, Trial] = {}
    for trial in best_first:
        best_of.setdefault(first_of(trial), trial)
    space, otherwise = spec.spaces[architecture], spec.default_point(architecture)
    points: dict[Any, Point] = {}
    clipped = dropped = 0
    for place, trial in enumerate(best_of.values()):
        values = into(space, trial.hyperparameters, otherwise)
        if values is None:
            dropped += 1
            continue
        clipped += any(values[name] != trial.hyperparameters.get(name, values[name]) for name in values)
        quantile = 1 - (place + 0.5) / len(best_of)
        points.setdefault(point_key(space, values), Point(trial=trial.name, values=values, quantile=quantile))
    before = [each for each in theirs.inherited if each.architecture == architecture]
    return Inherited(
        search=search,
        architecture=architecture,
        trials=len(of_architecture) + sum(each.trials for each in before),
        epochs=sum(trial.epochs for trial in of_architecture) + sum(each.epochs for each in before),
        seconds=sum(trial.seconds for trial in of_architecture) + sum(each.seconds for each in before),
        points=_at_most(list(points.values())),
        clipped=clipped,
        dropped=dropped,
    )


def into(space: Space, found: Mapping[str, Any], otherwise: Mapping[str, Any]) -> dict[str, Any] | None:
    """The point of a space that is nearest to the hyperparameters of an earlier trial. A number outside a range, or
    between the values of a choice, becomes the nearest valid number. Returns None if a word is not among the values of
    a choice, or if the trial has the value None for a hyperparameter that is a range in this space.

    otherwise: the values for hyperparameters that the trial did not have.
    """
    point: dict[str, Any] = {}
    for name, values in space.items():
        value = found.get(name, otherwise[name])
        if values.is_fixed:
            value = values.ends()[0]  # regardless of the earlier value
        elif isinstance(values, Choice) and value not in values.values:
            numbers = [each for each in values.values if _is_number(each)]
            if not _is_number(value) or not numbers:
                return None
            value = min(numbers, key=lambda each: abs(each - value))
        elif not isinstance(values, Choice):
            if not _is_number(value):
                return None
            value = values.nearest(round(value) if values.is_integer else value)
        point[name] = value
    return point


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _at_most(points: list[Point]) -> list[Point]:
    if len(points) <= MOST:
        return points
    return [points[round(place * (len(points) - 1) / (MOST - 1))] for place in range(MOST)]
