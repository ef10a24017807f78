"""The slow faults, with real processes, disks and servers: `make soak`. Prints what was injected and what was lost."""

import contextlib
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import pytest
from conftest import ROOT, command
from test_faults import (
    LONG,
    PACKING,
    assert_all_gone,
    assert_finished_as_if_nothing_had_happened,
    descendants,
    start,
    the_search,
    trials_of,
    uri_of,
    wait_for_epochs,
    workers_of,
)

from search.base.schema import Outcome
from search.prove.audit import audit

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[None]:
    """A file system of its own in a folder; needs root."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder]).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path) -> Path:
    """A file that leaves no room on a disk."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    assert os.statvfs(disk).f_bavail == 0
    return filler


def resume(cwd: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "search", "resume", *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@PACKING
def test_ten_kills_at_random_moments_in_one_search(packing: int, tmp_path: Path) -> None:
    rng = random.Random(0)
    process = start(tmp_path, *LONG, "--set", "trials=6", "--set", "epochs=200", "--set", f"packing={packing}")
    kills = 0
    for _ in range(10):
        try:
            process.wait(timeout=rng.uniform(4, 15))
            break  # it was faster
        except subprocess.TimeoutExpired:
            workers = workers_of(process)
            process.kill()
            process.communicate()
            assert_all_gone(workers)
            kills += 1
            process = resume(tmp_path)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    folder, uri = the_search(tmp_path), uri_of(tmp_path)
    assert_finished_as_if_nothing_had_happened(folder, uri)
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("smoke")
    assert experiment
    num_trials = len(trials_of(folder))
    found = [run for run in client.search_runs([experiment.experiment_id]) if run.data.tags["kind"] == "trial"]
    per_trial = Counter(run.data.tags["trial"] for run in found)
    story = {
        "kills of the driver": kills,
        "trials asked for": num_trials,
        "finished": sum(trial.outcome is not Outcome.RUNNING for trial in trials_of(folder)),
        "lost": num_trials - len(per_trial),
        "duplicated": sum(num - 1 for num in per_trial.values()),
        "runs left RUNNING": sum(run.info.status == "RUNNING" for run in found),
        "attempts": sum(trial.attempt for trial in trials_of(folder)),
    }
    print("\nsoak:", json.dumps(story))
    assert kills == 10
    assert (story["lost"], story["duplicated"], story["runs left RUNNING"]) == (0, 0, 0)


def test_retries_used_up_fail_one_trial_and_the_others_go_on(tmp_path: Path) -> None:
    process = start(
        tmp_path,
        *LONG,
        "--set",
        "architectures=[mlp]",
        "--set",
        "resources.cpu=2",
        "--set",
        "retries=1",
        "--set",
        "epochs=150",
    )
    for epochs in (2, 5):
        wait_for_epochs(tmp_path, epochs, process)
        for worker in workers_of(process):
            worker.kill()
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    first, second = trials_of(the_search(tmp_path))
    assert (first.outcome, first.attempt) == (Outcome.FAILED, 2)
    assert second.outcome is Outcome.COMPLETE
    assert audit(the_search(tmp_path), uri_of(tmp_path)) == []


def test_two_quick_ctrl_c_stop_at_once_and_the_search_resumes(tmp_path: Path) -> None:
    process = start(
        tmp_path, "--set", "limit=8000", "--set", "epochs=3", "--set", "architectures=[gru]", "--set", "baselines=none"
    )
    wait_for_epochs(tmp_path, 1, process)
    children = descendants(process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert "Traceback" not in output
    assert_all_gone(children)
    done = command("search", "resume", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_finished_as_if_nothing_had_happened(the_search(tmp_path), uri_of(tmp_path))


def test_the_time_budget_ends_a_search_that_resumes(tmp_path: Path) -> None:
    done = command("search", "run", "smoke", *LONG, "--set", "epochs=400", "--set", "time_budget=12s", cwd=tmp_path)
    assert done.returncode == 1, done.stdout
    assert "trials to go" in done.stderr
    assert audit(the_search(tmp_path), uri_of(tmp_path)) == []
    again = command("search", "resume", "--time-budget", "10s", cwd=tmp_path)
    assert again.returncode == 1
    assert max(trial.attempt for trial in trials_of(the_search(tmp_path))) == 2


def test_a_full_disk_costs_checkpoints_and_not_the_training(tmp_path: Path) -> None:
    process = start(tmp_path, *LONG)
    wait_for_epochs(tmp_path, 2, process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    with small_disk(the_search(tmp_path) / "checkpoints", "size=16k"):
        done = command("search", "resume", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("checkpoints cannot be written (No space left on device)") == 1
    assert {trial.outcome for trial in trials_of(the_search(tmp_path))} == {Outcome.COMPLETE}


def test_a_full_disk_of_the_search_itself_is_one_line_and_it_resumes(tmp_path: Path) -> None:
    disk = tmp_path / "searches"
    with small_disk(disk, "size=8m"):
        process = start(tmp_path, *LONG, "--set", "epochs=60")
        wait_for_epochs(tmp_path, 2, process)
        filler = fill(disk)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 1, output
        assert "Traceback" not in output
        assert "No space left on device" in output
        filler.unlink()
        done = command("search", "resume", cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert_finished_as_if_nothing_had_happened(the_search(tmp_path), uri_of(tmp_path))


def test_a_full_disk_of_the_database_is_one_warning_and_repair_delivers(tmp_path: Path) -> None:
    disk = tmp_path / "database"
    uri = f"sqlite:///{disk}/mlflow.db"
    with small_disk(disk, "size=8m"):
        process = start(tmp_path, *LONG, "--tracking-uri", uri)
        wait_for_epochs(tmp_path, 2, process)
        filler = fill(disk)
        output, _ = process.communicate(timeout=300)
        assert output.count("MLflow cannot be written") == 1, output
        assert "--repair" in output
        filler.unlink()
        folder = the_search(tmp_path)
        assert audit(folder, uri)
        done = command("search", "audit", "--repair", "--tracking-uri", uri, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert_finished_as_if_nothing_had_happened(folder, uri)


def test_a_read_only_folder_is_refused_before_the_first_trial(tmp_path: Path) -> None:
    with small_disk(tmp_path / "searches", "size=1m,ro"):
        done = command("search", "run", "smoke", cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert "Read-only file system" in done.stderr


def test_a_locked_database_is_waited_for(tmp_path: Path) -> None:
    process = start(tmp_path, *LONG, "--set", "epochs=120")
    wait_for_epochs(tmp_path, 2, process)
    with sqlite3.connect(tmp_path / "mlflow.db", timeout=30, isolation_level=None) as database:
        database.execute("begin exclusive")
        time.sleep(9)
        database.execute("commit")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert output.count("MLflow cannot be written") <= 1
    assert_finished_as_if_nothing_had_happened(the_search(tmp_path), uri_of(tmp_path))


def test_two_searches_at_once_share_a_database_and_an_optuna_storage(tmp_path: Path) -> None:
    storage = f"storage=sqlite:///{tmp_path / 'optuna.db'}"
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    processes = [
        start(
            folder,
            *("--set", storage, "--set", f"seed={i}", "--set", "baselines=none"),
            *("--tracking-uri", uri_of(tmp_path)),
        )
        for i, folder in enumerate(folders)
    ]
    for process in processes:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
    ids = {the_search(folder).name for folder in folders}
    for folder in folders:
        assert_finished_as_if_nothing_had_happened(the_search(folder), uri_of(tmp_path))
    assert len(ids) == 2


@contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[None]:
    """A real tracking server on loopback; gone when the context ends."""
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
         "--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", str(folder / "artifacts")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


def test_a_server_that_goes_away_for_a_while_misses_nothing(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    with mlflow_server(tmp_path, port):
        process = start(tmp_path, *LONG, "--set", "epochs=300", "--tracking-uri", uri)
        wait_for_epochs(tmp_path, 2, process)
    time.sleep(8)
    with mlflow_server(tmp_path, port):
        output, _ = process.communicate(timeout=400)
        assert process.returncode == 0, output
        assert output.count("MLflow cannot be written") == 1, output
        assert output.count("MLflow is back;") == 1
        assert_finished_as_if_nothing_had_happened(the_search(tmp_path), uri)


def test_a_worker_out_of_memory_fails_its_trial_and_says_why(tmp_path: Path) -> None:
    """Ray's monitor kills workers above a share of the machine's memory; here nearly any use is above it."""
    done = subprocess.run(
        [sys.executable, "-m", "search", "run", "smoke", "--set", "architectures=[mlp]", "--set", "epochs=400",
         "--set", "baselines=none", "--set", "pruner=none", "--set", "trials=1", "--set", "retries=0"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "RAY_memory_usage_threshold": "0.01",
                          "RAY_memory_monitor_refresh_ms": "100"},
        capture_output=True,
        text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    (trial,) = trials_of(the_search(tmp_path))
    assert trial.outcome is Outcome.FAILED
    assert "memory" in (trial.error or ""), trial.error
    assert audit(the_search(tmp_path), uri_of(tmp_path)) == []
