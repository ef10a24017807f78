"""The MLflow runs of a search after an outage, a deletion, a resume with another spec, and from another folder."""

import errno
import os
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow.entities import ViewType

from analysis.base import runs
from analysis.boards.ledger import ledger
from analysis.figures import best_so_far
from analysis.figures.plot import PlotData
from bakeoff import api
from data.base.errors import UserError
from search.base import origin, schema
from search.prove.audit import audit, repair
from search.run.folders import find_searches, new_search, write_spec
from search.run.state import outcome_of, reconcile
from search.spec import read as specs
from search.spec.read import read_spec
from search.study import study
from search.study.studies import Studies
from search.study.trial import Worker
from search.track.recorded import read_runs
from search.track.tracking import Tracker
from search.train import checkpoints
from search.train.training import Result
from tests.conftest import here

SPEC = {"name": "kept", "architectures": ["mlp", "gru"], "baselines": "none", "trials": 2, "epochs": 2}
SPEC |= {"pruner": "none", "keep_checkpoints": "best"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """A clock for events that is an hour late and advances a minute per call, unlike times of delivery."""
    at = [origin.now_ms() - 3_600_000]

    def now() -> int:
        at[0] += 60_000
        return at[0]

    monkeypatch.setattr(study, "now_ms", now)
    return now


def result(epoch: int, score: float) -> Result:
    metrics = {"val_accuracy": score, "val_loss": 1 / epoch}
    return Result(epoch, metrics, [(epoch, 0.5, 0.5)], epoch, metrics, None, float(epoch))


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs, shared because creating one takes seconds."""
    folder = tmp_path_factory.mktemp("mlflow")
    mlflow.MlflowClient(tracking_uri=uri_in(folder)).search_experiments()
    return folder / "mlflow.db"


def uri_in(folder: Path) -> str:
    return f"sqlite:///{folder / 'mlflow.db'}"


@pytest.fixture
def new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Callable[[], int], empty: Path) -> Path:
    """The folder of a search that has not run yet, with empty databases next to it and in the folder above."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = new_search(specs.validate(SPEC), tmp_path / "searches")
    for each in (tmp_path, tmp_path / "searches"):
        shutil.copy(empty, each)
    return folder


@pytest.fixture
def search(new: Path, tmp_path: Path) -> Path:
    """A search that ran without Ray, and is recorded in the database of this folder."""
    folder = new
    go_on(folder, uri_in(tmp_path))
    return folder


def go_on(folder: Path, uri: str, away: bool = False) -> None:
    """Runs the remaining trials of a search. away: whether MLflow is unreachable until they are done."""
    studies = Studies(folder.name, read_spec(folder), folder, "resume")
    studies.provenance = {"data_digest": "d" * 64}
    checkpoints.prepare(folder, None)
    tracker = Tracker(uri, studies)
    origin.keep_uri(folder, uri)
    reconcile(studies, tracker)
    studies.listeners = [] if away else [tracker]
    at_once = [trial for trial in (studies.ask() for _ in range(2)) if trial]
    while at_once:
        for epoch in (1, 2):
            for trial in at_once:
                studies.report(trial, result(epoch, 0.5 + trial.number / 10), Worker("127.0.0.1", 7))
        at_once = [trial for trial in (studies.ask() for _ in range(2)) if trial]
    for trial in studies.trials():
        checkpoints.save(checkpoints.folder_of(folder, trial.name), 2, {"any": 1}, 1)
    reconcile(studies, tracker)
    assert tracker.close(outcome_of(studies))


def seen(uri: str, search: str) -> list[pd.DataFrame]:
    """The analysis's frame of a search, without run ids; and all points of its curves with their times."""
    trials = runs.read_trials(uri, search)
    client = mlflow.MlflowClient(tracking_uri=uri)
    names = ("epochs_run", "val_accuracy", schema.CURVE_LOSS)
    points = [
        (trial, name, point.step, point.value, point.timestamp)
        for trial, run_id in zip(trials["trial"], trials["run_id"], strict=True)
        for name in names
        for point in client.get_metric_history(run_id, name)
    ]
    drawn = best_so_far.data(PlotData(trials, rank_by="val_accuracy"))
    frames = [trials, ledger(trials), drawn]
    return [*(frame.drop(columns="run_id", errors="ignore") for frame in frames), pd.DataFrame(points)]


def test_after_an_outage_or_a_repair_from_nothing_all_is_as_in_an_undisturbed_search(
    search: Path, tmp_path: Path
) -> None:
    uri = uri_in(tmp_path)
    assert audit(search, uri) == []
    undisturbed = seen(uri, search.name)
    assert undisturbed[0]["start"].is_monotonic_increasing
    again = uri_in(tmp_path / "searches")
    repair(search, again)
    assert audit(search, again) == []
    for before, after in zip(undisturbed, seen(again, search.name), strict=True):
        pd.testing.assert_frame_equal(before, after)
    theirs, ours = (runs.find_search(each, search.name) for each in (uri, again))
    assert (theirs.start, theirs.end) == (ours.start, ours.end)


def test_what_came_while_mlflow_was_away_has_its_own_times(new: Path, tmp_path: Path) -> None:
    folder = new
    go_on(folder, uri_in(tmp_path), away=True)
    assert audit(folder, uri_in(tmp_path)) == []
    trials = Studies(folder.name, read_spec(folder), folder).trials()
    frame = runs.read_trials(uri_in(tmp_path), folder.name).set_index("trial")
    for trial in trials:
        assert frame["start"][trial.name] == pd.Timestamp(trial.started, unit="ms", tz="UTC")
        assert frame["end"][trial.name] == pd.Timestamp(trial.ended, unit="ms", tz="UTC")


def test_audit_compares_times_and_repair_mends_them(search: Path, tmp_path: Path) -> None:
    uri = uri_in(tmp_path)
    client = mlflow.MlflowClient(tracking_uri=uri)
    first, second, *_ = Studies(search.name, read_spec(search), search).trials()
    assert first.run_id
    assert first.ended
    assert second.run_id
    client.set_terminated(first.run_id, "FINISHED", end_time=first.ended + 1)
    client.log_metric(second.run_id, schema.EPOCHS_RUN, 2.0, timestamp=origin.now_ms(), step=2)
    lines = audit(search, uri)
    assert [line.partition(":")[0] for line in lines] == [first.name, second.name], lines
    assert "ended at" in lines[0]
    assert "report 2 came at" in lines[1]
    repair(search, uri)
    assert audit(search, uri) == []
    assert len(runs.read_trials(uri, search.name)) == 4


def test_a_report_that_was_none_is_mended_by_a_new_run(search: Path, tmp_path: Path) -> None:
    uri = uri_in(tmp_path)
    client = mlflow.MlflowClient(tracking_uri=uri)
    first, second, *_ = Studies(search.name, read_spec(search), search).trials()
    assert first.run_id
    assert second.run_id
    client.log_metric(first.run_id, schema.EPOCHS_RUN, 17.0, step=17)
    client.log_metric(second.run_id, schema.best("val_accuracy"), 0.99, step=17)
    before = {run.run_id for run in read_runs(uri, search.name).runs}
    assert [line.partition(":")[0] for line in audit(search, uri)] == [first.name, second.name]
    repair(search, uri)
    assert audit(search, uri) == []
    after = {run.run_id for run in read_runs(uri, search.name).runs}
    assert before - after == {first.run_id, second.run_id}
    assert len(after) == 4


@pytest.mark.parametrize("with_trials", [False, True])
@pytest.mark.parametrize("purged", [False, True])
def test_a_deleted_search_run_is_named_and_restored_or_remade(
    with_trials: bool, purged: bool, search: Path, tmp_path: Path
) -> None:
    uri = uri_in(tmp_path)
    client = mlflow.MlflowClient(tracking_uri=uri)
    recorded = read_runs(uri, search.name)
    own = recorded.own[0].run_id
    ensemble = client.create_run(
        client.get_run(own).info.experiment_id,
        tags={schema.KIND: schema.KIND_ENSEMBLE, schema.SEARCH: search.name, schema.PARENT_RUN_ID: own},
    ).info.run_id
    deleted = [own, *(run.run_id for run in recorded.runs if with_trials)]
    for run_id in deleted:
        client.delete_run(run_id)
        if purged:
            client._tracking_client.store._hard_delete_run(run_id)
    lines = audit(search, uri)
    assert lines[0] == ("no run of the search" if purged else f"the search's run {own} was deleted")
    assert len(lines) > 4  # and each trial, as deleted or as under none
    repair(search, uri)
    assert audit(search, uri) == []
    repaired = read_runs(uri, search.name)
    assert (repaired.own[0].run_id == own) is not purged
    assert {run.parent for run in repaired.runs} == {repaired.own[0].run_id}
    assert {run.run_id for run in repaired.runs} == {run.run_id for run in recorded.runs} or (with_trials and purged)
    assert repaired.others == {ensemble: repaired.own[0].run_id}
    assert len(repaired.runs) == 4


def test_a_deleted_experiment_says_how_to_restore_it(search: Path, tmp_path: Path) -> None:
    uri = uri_in(tmp_path)
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("kept")
    client.delete_experiment(experiment.experiment_id)
    for broken in (lambda: repair(search, uri), lambda: audit(search, uri)):
        with pytest.raises(UserError, match=r"experiment 'kept' was deleted .* mlflow experiments restore .*-id \d+$"):
            broken()
    client.restore_experiment(experiment.experiment_id)
    repair(search, uri)
    assert audit(search, uri) == []


def test_a_renamed_experiment_keeps_its_search(search: Path, tmp_path: Path) -> None:
    uri = uri_in(tmp_path)
    client = mlflow.MlflowClient(tracking_uri=uri)
    client.rename_experiment(client.get_experiment_by_name("kept").experiment_id, "mine")
    before = {run.run_id for run in read_runs(uri, search.name).runs}
    repair(search, uri)
    assert {run.run_id for run in read_runs(uri, search.name).runs} == before
    assert [each.name for each in client.search_experiments(view_type=ViewType.ALL)].count("kept") == 0


def test_a_raised_number_of_trials_is_in_mlflow_too(search: Path, tmp_path: Path) -> None:
    uri = uri_in(tmp_path)
    write_spec(specs.validate(read_spec(search).model_dump() | {"trials": 3, "time_budget": "2h"}), search)
    lines = audit(search, uri)
    assert "trials 3 in the search's spec, its run says 2" in lines
    assert "time_budget 7200.0 in the search's spec, its run says None" in lines
    go_on(search, uri)
    assert audit(search, uri) == []
    recorded = runs.find_search(uri, search.name)
    assert recorded.load_spec().trials == 3
    data = mlflow.MlflowClient(tracking_uri=uri).get_run(recorded.run_id).data
    assert (data.tags["spec.trials"], data.tags["spec.time_budget"]) == ("3", "7200.0")
    assert "trials" not in data.params  # which MLflow would not change
    assert data.params["epochs"] == "2"


def test_another_database_costs_the_first_no_run(search: Path, tmp_path: Path) -> None:
    uri, other = uri_in(tmp_path), uri_in(tmp_path / "searches")
    before = {run.run_id for run in read_runs(uri, search.name).runs}
    repair(search, other)
    assert audit(search, other) == []
    repair(search, uri)
    assert audit(search, uri) == []
    assert {run.run_id for run in read_runs(uri, search.name).runs} == before
    client = mlflow.MlflowClient(tracking_uri=uri)
    (experiment,) = [each.experiment_id for each in client.search_experiments() if each.name == "kept"]
    assert len(client.search_runs([experiment], run_view_type=ViewType.ALL)) == 5


def test_a_search_is_audited_where_it_is_recorded_from_wherever(
    search: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    uri, other = uri_in(tmp_path), uri_in(tmp_path / "searches")
    where = ("--searches", str(search.parent))
    done = here("search", "audit", search.name, "--repair", *where, cwd=elsewhere)
    assert (done.returncode, done.stderr) == (0, "")
    assert not list(elsewhere.iterdir())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", other)
    done = here("search", "audit", search.name, *where, cwd=elsewhere)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == (
        f"{search.name} is recorded at {uri}, not at the given tracking URI, {other}"
    )
    assert done.stderr.endswith(f"--repair mends the runs at {other}\n")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    moved = tmp_path / "moved"  # with its database, and all is there
    moved.mkdir()
    shutil.move(tmp_path / "searches", moved)
    shutil.move(tmp_path / "mlflow.db", moved)
    assert origin.tracking_uri(moved / "searches" / search.name) == uri_in(moved)
    assert here("search", "audit", cwd=moved).returncode == 0


def test_a_tracking_uri_is_remembered_without_its_secret(new: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    for uri in ("postgresql://me:hunter2@db/mlflow", "https://me:hunter2@host/", "https://host/?token=hunter2"):
        origin.keep_uri(new, uri)
        assert "hunter2" not in (new / origin.FILE).read_text()
        with pytest.raises(UserError, match=r"is recorded at .*, whose password is not kept"):
            origin.tracking_uri(new)
        assert origin.tracking_uri(new, uri, lines.append) == uri
    assert lines == []  # it is the same one


def test_a_database_beside_the_searches_moves_with_them_whatever_its_driver(new: Path, tmp_path: Path) -> None:
    origin.keep_uri(new, f"sqlite+pysqlite:///{tmp_path}/mlflow.db")
    moved = tmp_path / "moved"
    shutil.move(tmp_path / "searches", moved / "searches")
    assert origin.read(moved / "searches" / new.name).tracking_uri == f"sqlite+pysqlite:///{moved}/mlflow.db"


def test_a_database_that_is_gone_gives_way_to_the_one_here(new: Path, tmp_path: Path) -> None:
    origin.keep_uri(new, "sqlite:////gone/mlflow.db")
    lines: list[str] = []
    assert origin.tracking_uri(new, None, lines.append) == uri_in(tmp_path)
    assert "which no longer exists" in lines[0]


@pytest.mark.parametrize("place", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_ids_are_in_utc_and_the_latest_goes_by_its_start(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", place)
    time.tzset()
    try:
        older = new_search(specs.validate(SPEC | {"name": "b"}), tmp_path)
        stamp = datetime.strptime(older.name, "b-%Y%m%d-%H%M%S").replace(tzinfo=UTC)
        assert abs((stamp - datetime.now(UTC)).total_seconds()) < 60
    finally:
        monkeypatch.undo()
        time.tzset()
    newer = tmp_path / "a-20010101-000000"  # by its id the older one
    newer.mkdir()
    shutil.copy(older / "spec.yaml", newer)
    origin.start(newer)
    assert find_searches("latest", tmp_path) == [older, newer]


def test_latest_is_of_the_folder_else_of_the_server_and_says_whose(
    search: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = uri_in(tmp_path)
    theirs = new_search(specs.validate(SPEC | {"name": "theirs"}), tmp_path / "other")
    monkeypatch.setattr("getpass.getuser", lambda: "bob")
    go_on(theirs, uri)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert runs.find_search(uri).id == search.name
    assert capsys.readouterr().err == f"latest is {search.name}\n"
    done = here("search", "audit", cwd=tmp_path)
    assert done.stderr == f"latest is {search.name}\n"
    monkeypatch.chdir(tmp_path / "other")
    for find in (runs.find_search, lambda uri: api.open(tracking_uri=uri)):
        assert find(uri).id == theirs.name
        assert capsys.readouterr().err.splitlines()[0] == f"latest is {theirs.name}, started by bob"
    assert [each.id for each in runs.find_searches(uri, ["latest", "latest"])] == [theirs.name]
    assert capsys.readouterr().err == f"latest is {theirs.name}, started by bob\n"
    assert runs.find_search(uri, theirs.name).id == theirs.name
    assert capsys.readouterr().err == ""


def test_a_disk_that_cannot_read_the_start_does_not_lose_it(new: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.read_bytes

    def fails(path: Path) -> bytes:
        if path.name != origin.FILE:
            return read(path)
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    origin.start(new)
    before = (new / origin.FILE).read_bytes()
    with monkeypatch.context() as disk:
        disk.setattr(Path, "read_bytes", fails)
        origin.keep_uri(new, "sqlite:////elsewhere/mlflow.db")
        with pytest.raises(UserError, match=r"MLflow .* cannot be used: .*Input/output error.*search\.json"):
            go_on(new, uri_in(new.parents[1]))
    assert (new / origin.FILE).read_bytes() == before
    go_on(new, uri_in(new.parents[1]))


def test_the_leaderboard_is_read_where_the_search_is_recorded(search: Path, tmp_path: Path) -> None:
    shutil.move(tmp_path / "mlflow.db", tmp_path / "mine.db")
    origin.keep_uri(search, f"sqlite:///{tmp_path / 'mine.db'}")
    done = here("analysis", "leaderboard", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert search.name in done.stdout
