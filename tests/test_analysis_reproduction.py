"""The report's studies repeated: figures, comparisons and verdicts by hand, and the page from MLflow."""

import csv
import dataclasses
import io
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from conftest import ROOT
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from typer.testing import CliRunner

from analysis.__main__ import app
from analysis.base import tables
from analysis.base.runs import Search, tidy
from analysis.base.table import Table
from analysis.course_report import conclusions, gradients, reproduction, side_by_side, studies
from analysis.course_report.reproduction import Reproduction
from search.base import schema
from search.spec.spec import Spec
from search.train.metrics import METRICS

NO_NORMS = pd.DataFrame({"gate_activation": [], "run_id": [], "layer": [], "epoch": [], "value": []})
PUBLISHED = studies.read_published()


def search(study: str, time: str = "20260101-100000", **spec: Any) -> Search:
    of_study = Spec(**studies.SETTINGS | spec)
    id, start, tags = f"report-{study}-{time}", datetime(2026, 1, 1, tzinfo=UTC), {"data_digest": "d1"}
    return Search(id, study, "1", start, "val_accuracy", "complete", tags, load_spec=lambda: of_study)


def runs_of(study: str, scores: Iterable[float], architecture: str, **hyperparameters: Any) -> list[dict[str, Any]]:
    """A complete run for each score, with seeds of their own; a NaN is a run that diverged."""
    return [
        {
            "search": search(study).id,
            "trial": f"{architecture}-{seed}",
            "architecture": architecture,
            "seed": hash((study, *hyperparameters.values())) % 2**20 + seed,
            "outcome": "diverged" if np.isnan(score) else "complete",
            "run_id": f"{study} {hyperparameters} {seed}",
            **{f"{split}_{measure}": score for split in schema.SPLITS for measure in METRICS},
            "learning_rate": 1e-4,
        }
        | hyperparameters
        for seed, score in enumerate(scores)
    ]


def studied(*rows: list[dict[str, Any]]) -> pd.DataFrame:
    trials = tidy(row for some in rows for row in some)
    return studies.with_study(trials, {study: search(study) for study in studies.STUDIES})


def rnn_activation(**scores: list[float]) -> pd.DataFrame:
    shared = {"hidden_size": 64, "num_layers": 1, "dropout": 0.0}
    return studied(
        *(runs_of("rnn-activation", each, "rnn", activation=name, **shared) for name, each in scores.items())
    )


def compared(trials: pd.DataFrame, conclusion: str, norms: pd.DataFrame = NO_NORMS) -> pd.DataFrame:
    table = conclusions.comparisons(trials, PUBLISHED, norms)
    assert conclusion in set(table["conclusion"])
    return table[table["conclusion"] == conclusion]


def verdict(trials: pd.DataFrame, conclusion: str, norms: pd.DataFrame = NO_NORMS) -> str:
    return str(conclusions.conclusions(compared(trials, conclusion, norms))["here"].item())


# --- What was run and what was published


def test_the_newest_search_of_each_study_or_the_one_chosen() -> None:
    old, new = search("gru-gate", "20260101-100000"), search("gru-gate", "20260102-100000")
    known = [old, search("mlp-depth"), new, search("mlp-depth-confirm"), search("other")]
    found = studies.find_studies(known)
    assert list(found) == ["gru-gate", "mlp-depth"]
    assert found["gru-gate"] is new
    assert studies.find_studies(known, [old])["gru-gate"] is old
    assert studies.find_studies([]) == {}
    with pytest.raises(
        ValueError,
        match=r"report-other-20260101-100000 is not a search of .*; choose from report-rnn-activation, report",
    ):
        studies.find_studies(known, [search("other")])


def test_the_published_figures_are_part_of_the_package() -> None:
    assert len(PUBLISHED) == 137
    assert set(PUBLISHED["study"]) <= set(studies.STUDIES)
    assert set(PUBLISHED["metric"]) == set(studies.MEASURES)
    assert set(PUBLISHED["activation"]) == {"none", "tanh", "relu", "sigmoid"}  # "none" is a name, not a missing one
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "*.csv" in project["tool"]["setuptools"]["package-data"]["*"]


# --- Figure for figure


def test_figures_by_hand() -> None:
    trials = rnn_activation(none=[0.70, 0.72, 0.74], relu=[0.6, 0.7], tanh=[0.5, np.nan, 0.65])
    found = side_by_side.figures(trials, PUBLISHED)
    assert set(found["study"]) == {"rnn-activation"}
    accuracy = found[found["metric"] == "accuracy"].set_index("activation")
    assert sorted(accuracy.index) == ["none", "relu", "sigmoid", "tanh"]
    columns = ["test_published", "test_mean", "test_sd", "test_difference", "train_published", "train_difference"]
    assert accuracy.loc["none", columns].tolist() == pytest.approx([0.71, 0.72, 0.02, 0.01, 0.73, -0.01])
    assert accuracy.loc["relu", columns].isna().tolist() == [True, False, False, True, True, True]
    assert accuracy.loc["sigmoid", columns].isna().tolist() == [False, True, True, True, False, True]
    counts = accuracy[["trials", "complete", "untrained"]].to_dict("index")
    assert counts["none"] == {"trials": 3, "complete": 3, "untrained": 0}
    assert counts["tanh"] == {"trials": 3, "complete": 2, "untrained": 2}  # one diverged, one only guesses
    assert counts["sigmoid"] == {"trials": 0, "complete": 0, "untrained": 0}


def test_the_row_without_its_dropout_is_that_of_the_third_one() -> None:
    shared = {"activation": "relu", "hidden_size": 64, "num_layers": 3}
    trials = studied(*(runs_of("mlp-depth", [0.7], "mlp", dropout=each, **shared) for each in (0.5, 0.3, 0.1)))
    found = side_by_side.figures(trials, PUBLISHED)
    accuracy = found[(found["metric"] == "accuracy") & (found["num_layers"] == 3)].set_index("dropout")
    assert accuracy["test_published"].to_dict() == pytest.approx({0.1: np.nan, 0.3: 0.71, 0.5: 0.69}, nan_ok=True)
    assert accuracy["note"].notna().to_dict() == {0.1: False, 0.3: True, 0.5: False}
    assert (found["num_layers"].value_counts() == pd.Series({3: 9, 4: 3, 5: 3})).all()  # those were printed, not run


def test_cells_that_did_not_train_are_shown_beside_our_spread() -> None:
    shared = {"activation": "none", "num_layers": 1, "gate_activation": "sigmoid", "dropout": 0.0}
    grid = [runs_of("gru-hidden-size", [0.80, 0.81], "gru", hidden_size=size, **shared) for size in range(64, 129, 8)]
    table = {each.title.partition(":")[0]: each for each in _tables(studied(*grid))["figures"]}["gru-hidden-size"]
    assert "activation none, hidden size 72: in the report did not train, here 0 of 2 did not train." in table.notes
    assert "activation tanh, hidden size 64: not run here." in table.notes
    row = table.frame[(table.frame["hidden_size"] == 88) & (table.frame["metric"] == "accuracy")]
    assert row[["test report", "test ours", "test difference"]].iloc[0].tolist() == [
        "0.0000",
        "0.8050 ± 0.0071",
        "+0.8050",
    ]


# --- Conclusions

RNN = "rnn: no activation > relu > tanh > sigmoid"
IN_ORDER = {
    "none": [0.72, 0.73, 0.74],
    "relu": [0.68, 0.69, 0.70],
    "tanh": [0.62, 0.63, 0.64],
    "sigmoid": [0.5, 0.5, 0.5],
}


def test_an_order_holds_does_not_hold_or_cannot_be_told() -> None:
    assert verdict(rnn_activation(**IN_ORDER), RNN) == conclusions.HOLDS
    assert verdict(rnn_activation(**IN_ORDER | {"tanh": [0.80, 0.81, 0.82]}), RNN) == conclusions.FAILS
    assert verdict(rnn_activation(**IN_ORDER | {"tanh": [0.60, 0.70, 0.80]}), RNN) == conclusions.OPEN
    assert verdict(rnn_activation(**{name: each[:1] for name, each in IN_ORDER.items()}), RNN) == conclusions.OPEN
    assert verdict(rnn_activation(none=[0.72, 0.73], relu=[0.6, 0.61]), RNN) == conclusions.OPEN  # two were not run
    assert verdict(rnn_activation(), RNN) == conclusions.NOT_RUN


def test_one_of_many_reversals_must_be_shown_more_clearly() -> None:
    """Welch's p for relu above none, between 0.02 and 0.05, is none after Holm's correction for six comparisons."""
    trials = rnn_activation(
        none=[0.680, 0.681, 0.682], relu=[0.683, 0.684, 0.6855], tanh=[0.6, 0.7, 0.8], sigmoid=[0.55, 0.68, 0.81]
    )
    row = compared(trials, RNN).iloc[0]
    expected = scipy.stats.ttest_ind([0.680, 0.681, 0.682], [0.683, 0.684, 0.6855], equal_var=False)
    assert row["p"] == pytest.approx(expected.pvalue)
    assert 0.02 < row["p"] < 0.05
    assert row["holm_p"] == pytest.approx(6 * row["p"])
    assert verdict(trials, RNN) == conclusions.OPEN


def test_comparisons_by_hand() -> None:
    table = compared(rnn_activation(**IN_ORDER), RNN)
    assert table[["first", "second"]].to_numpy().tolist()[:3] == [
        ["none", "relu"],
        ["none", "tanh"],
        ["none", "sigmoid"],
    ]
    row = table.iloc[1]
    expected = scipy.stats.ttest_ind(IN_ORDER["none"], IN_ORDER["tanh"], equal_var=False)
    assert row[["difference", "low", "high", "p", "published"]].tolist() == pytest.approx(
        [0.1, *expected.confidence_interval(), expected.pvalue, 0.71 - 0.62]
    )
    assert row[["first_runs", "second_runs"]].tolist() == [3, 3]
    assert np.isnan(table.iloc[0]["published"])  # relu is not printed


def test_a_run_that_diverged_is_compared_as_one_that_guesses() -> None:
    """Means of 0.9, 0.9 and 0.5 against 0.8, 0.8 and 0.8."""
    row = compared(rnn_activation(none=[0.9, 0.9, np.nan], relu=[0.8] * 3), RNN).iloc[0]
    assert row[["difference", "first_runs"]].tolist() == pytest.approx([2.3 / 3 - 0.8, 3])


def test_a_gate_without_a_colour_of_its_own_is_drawn() -> None:
    drawn = gradients.draw(norms(0.5, 1.0).replace({"gate_activation": {"relu": "tanh"}}))
    assert {line.get_label() for line in drawn.axes[0].lines} >= {"tanh gates", "sigmoid gates"}


def test_what_was_published_is_compared_where_both_trained() -> None:
    table = conclusions.comparisons(rnn_activation(), PUBLISHED, NO_NORMS).set_index(["conclusion", "first", "second"])
    published = table["published"]
    assert published["mlp: four layers are best", "num layers 4", "num layers 5"] == pytest.approx(0.05)
    # with 4 and 2 layers: 0.77 - 0.78; the mlp's two layers are not printed
    assert published["attention beats the mlp", "attention", "mlp"] == pytest.approx(-0.01)
    # of sizes 64, 72, 88, 96, 104 and 120, in which relu trained
    assert published["gru: relu is best", "relu", "tanh"] == pytest.approx(
        np.mean([0.84 - 0.79, 0.81 - 0.79, 0.84 - 0.82, 0.82 - 0.83, 0.82 - 0.79, 0.79 - 0.78])
    )


def test_single_runs_are_paired_over_sizes_and_shared_with_the_small_study() -> None:
    def gru(study: str, activation: str, size: int, *scores: float) -> list[dict[str, Any]]:
        return runs_of(study, scores, "gru", activation=activation, hidden_size=size, num_layers=1)

    trials = studied(
        gru("gru-activation", "relu", 64, 0.84, 0.86),
        gru("gru-hidden-size", "relu", 64, 0.85),
        gru("gru-hidden-size", "relu", 72, 0.88),
        gru("gru-hidden-size", "relu", 80, 0.90),
        gru("gru-activation", "tanh", 64, 0.80, 0.82),
        gru("gru-hidden-size", "tanh", 72, 0.82),
        gru("gru-hidden-size", "tanh", 88, 0.99),
    )
    row = compared(trials, "gru: relu is best").set_index("second").loc["tanh"]
    expected = scipy.stats.ttest_rel([0.85, 0.88], [0.81, 0.82])
    assert row[["difference", "p"]].tolist() == pytest.approx([0.05, expected.pvalue])
    assert (row["first_runs"], row["second_runs"], row["over"]) == (4, 3, "hidden_size")


def test_the_same_run_in_two_studies_is_one_run() -> None:
    twice = runs_of("gru-activation", [0.8, 0.9], "gru", activation="relu", hidden_size=64)
    again = [row | {"search": search("gru-hidden-size").id} for row in twice]
    trials = studied(twice, again, runs_of("gru-activation", [0.7, 0.7], "gru", activation="tanh", hidden_size=64))
    assert compared(trials, "gru: relu is best").set_index("second").loc["tanh", "first_runs"] == 2


def test_each_architecture_at_its_best_activation_by_validation() -> None:
    def with_validation(rows: list[dict[str, Any]], score: float) -> list[dict[str, Any]]:
        return [row | {"val_accuracy": score} for row in rows]

    trials = studied(
        with_validation(runs_of("gru-activation", [0.99, 0.98], "gru", activation="tanh", hidden_size=64), 0.7),
        with_validation(runs_of("gru-activation", [0.80, 0.81], "gru", activation="relu", hidden_size=64), 0.8),
        with_validation(runs_of("rnn-activation", [0.70, 0.71], "rnn", activation="none", hidden_size=64), 0.7),
    )
    row = compared(trials, "gru beats rnn").iloc[1]
    assert (row["first"], row["second"]) == ("gru relu", "rnn none")
    assert row["difference"] == pytest.approx(0.1)


def test_instability_is_a_spread_that_exceeds_the_others() -> None:
    def gru(**scores: list[float]) -> pd.DataFrame:
        return studied(
            *(
                runs_of("gru-hidden-size", each, "gru", activation=name, hidden_size=64 + i)
                for i, (name, each) in enumerate(scores.items())
            )
        )

    steady = [0.80, 0.81, 0.82] * 4
    wild = [0.5, 0.8, np.nan, 0.82, 0.5, 0.9] * 2  # the one that diverged guesses
    stable = "gru: relu is least stable"
    assert verdict(gru(relu=wild, none=steady, tanh=steady), stable) == conclusions.HOLDS
    assert verdict(gru(relu=steady, none=steady, tanh=steady), stable) == conclusions.FAILS
    assert verdict(gru(relu=[0.8] * 8 + [0.5], none=steady, tanh=steady), stable) == conclusions.OPEN
    assert verdict(gru(relu=[0.5, 0.9], none=steady, tanh=steady), stable) == conclusions.NOT_RUN  # two say nothing
    row = compared(gru(relu=[0.4, 0.8, 0.8, 0.8, 0.9], none=[0.8] * 4 + [0.85], tanh=steady), stable).iloc[0]
    assert row["difference"] == pytest.approx((0.4 + 0.1) / 5 - 0.05 / 5)
    # 0.84 .81 .49 .84 .82 .82 .50 .79 .50 against .79 .52 .79 0 .81 .48 .86 .48 .83 (and no other row)
    assert row["published"] == pytest.approx(
        np.mean([0.03, 0, 0.32, 0.03, 0.01, 0.01, 0.31, 0.02, 0.31])
        - np.mean([0, 0.27, 0, 0.79, 0.02, 0.31, 0.07, 0.31, 0.04])
    )


def norms(relu: float, sigmoid: float) -> pd.DataFrame:
    rows = [
        [gate, f"{gate}-{seed}", layer, epoch, value * 1.1**seed * epoch]
        for gate, value in (("relu", relu), ("sigmoid", sigmoid))
        for seed in range(3)
        for layer in ("layers.0", "output")
        for epoch in (1, 2)
    ]
    return pd.DataFrame(rows, columns=list(NO_NORMS.columns))


def test_gradients_vanish_where_they_are_less_than_a_tenth() -> None:
    vanish = "gru: gradients vanish with relu gates"
    assert verdict(rnn_activation(), vanish, norms(0.001, 1.0)) == conclusions.HOLDS
    assert verdict(rnn_activation(), vanish, norms(0.5, 1.0)) == conclusions.FAILS
    assert verdict(rnn_activation(), vanish, norms(0.1, 1.0)) == conclusions.OPEN
    assert verdict(rnn_activation(), vanish, norms(0.0, 1.0)) == conclusions.HOLDS  # gone altogether
    assert verdict(rnn_activation(), vanish) == conclusions.NOT_RUN
    (row,) = compared(rnn_activation(), vanish, norms(0.01, 1.0)).to_dict("records")
    assert row["difference"] == pytest.approx(2)
    assert row["measure"] == "log10 gradient norm of layers.0"  # the output layer's do not vanish through time


def test_gradients_by_layer_and_epoch() -> None:
    table = gradients.means(norms(0.5, 1.0)).set_index(["layer", "epoch", "gate_activation"])
    assert table.loc[("output", 2, "relu")].tolist() == pytest.approx([1.1, 1.0, 1.21, 3])
    assert len(table) == 8


# --- As tables


def _tables(trials: pd.DataFrame, given: pd.DataFrame = NO_NORMS, *, long: bool = False) -> dict[str, list[Table]]:
    found = {study: search(study) for study in trials["study"].dropna().unique()}
    return reproduction.tables(Reproduction(found, trials, given, PUBLISHED), long=long)


@pytest.mark.parametrize("form", tables.TEXTS)
@pytest.mark.parametrize(
    "trials",
    [
        rnn_activation(),
        rnn_activation(none=[0.7]),
        rnn_activation(none=[np.nan, np.nan], tanh=[np.nan]),
        rnn_activation(**{'=none,"x"|y': [0.7, 0.8]}),
        studied([{"search": search("gru-gate").id, "run_id": "half-written"}]),
    ],
    ids=["empty", "one", "all-diverged", "formula", "half-written"],
)
def test_every_part_in_every_format(form: str, trials: pd.DataFrame) -> None:
    for part in _tables(trials, norms(0.5, 1.0), long=form in tables.FOR_PROGRAMS).values():
        for table in part:
            text = tables.TEXTS[form](table)
            assert text
            if form == "csv":
                assert len({len(row) for row in csv.reader(io.StringIO(text, newline=""))}) == 1


def test_the_searches_are_listed_with_what_to_know_of_them() -> None:
    odd = search("mlp-depth", epochs=2, limit=1500)
    odd = dataclasses.replace(odd, outcome="running")
    table = reproduction.tables(Reproduction({"mlp-depth": odd}, rnn_activation(), NO_NORMS, PUBLISHED))["searches"][0]
    assert table.frame["search"].tolist() == [odd.id]
    notes = "\n".join(table.notes)
    assert "Warning: mlp-depth was not run with the report's settings, but with limit 1500, epochs 2." in notes
    assert "Warning: mlp-depth is not complete, but running." in notes
    assert "left out: rnn-activation, rnn-hidden-size, gru-activation" in notes
    assert "Data digest: d1." in notes


def test_a_figure_shows_every_run_and_every_published_number() -> None:
    points = side_by_side.study_points(rnn_activation(**IN_ORDER), PUBLISHED, "rnn-activation")
    assert points["of"].value_counts().to_dict() == {"ours": 12, "report": 3}
    assert points[points["of"] == "report"]["test_accuracy"].tolist() == [0.71, 0.62, 0.53]
    (ax,) = side_by_side.draw_study(points, "rnn-activation").axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["none", "relu", "sigmoid", "tanh"]
    assert ax.get_xlabel() == "activation"
    runs, report = ax.lines[0], ax.lines[-2]
    assert len(runs.get_xdata()) == 12
    assert list(report.get_ydata()) == [0.71, 0.62, 0.53]


def test_a_figure_has_a_panel_for_each_value_of_what_else_varies() -> None:
    trials = studied(
        *(
            runs_of("gru-hidden-size", [0.8], "gru", activation=activation, hidden_size=size)
            for activation in ("none", "tanh")
            for size in (64, 72, 80)
        )
    )
    points = side_by_side.study_points(trials, PUBLISHED, "gru-hidden-size")
    axes = side_by_side.draw_study(points, "gru-hidden-size").axes
    assert [ax.get_title() for ax in axes] == ["activation none", "activation tanh"]
    assert {ax.get_xlabel() for ax in axes} == {"hidden size"}


# --- From MLflow


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """rnn-activation twice, gru-gate with gradients, and mlp-depth without any trial."""
    folder = tmp_path_factory.mktemp("mlflow")
    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    experiment, time = client.create_experiment("report", (folder / "artifacts").as_uri()), 1_767_261_600_000

    def run(tags: dict[str, str], params: dict[str, Any], metrics: list[Metric]) -> str:
        nonlocal time
        time += 1000
        run_id = client.create_run(experiment, start_time=time, tags=tags).info.run_id
        client.log_batch(run_id, metrics=metrics, params=[Param(k, str(v)) for k, v in params.items()])
        return str(run_id)

    def study(found: Search, rows: Iterable[dict[str, Any]], *series: Metric) -> None:
        tags = {
            schema.KIND: schema.KIND_SEARCH,
            schema.SEARCH: found.id,
            "version.torch": "2",
            "outcome": "complete",
            **found.tags,
        }
        client.log_text(run(tags, {}, []), found.load_spec().model_dump_json(), schema.SPEC)
        for row in rows:
            names = [name for name in row if name.partition("_")[0] in schema.SPLITS]
            known = {"search", "trial", "outcome", "run_id", *names}
            tags = {schema.KIND: schema.KIND_TRIAL, schema.SEARCH: found.id, schema.TRIAL: row["trial"]}
            tags |= {schema.OUTCOME: row["outcome"], schema.NUMBER: "0"}
            metrics = [Metric(schema.best(name), row[name], time, 0) for name in names]
            run(tags, {k: v for k, v in row.items() if k not in known}, [*metrics, *series])

    study(search("rnn-activation", "20251231-100000"), [])
    study(search("rnn-activation"), runs_of("rnn-activation", [0.7, 0.72], "rnn", activation="none", hidden_size=64))
    gated = runs_of("gru-gate", [0.7, 0.8], "gru", activation="tanh", gate_activation="relu", hidden_size=64)
    gated += runs_of("gru-gate", [0.7, 0.8], "gru", activation="tanh", gate_activation="sigmoid", hidden_size=64)
    layers = (f"{schema.GRAD_NORM_OF}layers.0", f"{schema.GRAD_NORM_OF}output", schema.GRAD_NORM)
    study(search("gru-gate"), gated, *(Metric(name, 0.5 * epoch, time, epoch) for name in layers for epoch in (1, 2)))
    study(search("mlp-depth"), [])
    return f"sqlite:///{folder / 'mlflow.db'}"


def reproduce(*arguments: str, uri: str) -> Any:
    return CliRunner().invoke(app, ["reproduce", *arguments, "--tracking-uri", uri])


def test_the_page_and_its_figures(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = reproduce("--out", "page.md", uri=uri)
    assert (done.exit_code, done.stderr) == (0, "")
    page = Path("page.md").read_text(encoding="utf-8")
    assert "Made by `python -m analysis reproduce --out page.md`" in page
    for study in ("rnn-activation", "gru-gate", "gradient-norms"):
        assert f"](figures/{study}.png)" in page
        assert Path(f"figures/{study}.png").read_bytes().startswith(b"\x89PNG")
        rows = list(csv.DictReader(io.StringIO(Path(f"figures/{study}.csv").read_text(encoding="utf-8"))))
        assert rows
    assert search("rnn-activation").id in page
    assert "| 0.7100 | 0.7100 ± 0.0141 | +0.0000 |" in page
    assert "Data digest: d1." in page
    assert "torch 2" in page
    before = {path.name: path.read_bytes() for path in Path("figures").iterdir()}
    reproduce("--out", "page.md", uri=uri)
    assert {path.name: path.read_bytes() for path in Path("figures").iterdir()} == before


def test_a_page_of_the_searches_asked_for(uri: str) -> None:
    old = search("rnn-activation", "20251231-100000").id
    rows = json.loads(reproduce(old, "--only", "searches", "--format", "json", uri=uri).stdout)
    assert {row["study"]: row["search"] for row in rows}["rnn-activation"] == old


def test_programs_get_a_row_for_each_figure(uri: str) -> None:
    rows = list(csv.DictReader(io.StringIO(reproduce("--format", "csv", uri=uri).stdout)))
    assert {row["study"] for row in rows} == {"rnn-activation", "gru-gate"}
    assert len(rows) == 3 * (3 + 2)  # measures of three activations, with those printed but not run, and of two gates
    gradients = list(csv.DictReader(io.StringIO(reproduce("--only", "gradients", "--format", "csv", uri=uri).stdout)))
    assert [(row["layer"], row["epoch"], row["runs"]) for row in gradients[:2]] == [("layers.0", "1", "2")] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "conclusion"], "unknown part 'conclusion' (did you mean 'conclusions'?)"),
        (["report-rnn-activaton"], "no search 'report-rnn-activaton' (did you mean 'report-rnn-activation'?)"),
        (["--out", "nowhere/page.md"], "cannot write nowhere/page.md: there is no folder nowhere"),
        (["--format", "md"], "unknown format 'md'"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(uri: str, arguments: list[str], message: str) -> None:
    done = reproduce(*arguments, uri=uri)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {message}")
    assert len(done.stderr.splitlines()) == 1


def test_without_any_study(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "analysis", "reproduce", "--tracking-uri", f"sqlite:///{tmp_path / 'none.db'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: no MLflow database")
