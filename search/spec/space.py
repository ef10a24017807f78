"""The search space: what a spec says under `space`, for each architecture, and how a trial's values come from it.

Define-by-run: an architecture's space holds only its own hyperparameters, so that a sampler sees no dead branches.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import optuna

from data.base.errors import UserError, did_you_mean
from models import ARCHITECTURES
from search.base import record
from search.train.config import HIDDEN_SIZE, defaults, domains

if TYPE_CHECKING:
    from search.spec.spec import Spec

MAX_GRAD_NORM = "max_grad_norm"
MAX_STEPS = 10_000  # of a range with a step


@dataclass(frozen=True)
class Choice:
    """One of the values; a single value is a fixed hyperparameter."""

    values: tuple[Any, ...]

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        return trial.suggest_categorical(name, self.values)

    def grid(self) -> list[Any]:
        return list(self.values)

    def ends(self) -> tuple[Any, ...]:
        return self.values

    def nearest(self, value: Any) -> Any:
        """The value itself if it is one of them, else the first."""
        return value if value in self.values else self.values[0]


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, both included; integers when both ends and the step are."""

    low: float
    high: float
    step: float | None = None
    log: bool = False

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        if self._is_integer():
            return trial.suggest_int(name, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    def grid(self) -> list[Any]:
        """Its values, for a grid. Raises UserError for a range that has no step to enumerate it by."""
        if self.log or (self.step is None and not self._is_integer()):
            raise UserError(f"a grid needs values: give a list, or low, high and step; got {self.low} to {self.high}")
        step = self.step or 1
        count = int((self.high - self.low) / step + 1e-9) + 1
        number = int if self._is_integer() else float
        return [number(self.low + i * step) for i in range(count)]

    def ends(self) -> tuple[Any, ...]:
        """Its bounds and, where a step decides whether its values are integers, the value after the first."""
        return (self.low, self.high) if self.step is None else (self.low, self.high, self.low + self.step)

    def nearest(self, value: Any) -> Any:
        """The number of this range that is nearest to a value."""
        inside = min(max(value if isinstance(value, int | float) else self.low, self.low), self.high)
        if self.step is None:
            return int(inside) if self._is_integer() else float(inside)
        return min(self.grid(), key=lambda number: abs(number - inside))

    def _is_integer(self) -> bool:
        return all(isinstance(number, int) for number in (self.low, self.high, self.step or 1))


Space = Mapping[str, Choice | Range]


def build(spec: "Spec") -> dict[str, Space]:
    """The space of each architecture, every hyperparameter in it: those that the spec does not name are fixed.

    Raises UserError for an unknown hyperparameter, a malformed range, a value that an architecture does not take,
    or a range that the sampler cannot use.
    """
    if spec.seeds > 1 and spec.sampler != "grid":
        raise UserError(f"seeds: only a grid is repeated, with sampler: grid; got seeds {spec.seeds}, {spec.sampler}")
    if spec.trials is not None and (spec.seeds > 1 or spec.configurations is not None):
        raise UserError(
            f"trials: a grid with seeds or configurations is run to its end; leave it out; got {spec.trials}"
        )
    repeated = {record.REPETITION: Choice(tuple(range(spec.seeds)))} if spec.seeds > 1 else {}
    if spec.configurations is not None:
        named = {name: Choice(tuple(points)) for name, points in configurations(spec).items()}
        return {name: {record.CONFIGURATION: names} | repeated for name, names in named.items()}
    if spec.match_parameters is not None:
        _check_matching(spec)
    known = {name for architecture in spec.architectures for name in domains(architecture)}
    for name in spec.space:
        if name not in known:
            raise UserError(f"space: unknown hyperparameter {name!r}{did_you_mean(name, sorted(known))}")
    return {architecture: {**_space_of(architecture, spec), **repeated} for architecture in spec.architectures}


def configurations(spec: "Spec") -> dict[str, dict[str, dict[str, Any]]]:
    """Architecture -> name -> every hyperparameter, of a spec that gives configurations instead of a space.

    Raises UserError where it gives something else as well, and for what no architecture takes.
    """
    written = spec.configurations or {}
    if spec.sampler != "grid" or spec.space or spec.match_parameters:
        raise UserError("configurations: they need sampler: grid, and neither space nor match_parameters")
    if set(written) != set(spec.architectures):
        raise UserError(f"configurations: should be of {spec.architectures}, the architectures; got {list(written)}")
    points: dict[str, dict[str, dict[str, Any]]] = {}
    for architecture in spec.architectures:
        if not written[architecture]:
            raise UserError(f"configurations.{architecture}: at least one")
        points[architecture] = {}
        for name, values in written[architecture].items():
            where = f"configurations.{architecture}.{name}"
            if not name:
                raise UserError(f"configurations.{architecture}: each needs a name; got ''")
            for key, value in values.items():
                if key not in domains(architecture):
                    near = did_you_mean(key, sorted(domains(architecture)))
                    raise UserError(f"{where}: unknown hyperparameter {key!r}{near}")
                if isinstance(value, list | dict) or (value is None and key != MAX_GRAD_NORM):
                    raise UserError(f"{where}.{key}: one value; got {value}")
            try:
                space = _space_of(architecture, spec.model_copy(update={"space": values}))
            except UserError as error:
                raise UserError(f"{where}: {error}") from None
            points[architecture][name] = {key: fixed.ends()[0] for key, fixed in space.items()}
            if MAX_GRAD_NORM in values:  # null is a value: no clipping, whatever the spec says otherwise
                points[architecture][name][MAX_GRAD_NORM] = values[MAX_GRAD_NORM]
    return points


def _check_matching(spec: "Spec") -> None:
    if HIDDEN_SIZE in spec.space:
        raise UserError("match_parameters solves hidden_size: leave it out of the space")
    for architecture in spec.architectures:
        if HIDDEN_SIZE not in domains(architecture):
            raise UserError(f"match_parameters: {architecture} has no hidden_size to solve")


def _space_of(architecture: str, spec: "Spec") -> Space:
    space: dict[str, Choice | Range] = {}
    fallback = {
        **defaults(architecture),
        "batch_size": spec.batch_size,
        "max_grad_norm": spec.max_grad_norm,
    }
    for name, domain in domains(architecture).items():
        if name == HIDDEN_SIZE and spec.match_parameters is not None:
            continue  # solved from the others
        where = f"space.{name}"
        written = _for_architecture(where, spec.space.get(name), architecture)
        if written is None:
            domain.check(name, fallback[name])
            space[name] = Choice((fallback[name],))
            continue
        space[name] = _parse(where, written)
        for value in space[name].ends():
            try:
                domain.check(where, value)
            except UserError as error:
                raise UserError(f"{error} (for {architecture})") from None
        if spec.sampler == "grid":
            try:
                space[name].grid()
            except UserError as error:
                raise UserError(f"{where}: {error}") from None
    return space


def _for_architecture(where: str, written: Any, architecture: str) -> Any:
    """Unwrap a mapping from architecture to values; anything else is for all architectures."""
    if not isinstance(written, dict) or not written or set(written) & set(Range.__dataclass_fields__):
        return written
    for name in written:
        if name not in ARCHITECTURES:
            known = [*Range.__dataclass_fields__, *ARCHITECTURES]
            raise UserError(f"{where}: unknown key {name!r}{did_you_mean(name, known)}")
    return written.get(architecture)


def _parse(where: str, written: Any) -> Choice | Range:
    if isinstance(written, list):
        if not written:
            raise UserError(f"{where}: a choice needs at least one value; got []")
        if not all(value is None or isinstance(value, str | int | float) for value in written):
            raise UserError(f"{where}: a choice is a list of scalars; got {written}")
        if len(set(written)) < len(written):
            raise UserError(f"{where}: each value once; got {written}")
        return Choice(tuple(written))
    if isinstance(written, dict):
        return _parse_range(where, written)
    return Choice((written,))


def _parse_range(where: str, written: dict[str, Any]) -> Range:
    for key in written:
        if key not in Range.__dataclass_fields__:
            raise UserError(f"{where}: unknown key {key!r}{did_you_mean(key, Range.__dataclass_fields__)}")
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
    if not interval.low <= interval.high < float("inf"):
        raise UserError(f"{where}: low should be at most high; got low {interval.low}, high {interval.high}")
    if interval.step is not None and not 0 < interval.step <= max(interval.high - interval.low, 1e-12):
        raise UserError(f"{where}.step: should be above 0 and at most high - low; got {interval.step}")
    if interval.step is not None and (interval.high - interval.low) / interval.step > MAX_STEPS:
        raise UserError(f"{where}.step: makes more than {MAX_STEPS} values; got {interval.step}")
    if interval.log and interval.low <= 0:
        raise UserError(f"{where}: a log range needs low above 0; got {interval.low}")
    if interval.log and interval.step is not None:
        raise UserError(f"{where}: a range has a step or is log, not both; got step {interval.step}")
    return interval


def default_point(architecture: str, space: Space) -> dict[str, Any]:
    """The point of a space that is nearest to what the architecture takes when it is not told."""
    wanted = defaults(architecture)
    return {name: values.nearest(wanted.get(name)) for name, values in space.items()}


def suggest(trial: optuna.Trial, space: Space) -> dict[str, Any]:
    """The values of one trial: a flat dict from hyperparameter to value."""
    return {name: values.suggest(trial, name) for name, values in space.items()}


def split_design(params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What Optuna suggested -> the hyperparameters, and which configuration and repetition it is."""
    design = {name: params[name] for name in (record.CONFIGURATION, record.REPETITION) if name in params}
    return {name: value for name, value in params.items() if name not in design}, design


def grid_size(space: Space) -> int:
    """The number of combinations of a space without continuous ranges."""
    size = 1
    for values in space.values():
        size *= len(values.grid())
    return size
