"""A search that is watched from elsewhere: what is shown of it, by hand and of a real one."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import FinishedSearch, here

from analysis.base.runs import tidy
from analysis.boards.live import MOST_POINTS, progress, sparkline


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([0.5, 0.6, 0.85], "▁▃█"),
        ([1.0, float("nan"), 0.0, float("inf")], "█▁"),
        ([0.7, 0.7], "▁▁"),
        ([0.7], ""),
        ([], ""),
    ],
)
def test_a_sparkline(values: Any, shown: str) -> None:
    assert sparkline(values) == shown


def test_of_many_values_some_are_drawn() -> None:
    drawn = sparkline(range(100))
    assert 10 < len(drawn) <= MOST_POINTS
    assert list(drawn) == sorted(drawn)


def trial(name: str, score: float | None, outcome: str, seconds: float) -> dict[str, Any]:
    architecture, _, number = name.rpartition("-")
    known = {"trial": name, "architecture": architecture, "number": number, "run_id": name, "num_parameters": 1}
    return known | {"outcome": outcome, "val_accuracy": score, "seconds": seconds}


def test_progress_by_hand() -> None:
    trials = tidy(
        [
            trial("gru-0", 0.7, "complete", 20),
            trial("gru-1", 0.8, "pruned", 10),
            trial("gru-2", 0.6, "running", 3),
            trial("gru-3", None, "running", 0),
            trial("mlp-0", None, "running", 0),
            trial("tfidf-0", 0.75, "complete", 1) | {"role": "baseline"},
        ]
    )
    series = pd.DataFrame({"run_id": "gru-0", "metric": "val_accuracy", "step": [1, 2], "value": [0.6, 0.7]})
    table = progress(trials, series, 8, "val_accuracy").set_index("architecture")
    assert table.loc["gru", ["done", "missing", "running", "pruned", "trial", "curve"]].tolist() == [
        2,
        6,
        2,
        1,
        "gru-0",
        "▁█",
    ]
    assert table.loc["gru", "seconds_left"] == 6 * 15 / 2
    assert table.loc["mlp", ["done", "missing", "running"]].tolist() == [0, 8, 1]
    assert np.isnan(table.loc["mlp", "seconds_left"])  # none has ended
    assert pd.isna(table.loc["tfidf", "missing"])
    assert progress(trials.head(0), series.head(0), 8, "val_accuracy").empty


def test_what_is_no_terminal_gets_one_look(smoke_search: FinishedSearch) -> None:
    shown = here("analysis", "watch", smoke_search.id, cwd=smoke_search.cwd)
    assert shown.returncode == 0, shown.stderr
    assert f"{smoke_search.id}: progress" in shown.stdout
    assert "complete, " in shown.stdout
    assert not here("analysis", "watch", "nosuch", cwd=smoke_search.cwd).stdout
