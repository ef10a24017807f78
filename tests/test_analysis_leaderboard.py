"""Rankings computed by hand."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest

from analysis.base import tables
from analysis.base.runs import Search, tidy
from analysis.boards import leaderboard as boards
from search.base import schema
from search.base.schema import Outcome
from search.spec.spec import Spec
from search.train.metrics import METRICS

SEARCH = Search("demo-20260101-100000", "run", "1", datetime(2026, 1, 1, tzinfo=UTC), "val_accuracy", None, {})


def trial(
    name: str, val_accuracy: float | None = None, outcome: str | None = "complete", **more: Any
) -> dict[str, Any]:
    architecture, _, number = name.rpartition("-")
    return {
        "trial": name,
        "architecture": architecture,
        "number": number,
        "outcome": outcome,
        "val_accuracy": val_accuracy,
        "num_parameters": 100,
        "run_id": f"run-of-{name}",
    } | more


TRIALS = tidy(
    [
        trial("rnn-0", 0.70, val_loss=0.5, test_accuracy=0.71, hidden_size=8, batch_size=32),
        trial("rnn-1", 0.99, "pruned", val_loss=0.1, hidden_size=16, batch_size=32),
        trial("gru-0", 0.80, val_loss=0.6, test_accuracy=0.60, hidden_size=8, batch_size=32, window=5),
        trial("gru-1", 0.95, "diverged", val_loss=0.2, hidden_size=8, batch_size=32, window=5, error="loss is nan"),
        trial("gru-2", 0.60, "pruned", val_loss=0.9, hidden_size=8, batch_size=32, window=5),
        trial("mlp-0", 0.90, "failed", hidden_size=8, batch_size=32, error="out, of | memory"),
        trial("mlp-1", None, "running", hidden_size=8, batch_size=32),
        trial("mlp-2", 0.97, "interrupted", hidden_size=8, batch_size=32),
    ]
)


def ranks(board: pd.DataFrame) -> dict[str, int]:
    ranked = board[board["rank"].notna()]
    return dict(zip(ranked["trial"], ranked["rank"], strict=True))


def test_complete_above_pruned_and_nothing_else_is_ranked() -> None:
    board = boards.leaderboard(TRIALS)
    assert ranks(board) == {"gru-0": 1, "rnn-0": 2, "rnn-1": 3, "gru-2": 4}
    assert list(board["trial"][4:]) == ["gru-1", "mlp-0", "mlp-2", "mlp-1"]
    assert str(board["rank"].dtype) == "Int64"


def test_a_loss_is_better_when_lower() -> None:
    assert ranks(boards.leaderboard(TRIALS, "val_loss")) == {"rnn-0": 1, "gru-0": 2, "rnn-1": 3, "gru-2": 4}
    assert "val_loss" in boards.leaderboard(TRIALS, "val_loss").columns


@pytest.mark.parametrize("name", [metric.name for metric in METRICS.values() if not metric.no_rank])
def test_every_metric_of_validation_ranks_in_its_direction(name: str) -> None:
    rows = tidy([trial("rnn-0", **{f"val_{name}": 0.2}), trial("rnn-1", **{f"val_{name}": 0.1})])
    best = boards.leaderboard(rows, f"val_{name}")["trial"][0]
    assert best == ("rnn-0" if METRICS[name].maximize else "rnn-1")


def test_what_is_not_measured_of_a_task_is_neither_ranked_by_nor_shown() -> None:
    measured = tidy([trial("mlp-0", 0.8, val_loss=0.5, val_f1=0.8, val_roc_auc=0.9)])
    assert boards.tested(measured, "val_accuracy") == ["test_accuracy", "test_f1", "test_roc_auc"]
    with pytest.raises(ValueError, match=r"not measure it; choose from val_loss, val_accuracy, val_f1, val_roc_auc$"):
        boards.leaderboard(measured, "val_pixel_error")
    assert boards.tested(tidy([trial("mlp-0", None, "running")]), "val_accuracy") == ["test_accuracy", "test_f1"]


def test_a_metric_has_a_column_where_it_is_usual_or_ranks_and_the_csv_has_all() -> None:
    measured = {f"{split}_{name}": 0.5 for split in ("val", "test") for name in ("accuracy", "f1", "macro_f1", "mcc")}
    rows = tidy([trial("mlp-0", **measured)])
    assert boards.tested(rows, "val_accuracy") == ["test_accuracy", "test_f1"]
    assert boards.tested(rows, "val_macro_f1") == ["test_accuracy", "test_f1", "test_macro_f1"]
    assert {"test_macro_f1", "test_mcc"} <= set(boards.leaderboard(rows, "val_accuracy").columns)


def test_ties_go_to_fewer_parameters_then_by_architecture_and_number() -> None:
    rows = [
        trial("rnn-10", 0.5),
        trial("rnn-2", 0.5),
        trial("gru-3", 0.5),
        trial("rnn-3", 0.5, num_parameters=99),
        trial("rnn-4", 0.5, num_parameters=None),
    ]
    expected = ["rnn-3", "gru-3", "rnn-2", "rnn-10", "rnn-4"]
    assert list(boards.leaderboard(tidy(rows))["trial"]) == expected
    assert list(boards.leaderboard(tidy(reversed(rows)))["trial"]) == expected


def test_a_trial_without_a_score_is_not_ranked() -> None:
    rows = tidy([trial("rnn-0"), trial("rnn-1", float("inf")), trial("rnn-2", 0.1), trial("rnn-3", 0.9, None)])
    assert ranks(boards.leaderboard(rows)) == {"rnn-2": 1}


def test_the_frame_given_is_left_alone() -> None:
    before = TRIALS.copy()
    boards.leaderboard(TRIALS)
    boards.by_architecture(TRIALS)
    boards.only(TRIALS, "rnn")
    pd.testing.assert_frame_equal(TRIALS, before)


@pytest.mark.parametrize(
    ("rank_by", "message"),
    [
        ("test_accuracy", r"nothing is chosen on the test set; the nearest valid choice is val_accuracy"),
        ("train_loss", r"nothing is chosen on the train set; the nearest valid choice is val_loss"),
        ("val_acuracy", r"unknown metric 'val_acuracy' \(did you mean 'val_accuracy'\?\)"),
        ("accuracy", r"unknown metric 'accuracy' \(did you mean 'val_accuracy'\?\)"),
        ("", r"unknown metric '' \(one of val_loss, "),
    ],
)
def test_only_validation_ranks(rank_by: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        boards.leaderboard(TRIALS, rank_by)


def test_the_best_of_each_architecture_with_its_counts() -> None:
    table = boards.by_architecture(TRIALS).set_index("architecture")
    assert list(table.index) == ["gru", "rnn", "mlp"]
    assert list(table["trial"][:2]) == ["gru-0", "rnn-0"]
    assert list(table["run_id"][:2]) == ["run-of-gru-0", "run-of-rnn-0"]
    assert list(table["test_accuracy"][:2]) == [0.60, 0.71]
    counts = table[["trials", *(each.value for each in Outcome)]]
    endings = ["complete", "pruned", "diverged", "failed", "refused", "interrupted", "running"]
    assert list(counts.columns) == ["trials", *endings]
    assert counts.loc["gru"].tolist() == [3, 1, 1, 1, 0, 0, 0, 0]
    assert counts.loc["rnn"].tolist() == [2, 1, 1, 0, 0, 0, 0, 0]
    assert counts.loc["mlp"].tolist() == [3, 0, 0, 0, 1, 0, 1, 1]
    assert table.loc["mlp", ["trial", "val_accuracy", "run_id"]].isna().all()


def test_an_architecture_with_only_pruned_trials_shows_its_best_pruned_one() -> None:
    table = boards.by_architecture(tidy([trial("rnn-0", 0.3, "pruned"), trial("rnn-1", 0.4, "pruned")]))
    assert table.loc[0, ["trial", "outcome"]].tolist() == ["rnn-1", "pruned"]


def test_what_varies_and_what_does_not() -> None:
    rows = tidy(
        [
            trial("rnn-0", clip=None, dropout=0.1, activation="none"),
            trial("gru-0", clip=None, dropout=0.1, activation=None, window=5, norm=None),
            trial("gru-1", clip=None, dropout=0.2, activation="none", window=5, norm=1.0),
        ]
    )
    assert boards.varying(rows) == ["dropout", "activation", "norm"]
    assert boards.constant(rows) == {"clip": None, "window": 5}
    (note,) = boards.notes(SEARCH, rows, "val_accuracy")[:1]
    assert note == "The same for all: clip None, window 5 (gru)."


def test_only_one_architecture_and_its_hyperparameters() -> None:
    chosen = boards.only(TRIALS, "rnn")
    assert list(chosen["trial"]) == ["rnn-0", "rnn-1"]
    assert "window" not in chosen.columns
    with pytest.raises(ValueError, match=r"unknown architecture 'grru' \(did you mean 'gru'\?\)"):
        boards.only(TRIALS, "grru")


def test_the_notes_say_the_rule_the_metric_and_the_reasons() -> None:
    notes = boards.notes(SEARCH, TRIALS, "val_accuracy")
    assert notes[-1] == schema.SCORE_RULE
    assert "Not ranked, diverged: gru-1: loss is nan" in notes
    assert "Not ranked, failed: mlp-0: out, of | memory" in notes
    assert "Not ranked, running: mlp-1" in notes
    assert any(note.startswith("Ranked by val_accuracy, higher is better") for note in notes)
    other = "\n".join(boards.notes(SEARCH, TRIALS, "val_loss"))
    assert "Ranked by val_loss, lower is better" in other
    assert "best epoch of each trial was chosen by val_accuracy" in other


def test_the_notes_say_who_reads_how_many_words() -> None:
    words = {"rnn": 200, "gru": 200, "ngram": 1000}
    spec = Spec(architectures=list(words), max_words=words, baselines=["tfidf", "tfidf_whole"])
    notes = boards.notes(dataclasses.replace(SEARCH, load_spec=lambda: spec), TRIALS, "val_accuracy")
    assert "Words read of each text: 200 by rnn, gru; 1,000 by ngram, tfidf; all by tfidf_whole." in notes
    equal = dataclasses.replace(SEARCH, load_spec=lambda: Spec(architectures=["rnn"], max_words=200))
    assert not any(note.startswith("Words read") for note in boards.notes(equal, TRIALS, "val_accuracy"))


def test_the_notes_say_who_beats_the_baseline_that_reads_as_much() -> None:
    spec = Spec(architectures=["rnn", "gru", "ngram"], max_words={"rnn": 20, "gru": 20, "ngram": 100})
    scores = {"rnn-0": 0.6, "gru-0": 0.8, "ngram-0": 0.85, "tfidf_20-0": 0.65, "nbsvm_20-0": 0.7, "nbsvm-0": 0.9}
    rows = tidy([trial(name, score) for name, score in {**scores, "nbsvm_whole-0": 0.95}.items()])
    notes = boards.notes(dataclasses.replace(SEARCH, load_spec=lambda: spec), rows, "val_accuracy")
    assert (
        "On the same words of each text, by val_accuracy: with 20, ahead of nbsvm_20 (0.7000): gru, behind it: rnn; "
        "with 100, ahead of nbsvm (0.9000): none, behind it: ngram."
    ) in notes
    alone = boards.notes(dataclasses.replace(SEARCH, load_spec=lambda: spec), rows.head(3), "val_accuracy")
    assert not any(note.startswith("On the same words") for note in alone)


def test_many_trials_of_one_reason_are_one_short_note() -> None:
    rows = tidy(trial(f"rnn-{i}", outcome="diverged", error="loss is nan") for i in range(8))
    notes = boards.notes(SEARCH, rows, "val_accuracy")
    assert "Not ranked, diverged: rnn-0, rnn-1, rnn-2, rnn-3, rnn-4 and 3 more: loss is nan" in notes


def test_top_cuts_and_says_so() -> None:
    cut = boards.ranking_table(SEARCH, TRIALS, top=2)
    assert list(cut.frame["trial"]) == ["gru-0", "rnn-0"]
    assert cut.title == "demo-20260101-100000: the first 2 of 8 trials by val_accuracy"
    assert len(boards.ranking_table(SEARCH, TRIALS, top=0).frame) == 8


def test_a_table_shows_what_varies_and_a_file_has_everything() -> None:
    table = boards.ranking_table(SEARCH, TRIALS)
    assert "hidden_size" in table.columns
    assert "batch_size" not in table.columns
    assert {"hidden_size", "batch_size", "window", "error"} <= set(table.frame.columns)


@pytest.mark.parametrize("form", tables.TEXTS)
@pytest.mark.parametrize(
    ("rows", "title"),
    [
        ([], "has no trials yet"),
        ([trial("rnn-0", 0.5)], "1 trial by val_accuracy"),
        ([trial("rnn-0", outcome="diverged"), trial("gru-0", outcome="diverged")], "of 2 trials none can be ranked"),
        ([trial("rnn-0", 0.5, hidden_size=8, label='=x,"y"|z'), {"run_id": "half-written"}], "2 trials"),
    ],
    ids=["empty", "one", "all-diverged", "half-written"],
)
def test_every_format_of_every_kind_of_search(form: str, rows: list[dict[str, Any]], title: str) -> None:
    trials = tidy(rows)
    ranking = boards.ranking_table(SEARCH, trials)
    best = boards.architecture_table(SEARCH, trials)
    assert title in ranking.title
    for table in (ranking, best):
        assert tables.TEXTS[form](table)
    assert len(best.frame) == trials["architecture"].nunique()
