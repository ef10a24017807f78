"""The settings of a search and its search space, as tables."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from analysis.base.runs import Search
from analysis.base.table import Table, in_words
from data.base.errors import UserError


def settings(search: Search) -> Table:
    """The settings of the search, without its space."""
    counts = {name: f"{search.metrics[name]:,.0f}" for name in _COUNTS if name in search.metrics}
    texts = [f"{counts[f'num_{split}']} {name}" for split, name in _SPLITS.items() if f"num_{split}" in counts]
    try:
        spec, notes = search.load_spec().short(), []
    except UserError as error:
        spec, notes = {}, [f"The spec of the search cannot be read from MLflow: {error}."]
    rows = {"corpus": spec.pop("corpus", "unknown"), "texts": ", ".join(texts) or "unknown"}
    rows |= {name.removeprefix("num_"): counts[name] for name in ("num_classes", "num_words") if name in counts}
    spec = {"texts shown" if name == "texts" else name: value for name, value in spec.items()}  # `texts` is taken
    rows |= {name: in_words(value) for name, value in spec.items() if name != "name" and value not in (None, [])}
    return replace(pairs(rows, "setting"), notes=notes)


_SPLITS = {"train": "training", "val": "validation", "test": "test"}
_COUNTS = [*(f"num_{split}" for split in _SPLITS), "num_classes", "num_words"]


def searched(search: Search) -> Table:
    """The search space, as written in the spec."""
    rows = {
        name: "; ".join(f"{architecture}: {space}" for architecture, space in values.items())
        if isinstance(values, dict)
        else values
        for name, values in (search.spec.given if search.spec else {}).items()
    }
    return pairs(rows, "hyperparameter")


def pairs(rows: Mapping[str, Any], key: str, title: str = "") -> Table:
    frame = pd.DataFrame({key: list(rows), "value": [str(value) for value in rows.values()]}, dtype=object)
    return Table(frame, groups=[[key, "value"]], key=key, title=title)
