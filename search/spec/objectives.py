"""Whether the several objectives of a spec belong together."""

from collections.abc import Sequence

from data.base.errors import UserError, choose
from search.spec.goals import FRONT
from search.spec.spec import Spec
from search.train.costs import COSTS


def check_objectives(spec: Spec, metrics: Sequence[str]) -> None:
    """Raises UserError unless a spec's objectives are some and belong together. metrics: those to rank by."""
    names = spec.objectives
    if not names:
        if spec.pruner == FRONT:
            raise UserError("pruner: front is for several objectives; leave it out, or write objectives")
        return
    for name in names:
        choose("objective", name, [*metrics, *COSTS])
    if len({*names}) < len(names) or len(names) < 2:
        raise UserError(f"objectives: at least two, each once; got [{', '.join(names)}]")
    if spec.metric not in names:
        near = next((name for name in names if name in metrics), spec.metric)
        raise UserError(
            f"objectives: should have the metric {spec.metric}, by which the best report of a trial is chosen; "
            f"add it, or write metric: {near}"
        )
    if spec.sampler == "cmaes":
        raise UserError("sampler: cmaes takes one objective; for several: tpe, nsga2, gp, random or grid")
    if spec.pruner not in (FRONT, "none"):
        raise UserError(f"pruner: of several objectives front or none; got {spec.pruner}")
    if spec.duplicate_trials == "repeat":
        raise UserError("duplicate_trials: with several objectives redraw or allow; got repeat")
    if spec.earlier:
        raise UserError("from: the prior of earlier searches is for one objective; leave it out")
    if spec.stop != "none":
        raise UserError(f"stop: with several objectives none; got {spec.stop}")
