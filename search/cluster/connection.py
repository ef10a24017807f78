"""The connection to Ray: started on this machine, or a running cluster."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from data.base.errors import UserError

# Glibc would give memory back after every iteration and fault it in again: 10 to 20 % of a small model's time. What it
# keeps it has to keep in one place: every trial is a new thread and would leave another heap behind, until a worker has
# one or two gigabytes. The largest blocks, of evaluation and of long texts, are not kept.
_ALLOCATOR = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": "500000000",
    "MALLOC_MMAP_THRESHOLD_": "32000000",
}


@contextmanager
def connection(address: str | None) -> Iterator[None]:
    """Ray on this machine, or a connection to a running cluster, until the end. Raises UserError without one."""
    root = Path(__file__).parents[2]
    # Below ERROR, Ray and Tune speak of files that we tell them not to write.
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        # Workers import this project whatever directory the command was started in.
        variables = {"PYTHONPATH": os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))}
        ray.init("local", include_dashboard=False, runtime_env={"env_vars": variables | _ALLOCATOR}, **options)
    else:
        if address.startswith("ray://"):
            raise UserError(f"--address: a search runs on the cluster itself; got {address}; see `submit`")
        # The driver's own code travels to every node, so that all run the same.
        code = [str(root / package) for package in ("search", "models", "data")]
        try:
            ray.init(address, runtime_env={"env_vars": _ALLOCATOR, "py_modules": code}, **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            problem = " ".join(str(error).split())[:300]
            raise UserError(f"--address: no Ray cluster can be used at {address!r}: {problem}") from None
    try:
        yield
    finally:
        ray.shutdown()
