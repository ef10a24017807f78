"""Checks that the objectives of a spec fit together, and fit the other keys."""

from collections.abc import Sequence

from data.base.errors import UserError, choose
from search.spec.goals import FRONT
from search.spec.spec import Spec
from search.train.costs import COSTS


def check_objectives(spec: Spec, metrics: Sequence[str]) -> None:
    """Raises UserError unless the objectives are valid. metrics: the metrics that can rank trials."""
    names = spec.objectives
    if not names:
        if spec.pruner == FRONT:
            raise UserError("pruner: front is for several objectives; leave it out, or write objectives too")
        return
    for name in names:
        choose("objective", name, [*metrics, *COSTS])
    if len({*names}) < len(names) or len(names) < 2:
        raise UserError(f"objectives: should be at least two, all different; got [{', '.join(names)}]")
    if spec.metric not in names:
        near = next((name for name in names if name in metrics), spec.metric)
        raise UserError(
            f"objectives: should include the metric {spec.metric}, which chooses the best report of a trial; "
            f"add it, or write metric: {near}"
        )
    if spec.sampler == "cmaes":
        raise UserError("sampler: cmaes supports one objective only; for several use tpe, nsga2, gp, random or grid")
    if spec.pruner not in (FRONT, "none"):
        raise UserError(f"pruner: with several objectives should be front or none; got {spec.pruner}")
    if spec.duplicate_trials == "repeat":
        raise UserError("duplicate_trials: with several objectives should be redraw or allow; got repeat")
    if spec.earlier:
        raise UserError("from: earlier searches can guide a search for one objective only; leave it out")
    if spec.stop != "none":
        raise UserError(f"stop: with several objectives should be none; got {spec.stop}")
