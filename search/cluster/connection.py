"""The connection to Ray: started on this machine, that of this process, or a running cluster."""

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
from search.cluster import local
from search.cluster.local import ROOT
from search.spec.spec import Resources

PACKAGES = ("search", "models", "data")  # what workers import
HOOK = "search.base.console.collect_rarely"  # the first thing that a worker does

# Glibc would give memory back after every iteration and fault it in again: 10 to 20 % of a small model's time. What it
# keeps it has to keep in one place: every trial is a new thread and would leave another heap behind, until a worker has
# one or two gigabytes. The largest blocks, of evaluation and of long texts, are not kept.
_ALLOCATOR = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": "500000000",
    "MALLOC_MMAP_THRESHOLD_": "32000000",
}

_QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}

_in_use = threading.Lock()
_begun: tuple[int, Callable[[], None]] | None = None  # by the thread of this id: what waits for the Ray it has started


@contextmanager
def ahead(address: str | None, resources: Resources) -> Iterator[None]:
    """Start Ray in the background, for a `connection` inside to find it up; where that would not start one, neither
    does this. resources: of each trial."""
    global _begun
    if address is not None or ray.is_initialized() or not _in_use.acquire(blocking=False):
        yield
        return
    try:
        # Ray starts a worker for each core: where a trial takes more, most of them would never train.
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
    """Ray until the end: that of this process, which stays, or one on this machine, or a running cluster.

    Gives the address of the cluster, None of a Ray that is ours alone. Raises UserError without one, when that of this
    process is another, and when a search of another thread uses it.
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
    """What Ray and Tune set in this process is afterwards as it was: levels of loggers, signal handlers."""
    loggers = [logging.getLogger(name) for name in ("ray", "ray.tune")]
    levels = [logger.level for logger in loggers]
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    loggers[-1].setLevel(logging.ERROR)  # below it Tune speaks of files that we tell it not to write
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                if handler is not None:  # None: one from C, which only C can put back
                    signal.signal(number, handler)


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
    # The driver's own code travels to every node, so that all run the same.
    env["py_modules"] = [str(ROOT / package) for package in PACKAGES]
    with tempfile.TemporaryDirectory() as empty:
        if "RAY_JOB_CONFIG_JSON_ENV_VAR" not in os.environ:  # a submitted job has a directory of its own
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
    """Workers start with the Python that runs their node, also under `uv run`.

    Ray would start each of them with `uv run` in a directory of its own, which waits for a whole environment to be
    made there. Here every node has all that is imported.
    """
    before = ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV
    ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = False
    try:
        yield
    finally:
        ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = before


def _require_own_code() -> None:
    """Raise UserError unless the workers of this process's Ray import this project, and no other of the same names."""
    ask = ray.remote(num_cpus=0)(importlib.util.find_spec)
    for name in ("data.encoded", "models.parts.layers", "search.tune.trainable"):
        try:
            found = ray.get(ask.remote(name))
        except ray.exceptions.RayError:  # what there is of that name is no package, or cannot be imported at all
            found = None
        if found is None:
            raise UserError(
                f"the Ray that runs in this process cannot import {name} of {ROOT} in its workers: call ray.shutdown() "
                f"first, or start it with ray.init(runtime_env={{'working_dir': 'local://{ROOT}'}})"
            )
