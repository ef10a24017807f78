"""The registry of costs of a model, which can be objectives and limits of a search. To add one, enter it here and give
it a column in `search.base.schema.COLUMNS`.

Imports nothing heavy, so that a command can answer `--help` at once. Shapes: B one text, T its words.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.base import schema

if TYPE_CHECKING:
    from models import Architecture

NUM_TEXTS, NUM_WARM_UP = 50, 10  # texts whose latency is measured one by one, and runs before that

#: Classifies the i-th of some texts by itself, on one thread.
Answer = Callable[[int], object]


@dataclass(frozen=True)
class Cost:
    """A cost of a model; lower is better.

    label: for axes, with the unit. unit: written after a number.
    of_model: computes it from an untrained network, so that it is known before training; for an estimator, after the
        fit.
    of_answers: measures it by classifying texts; an untrained model is as fast as a trained one.
    timed: whether it is a time, and so differs from run to run.
    column: its name in the analysis.
    """

    name: str
    label: str
    unit: str = ""
    of_model: "Callable[[Architecture], float] | None" = None
    of_answers: Callable[[Answer], float] | None = None
    timed: bool = False
    column: str = ""
    maximize: bool = False


def _num_parameters(model: "Architecture") -> float:
    from models import num_parameters

    return float(num_parameters(model))


def _model_mb(model: "Architecture") -> float:
    """Size of all weights and of the word vectors, trained or frozen, in 10^6 bytes."""
    return sum(each.numel() * each.element_size() for each in (*model.parameters(), *model.buffers())) / 1e6


def _latency_ms(answer: Answer) -> float:
    """The median latency over some texts, after a warm-up."""
    taken = []
    for i in range(-NUM_WARM_UP, NUM_TEXTS):
        started = time.perf_counter()
        answer(max(i, 0))
        taken.append(time.perf_counter() - started)
    return 1000 * statistics.median(taken[NUM_WARM_UP:])


COSTS = {
    cost.name: cost
    for cost in (
        Cost(schema.NUM_PARAMETERS, "trainable parameters", of_model=_num_parameters),
        Cost(schema.MODEL_MB, "size of the model (MB)", "MB", of_model=_model_mb),
        Cost(schema.LATENCY_MS, "latency of one text on one thread (ms)", "ms", of_answers=_latency_ms, timed=True),
        Cost(schema.TRAIN_SECONDS, "training time (s)", "s", timed=True, column="seconds"),
    )
}


def of_model(names: Iterable[str], model: "Architecture") -> dict[str, float]:
    """The costs among `names` that an untrained network determines."""
    known = ((name, COSTS[name].of_model) for name in names)
    return {name: measure(model) for name, measure in known if measure}


def of_answers(names: Iterable[str], answer: Answer) -> dict[str, float]:
    """The costs among `names` that are measured by classifying texts."""
    known = ((name, COSTS[name].of_answers) for name in names)
    return {name: measure(answer) for name, measure in known if measure}


def broken(limits: Mapping[str, float], costs: Mapping[str, float]) -> str | None:
    """The first limit that is exceeded, or None. An unknown cost exceeds none."""
    return next((name for name, limit in limits.items() if costs.get(name, limit) > limit), None)


def why(name: str, cost: float, limit: float) -> str:
    """'latency_ms 3.21 is over the limit 2'."""
    return f"{name} {shown(cost)} is over the limit {shown(limit)}"


def shown(cost: float) -> str:
    """'65,002' or '3.21'."""
    return f"{cost:,.0f}" if cost >= 1000 or cost == int(cost) else f"{cost:.3g}"
