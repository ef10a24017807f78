"""The smoke search through the real command line: real Ray, Optuna journal, MLflow SQLite; their records compared."""

import json
import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

import mlflow
import optuna
import pytest
import torch
from conftest import ROOT, FinishedSearch, command, here
from mlflow.entities import Run, ViewType
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

import data
from analysis.__main__ import app as analysing
from analysis.base import runs as analysis_runs
from models import CLASSIFICATION
from search.__main__ import app as searching
from search.base import schema
from search.spec import kept
from search.spec.read import read_spec
from search.train import checkpoints
from search.train.config import TrainingConfig
from search.train.length import Length
from search.train.metrics import measured_in
from search.train.running import build_model, splits
from search.train.stepping import alone
from search.train.tasks import TASKS
from search.train.training import train

STATES = {
    "complete": (TrialState.COMPLETE, "FINISHED"),
    "pruned": (TrialState.PRUNED, "KILLED"),
}


@pytest.fixture(scope="module")
def client(smoke_search: FinishedSearch) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(tracking_uri=smoke_search.uri)


@pytest.fixture(scope="module")
def all_runs(client: mlflow.MlflowClient) -> list[Run]:
    experiments = [each for each in client.search_experiments() if each.name != "Default"]
    assert [each.name for each in experiments] == ["smoke"]
    return list(client.search_runs([experiments[0].experiment_id], run_view_type=ViewType.ALL))


@pytest.fixture(scope="module")
def parent(all_runs: list[Run]) -> Run:
    (run,) = (run for run in all_runs if run.data.tags["kind"] == "search")
    return run


@pytest.fixture(scope="module")
def trial_runs(all_runs: list[Run]) -> dict[str, Run]:
    children = [run for run in all_runs if run.data.tags["kind"] == "trial"]
    by_name = {run.data.tags["trial"]: run for run in children}
    assert len(by_name) == len(children)
    return by_name


@pytest.fixture(scope="module")
def optuna_trials(smoke_search: FinishedSearch) -> dict[str, FrozenTrial]:
    storage = JournalStorage(JournalFileBackend(str(smoke_search.folder / "studies.journal")))
    return {
        f"{architecture}-{trial.number}": trial
        for architecture in smoke_search.spec.architectures
        for trial in optuna.load_study(study_name=f"{smoke_search.id}/{architecture}", storage=storage).trials
    }


def test_mlflow_shows_what_each_run_learned_from(trial_runs: dict[str, Run], parent: Run) -> None:
    for run in (parent, *trial_runs.values()):
        (read,) = run.inputs.dataset_inputs
        assert (read.dataset.name, read.dataset.digest) == ("imdb", parent.data.tags["data_digest"][:36])
        assert '"num_train": ' in read.dataset.profile


def test_every_trial_is_in_all_three_records_and_they_agree(
    smoke_search: FinishedSearch, optuna_trials: dict[str, FrozenTrial], trial_runs: dict[str, Run], parent: Run
) -> None:
    assert len(optuna_trials) == smoke_search.num_trials
    assert set(optuna_trials) == set(trial_runs)
    assert {path.name for path in (smoke_search.folder / "checkpoints").iterdir()} == {*optuna_trials, kept.FOLDER}
    for name, trial in optuna_trials.items():
        run = trial_runs[name]
        tags, params, metrics = run.data.tags, run.data.params, run.data.metrics
        assert trial.user_attrs["run_id"] == run.info.run_id
        assert trial.user_attrs["outcome"] == tags["outcome"]
        assert (trial.state, run.info.status) == STATES[tags["outcome"]]
        assert tags["mlflow.parentRunId"] == parent.info.run_id
        assert {k: str(v) for k, v in trial.params.items()} == {
            k: v for k, v in params.items() if k not in ("architecture", "seed")
        }
        assert trial.value == metrics["best_val_accuracy"]
        assert max(trial.intermediate_values) == metrics["epochs_run"]
        saved = checkpoints.load_last(smoke_search.folder / "checkpoints" / name)
        assert saved
        assert saved["state"]["epoch"] == metrics["epochs_run"]
        assert saved["state"]["best"]["val_accuracy"] == trial.value
        complete = tags["outcome"] == "complete"
        assert complete == ("test_accuracy" in metrics)
        assert metrics["epochs_run"] == 3 if complete else metrics["epochs_run"] < 3


def test_a_run_holds_curves_and_where_it_came_from(
    client: mlflow.MlflowClient, trial_runs: dict[str, Run], parent: Run, smoke_search: FinishedSearch
) -> None:
    run = next(run for run in trial_runs.values() if run.data.tags["outcome"] == "complete")
    history = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    for split in ("train", "val"):
        for metric in (each.name for each in measured_in(CLASSIFICATION)):
            assert [point.step for point in history[f"{split}_{metric}"]] == [1, 2, 3]
    for name in ("grad_norm", "learning_rate", "epoch_seconds"):
        assert [point.step for point in history[name]] == [1, 2, 3]
    for name in ("curve_loss", "curve_accuracy"):  # 640 texts in batches of 32, a point each 5 iterations
        assert [point.step for point in history[name]] == list(range(5, 61, 5))
    tags = run.data.tags
    assert len(tags["data_digest"]) == 64
    assert tags["version.torch"] == torch.__version__
    assert {"version.ray", "version.optuna", "version.mlflow", "cpu", "node"} <= set(tags)
    assert ("git_commit" in tags) == (ROOT / ".git").exists()
    assert run.data.metrics["num_parameters"] > 0
    assert run.data.metrics["trial_seconds"] >= sum(point.value for point in history["epoch_seconds"]) * 0.999
    assert parent.info.status == "FINISHED"
    spec = client.download_artifacts(parent.info.run_id, "spec.yaml")
    with open(spec, encoding="utf-8") as file:
        assert file.read() == (smoke_search.folder / "spec.yaml").read_text(encoding="utf-8")


def test_as_many_trials_as_cores_began_at_once_and_workers_were_reused(trial_runs: dict[str, Run]) -> None:
    """The first trials are proposed together, before any worker is up; how long they take does not matter."""
    cores = os.cpu_count() or 1
    assert len({run.data.tags["worker_pid"] for run in trial_runs.values()}) <= cores
    first = sorted(trial_runs.values(), key=lambda run: run.info.start_time)[:cores]
    assert max(run.info.start_time for run in first) < min(run.info.end_time for run in first)


@pytest.mark.parametrize("which", ["first", "last"])
def test_a_fresh_process_repeats_the_numbers_of_a_reused_worker(
    which: str, smoke_search: FinishedSearch, trial_runs: dict[str, Run], optuna_trials: dict[str, FrozenTrial]
) -> None:
    """This process trains the trial again; the last trial of a worker came after others in the same process."""
    order = sorted(trial_runs.values(), key=lambda run: run.info.start_time)
    run = order[0] if which == "first" else order[-1]
    spec = read_spec(smoke_search.folder)
    corpus = data.load(spec.corpus, max_words=spec.max_words, limit=spec.limit)
    hyperparameters = optuna_trials[run.data.tags["trial"]].params
    config: dict[str, Any] = {
        "architecture": run.data.params["architecture"],
        "seed": int(run.data.params["seed"]),
        **hyperparameters,
    }
    torch.set_num_threads(1)
    results = list(
        alone(
            train(
                build_model(config, corpus, spec.embeddings),
                splits(corpus, torch.device("cpu"), TASKS[CLASSIFICATION]),
                TrainingConfig.of(config),
                length=Length(int(run.data.metrics["epochs_run"])),
                metric=spec.metric,
                curve_interval=spec.curve_interval,
                seed=config["seed"],
            )
        )
    )
    for name, value in results[-1].metrics.items():
        if name != "epoch_seconds":
            assert run.data.metrics[name] == value, name


def test_what_the_user_reads(smoke_search: FinishedSearch) -> None:
    output = smoke_search.output
    assert "Traceback" not in output
    assert "WARNING" not in output
    ended = [line.split()[1:2] for line in output.splitlines() if "epochs" in line]
    assert sum(each in (["complete"], ["pruned"]) for each in ended) == smoke_search.num_trials
    for line in (
        f"Search       {smoke_search.id}",
        f"Folder       {smoke_search.folder}",
        f"MLflow UI    {sys.executable} -m mlflow ui --allowed-hosts 'localhost:*,127.0.0.1:*' "
        f"--backend-store-uri {smoke_search.uri}",
        f"Leaderboard  {sys.executable} -m analysis leaderboard {smoke_search.id} --tracking-uri {smoke_search.uri}",
        f"Report       {smoke_search.folder / 'report' / 'index.html'}",
        f"Resume       {sys.executable} -m search resume {smoke_search.id} --tracking-uri {smoke_search.uri}",
    ):
        assert line in output.splitlines()
    assert schema.SCORE_RULE.split(".")[0] in " ".join(output.split())


def test_the_report_page_is_beside_the_search_and_in_mlflow(
    smoke_search: FinishedSearch, client: mlflow.MlflowClient
) -> None:
    (parent,) = client.search_runs(["1"], "tags.kind = 'search'")
    logged = {item.path for item in client.list_artifacts(parent.info.run_id, "report")}
    assert logged >= {"report/index.html", "report/figures", "report/spec.yaml"}
    assert smoke_search.id in (smoke_search.folder / "report" / "index.html").read_text(encoding="utf-8")


def test_the_analysis_reads_the_spec_of_the_search(smoke_search: FinishedSearch) -> None:
    found = analysis_runs.find_search(smoke_search.uri)
    assert found.load_spec() == read_spec(smoke_search.folder)
    assert found.spec is not None
    assert "hidden_size</td><td>" in (smoke_search.folder / "report" / "index.html").read_text(encoding="utf-8")


def test_resuming_a_finished_search_runs_nothing(smoke_search: FinishedSearch) -> None:
    def rows() -> list[tuple[int]]:
        with sqlite3.connect(smoke_search.cwd / "mlflow.db") as database:
            return database.execute("select count(*) from runs union all select count(*) from metrics").fetchall()

    before = rows()
    done = here("search", "resume", "latest", cwd=smoke_search.cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing is left to run" in done.stdout
    assert "/3 epochs" not in done.stdout
    assert rows() == before
    listed = here("search", "list", cwd=smoke_search.cwd)
    assert smoke_search.id in listed.stdout
    assert f"{smoke_search.num_trials} trials, finished" in listed.stdout


def test_leaderboard_ranks_the_search(smoke_search: FinishedSearch, trial_runs: dict[str, Run]) -> None:
    done = here("analysis", "leaderboard", "latest", "--format", "json", cwd=smoke_search.cwd)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert {row["run_id"] for row in rows} == {run.info.run_id for run in trial_runs.values()}
    ranked = [row["val_accuracy"] for row in rows if row["outcome"] == "complete"]
    assert ranked == sorted(ranked, reverse=True)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["run", "defualt"], 2, "did you mean 'default'"),
        (["run", "smoke", "--set", "epoch=3"], 2, "did you mean 'epochs'"),
        (["run", "smoke", "--set", "resources.cpu=4096"], 2, "no node has more than"),
        (["resume", "nothing"], 2, "no search 'nothing'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_2(arguments: list[str], status: int, words: str, tmp_path: Any) -> None:
    done = here("search", *arguments, cwd=tmp_path)
    assert done.returncode == status
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert words in line


def test_help_explains_every_command(tmp_path: Path) -> None:
    for module, app in {"search": searching, "analysis": analysing}.items():
        names = [each.name or each.callback.__name__ for each in app.registered_commands if each.callback]
        assert len(names) > 5
        overview = command(module, "--help", cwd=tmp_path).stdout
        for name in names:
            done = here(module, name, "--help", cwd=tmp_path)
            assert (done.returncode, done.stderr) == (0, "")
            assert f"-m {module} {name} [OPTIONS]" in done.stdout
            summary = done.stdout.splitlines()[3].split(",")[0].split(".")[0].split(":")[0].strip()
            assert summary[:30] in " ".join(overview.split()), name
