"""A Ray of this process alone: out of other machines' reach, on the cores that this process may use."""

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import ray_constants
from ray.exceptions import AuthenticationError, GetTimeoutError

from data.base.cores import num_cores
from data.base.errors import UserError, in_short
from search.base import timings
from search.base.timings import Event
from search.cluster import session

MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
LOOPBACK = "127.0.0.1"
WORKER_SECONDS = 60.0  # a worker takes one or two


@contextmanager
def started(runtime_env: dict[str, Any], **options: Any) -> Iterator[None]:
    """Ray on this machine until the end, with a worker that has answered. Raises UserError when that cannot be."""
    _require_loopback()
    with _own_token():
        try:
            try:
                with _on_loopback(), session.deaf_to_hangups():
                    ray.init("local", num_cpus=num_cores(), include_dashboard=False, runtime_env=runtime_env, **options)
            except Exception as error:
                raise UserError(f"Ray cannot be started: {_why(error)}") from None
            timings.note(Event.RAY)
            _require_worker()
            timings.note(Event.WORKER)
            with session.tidy():
                try:
                    yield
                finally:
                    ray.shutdown()
                    timings.note(Event.RAY_ENDED)
        finally:
            ray.shutdown()


@contextmanager
def _own_token() -> Iterator[None]:
    """What Ray's processes show each other, unless the environment has one already.

    Ray itself would write one to the home folder, which may not be there, or not be writable.
    """
    before = {name: os.environ.get(name) for name in (MODE, TOKEN)}
    if not os.environ.get(TOKEN) and not os.environ.get(TOKEN_PATH):
        os.environ[TOKEN] = secrets.token_hex(32)
    raylet: Any = ray._raylet
    loader = raylet.AuthenticationTokenLoader.instance()
    loader.reset_cache()  # of an earlier search in this process
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        loader.reset_cache()


@contextmanager
def _on_loopback() -> Iterator[None]:
    """A Ray that is started meanwhile listens on the loopback interface.

    It does so on Windows and macOS. On Linux it takes the address that other machines reach, even when it is told
    127.0.0.1, unless it believes that there are no clusters here either.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _require_loopback() -> None:
    """Raise UserError when processes of this machine cannot connect, for which Ray would wait a quarter of an hour."""
    try:
        with socket.create_server((LOOPBACK, 0)) as server, socket.create_connection(server.getsockname(), timeout=5):
            pass
    except OSError as error:
        raise UserError(
            f"Ray's processes cannot connect to {LOOPBACK} ({error.strerror or error}): is the interface `lo` up, are "
            "its ports closed by a firewall, or all in use?"
        ) from None


def _require_worker() -> None:
    """Raise UserError unless a worker answers in time. Trials get others: Tune's actors were
    given none that has run a task, also with the environment that Tune asks for."""
    try:
        ray.get(ray.remote(num_cpus=0, max_retries=0)(_answer).remote(), timeout=WORKER_SECONDS)
    except GetTimeoutError:
        raise UserError(
            f"no worker of Ray's has started within {WORKER_SECONDS:.0f} s; the files raylet.out and runtime_env* in "
            f"{session.own() / 'logs'} say why. "
            "RAY_RUNTIME_ENV_HOOK and RAY_ENABLE_UV_RUN_RUNTIME_ENV change how it starts them"
        ) from None
    except ray.exceptions.OutOfMemoryError:  # it did start; where there is no room for trials either, they say so
        return
    except ray.exceptions.RayError as error:
        raise UserError(f"Ray's workers cannot be started: {_line(error)}; see {session.own() / 'logs'}") from None


def _answer() -> None:
    pass


def _why(error: Exception) -> str:
    """What Ray says of its failure, and the variable that has to do with it."""
    folder = "RAY_TMPDIR" if "RAY_TMPDIR" in os.environ else "TMPDIR"
    problem = _line(error)
    if "AF_UNIX" in problem:
        return f"{folder} is too long for the names of sockets ({os.environ.get(folder, '')}); try RAY_TMPDIR=/tmp"
    if isinstance(error, AuthenticationError):
        return f"{problem}; see {TOKEN_PATH}, {TOKEN} and {MODE}: without them a search has a token of its own"
    if isinstance(error, OSError):
        return f"{problem}; {folder} should be a folder that can be written and has space, HOME one that is there"
    return f"{problem} Its logs are in ray/session_latest/logs of {folder}, else of /tmp; see `ulimit -a` and /dev/shm"


def _line(error: Exception) -> str:
    return in_short(str(error))
