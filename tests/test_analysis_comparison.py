"""Pivots and comparisons computed by hand."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.base import tables
from analysis.base.runs import Search, tidy
from analysis.boards import comparison
from search.base import schema
from search.spec import read
from search.spec.spec import Spec

FIRST, SECOND = "demo-20260101-100000", "demo-20260102-100000"


def search(id: str = FIRST, metric: str | None = "val_accuracy", **spec: Any) -> Search:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return Search(id, f"run-of-{id}", "1", start, metric, None, {}, load_spec=lambda: Spec(**spec))


def trial(name: str, accuracy: float | None = None, outcome: str = "complete", **more: Any) -> dict[str, Any]:
    architecture, _, number = name.rpartition("-")
    scores = {"val_accuracy": accuracy, "test_accuracy": accuracy, "num_parameters": 100, "seconds": 10.0}
    common = {"search": FIRST, "trial": name, "architecture": architecture, "number": number, "run_id": name}
    return common | {"outcome": outcome} | scores | more


TRIALS = tidy(
    [
        trial("rnn-0", 0.70, hidden_size=8, activation="relu"),
        trial("rnn-1", 0.80, hidden_size=8, activation="relu"),
        trial("rnn-2", 0.60, hidden_size=16, activation="relu"),
        trial("rnn-3", 0.50, hidden_size=8, activation="none"),
        trial("rnn-4", 0.99, "pruned", hidden_size=8, activation="none"),
        trial("rnn-5", None, "diverged", hidden_size=8, activation="none"),
        trial("gru-0", 0.90, hidden_size=8, activation="relu", window=5),
    ]
)


# --- The pivot


def test_mean_spread_and_number_of_each_cell() -> None:
    cells = comparison.pivot(TRIALS[TRIALS["outcome"] == "complete"], "hidden_size", "activation", ["test_accuracy"])
    assert cells[["hidden_size", "activation"]].to_numpy().tolist() == [[8, "none"], [8, "relu"], [16, "relu"]]
    assert cells["test_accuracy_mean"].tolist() == pytest.approx([0.5, 0.8, 0.6])
    assert cells["test_accuracy_sd"].tolist() == pytest.approx([np.nan, 0.1, np.nan], nan_ok=True)
    assert cells["test_accuracy_trials"].tolist() == [1, 3, 1]
    assert str(cells["hidden_size"].dtype) == "Int64"


def test_configurations_over_their_seeds() -> None:
    scores = [("a", 0.6), ("a", 0.8), ("b", 0.5)]
    trials = tidy(trial(f"rnn-{i}", score, configuration=name) for i, (name, score) in enumerate(scores))
    cells = comparison.pivot(trials, "configuration", values=["test_accuracy"])
    assert cells["configuration"].tolist() == ["a", "b"]
    assert cells["test_accuracy_mean"].tolist() == pytest.approx([0.7, 0.5])
    with pytest.raises(ValueError, match="unknown row 'configuration'"):
        comparison.pivot(TRIALS, "configuration")


def test_without_columns_and_with_several_values() -> None:
    cells = comparison.pivot(TRIALS, "architecture", values=["test_accuracy", "num_parameters"])
    assert cells["architecture"].tolist() == ["gru", "rnn"]
    assert cells["test_accuracy_trials"].tolist() == [1, 5]
    assert cells["num_parameters_trials"].tolist() == [1, 6]  # a trial without a score still has parameters
    assert cells["num_parameters_mean"].tolist() == [100, 100]


def test_none_is_a_value_and_a_hyperparameter_of_others_is_not() -> None:
    rows = [trial("rnn-0", 0.5, clip=None), trial("rnn-1", 0.7, clip=1.0), trial("rnn-2", 0.9, clip=0.5)]
    cells = comparison.pivot(tidy([*rows, trial("gru-0", 0.1)]), "clip", values=["test_accuracy"])
    assert cells["clip"].tolist() == [None, 0.5, 1.0]
    assert cells["test_accuracy_mean"].tolist() == [0.5, 0.9, 0.7]


def test_infinite_scores_are_no_scores() -> None:
    trials = tidy([trial("rnn-0", 0.5), trial("rnn-1", float("inf"))])
    assert comparison.pivot(trials, "architecture", values=["test_accuracy"]).loc[0].tolist() == [
        "rnn",
        0.5,
        pytest.approx(np.nan, nan_ok=True),
        1,
    ]


def test_a_table_for_each_value_with_a_column_for_each_value_of_the_columns() -> None:
    shown = comparison.pivot_tables(
        [search()], TRIALS, "hidden_size", "activation", ["test_accuracy", "num_parameters"]
    )
    assert [table.title.split(" by ")[0] for table in shown] == [
        f"{FIRST}: test accuracy",
        f"{FIRST}: parameters",
    ]
    assert shown[0].frame.to_dict("list") == {
        "hidden_size": [8, 16],
        "activation none": ["0.5000 (1)", ""],
        "activation relu": ["0.8000 ± 0.1000 (3)", "0.6000 (1)"],
    }
    assert shown[1].frame["activation relu"].tolist() == ["100 ± 0 (3)", "100 (1)"]
    assert shown[0].notes == ()
    assert shown[1].notes[0] == "Counted: 5 trials (complete). Left out: 1 diverged, 1 pruned."
    assert "also differ in architecture: the spread is not" in shown[1].notes[1]
    assert shown[1].notes[-1] == schema.SCORE_RULE


def test_other_outcomes_count_when_asked_for() -> None:
    (shown,) = comparison.pivot_tables(
        [search()], TRIALS, "activation", None, ["test_accuracy"], ["complete", "pruned"], long=True
    )
    assert shown.frame["test_accuracy_mean"].tolist() == pytest.approx([(0.5 + 0.99) / 2, 0.75])
    assert shown.notes[0] == "Counted: 6 trials (complete, pruned). Left out: 1 diverged."


def test_trials_without_the_hyperparameter_are_left_out_and_counted() -> None:
    (shown,) = comparison.pivot_tables([search()], TRIALS, "window", values=["test_accuracy"])
    assert shown.frame["window"].tolist() == [5]
    assert "Also left out: 4 without window, which only gru has." in shown.notes


def test_seeds_alone_are_said_to_be_so() -> None:
    trials = tidy(trial(f"rnn-{seed}", seed / 10, activation="none", seed=seed) for seed in range(3))
    (shown,) = comparison.pivot_tables([search()], trials, "activation")
    assert "The trials of a cell differ in their seeds only." in shown.notes


def test_searches_side_by_side_in_a_pivot() -> None:
    trials = tidy([trial("rnn-0", 0.5, search=FIRST), trial("rnn-0", 0.75, search=SECOND)])
    (shown,) = comparison.pivot_tables(
        [search(FIRST), search(SECOND)], trials, "architecture", "search", ["test_accuracy"]
    )
    assert shown.frame.loc[0].tolist() == ["rnn", "0.5000 (1)", "0.7500 (1)"]


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ("hiden_size", None, r"unknown row 'hiden_size' \(did you mean 'hidden_size'\?\)"),
        ("search", "actvation", r"unknown column 'actvation' \(did you mean 'activation'\?\)"),
        ("window", "window", "--rows and --columns are both 'window'"),
        ("test_accuracy", None, "unknown row 'test_accuracy'"),
    ],
)
def test_unknown_rows_and_columns(rows: str, columns: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        comparison.pivot_tables([search()], TRIALS, rows, columns)


def test_unknown_values_and_outcomes() -> None:
    assert comparison.read_values("test_f1, seconds,test_f1") == ["test_f1", "seconds"]
    with pytest.raises(ValueError, match=r"unknown value 'test_acuracy' \(did you mean 'test_accuracy'\?\)"):
        comparison.read_values("test_f1,test_acuracy")
    assert comparison.read_outcomes("complete,pruned") == ["complete", "pruned"]
    with pytest.raises(ValueError, match=r"unknown outcome 'prund' \(did you mean 'pruned'\?\)"):
        comparison.read_outcomes("prund")


@pytest.mark.parametrize("form", tables.TEXTS)
@pytest.mark.parametrize("columns", [None, "label"])
@pytest.mark.parametrize(
    ("rows", "title"),
    [
        ([], "no trials yet"),
        ([trial("rnn-0", 0.5, label="x")], "± standard deviation"),
        ([trial("rnn-0", outcome="diverged", label="x")], "no trial is counted"),
        ([trial("rnn-0", 0.5, label='=x,"y"|z'), trial("gru-0", 0.5, label="-1+1"), {"run_id": "half"}], "standard"),
        ([trial("rnn-0", 0.5, label=None), trial("rnn-1", label=1), trial("rnn-2", 1, label="a_b")], "standard"),
    ],
    ids=["empty", "one", "all-diverged", "nasty", "mixed"],
)
def test_every_format_of_every_kind_of_search(
    form: str, columns: str | None, rows: list[dict[str, Any]], title: str
) -> None:
    for long in (False, True):
        shown = comparison.pivot_tables([search()], tidy(rows), "architecture", columns, long=long)
        assert title in shown[0].title
        assert all(tables.TEXTS[form](table) for table in shown)
    table = comparison.compare_table([search()], tidy(rows))
    assert tables.TEXTS[form](table)


# --- Searches side by side


TWO = tidy(
    [
        trial("rnn-0", 0.60),
        trial("rnn-1", 0.70),
        trial("rnn-2", 0.99, "pruned"),
        trial("gru-0", 0.65, seconds=5.5),
        trial("rnn-0", 0.80, search=SECOND, seconds=None),
        trial("mlp-0", None, "diverged", search=SECOND),
    ]
)


def test_the_best_of_each_architecture_in_each_search() -> None:
    table = comparison.compare([search(FIRST), search(SECOND)], TWO)
    assert table[["architecture", "search", "trial"]].fillna("").to_numpy().tolist() == [
        ["rnn", FIRST, "rnn-1"],
        ["rnn", SECOND, "rnn-0"],
        ["gru", FIRST, "gru-0"],
        ["mlp", SECOND, ""],
    ]
    assert table["val_accuracy"].tolist() == pytest.approx([0.7, 0.8, 0.65, np.nan], nan_ok=True)
    assert table["trials"].tolist() == [3, 1, 1, 1]
    assert table["total_seconds"].tolist() == [30, 0, 5.5, 10]


def test_the_searches_come_in_the_order_given() -> None:
    table = comparison.compare([search(SECOND), search(FIRST)], TWO)
    assert table["search"].tolist()[:2] == [SECOND, FIRST]


def test_a_search_without_trials_is_named() -> None:
    empty = "other-20260101-100000"
    table = comparison.compare_table([search(FIRST), search(empty)], TWO)
    assert f"No trials yet: {empty}." in table.notes
    assert empty not in set(table.frame["search"])


def test_what_differs_between_the_specs_is_said() -> None:
    both = [search(FIRST, epochs=6, limit=None, name="a"), search(SECOND, epochs=10, architectures=["rnn"], name="b")]
    assert list(comparison.notes_on_data(both)) == [
        "The specs differ in architectures (rnn, gru, mlp, attention, cnn / rnn), epochs (6 / 10)."
    ]
    others: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
        ({"corpus": "imdb"}, {"corpus": "csv:a,b.csv"}),
        ({}, {"split_seed": 1}),
        ({}, {"group_column": "author"}),
    )
    for one, another in others:
        other = [search(FIRST, **one), search(SECOND, **another)]
        assert list(comparison.notes_on_data(other))[1].startswith("The searches were scored on different texts")
    (bare,) = comparison.notes_on_data([search(FIRST), search(SECOND, baselines=[])])
    assert bare == "The specs differ in baselines (majority, tfidf, nbsvm / none)."
    assert list(comparison.notes_on_data(both[:1])) == []
    unknown = dataclasses.replace(both[1], load_spec=lambda: read.load("epochz: 1", "spec.json"))
    (note,) = comparison.notes_on_data([both[0], unknown])
    assert note == f"How the specs differ is unknown: the spec of {SECOND} cannot be read from MLflow."


def test_the_frames_given_are_left_alone() -> None:
    before = TRIALS.copy()
    comparison.pivot_tables([search()], TRIALS, "hidden_size", "activation")
    comparison.compare([search()], TRIALS)
    pd.testing.assert_frame_equal(TRIALS, before)
