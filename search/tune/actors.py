"""What Tune's actors ask of Ray: nothing that would keep them from the workers that are up already."""

from collections.abc import Iterator
from contextlib import contextmanager

from ray.tune.execution import class_cache


@contextmanager
def in_any_worker() -> Iterator[None]:
    """Actors that Tune starts meanwhile have no environment variables of their own, for which Ray would start others.

    Tune's only one of its own is for PyTorch Lightning. What it passes on of this process's stays.
    """
    before = dict(class_cache.DEFAULT_ENV_VARS)
    class_cache.DEFAULT_ENV_VARS.clear()
    try:
        yield
    finally:
        class_cache.DEFAULT_ENV_VARS.update(before)
