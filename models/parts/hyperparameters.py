"""Domains of hyperparameters: small declarations that check a value and describe themselves."""

import math
from dataclasses import dataclass
from typing import Any, Protocol

from data.base.errors import UserError, did_you_mean


class Domain(Protocol):
    """The values that one hyperparameter may take; `str()` of it reads well after 'must be'."""

    def check(self, name: str, value: Any) -> None:
        """Raises UserError if `value` is not in it, in one line: the rule, the value and the nearest choice."""


@dataclass(frozen=True)
class Integer:
    """A whole number from `low` to `high`, both included."""

    low: int
    high: int

    def __str__(self) -> str:
        return f"a whole number from {self.low} to {self.high}"

    def check(self, name: str, value: Any) -> None:
        if not _is_number(value):
            raise UserError(f"{name} must be {self}, got {value!r}")
        if not isinstance(value, int) or not self.low <= value <= self.high:
            nearest = min(max(round(value), self.low), self.high)
            raise UserError(f"{name} must be {self}, got {value!r}; did you mean {nearest}?")


@dataclass(frozen=True)
class Real:
    """A number from `low` to `high`, both included."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"a number from {self.low:g} to {self.high:g}"

    def check(self, name: str, value: Any) -> None:
        if not _is_number(value):
            raise UserError(f"{name} must be {self}, got {value!r}")
        if not self.low <= value <= self.high:
            nearest = min(max(value, self.low), self.high)
            raise UserError(f"{name} must be {self}, got {value!r}; did you mean {nearest:g}?")


@dataclass(frozen=True)
class Choice:
    """One of a few names."""

    options: tuple[str, ...]

    def __str__(self) -> str:
        return f"one of {', '.join(self.options)}"

    def check(self, name: str, value: Any) -> None:
        if value not in self.options:
            raise UserError(f"{name} must be {self}, got {value!r}{did_you_mean(value, self.options)}")


@dataclass(frozen=True)
class OrNone:
    """The values of another domain, or None."""

    domain: Domain

    def __str__(self) -> str:
        return f"{self.domain}, or none"

    def check(self, name: str, value: Any) -> None:
        if value is not None:
            self.domain.check(name, value)


@dataclass(frozen=True)
class Input:
    """A hyperparameter of a network's inputs, which is not an argument of its constructor."""

    domain: Domain
    default: Any
    doc: str


def _is_number(value: Any) -> bool:
    if isinstance(value, int):  # of any size
        return not isinstance(value, bool)
    return isinstance(value, float) and math.isfinite(value)
