"""What is read is what was recorded; and the command line around it."""

import csv
import io
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import command
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from typer.testing import CliRunner

from analysis.__main__ import app
from analysis.base import runs, tables
from analysis.base.reading import reading_once
from bakeoff import api, boards
from data.base.errors import UserError
from search.base import schema
from search.base.schema import Outcome
from search.spec.read import BEFORE
from search.spec.space import Range
from search.spec.spec import Spec
from search.train.metrics import METRICS

OLD, NEW, OTHER = "demo-20260101-100000", "demo-20260102-100000", "other-20260101-120000"


class Recorder:
    """Writes runs as `search.tracking` does, at times of its own."""

    def __init__(self, uri: str) -> None:
        self.uri, self.client, self.time = uri, MlflowClient(tracking_uri=uri), 1_767_261_600_000

    def search(self, id: str, **tags: str) -> str:
        name = id[: -len("-yyyymmdd-hhmmss")]
        experiment = self.client.get_experiment_by_name(name)
        artifacts = Path(self.uri.removeprefix("sqlite:///")).with_name("artifacts").as_uri()
        self.experiment = experiment.experiment_id if experiment else self.client.create_experiment(name, artifacts)
        self.id = id
        self.run_id = self._run({schema.KIND: schema.KIND_SEARCH, schema.SEARCH: id} | tags)
        return self.run_id

    def trial(self, name: str, params: dict[str, Any], metrics: dict[str, float], **tags: str) -> str:
        common = {schema.KIND: schema.KIND_TRIAL, schema.SEARCH: self.id, schema.TRIAL: name}
        run_id = self._run(common | {schema.PARENT_RUN_ID: self.run_id} | tags)
        self.client.log_batch(
            run_id,
            metrics=[Metric(key, value, self.time, 1) for key, value in metrics.items()],
            params=[Param(key, str(value)) for key, value in params.items()],
            tags=[RunTag(schema.NODE, "192.0.2.1")],
        )
        return run_id

    def _run(self, tags: dict[str, str]) -> str:
        self.time += 1000
        return str(self.client.create_run(self.experiment, start_time=self.time, tags=tags).info.run_id)


def metrics(val_accuracy: float) -> dict[str, float]:
    return {
        schema.best("val_accuracy"): val_accuracy,
        "val_accuracy": 0.111,  # of the last epoch, which is not the best one
        schema.best("train_loss"): 0.25,
        "test_accuracy": 0.5,
        schema.BEST_EPOCH: 2,
        schema.EPOCHS_RUN: 3,
        schema.NUM_PARAMETERS: 1234,
        schema.TRIAL_SECONDS: 1.5,
    }


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    """Three searches: the old demo with five trials, another without any, the new demo with a half-written one."""
    recorder = Recorder(f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}")
    recorder.search(OLD, metric="val_accuracy", outcome="complete", folder="somewhere")
    recorder.client.log_text(recorder.run_id, "name: demo\nspace:\n  dropout: {low: 0.0, high: 0.2}\n", "spec.yaml")
    common = {schema.SEED: 7, "hidden_size": 16, "learning_rate": 1e-05, "activation": "none", "clip": None}
    for number in range(3):
        params = {schema.ARCHITECTURE: "rnn"} | common | {"dropout": 0.1 * number}
        tags = {schema.NUMBER: str(number), schema.OUTCOME: Outcome.COMPLETE.value, schema.ATTEMPT: "1"}
        recorder.trial(f"rnn-{number}", params, metrics(0.5 + number / 10), **tags)
    params = {schema.ARCHITECTURE: "gru"} | common | {"dropout": 0, "window": 5, "label": '=1+1,"x"|y'}
    diverged = {schema.best("val_accuracy"): 0.9, schema.best("val_loss"): float("inf"), "test_loss": float("nan")}
    tags = {schema.NUMBER: "0", schema.OUTCOME: Outcome.DIVERGED.value, schema.ERROR: "loss is nan"}
    recorder.trial("gru-0", params, diverged, **tags)
    tags = {schema.NUMBER: "1", schema.OUTCOME: Outcome.PRUNED.value, schema.ATTEMPT: "two"}
    recorder.trial("gru-1", {k: v for k, v in params.items() if k != "dropout"}, metrics(0.95), **tags)
    recorder.search(OTHER)
    recorder.client.log_text(recorder.run_id, "space: [:", "spec.yaml")
    recorder.search(NEW, metric="val_loss", outcome="running")
    recorder.trial("rnn-0", {}, {})
    return recorder


@pytest.fixture(scope="session")
def trials(recorded: Recorder) -> pd.DataFrame:
    return runs.read_trials(recorded.uri, OLD)


# --- Metrics that only their search knows


@pytest.fixture
def opposed(tmp_path: Path) -> Iterator[Recorder]:
    """Two searches by a metric of the user's, whose direction was mended between them; nobody has read them yet."""
    recorder = Recorder(f"sqlite:///{tmp_path / 'mlflow.db'}")
    for id, maximize in ((OLD, True), (NEW, False)):
        recorder.search(id, metric="val_cost", metrics=json.dumps({"cost": [maximize, 5, ""]}))
        for number, cost in enumerate([0.4, 0.2]):
            tags = {schema.NUMBER: str(number), schema.OUTCOME: Outcome.COMPLETE.value}
            best = {schema.best("val_cost"): cost, "test_cost": cost, schema.TRIAL_SECONDS: 1}
            recorder.trial(f"mlp-{number}", {schema.ARCHITECTURE: "mlp", schema.SEED: 7}, best, **tags)
    before = dict(METRICS)
    yield recorder
    METRICS.clear()
    METRICS.update(before)


def test_the_search_that_is_asked_for_says_what_is_better(opposed: Recorder) -> None:
    runs.searches(opposed.uri)
    assert not METRICS["cost"].maximize  # as in the newest
    for id, best in ((OLD, "mlp-0"), (NEW, "mlp-1"), (OLD, "mlp-0")):
        (table,) = boards.leaderboard(opposed.uri, id, form="csv")
        assert table.frame["trial"][0] == best


def test_the_trials_of_a_search_have_its_own_metrics(opposed: Recorder, tmp_path: Path) -> None:
    assert list(api.Search(tmp_path / NEW, opposed.uri).trials()["val_cost"]) == [0.4, 0.2]


@pytest.mark.parametrize(
    "command",
    ["table --values test_cost"]
    + [f"{name} --rank-by val_cost" for name in ("leaderboard", "compare", "ledger", "importance", "report")],
)
def test_a_search_is_found_before_its_metric_is_checked(
    opposed: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [*command.split(), "--tracking-uri", opposed.uri])
    assert done.exit_code == 0, done.output


# --- Trials


def test_one_row_a_trial_in_the_order_they_started(trials: pd.DataFrame) -> None:
    assert list(trials["trial"]) == ["rnn-0", "rnn-1", "rnn-2", "gru-0", "gru-1"]
    assert list(trials["outcome"]) == ["complete"] * 3 + ["diverged", "pruned"]
    assert set(trials["search"]) == {OLD}
    assert trials["start"].is_monotonic_increasing


def test_scores_are_those_of_the_best_epoch(trials: pd.DataFrame) -> None:
    first = trials.iloc[1]
    assert first["val_accuracy"] == 0.6
    assert first["train_loss"] == 0.25
    assert first["test_accuracy"] == 0.5
    assert (first["best_epoch"], first["epochs_run"], first["num_parameters"], first["seconds"]) == (2, 3, 1234, 1.5)
    assert (first["number"], first["seed"], first["attempt"], first["node"]) == (1, 7, 1, "192.0.2.1")


def test_hyperparameters_are_known_and_have_their_own_types(trials: pd.DataFrame) -> None:
    names = ["hidden_size", "learning_rate", "activation", "clip", "dropout", "window", "label"]
    assert runs.hyperparameters(trials) == names
    assert trials.dtypes[["hidden_size", "window"]].astype(str).tolist() == ["Int64", "Int64"]
    assert trials.dtypes[["learning_rate", "dropout"]].astype(str).tolist() == ["float64", "float64"]
    assert trials["learning_rate"][0] == 1e-05
    assert trials["activation"][0] == "none"
    assert all(value is None for value in trials["clip"])
    assert trials["window"].isna().tolist() == [True, True, True, False, False]


def test_columns_are_the_same_in_the_same_order_whatever_was_recorded(recorded: Recorder, trials: pd.DataFrame) -> None:
    def fixed(frame: pd.DataFrame) -> dict[str, str]:
        return frame.drop(columns=runs.hyperparameters(frame)).dtypes.astype(str).to_dict()

    empty, half = runs.read_trials(recorded.uri, OTHER), runs.read_trials(recorded.uri, NEW)
    assert list(fixed(empty).items()) == list(fixed(half).items()) == list(fixed(trials).items())
    assert len(empty) == 0


def test_what_a_half_written_run_lacks_is_missing(recorded: Recorder) -> None:
    half = runs.read_trials(recorded.uri, NEW).iloc[0]
    assert (half["trial"], half["architecture"]) == ("rnn-0", "rnn")
    assert half[["number", "seed", "outcome", "val_accuracy", "num_parameters", "error", "end"]].isna().all()


def test_infinity_nan_and_unreadable_values(trials: pd.DataFrame) -> None:
    diverged, pruned = trials.iloc[3], trials.iloc[4]
    assert diverged["val_loss"] == float("inf")  # MLflow keeps 1.8e308
    assert pd.isna(diverged["test_loss"])
    assert diverged["error"] == "loss is nan"
    assert pd.isna(pruned["attempt"])  # 'two'


def test_numbers_and_text_in_one_hyperparameter_stay_what_they_are() -> None:
    frame = runs.tidy([{"trial": "rnn-0", "hidden_size": 8}, {"trial": "rnn-1", "hidden_size": "large"}])
    assert runs.hyperparameters(frame) == ["hidden_size"]
    assert frame["hidden_size"].tolist() == [8, "large"]


@pytest.mark.parametrize("page_size", [1, 2, 5])
def test_pages_make_no_difference(recorded: Recorder, trials: pd.DataFrame, page_size: int) -> None:
    pd.testing.assert_frame_equal(runs.read_trials(recorded.uri, OLD, page_size=page_size), trials)


def test_within_reading_once_the_same_is_read_once(recorded: Recorder) -> None:
    with reading_once():
        first = runs.read_trials(recorded.uri, OLD)
        assert runs.read_trials(recorded.uri, OLD) is first
        assert runs.read_trials(recorded.uri, NEW) is not first
        assert runs.searches(recorded.uri) is runs.searches(recorded.uri)
    again = runs.read_trials(recorded.uri, OLD)
    assert again is not first
    pd.testing.assert_frame_equal(again, first)


# --- Series


def log_series(recorder: Recorder, run_id: str, name: str, *points: tuple[int, float]) -> None:
    recorder.time += 1000
    recorder.client.log_batch(run_id, metrics=[Metric(name, value, recorder.time, step) for step, value in points])


def test_series_by_run_metric_and_step(tmp_path: Path) -> None:
    recorder = Recorder(f"sqlite:///{tmp_path / 'mlflow.db'}")
    recorder.search(OLD)
    first, second, other = (recorder.trial(f"rnn-{number}", {}, {}) for number in range(3))
    log_series(recorder, first, "val_loss", (1, 0.75), (2, float("nan")), (3, float("inf")))
    log_series(recorder, first, "curve_loss", (100, 0.25), (50, 0.5))  # written again, out of order
    log_series(recorder, first, "curve_loss", (50, 0.5), (100, 0.125))
    log_series(recorder, second, "val_loss", (1, 0.5))
    log_series(recorder, other, "val_loss", (1, 0.5))

    series = runs.read_series(recorder.uri, [second, first, second], ["val_loss", "curve_loss", "missing"])

    expected = [
        (second, "val_loss", 1, 0.5),
        (first, "val_loss", 1, 0.75),
        (first, "val_loss", 2, float("nan")),
        (first, "val_loss", 3, float("inf")),
        (first, "curve_loss", 50, 0.5),
        (first, "curve_loss", 100, 0.125),
    ]
    dtypes = {"run_id": "str", "metric": "str", "step": "Int64", "value": "float64"}
    pd.testing.assert_frame_equal(series, pd.DataFrame(expected, columns=list(dtypes)).astype(dtypes))
    nothing = runs.read_series(recorder.uri, ["nobody"], ["val_loss"])
    assert (len(nothing), nothing.dtypes.astype(str).to_dict()) == (0, dtypes)


# --- Searches


def test_searches_oldest_first_with_what_is_known_of_them(recorded: Recorder) -> None:
    old, other, new = runs.searches(recorded.uri)
    assert [each.id for each in (old, other, new)] == [OLD, OTHER, NEW]
    assert (old.name, old.metric, old.outcome, old.tags["folder"]) == ("demo", "val_accuracy", "complete", "somewhere")
    assert (other.metric, other.outcome, other.start.tzname()) == (None, None, "UTC")


def test_a_search_is_found_by_id_name_run_id_and_latest(recorded: Recorder) -> None:
    def find(search: str) -> str:
        return runs.find_search(recorded.uri, search).id

    assert find("latest") == find("demo") == find(NEW) == NEW
    assert find(OLD) == OLD
    assert find("other") == OTHER
    assert find(runs.find_search(recorded.uri, OLD).run_id) == OLD


def test_a_wrong_search_gets_the_nearest_and_the_newest(recorded: Recorder) -> None:
    with pytest.raises(ValueError, match=rf"no search 'dmeo' \(did you mean 'demo'\?\); the newest: {NEW}, {OTHER}"):
        runs.find_search(recorded.uri, "dmeo")
    with pytest.raises(ValueError, match="no search 'zzz'; the newest"):
        runs.find_search(recorded.uri, "zzz")


def test_reading_makes_no_database(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no MLflow database .*missing\.db"):
        runs.find_search(f"sqlite:///{tmp_path / 'missing.db'}")
    (tmp_path / "empty.db").touch()
    with pytest.raises(ValueError, match="not an MLflow database"):
        runs.find_search(f"sqlite:///{tmp_path / 'empty.db'}")
    (tmp_path / "text.db").write_text("no database at all, but long enough to be looked at" * 50)
    with pytest.raises(ValueError, match=r"cannot read .*text\.db: file is not a database"):
        runs.find_search(f"sqlite:///{tmp_path / 'text.db'}")
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE cats (name)").connection.close()
    with pytest.raises(ValueError, match="not an MLflow database"):
        runs.find_search(f"sqlite:///{tmp_path / 'other.db'}")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["empty.db", "other.db", "text.db"]
    assert (tmp_path / "empty.db").stat().st_size == 0


def test_a_database_given_as_a_path_and_an_unknown_scheme(recorded: Recorder) -> None:
    path = recorded.uri.removeprefix("sqlite:///")
    with pytest.raises(ValueError, match=f"is written '{recorded.uri}'"):
        runs.find_search(path)
    with pytest.raises(ValueError, match=r"cannot read foo://user:\*\*\*@host") as error:
        runs.find_search("foo://user:secret@host")
    assert "secret" not in str(error.value)


def test_several_searches_each_once_in_the_order_asked_for(recorded: Recorder, trials: pd.DataFrame) -> None:
    found = runs.find_searches(recorded.uri, ["demo", OLD, "latest", NEW])
    assert [search.id for search in found] == [NEW, OLD]
    with pytest.raises(ValueError, match=r"no search 'dmeo' \(did you mean 'demo'\?\)"):
        runs.find_searches(recorded.uri, ["demo", "dmeo"])
    both = runs.read_trials(recorded.uri, NEW, OLD)
    assert both["search"].tolist() == [NEW] + [OLD] * len(trials)
    assert both["clip"].isna().tolist() == [True] * 6
    assert both["hidden_size"].dtype == trials["hidden_size"].dtype


def test_the_spec_of_a_search_is_read_from_json_and_of_an_old_one_from_yaml(
    recorded: Recorder, capfd: pytest.CaptureFixture[str]
) -> None:
    def find(id: str) -> runs.Search:
        return runs.find_search(recorded.uri, id)

    old = find(OLD)
    assert old.load_spec() == Spec(name="demo", space={"dropout": {"low": 0.0, "high": 0.2}}, **BEFORE)
    assert old.spaces
    assert old.spaces["rnn"]["dropout"] == Range(0.0, 0.2)
    assert find(NEW).spec is find(OTHER).spaces is None
    for id, reason in ((NEW, "the spec is not in MLflow"), (OTHER, r"spec\.yaml: not YAML")):
        with pytest.raises(UserError, match=reason) as raised:
            find(id).load_spec()
        assert "\n" not in str(raised.value)
    recorded.client.log_text(
        old.run_id, Spec(name="newer", corpus="csv:gone \U0001f600.csv").model_dump_json(), schema.SPEC
    )
    try:
        assert find(OLD).load_spec() == Spec(name="newer", corpus="csv:gone \U0001f600.csv")
    finally:
        (Path(recorded.client.get_run(old.run_id).info.artifact_uri.removeprefix("file://")) / schema.SPEC).unlink()
    assert capfd.readouterr().err == ""  # MLflow would draw a progress bar


# --- The command line


def test_leaderboard_prints_the_summary_the_ranking_and_the_rule(recorded: Recorder, tmp_path: Path) -> None:
    done = command("analysis", "leaderboard", OLD, "--tracking-uri", recorded.uri, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    first, summary, ranking = done.stdout.split(f"\n\n{OLD}: ")
    assert "  Best of all by validation accuracy is rnn-" in first
    assert "the best of each architecture by val_accuracy" in summary
    rows = [line.split() for line in ranking.splitlines()]
    assert [row[1] for row in rows if row and row[0] in list("12345") and row[1] != "trials"] == [
        "rnn-2",
        "rnn-1",
        "rnn-0",
        "gru-1",
    ]
    assert schema.SCORE_RULE in " ".join(done.stdout.split())
    assert "Not ranked, diverged: gru-0: loss is nan" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120
    assert list(tmp_path.iterdir()) == []  # reading leaves nothing behind


def test_leaderboard_writes_files_of_all_trials(recorded: Recorder, tmp_path: Path) -> None:
    asked = (OLD, "--tracking-uri", recorded.uri, "--out", "board.csv")
    done = command("analysis", "leaderboard", *asked, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"wrote 5 rows to {tmp_path / 'board.csv'}\n")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "board.csv").read_text(encoding="utf-8"), newline="")))
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4", ""]
    assert rows[3]["label"] == """'=1+1,"x"|y"""
    assert {len(row["run_id"]) for row in rows} == {32}


def in_process(*arguments: str, uri: str) -> Any:
    """As `command`, without the seconds that importing MLflow takes."""
    return CliRunner().invoke(app, arguments, env={"MLFLOW_TRACKING_URI": uri})


def test_the_best_of_each_architecture_in_any_format(recorded: Recorder) -> None:
    best = json.loads(in_process("leaderboard", OLD, "--format", "json", "--by-architecture", uri=recorded.uri).stdout)
    assert [(row["architecture"], row["trial"], row["complete"]) for row in best] == [
        ("rnn", "rnn-2", 3),
        ("gru", "gru-1", 0),
    ]


def test_the_search_says_what_it_is_ranked_by(recorded: Recorder) -> None:
    """The newest search ranks by val_loss and has one trial, half written."""
    done = in_process("leaderboard", uri=recorded.uri)
    assert done.exit_code == 0, done.stderr
    assert f"{NEW}: of 1 trial none can be ranked." in done.stdout
    assert "Ranked by val_loss, lower is better" in done.stdout


def test_an_empty_search_is_a_sentence(recorded: Recorder) -> None:
    done = in_process("leaderboard", "other", uri=recorded.uri)
    assert (done.exit_code, done.stdout.splitlines()[0]) == (0, f"{OTHER} has no trials yet.")


def test_top_and_architecture(recorded: Recorder) -> None:
    done = in_process("leaderboard", OLD, "--top", "1", "--architecture", "rnn", "--format", "csv", uri=recorded.uri)
    assert [row["trial"] for row in csv.DictReader(io.StringIO(done.stdout))] == ["rnn-2"]


COMMANDS = ["leaderboard", "table", "compare", "ledger", "importance"]


@pytest.mark.parametrize("form", tables.TEXTS)
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_in_every_format(recorded: Recorder, tmp_path: Path, name: str, form: str) -> None:
    out = tmp_path / f"it.{form}"
    done = in_process(name, OLD, "--format", form, "--out", str(out), "--tracking-uri", recorded.uri, uri="")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("wrote ")
    text = out.read_bytes().decode()
    assert "rnn" in text
    if form == "json":
        assert json.loads(text)
    if form == "csv":
        assert len({len(row) for row in csv.reader(io.StringIO(text, newline=""))}) == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_searches_without_results(recorded: Recorder, name: str) -> None:
    empty, half = (in_process(name, search, uri=recorded.uri) for search in ("other", NEW))
    assert (empty.exit_code, half.exit_code) == (0, 0)
    assert "no trials yet" in empty.stdout.splitlines()[0]


def test_a_table_over_seeds(recorded: Recorder) -> None:
    asked = ("--rows", "architecture", "--columns", "activation", "--values", "train_loss,num_parameters")
    done = in_process("table", OLD, *asked, "--format", "json", uri=recorded.uri)
    assert json.loads(done.stdout) == [
        {
            "architecture": "rnn",
            "activation": "none",
            "train_loss_mean": 0.25,
            "train_loss_sd": 0.0,
            "train_loss_trials": 3,
            "num_parameters_mean": 1234.0,
            "num_parameters_sd": 0.0,
            "num_parameters_trials": 3,
        }
    ]
    read = in_process("table", OLD, *asked, uri=recorded.uri).stdout
    assert "0.2500 ± 0.0000 (3)" in read
    assert "Counted: 3 trials (complete). Left out: 1 diverged, 1 pruned." in read


def test_searches_are_compared(recorded: Recorder) -> None:
    done = in_process("compare", OLD, NEW, "other", "--format", "csv", uri=recorded.uri)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [(row["architecture"], row["search"], row["trial"], row["trials"]) for row in rows] == [
        ("rnn", OLD, "rnn-2", "3"),
        ("rnn", NEW, "", "1"),
        ("gru", OLD, "gru-1", "2"),
    ]


def test_the_ledger_warns(recorded: Recorder) -> None:
    printed = in_process("ledger", OLD, uri=recorded.uri).stdout
    assert "Warning: gru was searched less: 2 trials, 3 for rnn (less than 80%)." in printed


def test_importance_knows_the_bounds_of_the_spec(recorded: Recorder) -> None:
    printed = in_process("importance", OLD, uri=recorded.uri).stdout
    assert "rnn, dropout: the best is at the bound 0.2." in printed
    only = in_process("importance", OLD, "--architecture", "gru", uri=recorded.uri).stdout
    assert "rnn" not in only


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["leaderboard", "dmeo"], "no search 'dmeo' (did you mean 'demo'?)"),
        (["leaderboard", "demo", "--rank-by", "test_f1"], "cannot rank by test_f1: nothing is chosen on the test set"),
        (["leaderboard", OLD, "--architecture", "grru"], "unknown architecture 'grru' (did you mean 'gru'?)"),
        (["leaderboard", "demo", "--out", "nowhere/a.csv"], "cannot write nowhere/a.csv: there is no folder nowhere"),
        (["leaderboard", "--tracking-uri", "sqlite:///none.db"], "no MLflow database"),
        (["table", OLD, "--rows", "hiden_size"], "unknown row 'hiden_size' (did you mean 'hidden_size'?)"),
        (["table", OLD, "--columns", "actvation"], "unknown column 'actvation' (did you mean 'activation'?)"),
        (["table", OLD, "--values", "test_f2"], "unknown value 'test_f2' (did you mean 'test_f1'?)"),
        (["table", OLD, "--outcomes", "prund"], "unknown outcome 'prund' (did you mean 'pruned'?)"),
        (["compare", OLD, "dmeo"], "no search 'dmeo' (did you mean 'demo'?)"),
        (["ledger", OLD, "--rank-by", "test_f1"], "cannot rank by test_f1"),
        (["importance", OLD, "--format", "cvs"], "unknown format 'cvs' (did you mean 'csv'?)"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(recorded: Recorder, arguments: list[str], message: str) -> None:
    done = in_process(*arguments, uri=recorded.uri)
    assert (done.exit_code, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"error: {message}")


def test_a_mistake_in_a_process_of_its_own(tmp_path: Path) -> None:
    done = command("analysis", "leaderboard", cwd=tmp_path, MLFLOW_TRACKING_URI="")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: no MLflow database {tmp_path / 'mlflow.db'}; run a search there first")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_help_imports_nothing_heavy(tmp_path: Path, name: str) -> None:
    code = (
        f"import sys, runpy; sys.argv = ['analysis', '{name}', '--help']\n"
        "try: runpy.run_module('analysis', run_name='__main__')\n"
        "except SystemExit as done: assert not done.code\n"
        "print(sorted({'mlflow', 'pandas', 'numpy', 'sqlalchemy', 'scipy', 'optuna'} & set(sys.modules)))"
    )
    (tmp_path / "help.py").write_text(code)
    done = command("help", cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
    assert "--tracking-uri" in done.stdout
