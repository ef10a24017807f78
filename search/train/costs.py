"""The registry of what a model costs, as objectives and limits of a search: an entry owns all that belongs to one. To
add one, enter it here, and give it a column in `search.base.record.COLUMNS`.

Imports nothing heavy, so that a command can answer `--help` at once. Shapes: B one text, T its words.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.base import record

if TYPE_CHECKING:
    from models import Architecture

NUM_TEXTS, NUM_WARM_UP = 50, 10  # whose latency is measured, one after the other, and runs before that

#: Answers the i-th of some texts, alone, on one thread.
Answer = Callable[[int], object]


@dataclass(frozen=True)
class Cost:
    """What a model costs; less is better, as `maximize` declares.

    label: what stands at an axis, with its unit. unit: after a number.
    of_model: its value for an untrained network. So it is known before anything is trained; of what is fitted in one go
    after that.
    of_answers: its value, from what answers texts. A model answers as fast before it has learned anything.
    timed: the next time it is another one.
    column: what the analysis calls it.
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
    """All numbers that answer a text, in 10^6 bytes: weights, and the vectors of all words, which may be frozen."""
    return sum(each.numel() * each.element_size() for each in (*model.parameters(), *model.buffers())) / 1e6


def _latency_ms(answer: Answer) -> float:
    """The median over some texts, after a warm-up."""
    taken = []
    for i in range(-NUM_WARM_UP, NUM_TEXTS):
        started = time.perf_counter()
        answer(max(i, 0))
        taken.append(time.perf_counter() - started)
    return 1000 * statistics.median(taken[NUM_WARM_UP:])


COSTS = {
    cost.name: cost
    for cost in (
        Cost(record.NUM_PARAMETERS, "trainable parameters", of_model=_num_parameters),
        Cost(record.MODEL_MB, "size of the model (MB)", "MB", of_model=_model_mb),
        Cost(record.LATENCY_MS, "latency of one text on one thread (ms)", "ms", of_answers=_latency_ms, timed=True),
        Cost(record.TRAIN_SECONDS, "training time (s)", "s", timed=True, column="seconds"),
    )
}


def of_model(names: Iterable[str], model: "Architecture") -> dict[str, float]:
    """Those of these costs that are known of an untrained network."""
    known = ((name, COSTS[name].of_model) for name in names)
    return {name: measure(model) for name, measure in known if measure}


def of_answers(names: Iterable[str], answer: Answer) -> dict[str, float]:
    """Those of these costs that are found out by having texts answered."""
    known = ((name, COSTS[name].of_answers) for name in names)
    return {name: measure(answer) for name, measure in known if measure}


def broken(limits: Mapping[str, float], costs: Mapping[str, float]) -> str | None:
    """The first limit that these costs break; None if they break none. What is not known breaks none."""
    return next((name for name, limit in limits.items() if costs.get(name, limit) > limit), None)


def why(name: str, cost: float, limit: float) -> str:
    """'latency_ms 3.21 is over the limit 2'."""
    return f"{name} {shown(cost)} is over the limit {shown(limit)}"


def shown(cost: float) -> str:
    """'65,002' or '3.21'."""
    return f"{cost:,.0f}" if cost >= 1000 or cost == int(cost) else f"{cost:.3g}"
