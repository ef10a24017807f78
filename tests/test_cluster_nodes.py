"""A search on real Ray nodes with separate addresses, which lose their connections and return: `make cluster-test`."""

import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import psutil
import pytest
import yaml
from cluster_nodes import (
    NETWORK,
    OBJECT_STORE,
    Cluster,
    Machine,
    can_have_namespaces,
    cluster,
    object_store,
    sh,
    wait_until,
)
from conftest import ROOT, command
from test_faults import assert_finished_as_if_nothing_had_happened, the_search, trials_of, uri_of, wait_for_epochs

from data.base.files import default_cache
from search.base.schema import Outcome
from search.train import checkpoints

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not can_have_namespaces(), reason="network namespaces need root and iproute2"),
]

SMALL = ["--set", "architectures=[mlp, gru]", "--set", "baselines=none", "--set", "pruner=none"]


def search(*arguments: str, made: Cluster) -> list[str]:
    return [sys.executable, "-m", "search", *arguments, "--address", made.address]


def ray(*arguments: str, cwd: Path, environment: dict[str, str]) -> str:
    """Ray's command line, as a user calls it."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ray")), *arguments],
        cwd=cwd,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def runs_of(cwd: Path) -> list:
    client = mlflow.MlflowClient(tracking_uri=uri_of(cwd))
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(experiments, "tags.kind = 'trial'")


def most_at_once(cwd: Path) -> int:
    """The largest number of trials that trained at the same time, by the times of their epochs."""
    client = mlflow.MlflowClient(tracking_uri=uri_of(cwd))
    changes = []
    for run in runs_of(cwd):
        times = [point.timestamp for point in client.get_metric_history(run.info.run_id, "val_loss")]
        changes += [(min(times), 1), (max(times), -1)]
    now = most = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most


def test_a_search_runs_on_all_three_nodes_as_many_at_once_as_asked(tmp_path: Path) -> None:
    with cluster() as made:
        made.start_head()
        workers = [made.add_node() for _ in range(3)]
        options = [*SMALL, "--set", "trials=3", "--set", "epochs=40"]
        done = made.head.run(*search("run", "smoke", *options, made=made), cwd=tmp_path)
        assert done.returncode == 0, done.stdout
        addresses = {worker.address for worker in workers}
        assert {run.data.tags["node"] for run in runs_of(tmp_path)} == addresses
        assert most_at_once(tmp_path) == 3
        assert_finished_as_if_nothing_had_happened(the_search(tmp_path), uri_of(tmp_path))
        (still_up,) = [line for line in done.stdout.splitlines() if line.startswith("Still up")]
        assert "4 nodes" in still_up
        assert all(address in still_up for address in {made.head.address, *addresses})
        assert "ray down cluster.yaml" in done.stdout

        two = tmp_path / "two"
        two.mkdir()
        options += ["--set", "concurrency=2"]
        done = made.head.run(*search("run", "smoke", *options, made=made), cwd=two)
        assert done.returncode == 0, done.stdout
        assert most_at_once(two) == 2


@pytest.mark.parametrize("in_order", [False, True])
def test_a_lost_node_costs_no_trial_and_no_retry_and_a_new_one_gets_work(in_order: bool, tmp_path: Path) -> None:
    with cluster() as made:
        made.start_head()
        lost, stays = made.add_node(), made.add_node()
        options = [*SMALL, "--set", "trials=3", "--set", "epochs=150", "--set", "retries=0"]
        process = made.head.start(*search("run", "smoke", *options, made=made), cwd=tmp_path)
        wait_for_epochs(tmp_path, 5, process)
        if in_order:
            lost.shut_down()
        lost.kill()
        joined = made.add_node()
        output, _ = process.communicate(timeout=400)
        assert process.returncode == 0, output
        folder = the_search(tmp_path)
        assert_finished_as_if_nothing_had_happened(folder, uri_of(tmp_path))
        trials = trials_of(folder)
        assert {trial.outcome for trial in trials} == {Outcome.COMPLETE}
        assert {len(trial.results) for trial in trials} == {150}
        nodes = Counter(run.data.tags["node"] for run in runs_of(tmp_path))
        assert set(nodes) <= {lost.address, stays.address, joined.address}
        assert nodes[stays.address]
        assert nodes[joined.address]
        assert sorted(trial.attempt for trial in trials) == [1, 1, 1, 1, 1, 2]


def test_a_search_whose_nodes_are_all_gone_can_be_stopped_and_goes_on_later(tmp_path: Path) -> None:
    with cluster() as made:
        made.start_head()
        only = made.add_node()
        options = [*SMALL, "--set", "trials=1", "--set", "epochs=40"]
        process = made.head.start(*search("run", "smoke", *options, made=made), cwd=tmp_path)
        wait_for_epochs(tmp_path, 5, process)
        only.kill()
        time.sleep(20)  # the head gives it up, and Tune waits for another
        assert process.poll() is None, process.communicate()[0]
        (driver,) = (pid for pid in made.head.pids() if "search run" in " ".join(psutil.Process(pid).cmdline()))
        os.kill(driver, signal.SIGINT)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 1, output
        assert {trial.outcome for trial in trials_of(the_search(tmp_path))} == {Outcome.RUNNING}
        made.add_node()
        done = made.head.run(*search("resume", made=made), cwd=tmp_path)
        assert done.returncode == 0, done.stdout
        assert_finished_as_if_nothing_had_happened(the_search(tmp_path), uri_of(tmp_path))


def test_a_folder_of_one_node_is_refused_a_shared_folder_and_a_bucket_are_not(tmp_path: Path) -> None:
    own, shared = tmp_path / "own", tmp_path / "shared"
    own.mkdir()
    shared.mkdir()
    options = [*SMALL, "--set", "trials=1"]
    with cluster() as made, object_store(f"{NETWORK}.254") as bucket:
        made.start_head()
        made.add_node()
        blind = made.add_node(prelude=f"mount -t tmpfs -o size=64m none {own}")
        done = made.head.run(*search("run", "smoke", *options, made=made), cwd=own)
        assert done.returncode == 2, done.stdout
        error = next(line for line in done.stdout.splitlines() if line.startswith("error"))
        assert f"{blind.address} does not see it" in error
        assert "could not continue elsewhere: storage_path in the spec should be a folder that all nodes share" in error
        assert list((own / "searches").iterdir()) == []

        checked = made.head.run(*search("check", "smoke", made=made), cwd=own)
        assert checked.returncode == 1, checked.stdout
        assert [line.split()[:2] for line in checked.stdout.splitlines()] == [
            ["ok", "nodes"],
            ["ok", "trials"],
            ["ok", "versions"],
            ["fail", "checkpoints"],
            ["ok", "corpus"],
            ["ok", "MLflow"],
        ]

        for storage_path in (str(shared), bucket):
            cwd = own / ("one" if storage_path is bucket else "two")
            cwd.mkdir()
            setting = ["--set", f"storage_path={storage_path}"]
            checked = made.head.run(*search("check", "smoke", *setting, made=made), cwd=cwd)
            assert checked.returncode == 0, checked.stdout
            done = made.head.run(*search("run", "smoke", *options, *setting, made=made), cwd=cwd)
            assert done.returncode == 0, done.stdout
            assert "cannot be written" not in done.stdout
            audit = made.head.run(sys.executable, "-m", "search", "audit", cwd=cwd)
            assert audit.returncode == 0, audit.stdout
            assert (the_search(cwd) / "checkpoints").is_file()
        assert blind.address in {run.data.tags["node"] for run in runs_of(own / "one") + runs_of(own / "two")}
        assert checkpoints.place(str(shared), the_search(own / "two").name).is_dir()


def own_machines(made: Cluster, home: Path, head: Machine, worker: Machine) -> dict:
    """The repository's cluster.yaml, for these two machines, which already have the environment."""
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))
    del config["head_node_type"], config["available_node_types"]
    config["cluster_name"] = f"bakeoff-{os.getpid()}"
    config["provider"] = {"type": "local", "head_ip": head.address, "worker_ips": [worker.address]}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(home / "key")}
    config["min_workers"] = config["max_workers"] = 1
    config["file_mounts"]["~/bakeoff"] = str(ROOT)
    for key in ("setup_commands", "head_setup_commands"):
        config[key] = [line for line in config[key] if "pip" not in line]
    start = config["worker_start_ray_commands"]
    start[-1] += f" --num-cpus=1 {OBJECT_STORE}"
    config["head_start_ray_commands"][-1] += f" --num-cpus=0 {OBJECT_STORE}"
    return config


def first_process(login: list[str], address: str) -> str:
    """The first process that a user sees after logging in, which is another one outside of the node."""
    return sh(*login, f"root@{address}", "cat /proc/1/comm", check=False).stdout


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.skipif(not shutil.which("sshd") or not shutil.which("rsync"), reason="needs openssh-server and rsync")
def test_ray_up_submit_and_ray_down_on_machines_of_ones_own(tmp_path: Path) -> None:
    with cluster() as made:
        home = made.temporary / "user"
        Path("/tmp/ray").mkdir(exist_ok=True)
        machines = []
        for name in ("head", "worker"):
            own = made.temporary / name
            own.mkdir()
            (own / ".bashrc").write_text("# as a new machine has one\n", encoding="utf-8")
            (own / "env").symlink_to(Path(sys.executable).parent.parent)
            users = [line for line in Path("/etc/passwd").read_text().splitlines() if not line.startswith("root:")]
            (own / "passwd").write_text(
                "\n".join([f"root:x:0:0:root:{own}:/bin/bash", *users]) + "\n", encoding="utf-8"
            )
            (own / "ray").mkdir()
            mounts = f"mount --bind {own / 'passwd'} /etc/passwd && mount --bind {own / 'ray'} /tmp/ray"
            machines.append(made.add_machine(mounts, HOME=str(own)))
        head, worker = machines
        home.mkdir()
        for key in ("key", "host"):
            sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / key))
        environment = made.environment | {"HOME": str(home), "RAY_UP_enable_autoscaler_v2": "0"}  # as cluster.yaml says
        users = {name: value for name, value in environment.items() if not name.startswith("RAY_AUTH")}
        (home / ".ray").mkdir()
        (home / ".ray" / "auth_token").write_text((made.temporary / "token").read_text(), encoding="utf-8")
        (home / "sshd").write_text(
            f"HostKey {home / 'host'}\nAuthorizedKeysFile {home / 'key.pub'}\nStrictModes no\nUsePAM no\nPidFile none\n"
            f"PermitRootLogin prohibit-password\nMaxStartups 50\nSetEnv BAKEOFF_CACHE={default_cache()}\n",
            encoding="utf-8",
        )
        Path("/run/sshd").mkdir(exist_ok=True)
        for machine in machines:
            machine.start_sshd(home / "sshd")
            login = [
                "ssh",
                "-i",
                str(home / "key"),
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
            ]
            wait_until("logged in", lambda login=login, to=machine.address: first_process(login, to) == "sshd\n", 20)
        file = tmp_path / "cluster.yaml"
        file.write_text(yaml.safe_dump(own_machines(made, home, head, worker)), encoding="utf-8")

        def launcher(*arguments: str) -> str:
            return ray(*arguments, cwd=tmp_path, environment=environment)

        launcher("up", "--yes", "--no-config-cache", str(file))
        tunnel = subprocess.Popen(
            [str(Path(sys.executable).with_name("ray")), "dashboard", str(file)],
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until("the dashboard's way is open", lambda: is_open(8265), 60)
            wait_until("a worker is up", lambda: "/1.0 CPU" in launcher("exec", str(file), "ray status"), 120)
            shared = tmp_path / "shared"
            shared.mkdir()
            options = [*SMALL, "--set", "trials=1", "--set", f"storage_path={shared}"]
            submitted = subprocess.run(
                [sys.executable, "-m", "search", "submit", "smoke", *options],
                cwd=tmp_path,
                env=os.environ | users,  # the token is where the guide puts it, and nothing says so
                capture_output=True,
                text=True,
                timeout=240,
            )
            assert submitted.returncode == 0, submitted.stdout + submitted.stderr
            assert "2 nodes" in submitted.stdout
            (folder,) = (Path(head.environment["HOME"]) / "results" / "searches").iterdir()
            audit = "cd ~/bakeoff && python -m search audit --searches ~/results/searches"
            assert f"{folder.name}: Optuna, MLflow and the checkpoints agree" in launcher("exec", str(file), audit)
            assert [path.name for path in shared.iterdir()] == [folder.name]
        finally:
            tunnel.kill()
            tunnel.wait()
        launcher("down", "--yes", str(file))
        assert "raylet" not in head.names()
        # With a provider of type local, Ray only stops the head; the others stop a minute after losing it.
        wait_until("the worker has stopped", lambda: "raylet" not in worker.names(), 120)


WATCH = """
import sys, time, ray
ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR")
while True:
    with open(sys.argv[2], "a") as file:
        print(sum(node["Alive"] and node["Resources"].get("CPU", 0) > 0 for node in ray.nodes()), file=file)
    time.sleep(0.5)
"""


def test_workers_are_started_for_waiting_trials_and_ended_when_idle(tmp_path: Path) -> None:
    """Uses Ray's fake provider, whose workers are real nodes that the real autoscaler starts and ends."""
    config: dict = {
        "cluster_name": "bakeoff-autoscaled",
        "max_workers": 2,
        "provider": {"type": "fake_multinode", "use_node_id_as_ip": True, "disable_node_updaters": True},
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "worker": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2},
        },
        "idle_timeout_minutes": 0.1,
        "upscaling_speed": 8,
        "docker": {},
        "auth": {},
        "file_mounts": {},
        "cluster_synced_files": [],
        "rsync_exclude": [],
    }
    for key in ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray"):
        config[f"{key}_commands"] = []
    with cluster() as made, object_store(f"{NETWORK}.254") as bucket:
        launched = made.temporary / "ray_bootstrap_config.yaml"
        launched.write_text(yaml.safe_dump(config), encoding="utf-8")
        options = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
        head = made.start_head(0, f"--autoscaling-config={launched}", **options)
        for own_disk in ([], ["--set", f"storage_path={tmp_path}"]):
            refused = head.run(*search("run", "smoke", *SMALL, *own_disk, made=made), cwd=tmp_path)
            assert refused.returncode == 2, refused.stdout
            assert "workers that are started later are not expected to see it" in refused.stdout
        log = tmp_path / "workers"
        watch = head.start(sys.executable, "-c", WATCH, made.address, str(log))
        try:
            setting = ["--set", "trials=3", "--set", "epochs=60", "--set", f"storage_path={bucket}"]
            done = head.run(*search("run", "smoke", *SMALL, *setting, made=made), cwd=tmp_path, timeout=600)
            assert done.returncode == 0, done.stdout
            # The idle timeout is six seconds.
            wait_until("the idle workers have been ended", lambda: log.read_text().endswith("\n0\n"), 120)
        finally:
            watch.kill()
            watch.communicate()
        seen = log.read_text().splitlines()
        assert (seen[0], max(seen), seen[-1]) == ("0", "2", "0")
        assert most_at_once(tmp_path) == 2
        assert_finished_as_if_nothing_had_happened(the_search(tmp_path), uri_of(tmp_path))
        assert "no worker is running to test" in done.stdout


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of a private Postgres server with the databases `mlflow` and `optuna`."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))[-1]
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # its user may not look into pytest's folders
    shutil.chown(folder, "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def run(program: str, *options: str) -> None:
        sh("runuser", "-u", "postgres", "--", str(programs / program), *options, cwd="/")

    password = folder / "password"
    password.write_text("secret\n", encoding="utf-8")
    shutil.chown(password, "postgres")
    run("initdb", "--pgdata", str(folder / "data"), "--auth=scram-sha-256", f"--pwfile={password}", "--no-sync")
    options = f"-p {port} -k {folder} -h 127.0.0.1 -c fsync=off"
    run("pg_ctl", "--pgdata", str(folder / "data"), "--log", str(folder / "log"), "-w", "-o", options, "start")
    try:
        url = f"postgresql+psycopg://postgres:secret@127.0.0.1:{port}"
        for name in ("mlflow", "optuna"):
            sh(
                "createdb",
                "-h",
                "127.0.0.1",
                "-p",
                str(port),
                "-U",
                "postgres",
                name,
                env=os.environ | {"PGPASSWORD": "secret"},
            )
        yield url
    finally:
        run("pg_ctl", "--pgdata", str(folder / "data"), "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.mark.skipif(not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")), reason="needs postgresql")
# Optuna's connections, of the studies that are read here.
@pytest.mark.filterwarnings("ignore:.*was deleted while still open:ResourceWarning")
def test_mlflow_and_optuna_on_postgres_give_the_same_audit(tmp_path: Path) -> None:
    with postgres() as url:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
             "--backend-store-uri", f"{url}/mlflow", "--artifacts-destination", str(tmp_path / "artifacts")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        try:
            wait_until("MLflow listens", lambda: is_open(port), 120)
            uri = f"http://127.0.0.1:{port}"
            storage = ["--set", f"storage={url}/optuna"]
            done = command("search", "run", "smoke", *SMALL, *storage, "--tracking-uri", uri, cwd=tmp_path)
            assert done.returncode == 0, done.stdout + done.stderr
            assert "secret" not in done.stdout + done.stderr
            folder = the_search(tmp_path)
            assert not (folder / "studies.journal").exists()
            assert_finished_as_if_nothing_had_happened(folder, uri)
            for each in (uri, f"{url}/mlflow"):  # through the server, and the database itself
                audit = command("search", "audit", "--tracking-uri", each, cwd=tmp_path)
                assert audit.returncode == 0, audit.stdout + audit.stderr
        finally:
            gc.collect()
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=30)
