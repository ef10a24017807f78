"""A private Ray for this process: unreachable from other machines, on the cores that this process may use.

It starts in the background, without the daemons that only a cluster needs, and its workers import the code of trials
before the first trial. Ray prestarts workers only for an empty `runtime_env`, and an actor only gets a worker with an
equal one; so our workers are configured by environment variables of this process instead.
"""

import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import ray
from ray._private import node, parameter, ray_constants
from ray.exceptions import AuthenticationError, GetTimeoutError
from ray.job_config import JobConfig

from data.base.cores import num_cores
from data.base.errors import UserError, in_short
from search.base import timings
from search.base.timings import Event
from search.cluster import session

ROOT = Path(__file__).parents[2]
MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
LOOPBACK = "127.0.0.1"
WORKER_SECONDS = 60.0  # timeout; starting a worker takes one or two
# Otherwise, while cores are reserved for Tune's actors, Ray would end workers that are idle for a second, before the
# actors start.
KEPT: dict[str, Any] = {"idle_worker_killing_time_threshold_ms": 3_600_000}
OF_TRIALS = "search.tune.worker"  # the module with the trainable


class _OwnCode(JobConfig):
    """Keeps the current directory, where a user may have a `models` or a `data.py`, off the workers' path."""

    def _runtime_env_has_working_dir(self) -> bool:
        return True


@contextmanager
def starting(environment: Mapping[str, str], hook: str, preload: bool, **options: Any) -> Iterator[Callable[[], None]]:
    """Runs a private Ray during the block, starting it in the background. Yields a function that waits for a worker and
    raises UserError on failure.

    environment: variables for the workers. hook: the function that they call first. preload: whether they import the
    code of trials before the first trial. options: for `ray.init`.
    """
    _require_loopback()
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    variables = {**environment, "PYTHONPATH": path, ray_constants.WORKER_PROCESS_SETUP_HOOK_ENV_VAR: hook}
    options["_system_config"] = KEPT | ({"preload_python_modules": [OF_TRIALS]} if preload else {})
    # Linux ends the daemons together with the thread that started them, so the thread lives until Ray is shut down.
    with _own_token(), ThreadPoolExecutor(1) as thread:
        begun = thread.submit(_init, variables, options)
        with session.tidy(begun):
            yield partial(_wait, begun)


def _init(variables: Mapping[str, str], options: Mapping[str, Any]) -> None:
    with _variables(variables), _few_daemons(), _on_loopback(), session.blocking_hangups():
        # Hooks of RAY_RUNTIME_ENV_HOOK expect an empty environment, not None.
        ray.init(
            "local",
            num_cpus=num_cores(),
            include_dashboard=False,
            job_config=_OwnCode(),
            runtime_env={},
            **options,
        )
    timings.note(Event.RAY)


def _wait(begun: "Future[None]") -> None:
    try:
        begun.result()
    except Exception as error:
        raise UserError(f"Ray cannot be started: {_why(error)}") from None
    _require_worker()
    timings.note(Event.WORKER)


@contextmanager
def _variables(variables: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables for processes started inside the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        _restore(before)


def _restore(before: Mapping[str, str | None]) -> None:
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@contextmanager
def _few_daemons() -> Iterator[None]:
    """Makes a Ray that is started inside the block omit the autoscaler, log monitor and dashboard server, each of which
    takes half a core-second or more to start."""
    few = partial(parameter.RayParams, no_monitor=True, include_log_monitor=False)  # type: ignore[arg-type]
    with mock.patch.object(parameter, "RayParams", few), mock.patch.object(node.Node, "start_api_server"):
        yield


@contextmanager
def _own_token() -> Iterator[None]:
    """Sets a random token that authenticates Ray's processes to each other, unless the environment has one.

    Ray itself would write a token to the home folder, which may be missing or read-only.
    """
    before = {name: os.environ.get(name) for name in (MODE, TOKEN)}
    if not os.environ.get(TOKEN) and not os.environ.get(TOKEN_PATH):
        os.environ[TOKEN] = secrets.token_hex(32)
    raylet: Any = ray._raylet
    loader = raylet.AuthenticationTokenLoader.instance()
    loader.reset_cache()  # it may hold the token of an earlier search in this process
    try:
        yield
    finally:
        _restore(before)
        loader.reset_cache()


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Makes a Ray that is started inside the block listen on the loopback interface.

    That is Ray's default on Windows and macOS, where it does not support clusters. On Linux it always uses an address
    that other machines can reach, even if given 127.0.0.1, unless clusters are declared unsupported.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _require_loopback() -> None:
    """Raises UserError if processes on this machine cannot connect to each other; Ray would wait for 15 minutes."""
    try:
        with socket.create_server((LOOPBACK, 0)) as server, socket.create_connection(server.getsockname(), timeout=5):
            pass
    except OSError as error:
        raise UserError(
            f"Ray's processes cannot connect to {LOOPBACK} ({error.strerror or error}): is the interface `lo` up, are "
            "its ports closed by a firewall, or all in use?"
        ) from None


def _require_worker() -> None:
    """Raises UserError unless a worker is up in time.

    Ray gives actors, such as Tune's trials, no worker that has run a task. So no task is run to find out, unless
    RAY_RUNTIME_ENV_HOOK gives the workers an environment.
    """
    try:
        if not ray.get_runtime_context().runtime_env:
            _wait_for_worker()
        else:
            ray.get(ray.remote(num_cpus=0, max_retries=0)(_answer).remote(), timeout=WORKER_SECONDS)
    except GetTimeoutError:
        raise UserError(
            f"no worker of Ray's has started within {WORKER_SECONDS:.0f} s; the files raylet.out and runtime_env* in "
            f"{session.keep()} say why. "
            "RAY_RUNTIME_ENV_HOOK and RAY_ENABLE_UV_RUN_RUNTIME_ENV change how it starts them"
        ) from None
    except ray.exceptions.OutOfMemoryError:  # the worker has started; trials report a lack of memory themselves
        return
    except ray.exceptions.RayError as error:
        raise UserError(f"Ray's workers cannot be started: {_line(error)}; see {session.keep()}") from None


def _wait_for_worker() -> None:
    """Raises GetTimeoutError."""
    until = time.monotonic() + WORKER_SECONDS
    while not ray._private.state.workers():
        if time.monotonic() > until:
            raise GetTimeoutError
        time.sleep(0.02)


def _answer() -> None:
    pass


def _why(error: Exception) -> str:
    """The message of Ray's failure, with the environment variable that is the likely cause."""
    folder = "RAY_TMPDIR" if "RAY_TMPDIR" in os.environ else "TMPDIR"
    problem = _line(error)
    if "AF_UNIX" in problem:
        return f"{folder} is too long for the names of sockets ({os.environ.get(folder, '')}); try RAY_TMPDIR=/tmp"
    if isinstance(error, AuthenticationError):
        return f"{problem}; see {TOKEN_PATH}, {TOKEN} and {MODE}: without them, a search creates its own token"
    if isinstance(error, OSError):
        return f"{problem}; {folder} should be a writable folder with free space, and HOME an existing folder"
    return f"{problem} Its logs are in ray/session_latest/logs of {folder}, else of /tmp; see `ulimit -a` and /dev/shm"


def _line(error: Exception) -> str:
    return in_short(str(error))
