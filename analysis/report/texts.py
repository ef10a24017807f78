"""What was found out about the texts before anything was trained, as the page shows it."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from analysis.base.reading import read_artifact
from analysis.base.runs import Search
from analysis.base.table import Table
from analysis.report.settings import pairs
from data.inspecting.findings import Inspection
from search.base import inspected, record

MOST_CLASSES = 50  # in a table


def read(uri: str, search: Search) -> Inspection | None:
    """What is kept with a search, in its folder, or else in MLflow, which may not have the texts in it; None of one
    that was run before that was, or can be read no longer."""
    own = Path(search.tags.get(record.FOLDER, ""), inspected.RECORD)
    try:
        text: str | None = own.read_text(encoding="utf-8") if record.FOLDER in search.tags else None
    except (OSError, ValueError):
        text = None
    text = text or read_artifact(uri, search.run_id, inspected.RECORD)
    try:
        return Inspection.from_json(text) if text else None
    except (ValueError, KeyError, TypeError):
        return None


def tables(inspection: Inspection) -> Iterable[Table]:
    """How they were read, and the classes with how many texts each has."""
    yield pairs(inspected.facts(inspection), "texts")
    ordered = sorted(inspection.classes, key=lambda each: -each.total)[:MOST_CLASSES]
    shown = [each for each in inspection.classes if each in ordered]
    total = max(1, inspection.num_texts)
    splits = inspected.splits(inspection)
    frame = pd.DataFrame(
        [
            {"class": each.name, **each.splits, "all": each.total, "share": f"{each.total / total:.1%}"}
            for each in shown
        ],
        columns=["class", *splits, "all", "share"],
    )
    left = len(inspection.classes) - len(shown)
    notes = [f"And {left:,} smaller classes."] if left else []
    yield Table(frame, groups=[list(frame.columns)], key="class", notes=notes)
