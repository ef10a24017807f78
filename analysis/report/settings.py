"""What was searched, and on what."""

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.base.runs import Search
from analysis.base.table import Table


def settings(search: Search) -> Table:
    """What was searched and on what, but for the space."""
    counts = {name: f"{search.metrics[name]:,.0f}" for name in _COUNTS if name in search.metrics}
    texts = [f"{counts[f'num_{split}']} {name}" for split, name in _SPLITS.items() if f"num_{split}" in counts]
    rows = {"corpus": search.spec.get("corpus", "unknown"), "texts": ", ".join(texts) or "unknown"}
    rows |= {name.removeprefix("num_"): counts[name] for name in ("num_classes", "num_words") if name in counts}
    # MLflow keeps a list as Python writes it.
    spec = {name: re.sub(r"[\[\]{}']", "", value) for name, value in search.spec.items() if value != "None"}
    return pairs(rows | {name: value for name, value in spec.items() if name not in ("name", "corpus")}, "setting")


_SPLITS = {"train": "training", "val": "validation", "test": "test"}
_COUNTS = [*(f"num_{split}" for split in _SPLITS), "num_classes", "num_words"]


def searched(space: Mapping[str, Any] | None) -> Table:
    """What each hyperparameter could be."""
    rows = {}
    for name, written in (space or {}).items():
        if isinstance(written, dict) and not {"low", "high"} <= set(written):
            rows[name] = "; ".join(f"{architecture}: {_range(own)}" for architecture, own in written.items())
        else:
            rows[name] = _range(written)
    return pairs(rows, "hyperparameter")


def _range(written: Any) -> str:
    if isinstance(written, dict) and {"low", "high"} <= set(written):
        step = f" in steps of {written['step']}" if written.get("step") else ""
        return f"{written['low']} to {written['high']}{step}{' (log)' if written.get('log') else ''}"
    return ", ".join(map(str, written)) if isinstance(written, list) else str(written)


def pairs(rows: Mapping[str, Any], key: str, title: str = "") -> Table:
    frame = pd.DataFrame({key: list(rows), "value": [str(value) for value in rows.values()]}, dtype=object)
    return Table(frame, groups=[[key, "value"]], key=key, title=title)
