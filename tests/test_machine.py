"""What a search makes of the machine it runs on: its cores, home and temporary folder, its ports, how it is started."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from cluster_nodes import can_have_namespaces
from conftest import ROOT

from data.base.cores import num_cores
from data.base.files import default_cache

ONE_TRIAL = (
    "smoke",
    "--set",
    "trials=1",
    "--set",
    "epochs=1",
    "--set",
    "architectures=[mlp]",
    "--set",
    "baselines=none",
)
SAY_CORES = "from data.base.cores import num_cores; print(num_cores())"
CONNECT = """
import urllib.request
from http.client import HTTPException
import psutil
from search.base.console import quiet_libraries
from search.cluster.connection import connection
quiet_libraries()
try:
    with connection(None):
        import ray
        print(ray.cluster_resources()["CPU"])
        listening = {each.laddr for process in [psutil.Process(), *psutil.Process().children(recursive=True)]
                     for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN}
        print(*{address.ip for address in listening})
        for address in listening:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{address.port}/metrics", timeout=5):
                    print("answers without a token:", address.port)
            except (OSError, HTTPException):  # refused, or no HTTP at all but Ray's own protocol
                pass
except ValueError as error:
    print("error:", error)
"""

AHEAD = """
import os, sys, time
from search.base.console import quiet_libraries
from search.cluster.connection import ahead, connection
from search.spec.spec import Resources
quiet_libraries()

def trial(config):
    tune.report({"worker": (os.getpid(), config["started"], "search.tune.worker" in sys.modules, sys.path[0])})

with ahead(None, Resources()):
    import ray
    from ray import tune
    from search.tune.actors import in_any_worker
    with connection(None):
        time.sleep(3)  # as long as Ray leaves a worker that nobody uses, and more
        space = tune.with_resources(trial, {"cpu": 1})
        with in_any_worker():
            done = tune.Tuner(space, param_space={"started": time.time()},
                              run_config=tune.RunConfig(storage_path=os.path.abspath("tune"), verbose=0)).fit()
        pid, began, loaded, path = done[0].metrics["worker"]
        import psutil
        print(psutil.Process(pid).create_time() < began, loaded, path)
assert not ray.is_initialized()
"""


def run(*words: str | Path, cwd: Path, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = os.environ | {"PYTHONPATH": str(ROOT), "BAKEOFF_CACHE": str(default_cache())} | environment
    return subprocess.run(words, cwd=cwd, env=variables, capture_output=True, text=True, timeout=timeout)


def python(code: str, *before: str, cwd: Path, **environment: str) -> list[str]:
    """The lines that a new process prints, started by the words `before` it."""
    done = run(*before, sys.executable, "-c", code, cwd=cwd, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_cores_are_those_that_the_process_may_use(tmp_path: Path) -> None:
    assert num_cores() == len(os.sched_getaffinity(0))
    one = str(min(os.sched_getaffinity(0)))
    assert python(SAY_CORES, "taskset", "--cpu-list", one, cwd=tmp_path) == ["1"]


@pytest.mark.skipif(not can_have_namespaces(), reason="a file system of one's own needs root")
@pytest.mark.parametrize(("quota", "cores"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", num_cores())])
def test_cores_are_those_of_a_containers_quota(quota: str, cores: int, tmp_path: Path) -> None:
    mount = f'mount -t tmpfs none /sys/fs/cgroup && echo {quota} > /sys/fs/cgroup/cpu.max && exec "$@"'
    assert python(SAY_CORES, "unshare", "--mount", "sh", "-c", mount, "sh", cwd=tmp_path) == [str(cores)]


@pytest.mark.parametrize(
    ("quotas", "cores"),
    [
        ({"job/step": "100000 100000"}, 1),
        ({"job": "50000 100000", "job/step": "max 100000"}, 1),
        ({"": "150000 100000", "job/step": "100000 100000"}, 1),
        ({"job/step": "9000000 100000"}, num_cores()),
        ({"other": "100000 100000"}, num_cores()),
        ({}, num_cores()),
    ],
)
def test_cores_are_those_of_the_least_quota_on_the_way_to_the_outermost_group(
    quotas: dict[str, str], cores: int, tmp_path: Path
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("1:cpu:/elsewhere\n0::/job/step\n")
    for group, quota in quotas.items():
        folder = tmp_path / "sys/fs/cgroup" / group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cpu.max").write_text(f"{quota}\n")
    assert num_cores(tmp_path) == cores


@pytest.mark.slow
def test_ray_has_the_cores_that_are_allowed_needs_no_home_and_is_out_of_reach(tmp_path: Path) -> None:
    one = str(min(os.sched_getaffinity(0)))
    cpus, addresses, *open_to_all = python(CONNECT, "taskset", "--cpu-list", one, cwd=tmp_path, HOME="/proc/none")
    assert cpus == "1.0"
    assert {address.removeprefix("::ffff:") for address in addresses.split()} == {"127.0.0.1"}
    assert not open_to_all


@pytest.mark.slow
def test_a_trial_runs_in_a_worker_that_was_up_before_and_sees_no_modules_of_the_users(tmp_path: Path) -> None:
    (tmp_path / "models.py").write_text("raise SystemExit('imported')", encoding="utf-8")
    *_, said = python(AHEAD, cwd=tmp_path, PYTHONSAFEPATH="1")
    up, loaded, path = said.split(maxsplit=2)
    assert (up, loaded) == ("True", "True")
    assert path != str(tmp_path)


@pytest.mark.parametrize(
    ("variable", "value", "rule"),
    [
        ("TMPDIR", "/tmp/" + "long" * 25, "TMPDIR is too long for the names of sockets"),
        ("RAY_TMPDIR", "/proc/none", "RAY_TMPDIR should be a writable folder"),
        ("RAY_AUTH_TOKEN_PATH", "/proc/none", "RAY_AUTH_TOKEN_PATH is set but file cannot be opened"),
    ],
)
def test_a_ray_that_cannot_start_is_one_line_that_names_the_variable(
    variable: str, value: str, rule: str, tmp_path: Path
) -> None:
    (said,) = python(CONNECT, cwd=tmp_path, **{variable: value})
    assert said.startswith("error: Ray cannot be started: ")
    assert rule in said


@pytest.mark.skipif(not can_have_namespaces(), reason="a network of one's own needs root")
def test_a_machine_without_a_loopback_interface_is_one_line_at_once(tmp_path: Path) -> None:
    (said,) = python(CONNECT, "unshare", "--net", cwd=tmp_path)
    assert said.startswith("error: Ray's processes cannot connect to 127.0.0.1 (Network is unreachable)")


@pytest.mark.slow
def test_a_worker_that_does_not_start_is_one_line(tmp_path: Path) -> None:
    hook = tmp_path / "hook.py"
    hook.write_text("def sleepy(env):\n    return {**env, 'py_executable': 'sleep 1000 #'}\n", encoding="utf-8")
    quick = CONNECT.replace(
        "import psutil", "import psutil\nfrom search.cluster import local\nlocal.WORKER_SECONDS = 3.0"
    )
    environment = {"RAY_RUNTIME_ENV_HOOK": "hook.sleepy", "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    (said,) = python(quick, cwd=tmp_path, **environment)
    assert said.startswith("error: no worker of Ray's has started within 3 s; ")
    assert "raylet.out" in said


@pytest.mark.slow
def test_a_search_runs_under_uv(tmp_path: Path) -> None:
    """In a project of the user's, whose environment Ray's hook would have uv make again for every worker."""
    uv, environment = Path(sys.executable).with_name("uv"), tmp_path / "environment"
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'mine'\nversion = '1'\n", encoding="utf-8")
    variables = {
        "UV_PROJECT_ENVIRONMENT": str(environment),
        "UV_CACHE_DIR": str(tmp_path / "cache"),
        "UV_OFFLINE": "1",
        "VIRTUAL_ENV": "",
    }
    run(uv, "venv", "--python", sys.executable, environment, cwd=tmp_path, **variables)
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "ours.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    done = run(uv, "run", "python", "-m", "search", "run", *ONE_TRIAL, cwd=tmp_path, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
