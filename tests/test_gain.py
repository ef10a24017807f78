"""What the best network gains over the best baseline, computed by hand."""

import math
from typing import Any

import pandas as pd
import pytest
from test_analysis_confirmation import LABELS, predicted, wrong
from test_analysis_leaderboard import SEARCH, trial

from analysis.base import baselines, tables
from analysis.base.runs import tidy
from analysis.base.table import Table
from analysis.boards import comparison, leaderboard, ledger
from analysis.figures.plot import PlotData
from analysis.figures.plots import PLOTS
from analysis.verdicts import differences, gain, importance
from analysis.verdicts.gain import Gain, Standing, _fitted
from search.base import schema
from search.spec.spec import Spec

ROWS = [
    trial("gru-0", 0.80, test_accuracy=0.90, seconds=170.0, hidden_size=8),
    trial("gru-1", 0.70, test_accuracy=0.99, seconds=99.0, hidden_size=16),
    trial("nbsvm-0", 0.60, test_accuracy=0.60, seconds=4.0, ngrams=1, C=1.0),
    trial("nbsvm-1", 0.75, test_accuracy=0.80, seconds=4.2, ngrams=2, C=1.0),
    trial("tfidf-0", 0.50, test_accuracy=0.95, seconds=1.0, ngrams=2, C=0.5),
]
WHOLE = trial("nbsvm_whole-2", 0.90, test_accuracy=0.97, seconds=10.0, ngrams=2, C=1.0)
#: Of 100 texts, which are wrong: the gru's first 10, of the nbsvm these and 10 more.
WRONG = {"gru-0": range(10), "nbsvm-1": range(20), "nbsvm_whole-2": range(3)}


def verdict(rows: list[dict[str, Any]], rank_by: str = "val_accuracy", **more: Any) -> Gain:
    predictions = {f"run-of-{name}": predicted(LABELS, wrong(*places)) for name, places in WRONG.items()}
    return gain.gain(
        differences.best_configurations(tidy(rows), rank_by), more.pop("predictions", predictions), rank_by, **more
    )


def test_a_network_that_is_shown_to_be_better() -> None:
    """10 of 100 texts make the difference: 0.1, with a normal interval of 1.96 * sqrt(0.1 * 0.9 / 100) = 0.059."""
    found = verdict(ROWS)
    assert (found.best, found.is_baseline, found.score) == ("gru-0", False, 0.8)
    assert found.against is not None
    assert (found.against.network, found.against.baseline) == ("gru-0", "nbsvm-1")  # chosen on validation
    assert found.against.difference == pytest.approx(0.1)
    assert (found.against.low, found.against.high) == pytest.approx((0.041, 0.159), abs=0.011)
    low, high = 100 * found.against.low, 100 * found.against.high
    assert str(found) == (
        "Best of all by validation accuracy is gru-0 (0.8000). gru-0 gains 10.0 points of test accuracy over the best "
        "baseline, nbsvm-1, for 40 times the training time (170 s against 4.2 s). The gain is significant on these "
        f"test texts: the 95 % interval of the gain is {low:.1f} to {high:.1f} points (two models with one seed each; "
        "other seeds can change it)."
    )


def test_a_network_that_only_whole_texts_beat() -> None:
    found = verdict([*ROWS, WHOLE])
    assert found.sentence.startswith(
        "Best of all by validation accuracy is nbsvm_whole-2, a baseline (0.9000). gru-0, the best network, loses "
        "7.0 points of test accuracy against the best baseline, nbsvm_whole-2, for 17 times the training time (170 s "
        "against 10 s). On the same words, gru-0 gains 10.0 points of test accuracy over nbsvm-1 (95 % interval "
    )
    assert "The loss is significant on these test texts: " in found.sentence
    assert found.same_words is not None
    assert found.same_words.baseline == "nbsvm-1"
    # A baseline that the network beats is the only one worth a word, whatever it reads.
    beaten = verdict([*ROWS, WHOLE | {"test_accuracy": 0.5}], predictions={})
    assert beaten.against is not None
    assert (beaten.against.baseline, beaten.same_words) == ("nbsvm_whole-2", None)


def test_words_that_are_not_the_same_are_not_called_so() -> None:
    """`max_words` by architecture, in a search without baselines on the words of those that read fewer."""
    told = {100: "On the same words,", 20: "With 20 words of a text for gru-0 and 100 for nbsvm-1,"}
    for own, words in told.items():
        spec = Spec(architectures=["gru", "ngram"], max_words={"gru": own, "ngram": 100})
        found = verdict([*ROWS, WHOLE], words_of=spec.words_of)
        assert f"(170 s against 10 s). {words} gru-0 gains 10.0 points " in found.sentence


def test_it_is_also_held_against_the_best_that_reads_as_much() -> None:
    spec = Spec(architectures=["gru", "ngram"], max_words={"gru": 20, "ngram": 100})
    same = trial("nbsvm_20-1", 0.72, test_accuracy=0.70, seconds=2.0, ngrams=2, C=1.0)
    worse = trial("tfidf_20-0", 0.71, test_accuracy=0.80, seconds=2.0, ngrams=2, C=1.0)
    found = verdict([*ROWS, WHOLE, worse, same], words_of=spec.words_of)
    assert "against the best baseline, nbsvm_whole-2" in found.sentence
    assert "On the same words, gru-0 gains 20.0 points " in found.sentence
    assert found.same_words is not None
    assert found.same_words.baseline == "nbsvm_20-1"


@pytest.mark.parametrize(
    ("difference", "low", "high", "gains", "sure", "interval"),
    [
        (0.012, 0.003, 0.021, "gains 1.2 points of test accuracy over", "The gain is significant", "0.3 to 2.1"),
        (0.004, -0.005, 0.013, "gains 0.4 points of test accuracy over", "Not sure", "-0.5 to 1.3"),
        (0.0, 0.0, 0.0, "gains 0.00 points of test accuracy over", "Not sure", "0.00 to 0.00"),
        (-0.004, -0.013, 0.005, "loses 0.4 points of test accuracy against", "Not sure", "-1.3 to 0.5"),
        (
            -0.012,
            -0.021,
            -0.003,
            "loses 1.2 points of test accuracy against",
            "The loss is significant",
            "0.3 to 2.1",
        ),
        (0.0012, 0.0003, 0.0021, "gains 0.12 points of test accuracy over", "The gain is significant", "0.03 to 0.21"),
    ],
)
def test_the_words(difference: float, low: float, high: float, gains: str, sure: str, interval: str) -> None:
    standing = Standing("gru-3", "nbsvm-2", difference, low, high, (168.0, 4.2))
    found = dict(Gain("gru-3", score=0.8, against=standing).answers)
    assert found["What won"] == "Best of all by validation accuracy is gru-3 (0.8000)."
    cost = "for 40 times the training time (168 s against 4.2 s)"
    assert found["Gain over the baseline"] == f"gru-3 {gains} the best baseline, nbsvm-2, {cost}."
    assert found["How sure"].startswith(sure)
    what = "loss" if sure.startswith("The loss") else "gain"
    assert f": the 95 % interval of the {what} is {interval} points (" in found["How sure"].replace("; the", ": the")


@pytest.mark.parametrize(
    ("more", "command"),
    [
        ({"outcome": "interrupted"}, "python -m search resume demo ("),
        ({"best": ""}, "python -m analysis leaderboard demo ("),
        ({}, "python -m search confirm demo ("),
        (
            {"fresh": True, "against": Standing("a", "b", 0.0, -0.1, 0.1)},
            "python -m search confirm demo --until-decided (",
        ),
        ({"fresh": True, "against": Standing("a", "b", 0.2, 0.1, 0.3)}, "python -m search export demo ("),
        (
            {"fresh": True, "is_baseline": True, "architecture": "nbsvm"},
            "python -m search export demo --architecture nbsvm (",
        ),
    ],
)
def test_what_to_run_next(more: dict[str, Any], command: str) -> None:
    found = Gain(**{"best": "gru-3", "score": 0.8, "search": "demo"} | more)
    assert found.answers[-1][1].startswith(command)


@pytest.mark.parametrize(
    ("own", "others", "cost"),
    [
        (5.0, 10.0, "for 50% of the training time (5 s against 10 s)"),
        (3.0, 2.0, "for 1.5 times the training time (3 s against 2 s)"),
        (2400.0, 2.0, "for 1,200 times the training time (2,400 s against 2 s)"),
        (0.0, 2.0, "for an unknown training time"),
        (math.nan, 2.0, "for an unknown training time"),
    ],
)
def test_the_cost(own: float, others: float, cost: str) -> None:
    standing = Standing("gru-3", "nbsvm-2", 0.1, 0.05, 0.15, (own, others))
    assert dict(Gain("gru-3", score=0.8, against=standing).answers)["Gain over the baseline"].endswith(f", {cost}.")


def test_a_baseline_that_has_not_learned_from_all_texts() -> None:
    metrics = {schema.NUM_FITTED: 400_000.0, schema.NUM_TRAIN: 2_880_000.0}
    assert _fitted(["majority"], metrics) == _fitted(["nbsvm"], {schema.NUM_TRAIN: 100.0}) == ""
    told = _fitted(["nbsvm_whole", "nbsvm"], metrics)
    assert told == "nbsvm_whole and nbsvm were fitted on 400,000 of 2,880,000 texts"
    found = Gain("gru-1", fitted=_fitted(["nbsvm"], metrics), against=Standing("gru-1", "nbsvm-0", 0.1))
    assert "nbsvm was fitted on 400,000 of 2,880,000 texts." in found.sentence


def test_over_fresh_seeds() -> None:
    """The network is the configuration with the best mean; its models are told of together."""
    again = [
        trial(f"gru-{seed}", score, test_accuracy=test, seconds=100.0, configuration="gru-7", seed=seed)
        for seed, score, test in ((1, 0.8, 0.9), (2, 0.9, 0.8))
    ]
    predictions = {
        "run-of-gru-1": predicted(LABELS, wrong(*range(10))),
        "run-of-gru-2": predicted(LABELS, wrong(*range(20))),
        "run-of-nbsvm-1": predicted(LABELS, wrong(*range(50))),
    }
    found = verdict([*again, ROWS[3] | {"test_accuracy": 0.5}], predictions=predictions, fresh=True)
    assert found.sentence.startswith(
        "Best of all by validation accuracy, mean of 2 fresh seeds, is gru-7 (0.8500). gru-7 gains 35.0 points "
    )
    assert found.sentence.endswith(" points (2 fresh seeds of gru-7, 1 of nbsvm-1).")


def test_what_can_be_said_of_less() -> None:
    assert verdict([]).sentence == verdict([trial("gru-0", 0.5, "pruned")]).sentence == ""
    assert verdict(ROWS[:2]).sentence == (
        "Best of all by validation accuracy is gru-0 (0.8000). Unknown: no baseline is complete. One model with one "
        "seed: small differences can be luck."
    )
    lonely = verdict([trial("gru-0", 0.9, "pruned"), *ROWS[2:]])
    assert (
        "Best of all by validation accuracy is nbsvm-1, a baseline (0.7500). Unknown: no network is complete."
        in lonely.sentence
    )
    assert verdict(ROWS, predictions={}).sentence.endswith(" Unknown: the predictions were not kept.")
    untested = verdict([each | {"test_accuracy": None} for each in ROWS])
    assert "Unknown for gru-0 and nbsvm-1: no test accuracy is on record." in untested.sentence
    other = {"run-of-gru-0": predicted("ab", "ab"), "run-of-nbsvm-1": predicted(LABELS, LABELS)}
    assert (
        "Unknown for gru-0 and nbsvm-1: gru-0 of nan and nbsvm-1 of nan were not tested on the same"
        in verdict(ROWS, predictions=other).sentence
    )


def test_chosen_by_another_metric_it_is_still_told_in_points_of_accuracy() -> None:
    rows = [each | {"val_f1": 1 - each["val_accuracy"]} for each in ROWS]
    found = verdict(rows, "val_f1", predictions={})
    assert (found.best, found.is_baseline) == ("tfidf-0", True)
    assert (
        "Best of all by validation F1 is tfidf-0, a baseline (0.5000). gru-1, the best network, gains 4.0 points of "
        "test accuracy over " in found.sentence
    )


# --- In the tables and figures


TRIALS = tidy(ROWS)


def test_baselines_are_ranked_with_the_others_and_marked() -> None:
    board = leaderboard.leaderboard(TRIALS)
    assert board[["rank", "trial", "role"]].to_numpy().tolist() == [
        [1, "gru-0", "searched"],
        [2, "nbsvm-1", "baseline"],
        [3, "gru-1", "searched"],
        [4, "nbsvm-0", "baseline"],
        [5, "tfidf-0", "baseline"],
    ]
    table = leaderboard.ranking_table(SEARCH, TRIALS)
    assert "role" in table.columns
    assert "hidden_size" in table.columns
    assert {"ngrams", "C"}.isdisjoint(table.columns)
    assert {"ngrams", "C"} <= set(table.frame.columns)
    assert (
        "Baselines are for comparison, not searched; the best of each: nbsvm-1 (ngrams 2, C 1), tfidf-0 (ngrams 2, C "
        "0.5)." in table.notes
    )
    alone = leaderboard.notes(SEARCH, tidy([*ROWS[:2], trial("majority-0", 0.5)]), "val_accuracy")
    assert "The baseline is for comparison, not searched; its best: majority-0." in alone
    for form in tables.TEXTS:
        assert "baseline" in tables.TEXTS[form](table)


def test_a_grid_of_a_baseline_does_not_hide_what_was_searched() -> None:
    table = leaderboard.ranking_table(SEARCH, TRIALS, top=3, every=False)
    assert table.frame[["rank", "trial"]].to_numpy().tolist() == [[1, "gru-0"], [2, "nbsvm-1"], [3, "gru-1"]]
    assert table.title.endswith(": the first 3 of 5 trials by val_accuracy, only the best of each baseline")
    assert leaderboard.ranking_table(SEARCH, TRIALS, every=False).frame["trial"].iloc[-1] == "tfidf-0"
    alone = leaderboard.ranking_table(SEARCH, TRIALS[TRIALS["architecture"] == "gru"], top=1, every=False)
    assert alone.title.endswith(": the first 1 of 2 trials by val_accuracy")


def test_a_search_without_baselines_has_no_such_column_for_readers() -> None:
    for table in every_table(tidy(ROWS[:2])):
        assert not any("role" in name for name in table.columns)
        assert not any("baseline" in note for note in table.notes)


def every_table(trials: pd.DataFrame) -> list[Table]:
    return [
        leaderboard.ranking_table(SEARCH, trials),
        leaderboard.architecture_table(SEARCH, trials),
        ledger.ledger_table(SEARCH, trials),
        comparison.compare_table([SEARCH], trials.assign(search=SEARCH.id)),
    ]


def test_each_table_of_architectures_marks_baselines() -> None:
    for table in every_table(TRIALS)[1:]:
        kinds = dict(zip(table.frame["architecture"], table.frame["role"], strict=True))
        assert kinds == {"gru": "searched", "nbsvm": "baseline", "tfidf": "baseline"}
        assert "role" in table.columns


def test_what_is_told_of_what_was_searched_leaves_baselines_out() -> None:
    assert ledger.searched_less(TRIALS) == []
    (pivot,) = comparison.pivot_tables([SEARCH], TRIALS, "architecture", values=["test_accuracy"], long=True)
    assert pivot.frame["architecture"].tolist() == ["gru"]
    assert "Also left out: 3 trials of baselines." in pivot.notes
    mattered = importance.importance_tables(SEARCH, TRIALS, None, None)  # type: ignore[arg-type]
    assert set(mattered[0].frame["architecture"]) == {"gru"}
    assert baselines.searched(TRIALS)["trial"].tolist() == ["gru-0", "gru-1"]


def test_figures_show_the_best_baseline_as_a_line_or_nothing() -> None:
    """By validation that is nbsvm-1, though another one scored more on test."""
    ended = [each | {"end": 1_767_261_600_000, "epochs_run": 3} for each in ROWS]
    same = {"hidden_size": 8, "outcome": "complete"}
    trials = tidy(each | (same if each["architecture"] == "gru" else {}) for each in ended)
    series = pd.DataFrame({"run_id": trials["run_id"], "metric": "val_accuracy", "step": 1, "value": 0.5})
    found = PlotData(baselines.searched(trials), series, baselines=baselines.baselines(trials))
    assert found.everything["trial"].tolist() == [each["trial"] for each in ROWS]
    for name, plot in PLOTS.items():
        frame = plot.data(found)
        if name in ("best_so_far", "score_against_cost", "spread_over_seeds"):
            assert set(baselines.baselines(frame)["trial"]) == {"nbsvm-1"}
            assert baselines.searched(frame)["trial"].tolist()
            assert set(baselines.baselines(frame)["role"]) == {"baseline"}
            assert plot.render(found)["png"]
        elif "architecture" in frame:
            assert set(frame["architecture"]) <= {"gru"}


def test_differences_take_baselines_in_and_mark_them() -> None:
    trials = tidy(each | {"search": SEARCH.id} for each in ROWS[:4])
    best = differences.best_configurations(trials)
    predictions = {f"run-of-{name}": predicted(LABELS, wrong(*WRONG[name])) for name in ("gru-0", "nbsvm-1")}
    matrix, pairs, models = differences.difference_tables(SEARCH, trials, best, predictions)
    assert matrix.frame.to_numpy().tolist() == [
        ["gru", "searched", "", "one seed"],  # a baseline needs no more than one
        ["nbsvm", "baseline", "one seed", ""],
    ]
    assert pairs.frame[["first", "second", "first_role", "second_role"]].to_numpy().tolist() == [
        ["gru", "nbsvm", "searched", "baseline"]
    ]
    assert {"first_role", "second_role"} <= set(pairs.columns)
    assert models.frame["role"].tolist() == ["searched", "baseline"]
