"""The same work on many batches of texts: on all cores where there are many texts, else in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

MANY = 50_000  # texts, of which it is worth the seconds that processes take to start


def over_batches(
    work: Callable[[list[str]], T], batches: Iterable[list[str]], num_texts: int, *, bar: str = ""
) -> Iterator[T]:
    """What the work makes of each batch, in order. Of the batches only a few are in memory at once.

    work: a function that can be pickled. bar: what is shown beside the progress bar, if there is to be one.
    """
    from rich.progress import Progress

    with Progress(disable=not bar or num_texts < MANY, transient=True) as progress:
        task = progress.add_task(bar, total=num_texts)
        found = _in_processes(work, batches) if num_texts >= MANY else (_counted(work, batch) for batch in batches)
        for made, number in found:
            yield made
            progress.advance(task, number)


def _in_processes(work: Callable[[list[str]], T], batches: Iterable[list[str]]) -> Iterator[tuple[T, int]]:
    # joblib's processes run no main module again, as those of the standard library would.
    import joblib
    from joblib.externals.loky import get_reusable_executor

    cores = joblib.cpu_count()
    pool = joblib.Parallel(n_jobs=cores, return_as="generator", batch_size=1, pre_dispatch=2 * cores)
    try:
        yield from pool(joblib.delayed(_counted)(work, batch) for batch in batches)
    finally:
        get_reusable_executor().shutdown(wait=True)  # else their memory stays taken for minutes


def _counted(work: Callable[[list[str]], T], batch: list[str]) -> tuple[T, int]:
    return work(batch), len(batch)
