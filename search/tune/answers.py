"""The driver's answers to the reports of a pack: which of its members end, and which trials join it.

The driver writes an answer to Ray's key-value store, where the worker reads it. `tune.report` returns in the worker
only after the scheduler has processed the report and Tune requests the next one, so the answer is available by then.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ray.experimental import internal_kv

_NAMESPACE = "bakeoff"


@dataclass(frozen=True)
class Answer:
    """left: names of the members that have ended. joined: configs of the new members."""

    left: Sequence[str] = ()
    joined: Sequence[dict[str, Any]] = ()


def give(tune_id: str, answer: Answer) -> None:
    internal_kv._internal_kv_put(tune_id, json.dumps(asdict(answer)).encode(), namespace=_NAMESPACE)


def take(tune_id: str) -> Answer:
    """The answer to the last report, which is removed. Without an answer, all members continue and none joins."""
    content = internal_kv._internal_kv_get(tune_id, namespace=_NAMESPACE)
    if content is None:
        return Answer()
    internal_kv._internal_kv_del(tune_id, namespace=_NAMESPACE)
    return Answer(**json.loads(content))
