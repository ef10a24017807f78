"""Confirmation: the best configurations of each architecture trained again on fresh seeds.

The best of many trials looks better in validation than it is: its score is that of the luckiest. What it scores on
fresh seeds is what can be expected of it.
"""

import time
from collections.abc import Iterator
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

SUFFIX = "-confirm"


def confirmation(folder: Path, top: int, seeds: int, architectures: list[str]) -> Spec:
    """The spec of a search that repeats the `top` configurations of each architecture of a search `seeds` times.

    architectures: only these, or all without any. Raises UserError when there is nothing to confirm.
    """
    spec, search = read_spec(folder), folder.name
    require_unchanged(spec.code)
    if spec.repeats:
        kind = "confirmation" if spec.confirms else "learning curve"
        raise UserError(f"{search} is itself a {kind}; confirm {spec.repeats}")
    studies = Studies(search, spec, folder)
    for name in architectures:
        if name in spec.baselines:
            raise UserError(f"{name} gives the same numbers with every seed; there is nothing to confirm")
    chosen = [choose("architecture", name, spec.architectures) for name in architectures] or spec.architectures
    points = {name: points for name in chosen if (points := _best(studies, name, top))}
    if not points:
        raise UserError(f"{search} has no complete trial to confirm")
    changes = {
        "name": spec.name[: 64 - len(SUFFIX)] + SUFFIX,
        "confirms": search,
        "architectures": list(points),
        "baselines": [],  # their numbers are the same with every seed
        "configurations": points,
        "seeds": seeds,
        "seed": derive_seed(spec.seed, search, time.time_ns()),  # never that of an earlier confirmation
        "sampler": "grid",
        "pruner": "none",
        "space": {},
        "match_parameters": None,  # hidden sizes are solved
        "trials": None,
        "time_budget": None,
        "keep_checkpoints": "all",
    }
    return specs.validate(spec.model_dump() | changes, files=False)


def trials_of(folder: Path, root: Path) -> Iterator[Trial]:
    """The trials of a search, and of those under `root` that confirm it."""
    for each in find_searches("", root):
        try:
            spec = read_spec(each)
        except UserError:  # of another search: an older version's, or a broken file
            continue
        if each != folder and spec.confirms != folder.name:
            continue
        yield from Studies(each.name, spec, each).trials()


def _best(studies: Studies, architecture: str, top: int) -> dict[str, dict[str, Any]]:
    """The best different configurations by the names of their trials."""
    points: dict[str, dict[str, Any]] = {}
    for trial in studies.ranked(architecture):
        if len(points) < top and trial.hyperparameters not in points.values():
            points[trial.name] = trial.hyperparameters
    return points
