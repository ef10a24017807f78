"""Nothing is lost, whatever stops a search: real processes that are killed, files that are torn, servers that go away.

`tests/test_soak.py` has the cases that take long.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import mlflow
import psutil
import pytest
from conftest import ROOT, FinishedSearch, command

from bakeoff import api
from data.base.errors import UserError
from search.base import locking
from search.base.schema import Outcome
from search.prove.audit import audit
from search.run import folders as runs
from search.spec import read as specs
from search.spec.read import read_spec
from search.study.studies import Studies
from search.train import checkpoints

PACKING = pytest.mark.parametrize("packing", [pytest.param(1, id="alone"), pytest.param(4, id="packed")])
LONG = ["--set", "epochs=25", "--set", "baselines=none", "--set", "pruner=none", "--set", "architectures=[mlp, gru]"]


def start(cwd: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """A search in a process of its own, as a user starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "search", "run", "smoke", *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def the_search(cwd: Path) -> Path:
    (folder,) = (cwd / "searches").iterdir()
    return folder


def wait_for_epochs(cwd: Path, num: int, process: subprocess.Popen[str]) -> None:
    """Until the checkpoints say that so many epochs have been trained, by one trial."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        saved = [int(path.stem.split("-")[1]) for path in cwd.glob("searches/*/checkpoints/*/epoch-*.pt")]
        if max(saved, default=0) >= num:
            return
        time.sleep(0.05)
    raise TimeoutError(f"no epoch {num} after two minutes")


def uri_of(cwd: Path) -> str:
    return f"sqlite:///{cwd / 'mlflow.db'}"


def trials_of(folder: Path) -> list:
    return Studies(folder.name, read_spec(folder), folder).trials()


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The Ray workers that train; they name themselves after what they run."""
    return [each for each in descendants(process) if " ".join(each.cmdline()).startswith("ray::ImplicitFunc")]


def assert_all_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert alive == []


def assert_finished_as_if_nothing_had_happened(folder: Path, uri: str) -> None:
    """As many trials as its spec wants, consecutive epochs, one run a trial, none RUNNING, three records that agree."""
    trials, spec = trials_of(folder), read_spec(folder)
    assert Counter(trial.architecture for trial in trials) == dict.fromkeys(spec.architectures, spec.num_trials)
    for trial in trials:
        assert trial.outcome in (Outcome.COMPLETE, Outcome.PRUNED, Outcome.DIVERGED)
        assert [result.step for result in trial.results] == list(range(1, len(trial.results) + 1))
        history = mlflow.MlflowClient(tracking_uri=uri).get_metric_history(trial.run_id, "val_loss")
        assert [point.step for point in history] == [result.step for result in trial.results]
    assert audit(folder, uri) == []


@pytest.mark.slow
@PACKING
def test_ctrl_c_ends_the_epoch_and_the_search_resumes_to_the_same_end(packing: int, tmp_path: Path) -> None:
    process = start(tmp_path, *LONG, "--set", f"packing={packing}")
    wait_for_epochs(tmp_path, 3, process)
    children = descendants(process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the driver and all that it has started
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert "Traceback" not in output
    assert "Stopping" in output
    assert f"-m search resume {the_search(tmp_path).name}" in output
    assert_all_gone(children)

    folder = the_search(tmp_path)
    assert Outcome.RUNNING in {trial.outcome for trial in trials_of(folder)}  # in Optuna; they wait for a resume
    assert audit(folder, uri_of(tmp_path)) == []  # in MLflow they are interrupted, and none is RUNNING
    before = {trial.name: trial.results for trial in trials_of(folder) if trial.outcome is Outcome.RUNNING}

    done = command("search", "resume", "--set-nothing", cwd=tmp_path)
    assert done.returncode == 2  # a wrong option changes nothing
    done = command("search", "resume", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_finished_as_if_nothing_had_happened(folder, uri_of(tmp_path))
    for trial in trials_of(folder):
        assert len(trial.results) == 25
        if trial.name in before:
            assert trial.attempt == 2
            assert trial.results[: len(before[trial.name])] == before[trial.name]


@pytest.mark.slow
@PACKING
def test_a_stop_ends_trials_that_wait_for_a_core_before_they_have_begun(packing: int, tmp_path: Path) -> None:
    together = 1 if packing == 1 else 2  # 8 trials, for the same number of packs
    options = ["trials=4", f"concurrency={8 // together}", f"packing={packing}"]
    process = start(tmp_path, *LONG, *(each for option in options for each in ("--set", option)))
    wait_for_epochs(tmp_path, 3, process)
    num_running = len(workers_of(process))
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    trials = trials_of(the_search(tmp_path))
    assert len(trials) == 8  # all were proposed
    assert "Last result" not in output
    assert sum(bool(trial.results) for trial in trials) == num_running * together
    assert audit(the_search(tmp_path), uri_of(tmp_path)) == []


@pytest.mark.slow
@PACKING
def test_a_killed_worker_is_replaced_and_the_trial_goes_on_from_its_checkpoint(packing: int, tmp_path: Path) -> None:
    process = start(tmp_path, *LONG, "--set", f"packing={packing}")
    wait_for_epochs(tmp_path, 3, process)
    workers_of(process)[0].kill()
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    folder = the_search(tmp_path)
    assert_finished_as_if_nothing_had_happened(folder, uri_of(tmp_path))
    attempts = {trial.name: trial.attempt for trial in trials_of(folder)}
    assert sorted(attempts.values()) == ([1, 1, 1, 2] if packing == 1 else [1, 1, 2, 2]), attempts


@pytest.mark.slow
@PACKING
def test_a_killed_driver_leaves_a_search_that_resumes(packing: int, tmp_path: Path) -> None:
    process = start(tmp_path, *LONG, "--set", f"packing={packing}")
    wait_for_epochs(tmp_path, 4, process)
    children = workers_of(process)
    process.kill()
    process.communicate()
    assert_all_gone(children)
    folder = the_search(tmp_path)
    assert audit(folder, uri_of(tmp_path))  # runs are left RUNNING

    # What a crash can do to files: half a line at the journal's end, a torn checkpoint.
    with (folder / "studies.journal").open("a") as journal:
        journal.write('{"op_code": 4, "worker_id": "x", "stu')
    torn = max(folder.glob("checkpoints/*/epoch-*.pt"))
    torn.write_bytes(torn.read_bytes()[:1000])

    done = command("search", "resume", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_finished_as_if_nothing_had_happened(folder, uri_of(tmp_path))


@pytest.mark.slow
def test_a_search_is_extended_and_only_extended(smoke_search: FinishedSearch, tmp_path: Path) -> None:
    for name in ("searches", "mlflow.db", "mlartifacts"):
        source = smoke_search.cwd / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    folder = the_search(tmp_path)
    assert audit(folder, uri_of(tmp_path)) == []

    fewer = command("search", "resume", folder.name, "--trials", "1", cwd=tmp_path)
    assert (fewer.returncode, fewer.stderr.count("\n")) == (2, 1)
    assert "can only be raised" in fewer.stderr
    more = command("search", "resume", "--trials", "3", cwd=tmp_path)
    assert more.returncode == 0, more.stdout + more.stderr
    assert read_spec(folder).num_trials == 3
    assert_finished_as_if_nothing_had_happened(folder, uri_of(tmp_path))

    runs.write_spec(specs.read(str(folder / "spec.yaml"), ["batch_size=16", "epochs=4"]), folder)
    changed = command("search", "resume", cwd=tmp_path)
    assert changed.returncode == 2
    assert "epochs was 3, is 4" in changed.stderr
    assert "batch_size was 32, is 16" in changed.stderr
    assert "Traceback" not in changed.stderr


def test_a_search_without_a_folder_is_not_resumed_and_gets_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not on this machine: there is no .*spec\.yaml"):
        api.Search(tmp_path / "gone-20260101-000000", f"sqlite:///{tmp_path / 'mlflow.db'}").resume(progress=False)
    assert list(tmp_path.iterdir()) == []


def test_only_one_process_runs_a_search(smoke_search: FinishedSearch) -> None:
    with locking.hold(smoke_search.folder):
        done = command("search", "audit", smoke_search.id, cwd=smoke_search.cwd)
    assert done.returncode == 2
    assert f"process {os.getpid()}" in done.stderr
    assert done.stderr.count("\n") == 1
    (smoke_search.folder / "lock").write_text(json.dumps({"host": "gone", "pid": 1}))  # of a process that died
    done = command("search", "audit", cwd=smoke_search.cwd)
    assert done.returncode == 0, done.stderr
    assert "agree" in done.stdout


def test_audit_names_every_difference_and_repair_mends_the_runs(smoke_search: FinishedSearch, tmp_path: Path) -> None:
    for name in ("searches", "mlflow.db", "mlartifacts"):
        source = smoke_search.cwd / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    folder, uri = the_search(tmp_path), uri_of(tmp_path)
    client = mlflow.MlflowClient(tracking_uri=uri)
    trials = {trial.name: trial for trial in trials_of(folder)}
    deleted, orphaned, mistagged = "rnn-0", "mlp-0", "gru-0"
    client.delete_run(trials[deleted].run_id)
    client.update_run(trials[orphaned].run_id, status="RUNNING")
    client.set_tag(trials[mistagged].run_id, "outcome", "failed")
    experiment = client.get_run(trials[orphaned].run_id).info.experiment_id
    client.create_run(experiment, tags={"search": folder.name, "trial": "mlp-77", "kind": "trial"})
    shutil.rmtree(folder / "checkpoints" / "attention-0")

    lines = audit(folder, uri)
    for words in (
        f"{deleted}: 0 runs",
        f"{orphaned}: complete is status FINISHED, its run has RUNNING",
        f"{mistagged}: outcome {trials[mistagged].outcome}, its run says failed",
        "mlp-77: 1 runs in MLflow, no trial",
        "attention-0: 3 epochs, its last whole checkpoint is of epoch none",
    ):
        assert any(line.startswith(words) for line in lines), (words, lines)

    done = command("search", "audit", "--repair", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.splitlines() == ["attention-0: 3 epochs, its last whole checkpoint is of epoch none"]


def test_a_lost_database_is_rebuilt_from_the_studies(smoke_search: FinishedSearch, tmp_path: Path) -> None:
    shutil.copytree(smoke_search.cwd / "searches", tmp_path / "searches")
    done = command("search", "audit", "--repair", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    ours = mlflow.MlflowClient(tracking_uri=uri_of(tmp_path))
    theirs = mlflow.MlflowClient(tracking_uri=smoke_search.uri)
    before = {trial.name: trial for trial in trials_of(smoke_search.folder)}
    for trial in trials_of(the_search(tmp_path)):
        rebuilt, original = ours.get_run(trial.run_id).data, theirs.get_run(before[trial.name].run_id).data
        assert rebuilt.metrics == original.metrics
        assert rebuilt.params == original.params
        tags = [{k: v for k, v in data.tags.items() if "parentRunId" not in k} for data in (rebuilt, original)]
        assert tags[0] == tags[1]


def test_a_replayed_trial_gives_the_same_numbers(smoke_search: FinishedSearch) -> None:
    trial = next(trial for trial in trials_of(smoke_search.folder) if trial.outcome is Outcome.COMPLETE)
    assert trial.run_id
    done = command("search", "replay", trial.run_id[:8], cwd=smoke_search.cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"{trial.name}: equal"
    run = mlflow.MlflowClient(tracking_uri=smoke_search.uri).get_run(trial.run_id)
    assert run.data.tags["replay"] == "equal"
    for wrong in ("abc", "zzzzzzzz", f"{smoke_search.id}:gru-99"):
        done = command("search", "replay", wrong, cwd=smoke_search.cwd)
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: no run {wrong!r}")


@pytest.mark.slow
def test_every_trial_diverging_is_no_valid_trial(tmp_path: Path) -> None:
    done = command(
        "search", "run", "smoke", "--set", "baselines=none",
        "--set", "architectures=[rnn]", "--set", "space.activation=none", "--set", "space.learning_rate=10.0",
        "--set", "space.num_layers=2", "--set", "space.hidden_size=64", "--set", "curve_interval=1",
        "--set", "epochs=20",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout
    assert done.stdout.count("diverged ") >= 2
    assert "no valid trial" in done.stderr
    assert {trial.outcome for trial in trials_of(the_search(tmp_path))} == {Outcome.DIVERGED}
    assert audit(the_search(tmp_path), uri_of(tmp_path)) == []


def test_a_resource_that_is_not_there_is_refused_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    done = command("search", "run", "smoke", "--set", "resources.gpu=64", cwd=tmp_path)
    assert done.returncode == 2
    assert "wants 1 CPU and 64 GPU; no node has more than" in done.stderr
    assert list((tmp_path / "searches").iterdir()) == []
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.slow
def test_a_checkpoint_of_another_shape_fails_the_trial_with_its_reason(tmp_path: Path) -> None:
    process = start(tmp_path, *LONG, "--set", "retries=0")
    wait_for_epochs(tmp_path, 2, process)
    children = workers_of(process)
    process.kill()
    process.communicate()
    assert_all_gone(children)
    folder = the_search(tmp_path)
    saved = checkpoints.load_last(folder / "checkpoints" / "mlp-0")
    assert saved
    saved["state"]["model"]["output.bias"] = saved["state"]["model"].popitem()[1]
    checkpoints.save(folder / "checkpoints" / "mlp-0", saved["state"]["epoch"] + 5, saved, attempt=1)
    done = command("search", "resume", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    broken = next(trial for trial in trials_of(folder) if trial.name == "mlp-0")
    assert broken.outcome is Outcome.FAILED
    assert broken.error
    assert all(trial.outcome is Outcome.COMPLETE for trial in trials_of(folder) if trial.name != "mlp-0")


@pytest.mark.slow
def test_an_old_mlruns_folder_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "mlruns" / "0").mkdir(parents=True)
    (tmp_path / "mlruns" / "0" / "meta.yaml").write_text("name: Default\n")
    done = command(
        "search",
        "run",
        "smoke",
        "--set",
        "architectures=[mlp]",
        "--set",
        "baselines=none",
        "--set",
        "trials=1",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert audit(the_search(tmp_path), uri_of(tmp_path)) == []


def test_a_tracking_server_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    done = command("search", "run", "smoke", "--tracking-uri", "http://me:secret@127.0.0.1:9", cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "MLflow at http://me:***@127.0.0.1:9 cannot be used" in line
    assert "secret" not in done.stdout + done.stderr


@pytest.mark.slow
def test_only_the_checkpoints_that_are_asked_for_are_kept(tmp_path: Path) -> None:
    done = command(
        "search",
        "run",
        "smoke",
        "--set",
        "keep_checkpoints=best",
        "--set",
        "baselines=none",
        "--set",
        "trials=3",
        "--set",
        "pruner=none",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    folder = the_search(tmp_path)
    studies = Studies(folder.name, read_spec(folder), folder)
    best = {studies.ranked(name)[0].name for name in studies.spec.architectures}
    kept = folder / "checkpoints"
    assert {path.parent.name for path in kept.glob("*/epoch-*.pt")} == best
    every = {trial.name for trial in studies.trials()}
    assert {path.parent.name for path in kept.glob("*/test_predictions.csv")} == every
    assert audit(folder, uri_of(tmp_path)) == []
