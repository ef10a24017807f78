"""What mattered is found, what did not is not claimed, and edges are those of the spec."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from analysis.base import tables
from analysis.base.runs import Search, tidy
from analysis.verdicts import importance as importances
from analysis.verdicts import ranges
from search.spec.space import Choice, Range, parse
from search.spec.spec import Spec

SEARCH = Search("demo-20260101-100000", "run", "1", datetime(2026, 1, 1, tzinfo=UTC), "val_accuracy", None, {})
SPEC = Spec(
    sampler="random",
    space={
        "hidden_size": {"low": 64, "high": 128, "step": 8},
        "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
        "activation": ["none", "relu", "tanh"],
        "num_layers": {"rnn": {"low": 1, "high": 2}, "mlp": {"low": 2, "high": 5}},
        "batch_size": 32,
    },
)
SPACES = SPEC.spaces


@pytest.fixture(autouse=True)
def _fewer_shuffles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importances, "NUM_SHUFFLES", 99)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def trial(name: str, score: float | None = None, outcome: str = "complete", **more: Any) -> dict[str, Any]:
    architecture, _, number = name.rpartition("-")
    common = {"trial": name, "architecture": architecture, "number": number, "run_id": name, "num_parameters": 1}
    return common | {"outcome": outcome, "val_accuracy": score} | more


def searched(num_trials: int, matters: str = "learning_rate") -> pd.DataFrame:
    """Trials whose score is decided by one hyperparameter, and by luck."""
    draw, rows = np.random.default_rng(1), []
    for number in range(num_trials):
        values: dict[str, Any] = {
            "hidden_size": int(draw.choice(range(64, 129, 8))),
            "learning_rate": float(10 ** draw.uniform(-4, -2)),
            "activation": str(draw.choice(["none", "relu", "tanh"])),
            "batch_size": 32,
        }
        score = {
            "learning_rate": 0.8 - 0.1 * (np.log10(values["learning_rate"]) + 2.5) ** 2,
            "activation": 0.8 if values["activation"] == "relu" else 0.7,
            "luck": 0.7,
        }[matters]
        rows.append(trial(f"rnn-{number}", score + draw.normal(0, 0.005), **values))
    return tidy(rows)


# --- Importance


@pytest.mark.parametrize("matters", ["learning_rate", "activation"])
def test_the_one_that_decides_is_shown_to_matter(matters: str) -> None:
    found = importances.importance(searched(40, matters), ranges.distributions(SPACES, "rnn"), rng())
    assert found["hyperparameter"][0] == matters
    assert found["importance"][0] > 0.5
    assert found["importance"].sum() == pytest.approx(1)
    assert list(found[found["p"] < importances.ALPHA]["hyperparameter"]) == [matters]


def test_luck_is_not_shown_to_matter() -> None:
    found = importances.importance(searched(40, "luck"), ranges.distributions(SPACES, "rnn"), rng())
    assert found["importance"].sum() == pytest.approx(1)  # which is why there is a p
    assert (found["p"] > importances.ALPHA).all()


def test_no_importance_from_few_trials() -> None:
    space = ranges.distributions(SPACES, "rnn")
    assert importances.importance(searched(importances.MIN_TRIALS - 1), space, rng()).empty
    assert len(importances.importance(searched(importances.MIN_TRIALS), space, rng())) == 3


def test_pruned_and_diverged_trials_count_and_failed_ones_do_not() -> None:
    trials = searched(30)
    high = trials["learning_rate"] > 5e-3
    ended = trials.assign(outcome=np.where(high, "diverged", "pruned"), val_accuracy=0.7).assign(
        val_accuracy=lambda frame: frame["val_accuracy"].where(~high)
    )
    ended.loc[ended["learning_rate"] < 5e-4, "val_accuracy"] = 0.9
    found = importances.importance(ended, ranges.distributions(SPACES, "rnn"), rng())
    assert found["hyperparameter"][0] == "learning_rate"
    failed = ended.assign(outcome=ended["outcome"].mask(ended.index > 10, "failed"))
    assert importances.importance(failed, {}, rng()).empty


@pytest.mark.parametrize("outcome", ["diverged", "complete"])
def test_nothing_can_be_told_where_most_are_equally_bad(outcome: str) -> None:
    trials = searched(30).assign(outcome=outcome, val_accuracy=0.5)
    assert importances.importance(trials, {}, rng()).empty
    shown = importances.importance_tables(SEARCH, trials, SPEC, rng())
    assert shown[0].notes[0].startswith("rnn: 30 trials with a result, most of them equally bad")


def test_without_a_spec_the_values_make_the_ranges() -> None:
    trials = searched(30)
    trials["clip"] = pd.Series([None, 1.0, "x"] * 10, dtype=object)
    for space in ({}, {"hidden_size": IntDistribution(1, 2), "activation": CategoricalDistribution([1, 2])}):
        found = importances.importance(trials, space, rng())
        assert set(found["hyperparameter"]) == {"hidden_size", "learning_rate", "activation", "clip"}


def test_the_shuffles_are_those_of_the_rng_given() -> None:
    first, again = (importances.importance(searched(30), {}, rng()) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)


# --- The space


def test_the_spec_of_each_architecture() -> None:
    rnn, mlp = (ranges.distributions(SPACES, name) for name in ("rnn", "mlp"))
    assert rnn["hidden_size"] == IntDistribution(64, 128, step=8)
    assert rnn["learning_rate"] == FloatDistribution(1e-4, 1e-2, log=True)
    assert rnn["activation"] == CategoricalDistribution(["none", "relu", "tanh"])
    assert (rnn["num_layers"], mlp["num_layers"]) == (IntDistribution(1, 2), IntDistribution(2, 5))
    assert "batch_size" not in rnn  # it is fixed
    assert "num_layers" not in ranges.distributions(SPACES, "gru")
    assert ranges.distributions(None, "rnn") == {}


def test_a_range_ends_at_its_last_step() -> None:
    assert Range(64, 100, 8).distribution().high == 96


@pytest.mark.parametrize(
    ("value", "written", "bound"),
    [
        (128, {"low": 64, "high": 128, "step": 8}, 128),
        (64, {"low": 64, "high": 128, "step": 8}, 64),
        (72, {"low": 64, "high": 128, "step": 8}, None),
        (0.0097, {"low": 1e-4, "high": 1e-2, "log": True}, 1e-2),
        (0.0005, {"low": 1e-4, "high": 1e-2, "log": True}, None),
        (0.0005, {"low": 1e-4, "high": 1e-2}, 1e-4),
        (1, {"low": 1, "high": 2}, None),
        (0.5, {"low": 0.5, "high": 0.5}, None),
        (5, {"low": 2, "high": 5}, 5),
        (8, [8, 16, 32], 8),
        (16, [8, 16, 32], None),
        (8, [8, 16], None),
        ("none", ["none", "relu", "tanh"], None),
        (1.0, [None, 1.0, 2.0], None),
    ],
)
def test_what_is_at_the_edge(value: Any, written: Any, bound: float | None) -> None:
    values = parse("it", written)
    assert isinstance(values, Range | Choice)
    assert ranges.bound_near(value, values.distribution()) == bound


def test_the_edge_is_flagged_by_the_best_trial() -> None:
    rows = [
        trial("mlp-0", 0.9, hidden_size=128, num_layers=3, learning_rate=1.05e-4),
        trial("mlp-1", 0.8, hidden_size=64, num_layers=5, learning_rate=1e-3),
    ]
    (first, *_) = importances.importance_tables(SEARCH, tidy(rows), SPEC, rng())
    assert first.frame["bound"].tolist() == pytest.approx([128, np.nan, 1e-4], nan_ok=True)
    assert "mlp, hidden_size: the best is at the bound 128." in first.notes
    assert "mlp, learning_rate: the best (0.000105) is near the bound 0.0001." in first.notes
    assert not any("num_layers" in note for note in first.notes)
    (without, *_) = importances.importance_tables(SEARCH, tidy(rows), None, rng())
    assert without.frame["bound"].isna().all()
    assert without.notes[-1].startswith("Whether a best value is at a bound is unknown")


# --- Effects


def test_effects_by_value_with_the_trials_behind_them() -> None:
    rows = [
        trial("rnn-0", 0.6, activation="relu", clip=None),
        trial("rnn-1", 0.8, activation="relu", clip=1.0),
        trial("rnn-2", 0.9, "pruned", activation="relu", clip=1.0),
        trial("rnn-3", None, "diverged", activation="none", clip=1.0),
    ]
    table = importances.effects(tidy(rows))
    assert table[["hyperparameter", "value", "trials", "complete"]].to_numpy().tolist() == [
        ["activation", "none", 1, 0],
        ["activation", "relu", 3, 2],
        ["clip", None, 1, 1],
        ["clip", 1.0, 3, 1],
    ]
    assert table["val_accuracy_mean"].tolist() == pytest.approx([np.nan, 0.7, 0.6, 0.8], nan_ok=True)
    assert table["val_accuracy_sd"][1] == pytest.approx(0.02**0.5)


def test_many_values_are_in_bins_of_as_many_trials() -> None:
    rows = [trial(f"rnn-{i}", i / 10, dropout=i / 100, hidden_size=8 * (i + 1)) for i in range(8)]
    table = importances.effects(tidy(rows)).set_index("hyperparameter")
    assert table.loc["hidden_size", "value"].tolist() == ["8 to 16", "24 to 32", "40 to 48", "56 to 64"]
    assert table["trials"].tolist() == [2] * 8
    assert table.loc["dropout", "val_accuracy_mean"].tolist() == pytest.approx([0.05, 0.25, 0.45, 0.65])


# --- As tables


def test_too_few_trials_are_a_sentence() -> None:
    first, effects = importances.importance_tables(SEARCH, searched(8), SPEC, rng())
    assert "rnn: 8 trials with a result, too few to estimate importance (20 are needed)." in first.notes
    assert "importance" not in first.columns
    assert effects.title == f"{SEARCH.id}: validation accuracy by hyperparameter of rnn"


def test_what_matters_is_said_and_a_program_gets_it_all_in_one_frame() -> None:
    trials = searched(40)
    first, _ = importances.importance_tables(SEARCH, trials, SPEC, rng())
    assert first.notes[0] == "rnn: shown to matter from 40 trials with a result: learning_rate."
    assert first.columns == ["architecture", "hyperparameter", "importance", "p", "best", "bound"]
    (long,) = importances.importance_tables(SEARCH, trials, SPEC, rng(), long=True)
    assert {"value", "trials", "val_accuracy_mean", "importance", "p", "best", "bound"} <= set(long.columns)
    assert len(long.frame.drop_duplicates("hyperparameter")) == len(first.frame) == 3


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (SPEC.model_copy(update={"sampler": "tpe"}), "Nothing is shown to matter: the sampler tpe chose"),
        (None, "Nothing is shown to matter: how the search chose hyperparameters is unknown"),
    ],
    ids=["adaptive", "unknown"],
)
def test_trials_chosen_by_earlier_scores_describe_and_show_nothing(spec: Spec | None, why: str) -> None:
    first, _ = importances.importance_tables(SEARCH, searched(40), spec, rng())
    assert first.frame["importance"].notna().all()
    assert "p" not in first.columns
    assert first.notes[0].startswith("rnn: the best of 40 trials with a result differ most in learning_rate, ")
    assert any(note.startswith(why) for note in first.notes)
    assert not any("shown to matter from" in note for note in first.notes)


@pytest.mark.parametrize("form", tables.TEXTS)
@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "has no trials yet"),
        ([trial("rnn-0", 0.5, hidden_size=8)], "rnn: no hyperparameter had more than one value."),
        ([trial(f"rnn-{i}", None, "diverged", hidden_size=i) for i in range(25)], "most of them equally bad"),
        ([trial(f"rnn-{i}", None, "failed", hidden_size=i) for i in range(25)], "0 trials with a result, too few"),
        ([trial(f"rnn-{i}", i / 9, label=f'=x,"{i}"|') for i in range(3)] + [{"run_id": "half"}], "too few"),
        ([trial("rnn-0", 0.5, h=None), trial("rnn-1", 0.6, h=1.5), trial("gru-0", 0.6, h="a")], "too few"),
    ],
    ids=["empty", "one", "all-diverged", "all-failed", "nasty", "mixed"],
)
def test_every_format_of_every_kind_of_search(form: str, rows: list[dict[str, Any]], sentence: str) -> None:
    for long in (False, True):
        shown = importances.importance_tables(SEARCH, tidy(rows), SPEC, rng(), long=long)
        assert all(tables.TEXTS[form](table) for table in shown)
        assert any(sentence in line for line in [shown[0].title, *shown[0].notes])
