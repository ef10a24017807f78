"""Tables as report.html takes them: cells with links and sort keys."""

from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pandas as pd

from analysis.base.baselines import ROLE
from analysis.base.runs import Search
from analysis.base.table import Table, cell, clean, heading
from search.base.mlflow_uri import ui_command

LOCAL_UI = "http://127.0.0.1:5000"  # where `mlflow ui` shows a database
#: Without it, MLflow's UI opens experiments in its view for language models.
TRAINING = "?workflowType=machine_learning"


class Links:
    """Links to the runs of a search in MLflow's UI: on its server, else on this machine while `command` runs."""

    def __init__(self, uri: str, search: Search, trials: pd.DataFrame) -> None:
        parts = urlsplit(uri)
        self.served = parts.scheme in ("http", "https")
        host = parts.netloc.rpartition("@")[2]  # without a password
        self.ui = f"{parts.scheme}://{host}{parts.path.rstrip('/')}" if self.served else LOCAL_UI
        self.in_folder = parts.scheme == "sqlite"
        # Pages are shared, so they must not contain folders of this machine.
        self.command = ui_command(f"sqlite:///{Path(parts.path).name}" if self.in_folder else uri)
        self._experiment = f"{self.ui}/#/experiments/{quote(search.experiment_id, safe='')}"
        self.experiment = f"{self._experiment}/runs{TRAINING}"
        self._runs = dict(zip(trials["trial"], trials["run_id"], strict=True))

    def run(self, run_id: str) -> str:
        return f"{self._experiment}/runs/{quote(run_id, safe='')}{TRAINING}"

    def of(self, column: str, value: Any) -> str | None:
        """The link of a cell: a run, or for an architecture its trials in the leaderboard; else None."""
        if not isinstance(value, str):
            return None
        if column == "architecture":
            return "#leaderboard"
        run_id = value if column == "run_id" else self._runs.get(value) if column == "trial" else None
        return self.run(run_id) if isinstance(run_id, str) else None


def view(table: Table, links: Links) -> dict[str, Any]:
    """A table as report.html takes it: headings, and rows of cells with text, link and sort key."""
    columns = sorted(
        table.columns, key=lambda name: {"rank": 0, "architecture": 1, "trial": 2, ROLE: 2, "run_id": 3}.get(name, 4)
    )
    numbers = {name: pd.api.types.is_numeric_dtype(table.frame[name]) for name in columns}
    rows = [
        [_cell(name, value, numbers[name], links) for name, value in zip(columns, values, strict=True)]
        for values in table.frame[columns].itertuples(index=False, name=None)
    ]
    heads = [{"text": heading(name), "number": numbers[name]} for name in columns]
    return {"title": clean(table.title), "heads": heads, "rows": rows, "notes": list(map(clean, table.notes))}


def _cell(name: str, value: Any, number: bool, links: Links) -> dict[str, Any]:
    missing = value is not None and pd.isna(value)
    sort = "" if missing else repr(float(value)) if number else cell(name, value).lower()
    full = value if name == "run_id" and isinstance(value, str) else ""
    return {"text": cell(name, value), "number": number, "sort": sort, "href": links.of(name, value), "full": full}
