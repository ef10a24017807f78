"""What the figures draw, computed by hand; and that each of them draws, or is left out, whatever is on record."""

import csv
import dataclasses
import io
import itertools
import math
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from test_budget import rising, search_of, trials_of

from analysis.base import runs
from analysis.base.table import Table
from analysis.figures import gradient_norms, learning_curves, pruning, style
from analysis.figures.fronts import attainment
from analysis.figures.plot import PlotData
from analysis.figures.plots import PLOTS
from analysis.verdicts import data_size, importance, why
from analysis.verdicts.budget import budget
from analysis.verdicts.confusion import Confusion
from analysis.verdicts.variance import variances
from data.inspecting.findings import ClassCount, Cut, Inspection, Lengths
from search.base.schema import Outcome
from search.spec.space import Choice, Range, Space

HOSTILE = 'a "quoted" <b>'
SPACE: Space = {
    "learning_rate": Range(1e-4, 1e-1, log=True),
    "dropout": Range(0.0, 0.5),
    "activation": Choice(("relu", "=1+1", "$x_1$ <b>")),
    "max_grad_norm": Choice((None, 1.0)),
}
SPACES = {"gru": {**SPACE, "num_layers": Range(1, 3)}, HOSTILE: SPACE, "mlp": SPACE}


def trial(name: str, val_accuracy: float | None, outcome: str = "complete", **more: Any) -> dict[str, Any]:
    architecture, _, number = name.rpartition("-")
    return {
        "trial": name,
        "architecture": architecture,
        "number": int(number),
        "seed": int(number),
        "outcome": outcome,
        "val_accuracy": val_accuracy,
        "run_id": f"run-of-{name}",
        "best_epoch": 2,
        "epochs_run": 2,
        "end": int(number) + 1,
    } | more


def series(*rows: tuple[str, str, int, float]) -> pd.DataFrame:
    """Of (trial, metric, step, value)."""
    frame = pd.DataFrame(rows, columns=["run_id", "metric", "step", "value"])
    frame["run_id"] = "run-of-" + frame["run_id"].astype("str")
    return frame.astype({"metric": "str", "step": "Int64", "value": "float64"})


def only_series_of(trials: pd.DataFrame, epochs: int = 2) -> pd.DataFrame:
    names = [
        "train_loss",
        "val_loss",
        "train_accuracy",
        "val_accuracy",
        "grad_norm",
        "grad_norm/output",
        "grad_norm/a.b",
    ]
    return series(
        *(
            (name, metric, epoch, 0.5 / epoch)
            for name in trials["trial"]
            for metric in names
            for epoch in range(1, epochs + 1)
        )
    )


@pytest.fixture(scope="module")
def rich() -> PlotData:
    """Thirty trials an architecture, all outcomes, hostile names, repetitions."""
    rng = np.random.default_rng(0)
    rows = []
    for architecture in ("gru", HOSTILE):
        for number in range(30):
            rate, dropout = 10 ** rng.uniform(-4, -1), rng.uniform(0, 0.5)
            score = 0.8 - 0.05 * (math.log10(rate) + 2.5) ** 2 + 0.1 * dropout
            outcome = ["complete", "pruned", "complete", "complete", "diverged", "failed"][number % 6]
            more: dict[str, Any] = {"num_layers": number % 3 + 1} if architecture == "gru" else {}
            more |= {"test_accuracy": score - 0.01} if outcome == "complete" else {"error": "loss is nan"}
            params = {"learning_rate": rate, "dropout": dropout, "activation": SPACE["activation"].grid()[number % 3]}
            params |= {
                "max_grad_norm": SPACE["max_grad_norm"].grid()[number % 2],
                "num_parameters": 100 + number,
                "seconds": 2.0,
            }
            rows.append(trial(f"{architecture}-{number}", score, outcome, **params, **more))
        for number in range(30, 33):
            same = {
                "learning_rate": 0.001,
                "dropout": 0.1,
                "activation": "relu",
                "configuration": f"{architecture} best",
            }
            rows.append(trial(f"{architecture}-{number}", 0.7 + number / 1000, test_accuracy=0.7, **same))
    trials = runs.tidy(rows)
    blind: Any = SimpleNamespace(sampler="random", spaces=SPACES)  # a Spec knows no architecture of such a name
    mattered = importance.what_mattered(trials, blind, np.random.default_rng(0))
    drawn = {"memory": memory_curves(), "inspection": inspected(Lengths(4, 7, 9, 8, CUTS, HISTOGRAM))}
    drawn["sizes"] = sized()
    search = search_of(architectures=["gru"])
    draws = trials_of(search, rising, lambda name: 10.0)
    drawn["budget"] = budget([search], draws[draws["architecture"] != "mlp"], "val_accuracy")
    drawn["variances"] = variances([trials], trials[trials["number"] >= 30], 2000, "val_accuracy")
    steps = trials[trials["number"] >= 30].assign(architecture="gru", test_accuracy=[0.7, 0.71, 0.73] * 2)
    steps["configuration"] = ["0 default"] * 3 + ["1 dropout 0.1"] * 3
    drawn["paths"] = {"gru": why.why_table(search, steps)}
    drawn["reliability"] = pd.concat([sureness("gru"), sureness("mlp")], ignore_index=True)
    drawn["confusions"] = {"gru-0": CONFUSED, "mlp-1": CONFUSED}
    drawn["objectives"] = ["val_accuracy", "num_parameters", "train_seconds"]
    return PlotData(trials, only_series_of(trials), SPACES, mattered, **drawn)


CONFUSED = Confusion(("a", "b"), np.array([0, 0, 1]), np.array([0, 1, 1]), np.array([0.9, 0.6, 0.7]))


def sureness(architecture: str) -> pd.DataFrame:
    """Of a model that is surer than it should be, and less so where it is calibrated."""
    columns = {"confidence": [0.6, 0.9, 0.58, 0.8], "right": [0.55, 0.75, 0.55, 0.75], "answers": [20.0, 80.0] * 2}
    both = {"calibrated": [0.0, 0.0, 1.0, 1.0], "temperature": [1.4] * 4}
    return pd.DataFrame({"architecture": architecture, **both, **columns})


CUTS, HISTOGRAM = (Cut(3, 0.75, 0.4), Cut(100, 0.0, 0.0)), ((1, 0), (2, 2), (4, 4), (8, 1), (16, 1))


def inspected(lengths: Lengths | None) -> Inspection:
    """Of eight texts."""
    return Inspection("mine", {}, 8, 8, (ClassCount("a", 4, {}), ClassCount("b", 4, {})), lengths, None, ())


def sized() -> Table:
    """A model on two seeds and a baseline on one, on two numbers of texts."""
    rows = [
        {
            "architecture": name,
            "role": role,
            "train_share": share,
            "outcome": "complete",
            "test_accuracy": 0.5 + share / 4,
        }
        for name, role in ((HOSTILE, "searched"), (HOSTILE, "searched"), ("tfidf", "baseline"))
        for share in (0.5, 1.0)
    ]
    frame = data_size.curves(runs.tidy(rows), 100, "test_accuracy")
    return Table(frame, groups=[[*frame.columns]], key="texts")


def memory_curves() -> pd.DataFrame:
    """Of an rnn that forgets at once (relu that is off: zeros, which a log axis has no place for) and of grus."""
    models = [("rnn", "relu", None, 0.0), ("gru", "tanh", "sigmoid", 0.9), ("gru", "tanh", "relu", 1.1)]
    parts = [
        pd.DataFrame(
            {
                "architecture": architecture,
                "activation": activation,
                "gate_activation": gate,
                "trial": f"{architecture}-{number}",
                "search": "s",
                "run_id": f"{number}",
                "weights": ["trained", "untrained"][number % 2],
                "distance": range(10),
                "state": [kept**distance for distance in range(10)],
                "word": [kept**distance / 10 for distance in range(10)],
                "texts": 16,
            }
        )
        for number, (architecture, activation, gate, kept) in enumerate(models)
    ]
    return pd.concat(parts, ignore_index=True)


def bare(*rows: dict[str, Any]) -> PlotData:
    """A search of these trials, of which nothing else is on record."""
    trials = runs.tidy(rows)
    return PlotData(trials, series(), None, importance.what_mattered(trials, None, np.random.default_rng(0)))


NOTHING = {
    "no trials": bare(),
    "half-written": bare({"trial": "gru-0", "architecture": "gru", "run_id": "x"}),
    "all failed": bare(trial("gru-0", None, "failed"), trial("mlp-0", None, "failed")),
    "all diverged": bare(*(trial(f"gru-{number}", math.nan, "diverged") for number in range(3))),
    "texts without words": dataclasses.replace(bare(), inspection=inspected(None)),
    "running": bare(trial("gru-0", 0.5, "running", end=None)),
}


# --- Every figure


@pytest.mark.parametrize("name", PLOTS)
def test_a_figure_is_drawn_with_its_data(rich: PlotData, name: str) -> None:
    files = PLOTS[name].render(rich)
    assert set(files) == {"svg", "png", "csv"}
    assert Image.open(io.BytesIO(files["png"])).size[0] > 600
    assert ElementTree.fromstring(files["svg"]).tag == "{http://www.w3.org/2000/svg}svg"
    head, *rows = csv.reader(io.StringIO(files["csv"].decode()))
    frame = PLOTS[name].data(rich)
    assert head == list(frame.columns)
    assert len(rows) == len(frame) > 0
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "@"))]


@pytest.mark.parametrize("name", PLOTS)
@pytest.mark.parametrize("found", NOTHING.values(), ids=NOTHING.keys())
def test_a_figure_of_nothing_is_left_out(found: PlotData, name: str) -> None:
    assert PLOTS[name].render(found) == {}


def test_one_trial_is_enough_for_what_one_can_show() -> None:
    only = trial("gru-0", 0.75, val_loss=0.5, num_parameters=10, seconds=1.0, test_accuracy=0.7, dropout=0.1)
    found = bare(only)
    found = PlotData(found.trials, only_series_of(found.trials, epochs=1), None, found.mattered, "val_loss")
    drawn = {name for name, plot in PLOTS.items() if plot.render(found)}
    assert drawn == {"learning_curves", "gradient_norms", "best_so_far", "score_against_cost", "pruning"}


@pytest.mark.filterwarnings("error:constrained_layout not applied")
def test_gradient_norms_have_room_for_six_networks_of_many_layers() -> None:
    names = ("rnn", "gru", "mlp", "attention", "cnn", "ngram")
    layers = ("embedding.pairs", "embedding.pairs.widen", "first.0", "key", "query", "tapered.0", "tapered.2", "value")
    rows = [
        {"architecture": name, "trial": f"{name}-0", "run_id": name, "layer": layer, "epoch": epoch, "value": 0.1}
        for name in names
        for layer in layers
        for epoch in (1, 2)
    ]
    figure = gradient_norms.draw(pd.DataFrame(rows), style.looks_of(names))
    figure.canvas.draw()
    assert min(axes.get_window_extent().width for axes in figure.axes) > 200  # pixels


def test_the_same_figure_is_the_same_file() -> None:
    found = bare(trial("gru-0", 0.75), trial("mlp-0", 0.7))
    first, second = (PLOTS["best_so_far"].render(found) for _ in range(2))
    assert first == second


def test_what_stands_at_the_axes_of_best_so_far_is_inside_the_figure() -> None:
    found = bare(trial("gru-0", 0.75), trial("mlp-0", 0.7))
    plot = PLOTS["best_so_far"]
    figure = plot.draw(plot.data(found), style.looks(["gru", "mlp"]))
    figure.draw_without_rendering()
    for axes in figure.axes:
        inside = axes.yaxis.label.get_window_extent()
        assert figure.bbox.y0 <= inside.y0
        assert inside.y1 <= figure.bbox.y1


def test_looks_differ_in_colour_and_without_it() -> None:
    looks = style.looks(["b", "a", "c", "b"])
    assert list(looks) == ["a", "b", "c"]
    for part in ("colour", "marker", "line"):
        assert len({getattr(look, part) for look in looks.values()}) == 3
    many = style.looks(f"architecture {number}" for number in range(30))
    assert len({(look.colour, look.marker, str(look.line)) for look in many.values()}) == 30


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("val_accuracy", "validation accuracy (share that is right)"),
        ("test_loss", "test loss (nats)"),
        ("loss", "loss (nats)"),
        ("val_roc_auc", "validation ROC AUC"),
        ("seconds", "training time (s)"),
        ("hidden_size", "hidden size"),
    ],
)
def test_axes_have_units(name: str, expected: str) -> None:
    assert style.label(name) == expected


# --- What is drawn


def test_learning_curves_are_those_of_the_winners() -> None:
    trials = runs.tidy([trial("gru-0", 0.6), trial("gru-1", 0.9, "pruned"), trial("mlp-0", 0.7, best_epoch=1)])
    rows = [("gru-0", "train_accuracy", 1, 0.5), ("gru-0", "val_accuracy", 1, 0.55), ("gru-0", "val_accuracy", 2, 0.6)]
    rows += [("gru-1", "val_accuracy", 1, 0.9), ("mlp-0", "val_loss", 1, 0.4), ("mlp-0", "grad_norm", 1, 3.0)]
    frame = PLOTS["learning_curves"].data(PlotData(trials, series(*rows)))
    assert frame.drop(columns="run_id").to_numpy().tolist() == [
        ["mlp", "mlp-0", "loss", "val", 1, 0.4, True],
        ["gru", "gru-0", "accuracy", "train", 1, 0.5, False],
        ["gru", "gru-0", "accuracy", "val", 1, 0.55, False],
        ["gru", "gru-0", "accuracy", "val", 2, 0.6, True],
    ]


def test_series_wanted_are_the_metric_the_loss_and_the_gradients() -> None:
    recorded = ["grad_norm", "grad_norm/output", "curve_loss", "train_f1"]
    assert learning_curves.series("val_f1", recorded) == ["train_f1", "val_f1", "train_loss", "val_loss"]
    assert learning_curves.series("val_loss", []) == ["train_loss", "val_loss"]
    assert gradient_norms.series("val_f1", recorded) == ["grad_norm", "grad_norm/output"]
    assert pruning.PLOT.series("val_f1", recorded) == ["val_f1"]


def test_gradients_by_layer_where_they_are_on_record() -> None:
    trials = runs.tidy([trial("gru-0", 0.6), trial("mlp-0", 0.7)])
    rows = [("gru-0", "grad_norm", 1, 5.0), ("gru-0", "grad_norm/output", 1, 3.0), ("gru-0", "grad_norm/cell", 1, 4.0)]
    rows += [("mlp-0", "grad_norm", 1, 2.0), ("mlp-0", "grad_norm", 2, math.inf), ("mlp-0", "val_loss", 1, 1.0)]
    frame = PLOTS["gradient_norms"].data(PlotData(trials, series(*rows)))
    assert frame[["trial", "layer", "epoch", "value"]].to_numpy().tolist() == [
        ["mlp-0", "", 1, 2.0],
        ["gru-0", "output", 1, 3.0],
        ["gru-0", "cell", 1, 4.0],
    ]


def test_best_so_far_counts_complete_trials_in_the_order_they_ended() -> None:
    trials = runs.tidy(
        [
            trial("gru-0", 0.6, seconds=10.0, end=30),
            trial("gru-1", 0.5, seconds=1.0, end=20),
            trial("gru-2", 0.9, "pruned", seconds=2.0, end=10),
            trial("gru-3", None, "failed", seconds=None, end=40),
            trial("gru-4", 0.99, "running", end=None),
            trial("mlp-0", 0.4, "pruned", seconds=1.0, end=5),
            trial("rnn-0", 0.4, "diverged", seconds=1.0, end=5),
        ]
    )
    frame = PLOTS["best_so_far"].data(PlotData(trials))
    shown = frame[["trial", "trials", "seconds", "best"]].astype(object)
    assert shown.where(shown.notna(), None).to_numpy().tolist() == [
        ["gru-2", 1, 2.0, None],
        ["gru-1", 2, 3.0, 0.5],
        ["gru-0", 3, 13.0, 0.6],
        ["gru-3", 4, 13.0, 0.6],
        ["mlp-0", 1, 1.0, 0.4],
    ]


def test_the_best_loss_so_far_is_the_lowest() -> None:
    trials = runs.tidy([trial("gru-0", None, val_loss=0.5), trial("gru-1", None, val_loss=0.7)])
    assert PLOTS["best_so_far"].data(PlotData(trials, rank_by="val_loss"))["best"].tolist() == [0.5, 0.5]


def test_scores_by_hyperparameter_have_the_scale_of_the_space() -> None:
    common = {"window": 5, "learning_rate": 0.01, "dropout": 0.5, "max_grad_norm": 1.0, "hidden_size": 64}
    trials = runs.tidy(
        [
            trial("gru-0", 0.6, **common, num_layers=1),
            trial("gru-1", 0.7, "pruned", **common | {"learning_rate": 0.1, "max_grad_norm": None}, num_layers=2),
            trial("gru-2", 0.9, "diverged", **common | {"dropout": 0.0, "hidden_size": 16}, num_layers=2),
            trial("gru-3", 0.9, "failed", **common | {"dropout": 0.25}),
            trial("mlp-0", 0.5, **common, num_layers=4),
        ]
    )
    spaces = {name: {**own, "hidden_size": Choice((16, 64))} for name, own in SPACES.items()}
    frame = PLOTS["score_by_hyperparameter"].data(PlotData(trials, space=spaces))
    scales = frame.drop_duplicates("hyperparameter").set_index("hyperparameter")["scale"].to_dict()
    assert scales == {
        "learning_rate": "log",
        "dropout": "linear",
        "max_grad_norm": "choices",
        "hidden_size": "choices",
        "num_layers": "linear",
    }
    assert set(frame["trial"]) == {"gru-0", "gru-1", "gru-2"}  # nothing varied in the only mlp, gru-3 has no result

    def of(name: str) -> list[list[Any]]:
        own = frame[frame["hyperparameter"] == name][["trial", "value", "position", "score"]].astype(object)
        return own.where(own["score"].notna(), None).to_numpy().tolist()

    assert of("learning_rate") == [["gru-0", 0.01, 0.01, 0.6], ["gru-1", 0.1, 0.1, 0.7], [None] * 4]
    assert of("max_grad_norm") == [["gru-0", 1.0, 1.0, 0.6], ["gru-1", None, 0.0, 0.7], [None] * 4]
    assert of("hidden_size")[0] == ["gru-0", 64, 1.0, 0.6]


def test_parallel_coordinates_go_from_the_lowest_to_the_highest() -> None:
    rates = [0.001, 0.01, 0.1]
    trials = runs.tidy(
        trial(f"gru-{number}", 0.5 + number / 10, learning_rate=rate) for number, rate in enumerate(rates)
    )
    frame = (
        PLOTS["parallel_coordinates"]
        .data(PlotData(trials, space=SPACES))
        .pivot(index="trial", columns="axis", values="height")
    )
    assert frame["learning_rate"].tolist() == pytest.approx([0, 0.5, 1])  # on its log axis
    assert frame["val_accuracy"].tolist() == pytest.approx([0, 0.5, 1])


def test_contours_are_of_the_two_most_important(rich: PlotData) -> None:
    frame = PLOTS["contour"].data(rich)
    gru = frame[frame["architecture"] == "gru"]
    ranked = rich.mattered[rich.mattered["architecture"] == "gru"].drop_duplicates("hyperparameter")
    assert [gru["x"].iloc[0], gru["y"].iloc[0]] == ranked["hyperparameter"].tolist()[:2]
    assert set(gru["outcome"]) == {"complete", "pruned"}
    first = rich.trials.set_index("run_id").loc[gru["run_id"].iloc[0]]
    assert (gru["x_value"].iloc[0], gru["score"].iloc[0]) == (first[gru["x"].iloc[0]], first["val_accuracy"])


def test_a_contour_needs_points_that_span_a_plane() -> None:
    rows = [trial(f"gru-{number}", number / 10, dropout=number / 10, width=number) for number in range(8)]
    mattered = pd.DataFrame(
        {"architecture": "gru", "hyperparameter": ["dropout", "width"], "importance": [0.6, 0.4], "p": [0.01, 0.5]}
    )
    assert PLOTS["contour"].data(PlotData(runs.tidy(rows), mattered=mattered)).empty  # all of them are on a line
    off_the_line = trial("gru-8", 0.1, dropout=0.0, width=7)
    assert len(PLOTS["contour"].data(PlotData(runs.tidy([*rows, off_the_line]), mattered=mattered))) == 9


def test_the_front_holds_what_nothing_cheaper_beats() -> None:
    rows = [(10, 0.6), (10, 0.7), (20, 0.7), (30, 0.65), (40, 0.8), (50, 0.9)]
    trials = runs.tidy(
        trial(f"gru-{number}", 0.5, num_parameters=cost, seconds=61.0 - cost, test_accuracy=accuracy)
        for number, (cost, accuracy) in enumerate(rows)
    )
    trials.loc[5, "outcome"] = Outcome.PRUNED.value
    frame = PLOTS["score_against_cost"].data(PlotData(trials))
    front = frame[frame["front"]]
    assert front[front["cost"] == "num_parameters"]["trial"].tolist() == ["gru-1", "gru-4"]
    assert front[front["cost"] == "seconds"]["trial"].tolist() == ["gru-4"]
    assert len(frame) == 10


def test_fronts_are_of_all_and_of_each_architecture() -> None:
    rows = [
        ("gru-0", 0.9, 30, 3.0),
        ("gru-1", 0.8, 30, 1.0),  # on the front by its seconds alone
        ("gru-2", 0.7, 40, 4.0),
        ("mlp-0", 0.6, 10, 2.0),
        ("mlp-1", 0.85, 35, 3.5),  # on that of its architecture only
        ("mlp-2", 0.95, 50, 5.0),
    ]
    trials = runs.tidy(trial(name, score, num_parameters=size, seconds=took) for name, score, size, took in rows)
    trials.loc[5, "outcome"] = Outcome.PRUNED.value
    found = PlotData(trials, objectives=["val_accuracy", "num_parameters", "train_seconds"])
    frame = PLOTS["fronts"].data(found)
    by_size = frame[frame["objective"] == "num_parameters"].set_index("trial")
    assert by_size["front"].to_dict() == {
        "gru-0": "all",
        "gru-1": "all",
        "gru-2": "none",
        "mlp-0": "all",
        "mlp-1": "its architecture",
    }
    assert by_size.index[by_size["attained"]].tolist() == ["mlp-0", "gru-0", "mlp-1"]
    by_time = frame[frame["objective"] == "train_seconds"]
    assert by_time["trial"][by_time["attained"]].tolist() == ["gru-1", "mlp-0", "gru-0", "mlp-1"]
    assert PLOTS["fronts"].render(PlotData(trials)) == {}  # of one objective


def test_attainment_is_over_repetitions() -> None:
    rows = [(0, 1.0, 0.6), (1, 2.0, 0.7), (2, 3.0, 0.5), (0, 4.0, 0.8), (1, 5.0, 0.6)]
    own = pd.DataFrame(rows, columns=["repetition", "amount", "val_accuracy"])
    found = attainment(own, "val_accuracy")
    assert found["best"].tolist() == [0.6, 0.7, 0.7, 0.8, 0.8]
    assert found["median"].fillna(0).tolist() == [0, 0.6, 0.6, 0.7, 0.7]
    assert found["worst"].fillna(0).tolist() == [0, 0, 0.5, 0.5, 0.5]
    errors = attainment(own.rename(columns={"val_accuracy": "val_loss"}), "val_loss")
    assert errors["best"].tolist() == [0.6, 0.6, 0.5, 0.5, 0.5]
    alone = attainment(own.assign(repetition=pd.NA), "val_accuracy")
    assert alone["best"].tolist() == alone["worst"].tolist() == [0.6, 0.7, 0.7, 0.8, 0.8]


def test_a_task_without_accuracy_is_told_by_what_it_measures() -> None:
    trials = runs.tidy(
        trial(f"net-{number}", None, num_parameters=cost, val_loss=1.0, val_pixel_error=error, test_pixel_error=error)
        for number, (cost, error) in enumerate([(10, 0.4), (20, 0.5), (30, 0.3)])
    )
    found = PlotData(trials, rank_by="val_pixel_error")
    frame = PLOTS["score_against_cost"].data(found)
    assert frame[frame["front"]]["trial"].tolist() == ["net-0", "net-2"]  # an error is better the lower it is
    assert PLOTS["score_against_cost"].render(found)


def test_pruning_marks_where_each_trial_ended() -> None:
    trials = runs.tidy([trial("gru-0", 0.6), trial("gru-1", 0.5, "pruned"), trial("gru-2", None, "diverged")])
    rows = [("gru-0", "val_accuracy", 1, 0.5), ("gru-0", "val_accuracy", 2, 0.6), ("gru-0", "val_loss", 3, 0.1)]
    rows += [
        ("gru-1", "val_accuracy", 1, 0.5),
        ("gru-2", "val_accuracy", 1, 0.4),
        ("gru-2", "val_accuracy", 2, math.nan),
    ]
    frame = PLOTS["pruning"].data(PlotData(trials, series(*rows)))
    assert frame[["trial", "outcome", "epoch", "value", "last"]].to_numpy().tolist() == [
        ["gru-0", "complete", 1, 0.5, False],
        ["gru-0", "complete", 2, 0.6, True],
        ["gru-1", "pruned", 1, 0.5, True],
        ["gru-2", "diverged", 1, 0.4, True],
    ]


def test_spread_is_over_trials_that_differ_in_nothing_but_their_seeds() -> None:
    trials = runs.tidy(
        [
            trial("gru-0", 0.6, test_accuracy=0.5, hidden_size=8, clip=None),
            trial("gru-1", 0.7, test_accuracy=0.6, hidden_size=8, clip=None),
            trial("gru-2", 0.9, test_accuracy=0.9, hidden_size=16, clip=None),  # alone
            trial("gru-3", 0.8, "pruned", hidden_size=8, clip=None),
            trial("mlp-0", 0.8, test_accuracy=0.7, configuration="small", window=5),
            trial("mlp-1", 0.7, test_accuracy=0.8, configuration="small", window=5),
        ]
    )
    frame = PLOTS["spread_over_seeds"].data(PlotData(trials))
    assert frame[["configuration", "trial", "metric", "value"]].to_numpy().tolist() == [
        ["small", "mlp-0", "val_accuracy", 0.8],
        ["small", "mlp-1", "val_accuracy", 0.7],
        ["small", "mlp-0", "test_accuracy", 0.7],
        ["small", "mlp-1", "test_accuracy", 0.8],
        ["gru-0", "gru-0", "val_accuracy", 0.6],
        ["gru-0", "gru-1", "val_accuracy", 0.7],
        ["gru-0", "gru-0", "test_accuracy", 0.5],
        ["gru-0", "gru-1", "test_accuracy", 0.6],
    ]
    assert PLOTS["spread_over_seeds"].data(PlotData(trials, rank_by="val_loss")).empty


def test_numbers_at_the_ends_of_lines_are_apart() -> None:
    assert pruning._apart([0.1, 0.11, 0.5], 0.05) == pytest.approx([0.1, 0.15, 0.5])


# --- Lengths of the texts


def test_text_lengths_are_those_on_record_with_what_is_cut(rich: PlotData) -> None:
    rows = PLOTS["text_lengths"].data(rich).to_numpy().tolist()
    assert rows[:5] == [["length", *each] for each in HISTOGRAM]
    assert rows[5:] == [["max_words", 3, 6], ["max_words", 100, 0]]


def test_a_max_words_that_cuts_no_text_has_no_line(rich: PlotData) -> None:
    plot = PLOTS["text_lengths"]
    frame = plot.data(rich)
    (axes,) = plot.draw(frame, {}).axes
    assert [line.get_xdata()[0] for line in axes.lines] == [pytest.approx(math.log2(3))]
    (axes,) = plot.draw(frame[frame["kind"] == "length"], {}).axes
    assert not axes.lines


# --- Axes


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.2, 4000, [1, 10, 100, 1000]),
        (0.8, 60, [1, 3, 10, 30]),
        (100, 900, [100, 200, 500]),
        (0.15, 0.52, [0.2, 0.3, 0.4, 0.5]),  # less than a decade: few enough to be read
        (3, 9, [4, 6, 8]),
    ],
)
def test_a_log_axis_has_few_ticks_and_all_within_it(low: float, high: float, ticks: list[float]) -> None:
    assert style._LogTicks().tick_values(low, high) == pytest.approx(ticks)


def test_budgets_have_names_that_do_not_cover_each_other() -> None:
    columns = [f"{split}_accuracy_{each}" for split in ("val", "test") for each in ("mean", "low", "high")]
    frame = pd.DataFrame({"architecture": "gru", "role": "searched", "unit": "core_seconds", "budget": [2.0, 9000.0]})
    figure = PLOTS["budget"].draw(frame.assign(**dict.fromkeys(columns, 0.8)), style.looks(["gru"]))
    figure.draw_without_rendering()
    for axes in figure.axes[1:]:
        boxes = [text.get_window_extent() for text in axes.texts]
        assert len(boxes) == 3
        assert all(before.x1 < after.x0 for before, after in itertools.pairwise(boxes))
        assert axes.xaxis.label.get_window_extent().x1 <= figure.bbox.x1
