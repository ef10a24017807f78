"""Lets Tune's actors use Ray workers that are already running."""

from collections.abc import Iterator
from contextlib import contextmanager

from ray.tune.execution import class_cache


@contextmanager
def in_any_worker() -> Iterator[None]:
    """Inside the block, Tune starts actors without environment variables, for which Ray would have to start new
    workers.

    The only variable that Tune sets by default is for PyTorch Lightning. Variables copied from this process are kept.
    """
    before = dict(class_cache.DEFAULT_ENV_VARS)
    class_cache.DEFAULT_ENV_VARS.clear()
    try:
        yield
    finally:
        class_cache.DEFAULT_ENV_VARS.update(before)
