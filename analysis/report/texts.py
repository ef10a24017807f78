"""What was found out about the texts before anything was trained, as the page shows it."""

from collections.abc import Iterable

import pandas as pd

from analysis.base.reading import read_artifact
from analysis.base.table import Table
from analysis.report.settings import pairs
from data.inspecting.findings import Inspection
from search.base import inspected

MOST_CLASSES = 50  # in a table


def read(uri: str, run_id: str) -> Inspection | None:
    """What is kept with the run of a search; None of one that was run before that was, or can be read no longer."""
    text = read_artifact(uri, run_id, inspected.RECORD)
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
