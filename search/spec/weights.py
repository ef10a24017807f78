"""The key of a spec for class weights."""

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from data.base.errors import UserError, choose
from search.spec.reading import as_class


def _parse(written: Any) -> Any:
    if written is None:
        return "none"
    if isinstance(written, str):
        return choose("class_weights", written, ("none", "balanced"))
    if not isinstance(written, dict) or not written:
        raise UserError(f"should be none, balanced or a mapping from class to weight; got {written!r}")
    for name, weight in written.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
            raise UserError(f"the weight of {name!r} should be a number above 0; got {weight!r}")
    return {as_class(name): float(weight) for name, weight in written.items()}


Weights = Annotated[Literal["none", "balanced"] | dict[str, float], BeforeValidator(_parse)]
