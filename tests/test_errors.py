"""Which classes models confuse: by hand, in tables, in a figure, in the first sentence; and with the texts."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics

from analysis.base.runs import Search, tidy
from analysis.base.table import beginning
from analysis.boards import leaderboard
from analysis.explain import errors
from analysis.figures.confusion import PLOT
from analysis.figures.plot import PlotData
from analysis.verdicts import confusion_tables, gain
from analysis.verdicts.confusion import Confusion
from analysis.verdicts.set_confusion import SetConfusion
from data.base.errors import UserError
from tests.conftest import FinishedSearch, command


def predictions(labels: list[str], said: list[str], sure: float = 0.8) -> pd.DataFrame:
    classes = sorted({*labels, *said})
    frame = pd.DataFrame({"label": labels, "predicted": said})
    for name in classes:
        rest = (1 - sure) / max(1, len(classes) - 1)
        frame[f"probability of {name}"] = [sure if each == name else rest for each in said]
    return frame


def confused(labels: str, said: str) -> Confusion:
    found = Confusion.of(predictions([*labels], [*said]))
    assert found is not None
    return found


THREE = confused("aaaabbc", "aabcbba")


def test_by_class_and_by_pair_by_hand() -> None:
    assert THREE.classes == ("a", "b", "c")
    assert THREE.matrix.tolist() == [[2, 1, 1], [0, 2, 0], [1, 0, 0]]
    frame = THREE.by_class.set_index("class")
    assert frame["precision"].tolist() == pytest.approx([2 / 3, 2 / 3, 0])
    assert frame["recall"].tolist() == pytest.approx([2 / 4, 1, 0])
    assert frame["f1"].tolist() == pytest.approx([4 / 7, 4 / 5, 0])
    assert frame["support"].tolist() == [4, 2, 1]
    theirs = sklearn.metrics.precision_recall_fscore_support([*"aaaabbc"], [*"aabcbba"])
    assert frame[["precision", "recall", "f1", "support"]].to_numpy() == pytest.approx(np.array(theirs).T)
    assert sorted(THREE.pairs.itertuples(index=False, name=None)) == [
        ("a", "b", 1, 1 / 4),
        ("a", "c", 1, 1 / 4),
        ("c", "a", 1, 1),
    ]
    assert confused("aabbb", "babaa").pairs["texts"].tolist() == [2, 1]


def test_what_is_not_one_class_a_text_is_none() -> None:
    several = predictions(["a;b", "a"], ["a", "b"]).drop(columns="probability of a;b")
    images = pd.DataFrame({"label": ["7 - - 3"], "predicted": ["7 - - -"]})
    for nothing in (None, pd.DataFrame(), several, images):
        assert Confusion.of(nothing) is None
    assert confusion_tables.read({"gru-0": None, "mlp-1": predictions(["a", "b"], ["a", "a"])}).keys() == {"mlp-1"}


def test_a_model_that_says_one_class_is_called_that() -> None:
    assert confusion_tables.one_class(THREE) == ""
    assert (
        confusion_tables.one_class(confused("nnnf", "nnnn"))
        == "predicts 'n' for every test text, which is right for 75.0% of them"
    )
    (table,) = confusion_tables.class_tables({"gru-0": confused("nnnf", "nnnn")})
    assert "gru-0 does not distinguish the classes: it predicts 'n' for every test text" in table.notes[-1]

    trials = tidy(
        [
            {"trial": "gru-0", "architecture": "gru", "number": 0, "outcome": "complete", "run_id": "g", "search": "s"}
            | {"val_accuracy": 0.75, "test_accuracy": 0.75}
        ]
    )
    said = gain.gain({"gru": trials}, {"g": predictions([*"nnnf"], [*"nnnn"])}).sentence
    assert (
        "It does not distinguish the classes: it predicts 'n' for every test text, which is right for 75.0% of them."
        in said
    )
    assert "apart" not in gain.gain({"gru": trials}, {"g": predictions([*"nnnf"], [*"nnff"])}).sentence


def test_the_figure_is_drawn_and_leaves_out_what_it_has_no_room_for() -> None:
    trials = tidy([{"trial": "gru-0", "architecture": "gru", "outcome": "complete", "run_id": "g"}])
    files = PLOT.render(PlotData(trials, confusions={"gru-0": THREE}))
    rows = list(csv.DictReader(files["csv"].decode().splitlines()))
    assert [(row["label"], row["predicted"], row["texts"]) for row in rows[:3]] == [
        ("a", "a", "2"),
        ("a", "b", "1"),
        ("a", "c", "1"),
    ]
    assert files["png"].startswith(b"\x89PNG")
    names = [f"class {number}" for number in range(21)]
    many = Confusion.of(predictions(names, names[1:] + names[:1]))
    assert many is not None
    assert PLOT.render(PlotData(trials, confusions={"gru-0": many})) == {}
    (table,) = confusion_tables.class_tables({"gru-0": many})
    assert len(table.frame) == confusion_tables.MOST_CLASSES
    assert len(confusion_tables.pair_table({"gru-0": many}).frame) == confusion_tables.NUM_PAIRS
    assert len(confusion_tables.class_tables({"gru-0": many}, long=True)[0].frame) == 21


def test_the_texts_come_one_line_each_the_surest_first() -> None:
    found = Confusion.of(
        pd.DataFrame(
            {
                "label": ["a", "a", "b", "b"],
                "predicted": ["b", "b", "b", "a"],
                "probability of a": [0.4, 0.1, 0.2, 0.7],
                "probability of b": [0.6, 0.9, 0.8, 0.3],
            }
        )
    )
    assert found is not None
    texts = ["two\nlines", "long " * 40, "right", "last\x07"]
    frame = errors.wrong({"gru-0": found}, texts)
    assert frame["row"].tolist() == [1, 3, 0]
    assert frame["confidence"].tolist() == [0.9, 0.7, 0.6]
    (pairs,) = errors.pair_tables({"gru-0": found}, frame)
    assert pairs.frame[["label", "predicted", "texts", "row"]].to_numpy().tolist() == [
        ["a", "b", 2, 1],
        ["a", "b", 2, 0],
        ["b", "a", 1, 3],
    ]
    assert pairs.frame["beginning"][1] == "two lines"
    assert len(pairs.frame["beginning"][0]) == errors.WIDTH
    (long,) = errors.text_tables({"gru-0": found}, frame, long=True)
    assert long.frame["text"].tolist() == [texts[1], texts[3], texts[0]]


# --- Texts of several classes


def sets(labels: list[str], said: list[str], sure: float = 0.8) -> pd.DataFrame:
    """Every class that is said has this probability, every other one 1 less that."""
    frame = pd.DataFrame({"label": labels, "predicted": said})
    for name in sorted({name for each in [*labels, *said] for name in each.split(";") if name}):
        frame[f"probability of {name}"] = [sure if name in each.split(";") else 1 - sure for each in said]
    return frame


SETS = sets(["a;b", "a", "", "b", "c", "a;c"], ["a;c", "a", "a", "", "b", "a;c"])


def of_sets(frame: pd.DataFrame) -> SetConfusion:
    found = SetConfusion.of(frame, ";")
    assert found is not None
    return found


def test_missed_and_added_classes_by_hand() -> None:
    found = of_sets(SETS)
    frame = found.by_class.set_index("class")
    assert frame[["support", "predicted", "missed", "added"]].to_numpy().tolist() == [
        [3, 4, 0, 1],
        [2, 1, 2, 1],
        [2, 2, 1, 1],
    ]
    assert frame[["precision", "recall", "f1"]].loc["c"].tolist() == [0.5, 0.5, 0.5]
    chosen = [[[name in each.split(";") for name in "abc"] for each in SETS[of]] for of in ("label", "predicted")]
    theirs = sklearn.metrics.precision_recall_fscore_support(*chosen, zero_division=0)
    assert frame[["precision", "recall", "f1", "support"]].to_numpy() == pytest.approx(np.array(theirs).T)
    assert [*found.mistakes.itertuples(index=False, name=None)] == [
        ("b", "missed", 2, 1),
        ("c", "missed", 1, 0.5),
        ("a", "added", 1, 0.25),
        ("b", "added", 1, 1),
        ("c", "added", 1, 0.5),
    ]
    # in the third and the fourth text nothing is said in place of anything
    assert [*found.pairs.itertuples(index=False, name=None)] == [("b", "c", 1, 0.5), ("c", "b", 1, 0.5)]
    assert found.swaps.to_numpy().tolist() == [[0, "b", "c"], [4, "c", "b"]]


def test_classes_of_which_none_is_said_in_place_of_another() -> None:
    frame = sets(["a;b", "a", ""], ["a", "a", "b"])
    found = of_sets(frame)
    assert found.pairs.empty
    assert found.swaps.empty
    (pairs,) = errors.pair_tables({"gru-0": found}, frame.assign(model="gru-0", row=range(3), text="some text"))
    assert pairs.frame.empty


def test_of_many_classes_the_most_probable_are_kept_and_a_missed_one_is_less_so() -> None:
    frame = pd.DataFrame(
        {
            "label": ["v10;v2", ""],
            "predicted": ["v2", "v3"],
            "top 1": ["v2", "v3"],
            "probability 1": [0.9, 0.7],
            "top 2": ["v1", "v2"],
            "probability 2": [0.3, 0.1],
        }
    )
    found = of_sets(frame)
    assert found.classes == ("v1", "v2", "v3", "v10")
    assert found.confidence_N == pytest.approx([0.7, 0.7])  # v10 is at most as probable as v1
    assert SetConfusion.of(frame.assign(label=["v2", "x"]).drop(columns=["top 1", "top 2"]), ";") is None


def test_texts_of_several_classes_come_with_their_mistakes() -> None:
    confusions = confusion_tables.read({"gru-0": SETS}, ";")
    texts = [f"text {number}" for number in range(6)]
    frame = errors.wrong(confusions, texts)
    assert frame["row"].tolist() == [0, 2, 3, 4]
    assert frame["predicted"].tolist() == ["a;c", "a", "", "b"]
    (pairs,) = errors.pair_tables(confusions, frame)
    assert pairs.frame[["label", "predicted", "texts", "beginning"]].to_numpy().tolist() == [
        ["b", "c", 1, "text 0"],
        ["c", "b", 1, "text 4"],
    ]
    (mistakes,) = errors.mistake_tables(confusions, frame)
    assert mistakes.frame["beginning"].tolist() == ["text 0", "text 3", "text 4", "text 2", "text 4", "text 0"]
    assert errors.mistake_tables({"gru-0": THREE}, frame) == []
    (shown,) = errors.text_tables(confusions, frame)
    assert shown.title == "gru-0: 4 of 6 test texts are wrong"
    (classes,) = confusion_tables.class_tables(confusions)
    assert "false positives" in classes.notes[0]
    (long,) = confusion_tables.class_tables(confusions, long=True)
    assert next(iter(long.frame)) == "model"
    assert "missed" in long.frame
    assert len(confusion_tables.mistake_tables(confusions)[0].frame) == 5
    assert confusion_tables.mistake_tables({"gru-0": THREE}) == []
    silent = sets(["a", "", "b", ""], ["", "", "", ""])
    assert (
        confusion_tables.same_of_all(silent)
        == "predicts no class for every test text, which is right for 50.0% of them"
    )
    assert confusion_tables.same_of_all(None) == ""

    trials = tidy([{"trial": "gru-0", "architecture": "gru", "outcome": "complete", "run_id": "g"}])
    files = PLOT.render(PlotData(trials, confusions=confusions))
    assert files["csv"].decode().splitlines()[:2] == ["model,class,found,missed,added", "gru-0,b,0,2,1"]
    assert files["png"].startswith(b"\x89PNG")


def test_a_line_of_a_text_is_as_wide_as_a_terminal_has_room_for() -> None:
    assert beginning("two\nlines", 70) == "two lines"
    assert beginning("很" * 40, 70) == "很" * 35 + "…"
    assert beginning("a" + "很" * 40, 70) == "a" + "很" * 34 + "…"


def test_the_majority_stands_below_the_tables() -> None:
    def search(name: str, **tags: str) -> Search:
        start = pd.Timestamp("2026-01-01", tz="UTC").to_pydatetime()
        return Search(name, "r", "0", start, "val_accuracy", "complete", tags, {"majority_share": 0.97})

    spam = search("a-1", majority="ham", positive_class="spam")
    (note,) = leaderboard.notes_on_classes([spam, spam])
    assert note == (
        "Majority class: 97.0% of the test texts are 'ham', which is the accuracy of always predicting it. F1, ROC AUC "
        "and average precision are for 'spam', the positive class."
    )
    notes = list(leaderboard.notes_on_classes([spam, search("b-1", majority="x"), search("old-1")]))
    assert [note.partition(":")[0] for note in notes] == ["a-1", "b-1"]


def test_a_search_knows_its_majority_and_its_errors(smoke_search: FinishedSearch) -> None:
    done = command("analysis", "errors", "smoke", "--out", "errors.csv", cwd=smoke_search.cwd)
    assert done.returncode == 0, done.stderr
    frame = pd.read_csv(smoke_search.cwd / "errors.csv")
    assert set(frame["predicted"]) <= {"negative", "positive"}
    assert (frame["label"] != frame["predicted"]).all()
    assert frame["model"].nunique() == len(smoke_search.spec.architectures)
    shown = command("analysis", "errors", "smoke", "--architecture", "gru", cwd=smoke_search.cwd).stdout
    assert "Classes on test, by gru-" in shown
    assert "test texts are wrong; the 10 most confident errors" in shown
    board = command("analysis", "leaderboard", "smoke", cwd=smoke_search.cwd).stdout
    assert "Majority class: 5" in board
    assert "'positive', the positive class" in " ".join(board.split())
    page = Path(smoke_search.folder, "report", "index.html").read_text(encoding="utf-8")
    assert 'id="confusion"' in page
    assert "The most confused classes on test" in page


def test_what_has_no_predictions_is_a_line(smoke_search: FinishedSearch) -> None:
    with pytest.raises(UserError, match="no trial of the search has ended with a model yet"):
        errors.confusions(smoke_search.uri, [])
    done = command("analysis", "errors", "smoke", "--architecture", "grv", cwd=smoke_search.cwd)
    assert (done.returncode, done.stderr.strip()) == (2, "error: unknown architecture 'grv' (did you mean 'gru'?)")
