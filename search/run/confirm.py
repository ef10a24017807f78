"""Confirmation: the best configurations of each architecture trained again on fresh seeds, or over folds.

The best of many trials looks better in validation than it is: its score is that of the luckiest. What it scores on
fresh seeds is what can be expected of it. Where texts are few, the tenth that tests says little: over folds all are
test texts, each once.
"""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from data.base.errors import UserError, choose
from search.run.folders import find_searches
from search.spec import read as specs
from search.spec.code import require_unchanged
from search.spec.read import read_spec
from search.spec.spec import Spec
from search.study.studies import Studies
from search.study.study import derive_seed
from search.study.trial import Trial

SUFFIX, SUFFIX_OF_FOLDS = "-confirm", "-folds"
TOP, SEEDS = 3, 5  # where nothing else is said; over folds one configuration, one seed


def confirmation(
    folder: Path,
    top: int | None,
    seeds: int | None,
    architectures: list[str],
    folds: int | None = None,
    named: Mapping[str, str] | None = None,
) -> Spec:
    """The spec of a search that repeats the `top` configurations of each architecture of a search `seeds` times.

    architectures: only these, or all without any. folds: on so many divisions of the texts, in which each text is
    tested once; and with the best of the baselines, which have to be tested on as many texts. named: by architecture
    the trial whose configuration it is, in place of its best.
    Raises UserError when there is nothing to confirm.
    """
    top, seeds = top or (1 if folds else TOP), seeds or (1 if folds else SEEDS)
    spec, search = read_spec(folder), folder.name
    require_unchanged(spec.code)
    if spec.repeats:
        kind = "confirmation" if spec.confirms else "learning curve"
        raise UserError(f"{search} is itself a {kind}; confirm {spec.repeats}")
    studies = Studies(search, spec, folder)
    for name in architectures:
        if name in spec.baselines:
            if folds:
                raise UserError(f"--architecture: folds train every baseline anyway; leave {name} out")
            raise UserError(
                f"--architecture: {name} gives the same numbers with every seed, so there is nothing to confirm; "
                "leave it out"
            )
    chosen = [choose("architecture", name, spec.architectures) for name in architectures] or spec.architectures
    points = {name: points for name in chosen if (points := _best(studies, name, top, (named or {}).get(name)))}
    if not points:
        raise UserError(f"{search} has no complete trial to confirm; resume it first")
    baselines = spec.baselines if folds else []  # their numbers are the same with every seed
    of_baselines = {name: best for name in baselines if (best := _best(studies, name, 1))}
    suffix = SUFFIX_OF_FOLDS if folds else SUFFIX
    changes = {
        "name": spec.name[: 64 - len(suffix)] + suffix,
        "confirms": search,
        "architectures": list(points),
        "baselines": list(of_baselines),
        "configurations": points | of_baselines,
        "seeds": seeds,
        "folds": folds,
        "seed": derive_seed(spec.seed, search, time.time_ns()),  # never that of an earlier confirmation
        "sampler": "grid",
        "pruner": "none",
        "stop": "none",
        "space": {},
        "match_parameters": None,  # hidden sizes are solved
        "trials": None,
        "time_budget": None,
        "keep_checkpoints": "best" if folds else "all",  # models of folds are for their scores only
    }
    return specs.validate(spec.model_dump() | changes, files=False)


def begun(folder: Path, spec: Spec) -> Path | None:
    """The newest search beside the one in this folder that was made from the same confirmation, if there is one: with
    its seeds and folds, of the same configurations of all its architectures and baselines."""
    found = [each for each, known in _confirming(folder, folder.parent) if _what(known) == _what(spec)]
    return found[-1] if found else None


def _what(spec: Spec) -> tuple[Any, ...]:
    return spec.folds, spec.seeds, {name: {*points} for name, points in (spec.configurations or {}).items()}


def unfinished(folder: Path) -> Path | None:
    """The newest confirmation of the search in this folder that is one of several planned looks and owes trials."""
    found = [
        each
        for each, spec in _confirming(folder, folder.parent)
        if spec.looks and Studies(each.name, spec, each).num_owed
    ]
    return found[-1] if found else None


def trials_of(folder: Path, root: Path) -> Iterator[Trial]:
    """The trials of a search, and of those under `root` that confirm it."""
    for each, spec in [(folder, read_spec(folder)), *_confirming(folder, root)]:
        yield from Studies(each.name, spec, each).trials()


def _confirming(folder: Path, root: Path) -> Iterator[tuple[Path, Spec]]:
    """The folders under `root` of searches that confirm the one in `folder`, the oldest first, with their specs."""
    for each in find_searches("", root):
        try:
            spec = read_spec(each)
        except UserError:  # of another search: an older version's, or a broken file
            continue
        if spec.confirms == folder.name:
            yield each, spec


def _best(studies: Studies, architecture: str, top: int, named: str | None = None) -> dict[str, dict[str, Any]]:
    """The best different configurations by the names of their trials; named: only that of this trial."""
    points: dict[str, dict[str, Any]] = {}
    for trial in studies.ranked(architecture):
        if len(points) < top and trial.hyperparameters not in points.values() and named in (None, trial.name):
            points[trial.name] = trial.hyperparameters
    return points
