"""Repetitions of a search: searches that differ in their seeds only, and so by luck alone."""

from collections.abc import Sequence

from analysis.base.runs import Search
from analysis.boards.confirmation import same_data
from data.base.errors import UserError
from search.spec.read import compared
from search.spec.spec import Spec

#: Keys that may differ between repetitions; `seed` must.
MAY_DIFFER = {"seed", "name", "trials"}


def differing(first: Spec, second: Spec) -> list[str]:
    """The keys whose values keep two searches from being repetitions."""
    one, other = compared(first), compared(second)
    return [key for key in one if key not in MAY_DIFFER and one[key] != other[key]]


def require_repetitions(searches: Sequence[Search]) -> None:
    """Raise UserError, naming the differing keys, unless these searches are repetitions of one."""
    specs = [search.load_spec() for search in searches] if len(searches) > 1 else []
    for search, spec in zip(searches[1:], specs[1:], strict=False):
        if keys := differing(specs[0], spec):
            raise UserError(
                f"{searches[0].id} and {search.id} are not repetitions of one search: they differ in {', '.join(keys)}"
            )
        if not same_data(searches[0], search):
            raise UserError(f"{searches[0].id} and {search.id} learned from different texts")
    seeds = [spec.seed for spec in specs]
    if len(set(seeds)) < len(seeds):
        raise UserError(f"repetitions need different seeds; got {', '.join(map(str, seeds))}")
