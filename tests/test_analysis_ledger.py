"""Budgets added up by hand."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from analysis.base import tables
from analysis.base.runs import Search, tidy
from analysis.boards import leaderboard as boards
from analysis.boards import ledger as ledgers
from search.spec import read
from search.spec.inherited import Inherited

SEARCH = Search("demo-20260101-100000", "run", "1", datetime(2026, 1, 1, tzinfo=UTC), "val_accuracy", None, {})


def trial(
    name: str, end: int | None = None, score: float | None = None, outcome: str = "complete", **more: Any
) -> dict[str, Any]:
    architecture, _, number = name.rpartition("-")
    spent = {"epochs_run": 3, "seconds": 10.0}
    common = {"trial": name, "architecture": architecture, "number": number, "run_id": f"run-of-{name}"}
    return common | {"outcome": outcome, "val_accuracy": score, "end": end} | spent | more


TRIALS = tidy(
    [
        trial("rnn-0", 3000, 0.5),
        trial("rnn-1", 1000, 0.4, "pruned", epochs_run=1, seconds=2.5),
        trial("rnn-2", 2000, 0.6),
        trial("rnn-3", None, None, "running", epochs_run=2, seconds=4.0),
        trial("gru-0", 500, None, "failed", epochs_run=None, seconds=None),
        trial("gru-1", 900, 0.7),
        trial("gru-2", 1000, None, "diverged", epochs_run=1, seconds=1.0),
        trial("mlp-0", 800, None, "diverged", epochs_run=1, seconds=1.0),
    ]
)


def test_what_each_architecture_was_given_and_what_its_best_took() -> None:
    table = ledgers.ledger(TRIALS).set_index("architecture")
    assert list(table.index) == ["gru", "rnn", "mlp"]
    assert table[["trials", "epochs", "seconds"]].to_numpy().tolist() == [[3, 4, 11], [4, 9, 26.5], [1, 1, 1]]
    shares = table[["complete_share", "pruned_share", "diverged_share", "failed_share", "running_share"]]
    assert shares.loc["rnn"].tolist() == [0.5, 0.25, 0, 0, 0.25]
    assert shares.loc["gru"].tolist() == pytest.approx([1 / 3, 0, 1 / 3, 1 / 3, 0])
    # rnn-2 is the best and ended second, after rnn-1; gru-1 too, after one that spent nothing known
    assert table.loc["rnn", ["trial", "val_accuracy"]].tolist() == ["rnn-2", 0.6]
    to_best = table[["trials_to_best", "epochs_to_best", "seconds_to_best"]]
    assert to_best.loc["rnn"].tolist() == [2, 4, 12.5]
    assert to_best.loc["gru"].tolist() == [2, 3, 10]
    assert to_best.loc["mlp"].isna().all()


def test_without_ends_the_order_is_that_of_the_numbers() -> None:
    table = ledgers.ledger(tidy([trial("rnn-1", score=0.5), trial("rnn-0", score=0.4), trial("rnn-2", score=0.3)]))
    assert table["trials_to_best"].tolist() == [2]


def test_an_architecture_that_was_searched_less_is_warned_of() -> None:
    rows = [trial(f"rnn-{i}", i, 0.5) for i in range(10)] + [trial(f"gru-{i}", i, 0.5) for i in range(8)]
    assert ledgers.searched_less(tidy(rows)) == []  # 80 % of the trials and of the epochs
    (fewer,) = ledgers.searched_less(tidy(rows[:-1]))
    assert fewer == "Warning: gru was searched less: 7 trials, 10 for rnn (less than 80%)."


def test_early_stops_are_less_only_below_half_of_the_epochs() -> None:
    def given(epochs: int) -> list[str]:
        rows = [trial(f"rnn-{i}", i, 0.5, epochs_run=6) for i in range(2)]
        return ledgers.searched_less(
            tidy([*rows, *(trial(f"gru-{i}", i, 0.5, "pruned", epochs_run=epochs) for i in range(2))])
        )

    assert given(3) == []
    assert given(2) == ["Warning: gru was searched less: 4 epochs, 12 for rnn (less than 50%)."]


def test_what_learns_in_one_go_is_not_searched_less_for_it() -> None:
    networks = [trial(f"rnn-{i}", i, 0.5, epochs_run=6) for i in range(4)]
    linear = [trial(f"linear-{i}", i, 0.5, epochs_run=1) for i in range(4)]
    assert ledgers.searched_less(tidy(networks + linear)) == []
    (fewer,) = ledgers.searched_less(tidy(networks + linear[:3]))
    assert fewer == "Warning: linear was searched less: 3 trials, 4 for rnn (less than 80%)."


def test_trials_that_told_nothing_do_not_count_as_searched() -> None:
    rows = [trial("rnn-0", 0, 0.5), trial("gru-0", 0, None, "failed")]
    assert [line.partition(":")[2] for line in ledgers.searched_less(tidy(rows))] == [
        " gru was searched less: 0 trials, 1 for rnn (less than 80%).",
        " gru was searched less: 0 epochs, 3 for rnn (less than 50%).",
    ]


def test_the_rule_is_stated_when_nobody_was_searched_less() -> None:
    shown = ledgers.ledger_table(SEARCH, tidy([trial("rnn-0", 0, 0.5), trial("gru-0", 0, 0.5)]))
    assert shown.notes[0] == (
        "No architecture had less than 80% of the trials or less than 50% of the epochs of the most searched one."
    )


def test_the_plan_is_compared_with_what_was_taken() -> None:
    tags = {"planned.wall_seconds": "200.0", "took.wall_seconds": "150.0", "planned.trial_seconds": "1000.0"}
    assert ledgers.predicted(SEARCH) == ledgers.predicted(replace(SEARCH, tags=tags | {"took.wall_seconds": ""})) == []
    sentence = "The plan: 200 seconds of wall time predicted, 150 taken (-25%)."
    assert ledgers.predicted(replace(SEARCH, tags=tags)) == [sentence]
    assert sentence in ledgers.ledger_table(replace(SEARCH, tags=tags), TRIALS).notes


@pytest.mark.parametrize("form", tables.TEXTS)
@pytest.mark.parametrize(
    ("rows", "title"),
    [
        ([], "has no trials yet"),
        ([trial("rnn-0", 0, 0.5)], "the compute spent on each architecture"),
        ([trial("rnn-0", 0, outcome="diverged"), trial("gru-0", 0, outcome="diverged")], "the compute spent"),
        ([{"run_id": "half-written"}, {"trial": "rnn-0", "architecture": "=rnn,|"}], "the compute spent"),
    ],
    ids=["empty", "one", "all-diverged", "half-written"],
)
def test_every_format_of_every_kind_of_search(form: str, rows: list[dict[str, Any]], title: str) -> None:
    shown = ledgers.ledger_table(SEARCH, tidy(rows))
    assert title in shown.title
    assert tables.TEXTS[form](shown)


def test_what_was_inherited_is_shown_and_is_budget() -> None:
    before = Inherited(search="old-20251231-100000", architecture="rnn", trials=8, epochs=24, seconds=80, points=[])
    spec = read.validate({"architectures": ["rnn", "gru"], "baselines": "none"}, files=False)
    warm = replace(SEARCH, load_spec=lambda: spec.model_copy(update={"inherited": [before]}))
    cold = replace(SEARCH, load_spec=lambda: spec)
    rows = tidy([trial(f"{name}-{i}", i, 0.5 + i / 10) for name in ("rnn", "gru") for i in range(2)])
    shown = ledgers.ledger_table(warm, rows)
    given = shown.frame.set_index("architecture")[["inherited_trials", "inherited_epochs", "inherited_seconds"]]
    assert given.loc["rnn"].tolist() == [8, 24, 80]
    assert given.loc["gru"].tolist() == [0, 0, 0]
    assert "inherited_trials" in shown.columns
    assert shown.notes[0] == "Inherited from old-20251231-100000: trials of rnn 8 (24 epochs, 80 s)."
    assert "gru was searched less: 2 trials, 10 for rnn" in " ".join(shown.notes)
    assert "inherited_trials" not in ledgers.ledger_table(cold, rows).columns


def test_trials_of_one_configuration_have_one_rank_by_their_mean() -> None:
    scores = {"rnn-0": 0.9, "rnn-1": 0.85, "rnn-2": 0.7}
    rows = [trial(name, 1, score) | {"search": "demo"} for name, score in scores.items()]
    rows[2] |= {"repeats": "rnn-0", "outcome": "complete"}
    board = boards.leaderboard(tidy(rows)).set_index("trial")
    assert board["rank"].to_dict() == {"rnn-1": 1, "rnn-0": 2, "rnn-2": 2}
    assert board["val_accuracy_mean"].fillna(0).tolist() == pytest.approx([0, 0.8, 0.8])
    assert boards.by_architecture(tidy(rows))["trial"].tolist() == ["rnn-1"]
    shown = boards.ranking_table(SEARCH, tidy(rows))
    assert {"val_accuracy_mean", "repeats"} <= {*shown.columns}
    assert any(note.startswith("Repeated on other seeds: 1 trial, of 1 configuration.") for note in shown.notes)
    assert "val_accuracy_mean" not in boards.ranking_table(SEARCH, tidy(rows[:2])).columns
