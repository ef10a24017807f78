"""The connection to Ray: a new Ray on this machine, the one in this process, or a running cluster."""

import importlib.util
import logging
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import ray_constants

from data.base.errors import UserError, in_short
from search.base.handlers import restoring
from search.cluster import local
from search.cluster.local import ROOT
from search.spec.spec import Resources

PACKAGES = ("search", "models", "data")  # packages that workers import
HOOK = "search.base.console.collect_rarely"  # runs first in every worker

# By default glibc returns memory after every iteration and faults it in again, which costs 10 to 20 % of the time of a
# small model. Keeping it requires a single arena: every trial runs in a new thread, and per-thread arenas would add up
# to one or two gigabytes per worker. The largest blocks, for evaluation and long texts, are still returned.
_ALLOCATOR = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": "500000000",
    "MALLOC_MMAP_THRESHOLD_": "32000000",
}

_QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}

_in_use = threading.Lock()
_begun: tuple[int, Callable[[], None]] | None = None  # thread id, and the function that waits for that thread's Ray


@contextmanager
def ahead(address: str | None, resources: Resources) -> Iterator[None]:
    """Starts Ray in the background for a `connection` inside the block; does nothing if that would not start Ray.

    resources: of one trial.
    """
    global _begun
    if address is not None or ray.is_initialized() or not _in_use.acquire(blocking=False):
        yield
        return
    try:
        # Ray starts one worker per core: if a trial needs more, most workers would never train.
        preload = resources.cpu <= 1 and not resources.gpu
        with _put_back(), _without_uv(), local.starting(_ALLOCATOR, HOOK, preload, **_QUIET) as wait:
            _begun = threading.get_ident(), wait
            try:
                yield
            finally:
                _begun = None
    finally:
        _in_use.release()


@contextmanager
def connection(address: str | None) -> Iterator[str | None]:
    """Connects to Ray for the duration of the block: the Ray in this process if there is one (it keeps running), or a
    running cluster, or else a new Ray on this machine.

    Yields the address of the cluster; None for a new, private Ray. Raises UserError if there is no cluster at the
    address, if this process is connected to another one, or if another thread is running a search.
    """
    if address is None and _begun and _begun[0] == threading.get_ident():
        _begun[1]()
        yield None
        return
    if not _in_use.acquire(blocking=False):
        raise UserError("another search runs in this process: wait for its end, or start this one in another process")
    try:
        with _put_back():
            if ray.is_initialized():
                here = ray.get_runtime_context().gcs_address
                if address not in (None, "auto", here):
                    raise UserError(
                        f"--address: this process has a Ray already, that of {here}; got {address!r}: call "
                        "ray.shutdown() first, or give no address"
                    )
                _require_own_code()
                yield address or "auto"
                return
            with _connected(address):
                yield address
    finally:
        _in_use.release()


@contextmanager
def _put_back() -> Iterator[None]:
    """Restores what Ray and Tune change in this process: log levels and signal handlers."""
    loggers = [logging.getLogger(name) for name in ("ray", "ray.tune")]
    levels = [logger.level for logger in loggers]
    loggers[-1].setLevel(logging.ERROR)  # at lower levels, Tune warns about files that it is configured not to write
    try:
        with restoring((signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _connected(address: str | None) -> Iterator[None]:
    if address is None:
        with _without_uv(), local.starting(_ALLOCATOR, HOOK, False, **_QUIET) as wait:
            wait()
            yield
        return
    env: dict[str, Any] = {"env_vars": _ALLOCATOR, "worker_process_setup_hook": HOOK}
    if address.startswith("ray://"):
        raise UserError(
            "--address: a ray:// client cannot run a search; send it to the cluster with `submit`, or run it there "
            f"with --address auto; got {address}"
        )
    # The driver's code is sent to every node, so that all run the same.
    env["py_modules"] = [str(ROOT / package) for package in PACKAGES]
    with tempfile.TemporaryDirectory() as empty:
        if "RAY_JOB_CONFIG_JSON_ENV_VAR" not in os.environ:  # a submitted job already has a working directory
            env["working_dir"] = empty
        try:
            with _without_uv():
                ray.init(address, runtime_env=env, **_QUIET)
        except (ConnectionError, RuntimeError, ValueError) as error:
            problem = in_short(str(error))
            raise UserError(f"--address: no Ray cluster can be used at {address!r}: {problem}") from None
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _without_uv() -> Iterator[None]:
    """Starts workers with the Python of their node, even if this process runs under `uv run`.

    Otherwise Ray starts every worker with `uv run` in a new directory, which first creates a whole environment. Nodes
    already have all packages.
    """
    before = ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV
    ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = False
    try:
        yield
    finally:
        ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = before


def _require_own_code() -> None:
    """Raises UserError unless workers of the Ray in this process import this project, not other packages of the same
    names."""
    find = ray.remote(num_cpus=0)(importlib.util.find_spec)
    for name in ("data.encoded", "models.parts.layers", "search.tune.worker"):
        try:
            found = ray.get(find.remote(name))
        except ray.exceptions.RayError:  # the name is not a package, or cannot be imported
            found = None
        if found is None:
            raise UserError(
                f"the Ray that runs in this process cannot import {name} of {ROOT} in its workers: call ray.shutdown() "
                f"first, or start it with ray.init(runtime_env={{'working_dir': 'local://{ROOT}'}})"
            )
