"""Where the spread of test accuracy comes from, and what a search gains over the defaults: cases computed by hand."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FinishedSearch, here
from test_analysis_confirmation import Recorder
from test_budget import search_of

from analysis.base.runs import Search, find_search, tidy
from analysis.verdicts.repetitions import require_repetitions
from analysis.verdicts.variance import SD, read, tunability, variance_tables, variances
from data.base.errors import UserError

SEARCH = Search("demo-20260101-100000", "run", "1", datetime(2026, 1, 1, tzinfo=UTC), "val_accuracy", None, {})


def trial(name: str, val: float | None, test: float | None, outcome: str = "complete", **more: Any) -> dict[str, Any]:
    architecture, _, number = name.rpartition("-")
    common = {"trial": name, "architecture": architecture, "number": number, "run_id": name, "num_parameters": 1}
    return common | {"outcome": outcome, "val_accuracy": val, "test_accuracy": test, "seed": number} | more


#: Variance of the complete ones 0.0004; the best on validation has 0.8 on test, and the first, the default, 0.76.
FIRST = tidy(
    [
        trial("gru-0", 0.75, 0.76),
        trial("gru-1", 0.82, 0.80),
        trial("gru-2", 0.79, 0.78),
        trial("gru-3", 0.60, 0.55, "pruned"),
        trial("gru-4", None, None, "failed"),
    ]
)
SECOND = tidy([trial("gru-0", 0.74, 0.75), trial("gru-1", 0.80, 0.83)])
#: Two configurations of two seeds: squares 2 * 0.01 ** 2 and 2 * 0.005 ** 2, of one degree of freedom each.
REPEATED = tidy(
    [
        trial("gru-0", 0.8, 0.81, configuration="gru-1", search="demo-confirm"),
        trial("gru-1", 0.8, 0.79, configuration="gru-1", search="demo-confirm"),
        trial("gru-2", 0.7, 0.705, configuration="gru-2", search="demo-confirm"),
        trial("gru-3", 0.7, 0.695, configuration="gru-2", search="demo-confirm"),
    ]
)


def test_each_source_by_hand() -> None:
    found = variances([FIRST, SECOND], REPEATED, 1600, "val_accuracy")
    assert found["architecture"].tolist() == ["gru"] * 4
    assert found["source"].tolist() == ["texts", "seeds", "hyperparameters", "search"]
    texts, seeds, hyperparameters = 0.8 * 0.2 / 1600, 0.00025 / 2, 0.0004 - 0.00025 / 2
    expected = [texts, seeds, hyperparameters, (0.83 - 0.80) ** 2 / 2]
    assert (found[SD] ** 2).tolist() == pytest.approx(expected)
    total = texts + seeds + hyperparameters
    assert found["share"].tolist()[:3] == pytest.approx([texts / total, seeds / total, hyperparameters / total])
    assert np.isnan(found["share"].iloc[3])
    assert found["of"].tolist() == ["1,600 texts", "2 degrees of freedom", "3 complete trials", "2 searches"]


def test_what_is_not_known_is_left_out_and_how_to_find_it_out_is_said() -> None:
    found = variances([FIRST], REPEATED.head(0), np.nan, "val_accuracy")
    assert found["source"].tolist() == ["hyperparameters"]
    assert found[SD].tolist() == pytest.approx([0.02])
    (shares, gains) = variance_tables(SEARCH, [FIRST], REPEATED.head(0), 1600)
    assert shares.frame["source"].tolist() == ["texts", "hyperparameters"]
    assert any("python -m search confirm demo-20260101-100000" in note for note in shares.notes)
    assert any("search run spec.yaml --set seed=1 --repeat 4" in note for note in shares.notes)
    assert gains.columns == ["architecture", "default_test", "best_test", "difference"]
    assert len(variance_tables(SEARCH, [FIRST], REPEATED, 1600, with_defaults=False)) == 1


def test_a_spread_of_seeds_alone_leaves_none_for_hyperparameters() -> None:
    wide = REPEATED.assign(test_accuracy=REPEATED["test_accuracy"].where(REPEATED["number"] % 2 == 0, 0.5))
    found = variances([FIRST], wide, 1600, "val_accuracy").set_index("source")
    assert found.loc["hyperparameters", SD] == 0


def test_best_minus_default_by_hand() -> None:
    (row,) = tunability([FIRST, SECOND], "val_accuracy").to_dict("records")
    assert (row["default_test"], row["best_test"]) == pytest.approx((0.755, 0.815))
    assert row["difference"] == pytest.approx(0.06)
    half = 12.7062 * np.std([0.04, 0.08], ddof=1) / np.sqrt(2)  # Student's t of one degree of freedom
    assert (row["low"], row["high"]) == pytest.approx((0.06 - half, 0.06 + half), rel=1e-4)
    without = FIRST[FIRST["number"] != 0]
    assert tunability([without], "val_accuracy").empty


@pytest.mark.slow
def test_seeds_stay_known_once_there_are_folds_and_a_confirmation_stands_for_its_search(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.search(SEARCH.id, data_digest="d1")
    for number, score in enumerate((0.81, 0.87, 0.84)):
        recorder.trial(f"gru-{number}", score, None, architecture="gru", hidden_size=8 + number, seed=number)
    recorder.search("demo-confirm-20260102-100000", data_digest="d1", confirms=SEARCH.id)
    for seed, score in enumerate((0.84, 0.86)):
        recorder.trial(
            f"gru-{seed}", score, None, architecture="gru", configuration="gru-1", repetition=seed, seed=seed
        )
    recorder.search("demo-folds-20260103-100000", data_digest="d1", confirms=SEARCH.id)
    for part, score in enumerate((0.6, 0.8, 1.0)):
        more = {"fold": f"{part + 1}/3", "repetition": 0, "seed": 9 + part}
        recorder.trial(f"gru-{part}", score, None, architecture="gru", configuration="gru-1", **more)
    for of in (SEARCH.id, "demo-confirm-20260102-100000", "demo-folds-20260103-100000"):
        table = read(recorder.uri, [find_search(recorder.uri, of)])[0]
        found = table.frame.set_index("source")[SD] ** 2
        assert found.to_dict() == pytest.approx({"seeds": 0.0002, "hyperparameters": 0.0009 - 0.0002})
        assert table.title.startswith(SEARCH.id)
    recorder.search("gone-confirm-20260104-100000", confirms="gone-20260104-090000")
    with pytest.raises(UserError, match="needs gone-20260104-090000, which gone-confirm-20260104-100000 confirms"):
        read(recorder.uri, [find_search(recorder.uri, "gone-confirm-20260104-100000")])


def test_the_command_on_a_real_search(smoke_search: FinishedSearch) -> None:
    shown = here("analysis", "variance", smoke_search.id, cwd=smoke_search.cwd).stdout
    assert "sources of the variance of test accuracy" in shown
    assert re.search(r"texts +0\.0\d+", shown)


def test_only_searches_that_repeat_each_other_are_taken_apart_together() -> None:
    first, other = search_of(), search_of("demo-20260102-100000", seed=1, epochs=3)
    with pytest.raises(UserError, match=r"are not repetitions of one search: they differ in epochs$"):
        require_repetitions([first, other])
    with pytest.raises(UserError, match="repetitions need different seeds"):
        require_repetitions([first, search_of("demo-20260102-100000")])
    require_repetitions([first, search_of("demo-20260102-100000", seed=1, trials=12)])
    require_repetitions([other])
