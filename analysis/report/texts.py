"""The inspection of the texts, as the page shows it."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from analysis.base.reading import read_artifact
from analysis.base.runs import Search
from analysis.base.table import Table
from analysis.report.settings import pairs
from data.inspecting.findings import Inspection
from search.base import inspected, schema

MOST_CLASSES = 50  # the most classes in the table


def read(uri: str, search: Search) -> Inspection | None:
    """The inspection kept in the search's folder, else the one in MLflow, which may lack examples of texts. None for
    old searches without one, or if it cannot be read."""
    local = Path(search.tags.get(schema.FOLDER, ""), inspected.RECORD)
    try:
        text: str | None = local.read_text(encoding="utf-8") if schema.FOLDER in search.tags else None
    except (OSError, ValueError):
        text = None
    text = text or read_artifact(uri, search.run_id, inspected.RECORD)
    try:
        return Inspection.from_json(text) if text else None
    except (ValueError, KeyError, TypeError):
        return None


def tables(inspection: Inspection) -> Iterable[Table]:
    """How the texts were read, and the number of texts by class."""
    yield pairs(inspected.facts(inspection), "texts")
    largest = sorted(inspection.classes, key=lambda counts: -counts.total)[:MOST_CLASSES]
    shown = [counts for counts in inspection.classes if counts in largest]
    total = max(1, inspection.num_texts)
    splits = inspected.splits(inspection)
    frame = pd.DataFrame(
        [
            {"class": counts.name, **counts.splits, "all": counts.total, "share": f"{counts.total / total:.1%}"}
            for counts in shown
        ],
        columns=["class", *splits, "all", "share"],
    )
    left = len(inspection.classes) - len(shown)
    notes = [f"And {left:,} smaller classes."] if left else []
    yield Table(frame, groups=[list(frame.columns)], key="class", notes=notes)
