"""The key of a spec for the number of trials that a worker trains together."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from data.base.errors import UserError

AUTO = "auto"
MOST = 512
ON_A_CARD = 32  # the value of auto for networks stacked on a GPU: a single small network leaves most of it idle


def _parse(written: Any) -> Any:
    is_number = isinstance(written, int) and not isinstance(written, bool)
    if written != AUTO and not (is_number and 1 <= written <= MOST):
        nearest = min(max(written, 1), MOST) if is_number else AUTO
        raise UserError(f"should be {AUTO} or a whole number from 1 to {MOST}; got {written!r:.40}; nearest: {nearest}")
    return written


Packing = Annotated[Literal["auto"] | Annotated[int, Field(ge=1, le=MOST)], BeforeValidator(_parse)]


def size_of(packing: Packing, stacked: bool) -> int:
    """The maximum number of trials in a pack. stacked: whether their networks are trained in lockstep."""
    if packing == AUTO:
        return ON_A_CARD if stacked else 1
    return int(packing)
