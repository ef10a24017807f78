"""The one MLflow writer against a real database: answers that get lost, clocks that step back, limits, passwords."""

import dataclasses
import io
import itertools
import shutil
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import mlflow
import pytest
from PIL import Image
from rich.console import Console
from sqlalchemy import make_url

import models
from analysis.base import runs
from data.base.errors import UserError, in_short
from search.base import mlflow_uri, origin, schema
from search.base.schema import Outcome
from search.prove.audit import audit
from search.run import run as search_run
from search.run.folders import new_search, write_spec
from search.run.state import outcome_of, reconcile
from search.spec import read as specs
from search.spec.read import read_spec
from search.study import study
from search.study.storage import JOURNAL
from search.study.studies import Studies
from search.study.trial import Trial, Worker
from search.track import tables, tracking
from search.track.client import first_line, open_client
from search.track.recorded import read_runs
from search.track.tracking import Tracker
from search.train import checkpoints
from search.train.metrics import METRICS
from search.train.training import Result

HERE = Worker("127.0.0.1", 7)


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


numbers = itertools.count()


@pytest.fixture
def open_search(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A search of its own with its tracker, and the warnings the user would see."""
    monkeypatch.chdir(tmp_path)
    search = f"fake-20260101-{next(numbers):06}"

    def open_(interval: float = 0.0, **changes: Any) -> tuple[Studies, Tracker, list[str]]:
        warnings: list[str] = []
        content = {"name": "fake", "architectures": ["mlp"], "trials": 3, "epochs": 5, "pruner": "none"}
        content |= {"baselines": "none"} | changes
        spec = specs.validate(content)
        studies = Studies(search, spec, tmp_path, "resume")
        tracker = Tracker(uri, studies, warnings.append, interval=interval)
        studies.listeners = [tracker]
        studies.provenance = {"data_digest": "d" * 64}
        return studies, tracker, warnings

    return open_


def result(epoch: int, curve: int = 1) -> Result:
    points = [((epoch - 1) * curve + i, 0.5, 0.5) for i in range(curve)]
    metrics = {"val_accuracy": 0.5 + epoch / 100, "val_loss": 1 / epoch}
    return Result(epoch, metrics, points, epoch, metrics, None, float(epoch))


def ask(studies: Studies) -> Trial:
    trial = studies.ask()
    assert trial
    return trial


def run_of(uri: str, trial: Trial) -> Any:
    assert trial.run_id
    return mlflow.MlflowClient(tracking_uri=uri).get_run(trial.run_id)


def test_a_report_is_one_batched_call(uri: str, open_search: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    studies, tracker, _ = open_search()
    trial = ask(studies)
    calls: list[str] = []
    for name in ("log_batch", "log_metric", "set_tag", "update_run", "get_run", "search_runs", "set_terminated"):
        real = getattr(tracker._client, name)
        monkeypatch.setattr(
            tracker._client, name, lambda *a, _name=name, _real=real, **k: (calls.append(_name), _real(*a, **k))[1]
        )
    studies.report(trial, result(1), HERE)
    assert calls == ["log_batch"]


def test_between_deliveries_reports_are_collected_and_written_together(
    uri: str, open_search: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(tracking.time, "monotonic", lambda: now)
    studies, tracker, warnings = open_search(interval=1.0)
    batches: list[str] = []
    real = tracker._client.log_batch
    monkeypatch.setattr(tracker._client, "log_batch", lambda *a, **k: (batches.append(a[0]), real(*a, **k))[1])
    trial = ask(studies)
    assert run_of(uri, trial).info.status == "RUNNING"  # a start does not wait
    now += 0.9
    studies.report(trial, result(1), HERE)
    studies.report(trial, result(2), HERE)
    tracker.deliver_due()
    assert "epochs_run" not in run_of(uri, trial).data.metrics
    now += 0.2
    tracker.deliver_due()
    assert run_of(uri, trial).data.metrics["epochs_run"] == 2
    studies.report(trial, result(3), HERE)
    tracker.deliver_due()
    assert run_of(uri, trial).data.metrics["epochs_run"] == 2
    studies.finish(trial, Outcome.PRUNED)  # nor does an end
    assert run_of(uri, trial).data.metrics["epochs_run"] == 3
    assert batches == [trial.run_id] * 3  # start, two reports, a report with the end
    other = ask(studies)
    studies.report(other, result(1), HERE)
    assert tracker.close(Outcome.INTERRUPTED)
    assert run_of(uri, other).data.metrics["epochs_run"] == 1
    assert warnings == []


def test_the_last_epoch_counts_even_when_the_clock_steps_back(
    uri: str, open_search: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies, _, _ = open_search()
    trial = ask(studies)
    now = origin.now_ms()
    for epoch in (1, 2, 3):
        monkeypatch.setattr(study, "now_ms", lambda epoch=epoch: now - epoch * 3_600_000)
        studies.report(trial, result(epoch), HERE)
    metrics = run_of(uri, trial).data.metrics
    assert metrics["val_accuracy"] == 0.53
    assert (metrics["epochs_run"], metrics["best_epoch"], metrics["best_val_accuracy"]) == (3, 3, 0.53)


def test_more_points_than_a_batch_holds_all_arrive(uri: str, open_search: Any) -> None:
    studies, _, _ = open_search()
    trial = ask(studies)
    studies.report(trial, result(1, curve=1300), HERE)
    history = mlflow.MlflowClient(tracking_uri=uri).get_metric_history(trial.run_id, "curve_loss")
    assert [point.step for point in history] == list(range(1300))


@pytest.mark.parametrize("lost", ["create_run", "log_batch", "set_terminated"])
def test_a_lost_answer_duplicates_nothing(
    lost: str, uri: str, open_search: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow has written, and the connection breaks before it says so."""
    studies, tracker, warnings = open_search()
    monkeypatch.setattr(tracking, "RETRY_SECONDS", 0.0)
    real = getattr(tracker._client, lost)
    breaks = iter([True])

    def breaking(*args: Any, **kwargs: Any) -> Any:
        answer = real(*args, **kwargs)
        if next(breaks, False):
            raise mlflow.MlflowException("the connection broke")
        return answer

    monkeypatch.setattr(tracker._client, lost, breaking)
    trial = ask(studies)
    for epoch in range(1, 6):
        studies.report(trial, result(epoch), HERE)
    assert tracker.close(Outcome.INTERRUPTED)
    assert len(warnings) == 2  # it broke; it is back
    runs = read_runs(uri, studies.search).runs
    assert [run.trial for run in runs] == ["mlp-0"]
    assert (runs[0].status, runs[0].outcome, runs[0].epochs) == ("FINISHED", "complete", 5)
    history = mlflow.MlflowClient(tracking_uri=uri).get_metric_history(trial.run_id, "val_loss")
    assert [point.step for point in history] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("lost", ["log_image", "log_batch"])
def test_a_lost_answer_duplicates_no_picture(
    lost: str, uri: str, open_search: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    studies, tracker, _ = open_search(architectures=["text_to_image"], corpus="captions", embeddings="learned")
    monkeypatch.setattr(tracking, "RETRY_SECONDS", 0.0)
    real = getattr(tracker._client, lost)
    breaks = iter([False, True])

    def breaking(*args: Any, **kwargs: Any) -> Any:
        answer = real(*args, **kwargs)
        if next(breaks, False):
            raise mlflow.MlflowException("the connection broke")
        return answer

    monkeypatch.setattr(tracker._client, lost, breaking)
    png = io.BytesIO()
    Image.new("L", (2, 2)).save(png, "png")
    trial = ask(studies)
    folder = checkpoints.folder_of(tmp_path, trial.name)
    folder.mkdir(parents=True)
    for epoch in range(1, 6):
        checkpoints.save_file(folder, schema.picture(epoch), png.getvalue())
        studies.report(trial, result(epoch), HERE)
    assert tracker.close(Outcome.INTERRUPTED)
    paths = [each.path for each in mlflow.MlflowClient(tracking_uri=uri).list_artifacts(trial.run_id, "images")]
    for kind in (".png", ".webp"):
        assert sorted(path.split("+")[2] for path in paths if path.endswith(kind)) == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("interrupted", ["create_run", "log_batch"])
def test_a_ctrl_c_in_the_middle_of_a_call_duplicates_nothing(
    interrupted: str, uri: str, open_search: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies, tracker, _ = open_search()
    real = getattr(tracker._client, interrupted)
    breaks = iter([True])

    def breaking(*args: Any, **kwargs: Any) -> Any:
        answer = real(*args, **kwargs)
        if next(breaks, False):
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(tracker._client, interrupted, breaking)
    with pytest.raises(KeyboardInterrupt):
        studies.report(ask(studies), result(1), HERE)
    studies.interrupt_all()
    assert tracker.close(Outcome.INTERRUPTED)
    runs = read_runs(uri, studies.search).runs
    assert [(run.trial, run.status, run.outcome) for run in runs] == [("mlp-0", "KILLED", "interrupted")]


def test_a_driver_killed_while_it_made_a_trial_leaves_nothing_half(uri: str, open_search: Any, tmp_path: Path) -> None:
    studies, tracker, _ = open_search()
    studies._studies["mlp"].optuna.ask()  # and the process is gone, before the hyperparameters
    again, tracker, _ = open_search()
    reconcile(again, tracker)
    assert read_runs(uri, studies.search).runs == []
    trial = ask(again)
    for epoch in range(1, 6):
        again.report(trial, result(epoch), HERE)
    (run,) = read_runs(uri, studies.search).runs
    assert run.params == {"architecture": "mlp", "seed": str(trial.seed)} | {
        name: str(value) for name, value in trial.hyperparameters.items()
    }
    assert run_of(uri, trial).data.tags["data_digest"] == "d" * 64


def test_a_run_that_cannot_be_written_holds_up_no_other(
    uri: str, open_search: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies, tracker, warnings = open_search()
    monkeypatch.setattr(tracking, "RETRY_SECONDS", 0.0)
    poison, healthy = ask(studies), ask(studies)
    real = tracker._client.log_batch

    def log_batch(run_id: str, **kwargs: Any) -> Any:
        if run_id == poison.run_id:
            raise mlflow.MlflowException("no")
        return real(run_id, **kwargs)

    monkeypatch.setattr(tracker._client, "log_batch", log_batch)
    for epoch in range(1, 6):
        studies.report(poison, result(epoch), HERE)
        studies.report(healthy, result(epoch), HERE)
    assert not tracker.close(Outcome.INTERRUPTED)
    assert run_of(uri, healthy).data.tags["outcome"] == "complete"
    assert sum("cannot be written" in line for line in warnings) == 1


def test_a_run_left_running_by_a_crash_before_its_last_call_is_ended(uri: str, open_search: Any) -> None:
    studies, _, _ = open_search()
    trial = ask(studies)
    for epoch in range(1, 6):
        studies.report(trial, result(epoch), HERE)
    mlflow.MlflowClient(tracking_uri=uri).update_run(trial.run_id, status="RUNNING")
    again, tracker, _ = open_search()
    assert tracker.sync(again.trials()[0])
    assert run_of(uri, trial).info.status == "FINISHED"
    assert not tracker.sync(again.trials()[0])


NET = """import torch

class Net(torch.nn.Module):
    hyperparameters = {"kind": ["1", "1.0", "None", "a"]}

    def __init__(self, setting, *, kind="a"):
        super().__init__()
        self.layer = torch.nn.Linear(setting.embedding.size, setting.num_classes)
        self.embedding = setting.embedding

    def forward(self, tokens_BT, lengths_B):
        return self.layer(self.embedding(tokens_BT).mean(1))
"""


def test_a_trial_is_the_same_record_from_its_study_and_from_mlflow(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """To the types of its hyperparameters: '1' is a text, and so are '1.0' and 'None'."""
    monkeypatch.chdir(tmp_path)
    request.addfinalizer(lambda: models.ARCHITECTURES.pop("Net", None))
    (tmp_path / "net.py").write_text(NET, encoding="utf-8")
    space = {"kind": ["1", "1.0", "None"], "learning_rate": [0.001], "max_grad_norm": [1.0], "batch_size": [32]}
    content = {
        "name": "exact",
        "architectures": ["net.py:Net"],
        "baselines": [],
        "sampler": "grid",
        "space": space,
        "pruner": "none",
    }
    folder = new_search(specs.validate(content | {"trials": None, "epochs": 2, "keep_checkpoints": "best"}), tmp_path)
    studies = Studies(folder.name, read_spec(folder), folder, "new")
    studies.provenance = {"data_digest": "d" * 64, "version.torch": "2"}
    tracker = Tracker(uri, studies)
    studies.listeners = [tracker]
    studies.finish(ask(studies), Outcome.FAILED, "ValueError: no")
    while trial := studies.ask():
        for epoch in (1, 2):
            studies.report(trial, result(epoch), HERE)
    assert tracker.close(outcome_of(studies))

    recorded = runs.find_search(uri, folder.name)
    kept = [dataclasses.replace(trial, results=[]) for trial in studies.trials()]
    assert runs.read_records(uri, [recorded]) == kept
    assert sorted(trial.hyperparameters["kind"] for trial in kept) == ["1", "1.0", "None"]
    frame = runs.read_trials(uri, folder.name)
    assert frame["kind"].tolist() == [trial.hyperparameters["kind"] for trial in kept]
    assert {type(trial.hyperparameters["max_grad_norm"]) for trial in kept} == {float}
    assert audit(folder, uri) == []


def test_the_spec_is_recorded_without_the_password_of_its_storage(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    studies = Studies("secretive-20260101-000000", specs.validate({}), tmp_path)
    studies.spec = studies.spec.model_copy(update={"storage": "postgresql://me:hunter2@127.0.0.1/optuna"})
    tracker = Tracker(uri, studies)
    client = mlflow.MlflowClient(tracking_uri=uri)
    for_people, for_programs = (
        Path(client.download_artifacts(tracker.run_id, name)).read_text(encoding="utf-8")
        for name in ("spec.yaml", schema.SPEC)
    )
    assert "sampler: tpe" in for_people
    assert specs.load(for_programs, schema.SPEC) == specs.load(for_people, "spec.yaml") == specs.validate({})
    assert "hunter2" not in for_people + for_programs + str(client.get_run(tracker.run_id).to_dictionary())


def test_no_mlflow_is_one_line_without_the_password(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    studies = Studies("s-20260101-000000", specs.validate({}), tmp_path)
    for uri in (
        "postgresql+nodriver://me:secret@127.0.0.1:9/db",
        f"sqlite:///{tmp_path}/file/mlflow.db",
        "nonsense://x",
    ):
        with pytest.raises(ValueError, match="cannot be used") as raised:
            Tracker(uri, studies)
        assert "\n" not in str(raised.value)
        assert "secret" not in str(raised.value)


def refused_by(uri: str, folder: Path) -> str:
    """What is said of a new search in this folder that MLflow cannot take."""
    spec = specs.validate({"name": "fake", "architectures": ["mlp"], "trials": 1, "baselines": "none"})
    with pytest.raises(UserError) as refused:
        Tracker(uri, Studies(f"fake-20260101-{next(numbers):06}", spec, folder, "new"), new=True)
    return str(refused.value)


@pytest.mark.parametrize("location", ["{file}/artifacts", "mlflow-artifacts:/1", "file:///proc/1/nothing"])
def test_a_refused_start_leaves_no_run_and_hides_no_search(location: str, uri: str, tmp_path: Path) -> None:
    """The folder of artifacts is a file or another user's, or there is no server that keeps them."""
    client = mlflow.MlflowClient(tracking_uri=uri)
    (tmp_path / "a-file").touch()
    if client.get_experiment_by_name("fake"):
        client.rename_experiment(client.get_experiment_by_name("fake").experiment_id, f"fake-{next(numbers)}")
    name = client.create_experiment("fake", location.format(file=tmp_path / "a-file"))
    assert "cannot be used" in refused_by(uri, tmp_path)
    assert client.search_runs([name]) == []
    client.rename_experiment(name, f"fake-{next(numbers)}")


def test_a_search_among_thousands_of_experiments_is_found(open_search: Any, uri: str, tmp_path: Path) -> None:
    studies, _, _ = open_search()
    ask(studies)
    copy = tmp_path / "mlflow.db"
    shutil.copy(uri.removeprefix("sqlite:///"), copy)
    with closing(sqlite3.connect(copy)) as database:
        database.executemany(
            "INSERT INTO experiments (name, lifecycle_stage, workspace, creation_time, last_update_time) "
            "VALUES (?, 'active', 'default', ?, ?)",
            [(f"other-{i}", 2**42 + i, 2**42 + i) for i in range(1100)],
        )
        database.commit()
    assert [run.trial for run in read_runs(f"sqlite:///{copy}", studies.search).runs] == ["mlp-0"]


@pytest.mark.parametrize("name", ["a%20b", "what?", "no#1", "per%cent", "%3F"])
def test_a_folder_keeps_its_own_database_whatever_its_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    uri = mlflow_uri.tracking_uri()
    assert mlflow_uri.sqlite_file(uri) == tmp_path / name / "mlflow.db"
    mlflow_uri.require_database(uri)  # makes it
    assert make_url(uri).database == str(tmp_path / name / "mlflow.db")  # what MLflow opens
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.db")] == [f"{name}/mlflow.db"]


def test_a_database_that_cannot_be_opened_is_refused_at_once(tmp_path: Path) -> None:
    started = time.monotonic()
    assert "unable to open database file" in refused_by(f"sqlite:///{tmp_path}/none/mlflow.db", tmp_path)
    (tmp_path / "text.db").write_text("no database " * 1000)
    assert "file is not a database" in refused_by(f"sqlite:///{tmp_path}/text.db", tmp_path)
    assert time.monotonic() - started < 5


@pytest.mark.slow
def test_a_locked_database_is_one_warning_and_delivered_at_the_end(
    open_search: Any, uri: str, capfd: pytest.CaptureFixture[str]
) -> None:
    studies, tracker, warnings = open_search()
    trial = ask(studies)
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"), isolation_level=None)) as database:
        database.execute("begin exclusive")
        for epoch in range(1, 6):
            studies.report(trial, result(epoch), HERE)
        assert not tracker.close(Outcome.COMPLETE)
        database.execute("rollback")
    assert tracker.close(Outcome.COMPLETE)
    assert "SQLAlchemy" not in capfd.readouterr().err
    assert [line.partition(" (")[0] for line in warnings] == [
        "MLflow cannot be written",
        "MLflow is back; the missing data has been delivered.",
    ]
    run = run_of(uri, trial)
    assert (run.info.status, run.data.metrics["epochs_run"]) == ("FINISHED", 5)


def test_no_metric_is_named_as_the_folder_of_another() -> None:
    """MLflow's file store keeps each in a file of its name."""
    named = [schema.GRAD_NORM, schema.GRAD_NORM_OF + "output", *METRICS]
    assert not [(one, two) for one in named for two in named if two.startswith(f"{one}/")]
    assert schema.gradient_layer("grad_norm/cell.gate") == schema.gradient_layer("grad_norms/cell.gate") == "cell.gate"
    assert (schema.gradient_layer("grad_norm"), schema.gradient_layer("val/loss")) == ("", None)


def test_a_long_message_ends_with_a_sentence() -> None:
    first, second = "The folder cannot be used, " * 7 + "says the server.", "It never could."
    assert in_short(first) == first
    assert in_short(f"{first} {second * 20}") == first.removesuffix(".")
    assert in_short("word " * 300).endswith("word ...")


def test_a_trial_whose_start_broke_off_has_no_run_until_it_is_whole(
    open_search: Any, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies, tracker, _ = open_search()

    def full(trial: Trial) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(studies._studies["mlp"], "suggest", full)
        with pytest.raises(OSError, match="No space left"):
            studies.ask()
    studies.interrupt_all()
    assert tracker.close(Outcome.INTERRUPTED)
    assert read_runs(uri, studies.search).runs == []  # one of half its parameters would never get the others


def test_a_driver_killed_before_it_noted_a_run_has_no_second_one(uri: str, open_search: Any, tmp_path: Path) -> None:
    studies, _, _ = open_search()
    ask(studies)
    journal = tmp_path / JOURNAL
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(line for line in lines if '"run_id"' not in line))
    again, tracker, _ = open_search()
    reconcile(again, tracker)  # finds it
    trial = ask(again)  # read before that
    assert [run.run_id for run in read_runs(uri, studies.search).runs] == [trial.run_id]


def test_a_run_that_could_not_be_noted_is_noted_later(
    uri: str, open_search: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies, tracker, _ = open_search()
    real = study.Study._set

    def full(self: study.Study, trial: Trial, name: str, value: Any) -> None:
        if name == study.RUN_ID:
            raise OSError(28, "No space left on device")
        real(self, trial, name, value)

    with monkeypatch.context() as broken:
        broken.setattr(study.Study, "_set", full)
        trial = ask(studies)
    tracker.close(Outcome.INTERRUPTED)
    (run,) = read_runs(uri, studies.search).runs
    assert [each.run_id for each in open_search()[0].trials()] == [run.run_id] == [trial.run_id]


def test_resuming_a_finished_search_tells_mlflow_what_its_driver_could_not(
    uri: str, open_search: Any, tmp_path: Path
) -> None:
    studies, _, _ = open_search(trials=1)
    studies.listeners = []  # MLflow is away from here on, and then the driver dies
    trial = ask(studies)
    for epoch in range(1, 6):
        studies.report(trial, result(epoch), HERE)
    folder = tmp_path / studies.search
    folder.mkdir()
    (tmp_path / JOURNAL).rename(folder / JOURNAL)
    write_spec(studies.spec, folder)
    assert search_run.resume(folder, uri, Console(quiet=True)).recorded
    recorded = read_runs(uri, studies.search)
    assert [each.outcome for each in recorded.runs] == ["complete"]
    assert recorded.outcome == "complete"
    assert not search_run.resume(folder, f"sqlite:///{tmp_path}/none/mlflow.db", Console(quiet=True)).recorded


def test_what_mlflow_says_of_its_database_begins_with_what_is_wrong() -> None:
    hint = "(raised as a result of Query-invoked autoflush; consider using a session.no_autoflush block)"
    said = mlflow.MlflowException(f"{hint}\n(sqlite3.OperationalError) disk I/O error\n[SQL: INSERT INTO tags]")
    assert first_line(said) == "(sqlite3.OperationalError) disk I/O error"


# --- A new database


def database_schema(database: Path) -> list[Any]:
    """MLflow's migrations put the constraints of a table, which are a line each, in any order."""
    with closing(sqlite3.connect(database)) as opened:
        rows = opened.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()
    return [(kind, name, sorted(line.rstrip(", ") for line in (sql or "").splitlines())) for kind, name, sql in rows]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BAKEOFF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mlflow"


def test_a_new_database_is_as_mlflow_makes_it_and_made_of_one_in_the_cache(tmp_path: Path, cache: Path) -> None:
    mlflow.MlflowClient(f"sqlite:///{tmp_path / 'theirs.db'}").search_experiments()
    places = [tmp_path / name for name in ("one", "two")]
    for place in places:
        place.mkdir()
        client = open_client(f"sqlite:///{place / 'ours.db'}")
        assert database_schema(place / "ours.db") == database_schema(tmp_path / "theirs.db")
        (default,) = client.search_experiments()
        assert default.name == "Default"
        client.create_experiment("ours")
        assert [path.name for path in place.iterdir()] == ["ours.db"]
        (kept,) = cache.iterdir()
        assert kept.name == f"{mlflow.__version__}.db"
        with closing(sqlite3.connect(kept)) as opened:
            assert opened.execute("SELECT count(*) FROM experiments").fetchone() == (0,)


def test_of_many_who_make_one_database_one_is_first(tmp_path: Path, cache: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    tables.make(f"sqlite:///{tmp_path / 'another.db'}")

    def search(name: int) -> str:
        return str(open_client(uri).create_experiment(str(name)))

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(search, range(8)))
    assert len(set(made)) == 8
    assert len(mlflow.MlflowClient(uri).search_experiments()) == 9
    assert {path.name for path in tmp_path.iterdir()} == {"cache", "another.db", "mlflow.db"}


def test_a_database_that_is_there_stays_and_one_that_cannot_be_made_is_left_to_mlflow(
    tmp_path: Path, cache: Path
) -> None:
    there = tmp_path / "there.db"
    there.write_bytes(b"")
    tables.make(f"sqlite:///{there}")
    assert there.read_bytes() == b""
    (tmp_path / "gone.db-journal").touch()  # of a database that was deleted
    tables.make(f"sqlite:///{tmp_path / 'gone.db'}")
    tables.make(f"sqlite:///{tmp_path / 'none' / 'mlflow.db'}")
    tables.make("http://localhost:1")
    assert {path.name for path in tmp_path.iterdir()} == {"there.db", "gone.db-journal"}
    cache.parent.write_bytes(b"")  # no folder can be made there
    assert open_client(f"sqlite:///{tmp_path / 'mlflow.db'}").create_experiment("ours") == "1"
