"""Search spaces: the values of hyperparameters under `space` in a spec, parsed once into typed objects.

The space of an architecture contains only hyperparameters of that architecture, so that samplers see no dead branches.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data.base.errors import UserError, did_you_mean
from models import ARCHITECTURES, is_baseline
from models.parts.hyperparameters import OrNone
from search.base import schema
from search.train.config import domains

if TYPE_CHECKING:  # reading models must not import Optuna
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

MAX_STEPS = 10_000  # in a range with a step


@dataclass(frozen=True)
class Choice:
    """One of several values; with a single value the hyperparameter is fixed."""

    values: tuple[Any, ...]

    def __str__(self) -> str:
        return ", ".join(map(str, self.values))

    @property
    def is_fixed(self) -> bool:
        return len(self.values) == 1

    def suggest(self, trial: "optuna.Trial", name: str) -> Any:
        return trial.suggest_categorical(name, self.values)

    def distribution(self) -> "CategoricalDistribution":
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)

    def grid(self) -> list[Any]:
        return list(self.values)

    def every(self) -> Sequence[Any] | None:
        """All values; None if there are infinitely many."""
        return self.values

    def ends(self) -> tuple[Any, ...]:
        return self.values

    def at(self, position: float) -> Any:
        """The value at a relative position, from 0 (the first value) to 1 (the last)."""
        return self.values[min(int(position * len(self.values)), len(self.values) - 1)]

    def nearest(self, value: Any) -> Any:
        """The value itself if it is one of the choices, otherwise the first choice."""
        return value if value in self.values else self.values[0]


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, both included; integers if both ends and the step are integers."""

    low: float
    high: float
    step: float | None = None
    log: bool = False

    def __str__(self) -> str:
        steps = f" in steps of {self.step}" if self.step else ""
        return f"{self.low} to {self.high}{steps}{' (log)' if self.log else ''}"

    @property
    def is_fixed(self) -> bool:
        return False

    def suggest(self, trial: "optuna.Trial", name: str) -> Any:
        if self.is_integer:
            return trial.suggest_int(name, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    def distribution(self) -> "IntDistribution | FloatDistribution":
        from optuna.distributions import FloatDistribution, IntDistribution

        with warnings.catch_warnings():  # Optuna warns, and lowers `high`, if it is not a whole number of steps
            warnings.simplefilter("ignore")
            if self.is_integer:
                return IntDistribution(int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
            return FloatDistribution(self.low, self.high, step=self.step, log=self.log)

    def grid(self) -> list[Any]:
        """All values, for a grid. Raises UserError for a range that cannot be enumerated."""
        if self.log or (self.step is None and not self.is_integer):
            raise UserError(f"a grid needs values: give a list, or low, high and step; got {self.low} to {self.high}")
        step = self.step or 1
        count = int((self.high - self.low) / step + 1e-9) + 1
        number = int if self.is_integer else float
        return [number(self.low + i * step) for i in range(count)]

    def every(self) -> Sequence[Any] | None:
        """All values; None if there are infinitely many."""
        if self.step is not None:
            return self.grid()
        return range(int(self.low), int(self.high) + 1) if self.is_integer else None

    def ends(self) -> tuple[Any, ...]:
        """The bounds and, if there is a step, the second value, since the step decides whether values are integers."""
        return (self.low, self.high) if self.step is None else (self.low, self.high, self.low + self.step)

    def at(self, position: float) -> Any:
        """The number at a relative position, from 0 (the lowest) to 1 (the highest)."""
        return self.nearest((1 - position) * self.low + position * self.high)

    def nearest(self, value: Any) -> Any:
        """The number in this range that is nearest to a value."""
        inside = min(max(value if isinstance(value, int | float) else self.low, self.low), self.high)
        if self.step is None:
            return int(inside) if self.is_integer else float(inside)
        return min(self.grid(), key=lambda number: abs(number - inside))

    @property
    def is_integer(self) -> bool:
        return all(isinstance(number, int) for number in (self.low, self.high, self.step or 1))


Values = Choice | Range
Space = Mapping[str, Values]  # of one architecture
_RANGE_KEYS = ("low", "high", "step", "log")


def parse(where: str, written: Any) -> Values | dict[str, Values]:
    """Parses the values of a hyperparameter, for all architectures or by architecture. Raises UserError."""
    if not isinstance(written, dict) or not written or set(written) & set(_RANGE_KEYS):
        return _parse_values(where, written)
    known = [name for name in ARCHITECTURES if not is_baseline(name)]  # baselines have built-in grids
    for name in written:
        if name not in known:
            raise UserError(f"{where}: unknown key {name!r}{did_you_mean(name, [*_RANGE_KEYS, *known])}")
    return {name: _parse_values(where, values) for name, values in written.items()}


def _parse_values(where: str, written: Any) -> Values:
    if isinstance(written, dict):
        return _parse_range(where, written)
    if not isinstance(written, list):
        return Choice((written,))
    if not written:
        raise UserError(f"{where}: a choice needs at least one value; got []")
    if not all(value is None or isinstance(value, str | int | float) for value in written):
        raise UserError(f"{where}: a choice is a list of scalars; got {written}")
    if len(set(written)) < len(written):
        raise UserError(f"{where}: should name each value once; got {written}")
    return Choice(tuple(written))


def _parse_range(where: str, written: dict[str, Any]) -> Range:
    for key in written:
        if key not in _RANGE_KEYS:
            raise UserError(f"{where}: unknown key {key!r}{did_you_mean(key, _RANGE_KEYS)}")
    for key in ("low", "high"):
        if key not in written:
            raise UserError(f"{where}: a range needs low and high; got {written}")
    for key in ("low", "high", "step"):
        number = written.get(key, 0)
        if isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) < 1e300:
            raise UserError(f"{where}.{key}: should be a finite number; got {number!r:.40}")
    if not isinstance(written.get("log", False), bool):
        raise UserError(f"{where}.log: should be true or false; got {written['log']!r}")
    interval = Range(**written)
    if interval.low > interval.high:
        raise UserError(f"{where}: low should be at most high; got low {interval.low}, high {interval.high}")
    if interval.step is not None and not 0 < interval.step <= max(interval.high - interval.low, 1e-12):
        raise UserError(f"{where}.step: should be above 0 and at most high - low; got {interval.step}")
    if interval.step is not None and (interval.high - interval.low) / interval.step > MAX_STEPS:
        raise UserError(
            f"{where}.step: should make at most {MAX_STEPS} values; got {interval.step}; use a larger step, or none"
        )
    if interval.log and interval.low <= 0:
        raise UserError(f"{where}: a log range needs low above 0; got {interval.low}")
    if interval.log and interval.step is not None:
        raise UserError(f"{where}: a range has a step or is log, not both; got step {interval.step}")
    return interval


def complete(where: str, architecture: str, given: Space, defaults: Mapping[str, Any]) -> Space:
    """The space of an architecture with all hyperparameters; those that are not given are fixed to their `defaults`.

    Raises UserError for a value outside of its domain.
    """
    space: dict[str, Values] = {}
    for name, domain in domains(architecture).items():
        values = given.get(name)
        # A key without a value in YAML is None; it counts as not given unless None is in the domain.
        if values is None or (values.ends() == (None,) and not isinstance(domain, OrNone)):
            values = Choice((defaults[name],))
        for value in values.ends():
            try:
                domain.check(f"{where}.{name}", value)
            except UserError as error:
                raise UserError(f"{error} (for {architecture})") from None
        space[name] = values
    return space


def suggest(trial: "optuna.Trial", space: Space) -> dict[str, Any]:
    """The values of one trial, proposed by the sampler: hyperparameter -> value."""
    return {name: values.suggest(trial, name) for name, values in space.items()}


def split_design(params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Splits Optuna's parameters into hyperparameters and design: configuration, fold and repetition."""
    names = (schema.CONFIGURATION, schema.FOLD, schema.REPETITION)
    design = {name: params[name] for name in names if name in params}
    return {name: value for name, value in params.items() if name not in design}, design


def num_points(space: Space) -> int | None:
    """The number of points of a space; None if it is infinite."""
    size = 1
    for values in space.values():
        if (all_values := values.every()) is None:
            return None
        size *= len(all_values)
    return size


def point_key(space: Space, params: Mapping[str, Any]) -> tuple[str, ...] | None:
    """A key that is equal for equal points; None if a value is missing. Floats are rounded, as multiples of a step may
    differ in the last digits."""
    if not space.keys() <= params.keys():
        return None
    values = (params[name] for name in space)
    return tuple(f"{value:.12g}" if isinstance(value, float) else repr(value) for value in values)


def grid_size(space: Space) -> int:
    """The number of points of a space without continuous ranges."""
    size = 1
    for values in space.values():
        size *= len(values.grid())
    return size
