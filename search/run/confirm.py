"""Confirmation: the best configurations of each architecture are trained again on fresh seeds, or over folds.

The validation score of the best of many trials is optimistic, since the best is also the luckiest; scores on fresh
seeds are unbiased. For small corpora a test split of one tenth is too noisy: over folds, every text is tested once.
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
TOP, SEEDS = 3, 5  # defaults; both are 1 over folds


def confirmation(
    folder: Path,
    top: int | None,
    seeds: int | None,
    architectures: list[str],
    folds: int | None = None,
    named: Mapping[str, str] | None = None,
) -> Spec:
    """The spec of a search that repeats the `top` configurations of each architecture of a search `seeds` times.

    architectures: only these; all if empty. folds: cross-validate with this many folds, together with the best
    configuration of each baseline, so that all are tested on the same texts. named: the name of a trial by
    architecture: its configuration is confirmed instead of the best ones. Raises UserError when there is nothing to
    confirm.
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
    baselines = spec.baselines if folds else []  # their results do not depend on the seed
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
        "seed": derive_seed(spec.seed, search, time.time_ns()),  # never the seed of an earlier confirmation
        "sampler": "grid",
        "pruner": "none",
        "stop": "none",
        "space": {},
        "match_parameters": None,  # hidden sizes are already solved
        "trials": None,
        "time_budget": None,
        "keep_checkpoints": "best" if folds else "all",  # models of folds are trained for their scores only
    }
    return specs.validate(spec.model_dump() | changes, files=False)


def begun(folder: Path, spec: Spec) -> Path | None:
    """The newest search that already runs this confirmation of the search in `folder`, if any: one with the same seeds,
    folds and configurations."""
    found = [each for each, known in _confirming(folder, folder.parent) if _what(known) == _what(spec)]
    return found[-1] if found else None


def _what(spec: Spec) -> tuple[Any, ...]:
    return spec.folds, spec.seeds, {name: {*points} for name, points in (spec.configurations or {}).items()}


def unfinished(folder: Path) -> Path | None:
    """The newest unfinished confirmation of the search in this folder that is one of several planned looks, if any."""
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
    """The searches under `root` that confirm the one in `folder`: their folders and specs, oldest first."""
    for each in find_searches("", root):
        try:
            spec = read_spec(each)
        except UserError:  # another search of an older version, or a broken file
            continue
        if spec.confirms == folder.name:
            yield each, spec


def _best(studies: Studies, architecture: str, top: int, named: str | None = None) -> dict[str, dict[str, Any]]:
    """The best distinct configurations, by trial name; named: only the one of this trial."""
    points: dict[str, dict[str, Any]] = {}
    for trial in studies.ranked(architecture):
        if len(points) < top and trial.hyperparameters not in points.values() and named in (None, trial.name):
            points[trial.name] = trial.hyperparameters
    return points
