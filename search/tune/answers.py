"""What a pack is told at a report: which of its members end, and which trials join it.

The driver leaves it in Ray's key-value store, and the worker takes it from there: `tune.report` returns in the worker
only after the scheduler has taken the report and Tune asks for the next one, so the answer is there by then.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ray.experimental import internal_kv

_NAMESPACE = "bakeoff"


@dataclass(frozen=True)
class Answer:
    """left: names of members that have ended. joined: the configs of new ones."""

    left: Sequence[str] = ()
    joined: Sequence[dict[str, Any]] = ()


def give(tune_id: str, answer: Answer) -> None:
    internal_kv._internal_kv_put(tune_id, json.dumps(asdict(answer)).encode(), namespace=_NAMESPACE)


def take(tune_id: str) -> Answer:
    """The answer to the last report, which nobody takes again; without one all members go on."""
    content = internal_kv._internal_kv_get(tune_id, namespace=_NAMESPACE)
    if content is None:
        return Answer()
    internal_kv._internal_kv_del(tune_id, namespace=_NAMESPACE)
    return Answer(**json.loads(content))
