"""Applies a function to batches of texts: on all cores if there are many texts, otherwise in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

MANY = 50_000  # texts from which parallel work outweighs the seconds that processes take to start


def over_batches(
    work: Callable[[list[str]], T], batches: Iterable[list[str]], num_texts: int, *, bar: str = ""
) -> Iterator[T]:
    """Yields `work(batch)` for each batch, in order. Only a few batches are in memory at once.

    work: picklable. bar: the label of the progress bar; '' shows no bar.
    """
    from rich.progress import Progress

    with Progress(disable=not bar or num_texts < MANY, transient=True) as progress:
        task = progress.add_task(bar, total=num_texts)
        results = _in_processes(work, batches) if num_texts >= MANY else (_counted(work, batch) for batch in batches)
        for result, number in results:
            yield result
            progress.advance(task, number)


def _in_processes(work: Callable[[list[str]], T], batches: Iterable[list[str]]) -> Iterator[tuple[T, int]]:
    # Unlike the standard library's, joblib's processes do not run the main module again.
    import joblib
    from joblib.externals.loky import get_reusable_executor

    cores = joblib.cpu_count()
    pool = joblib.Parallel(n_jobs=cores, return_as="generator", batch_size=1, pre_dispatch=2 * cores)
    try:
        yield from pool(joblib.delayed(_counted)(work, batch) for batch in batches)
    finally:
        get_reusable_executor().shutdown(wait=True)  # otherwise idle processes keep their memory for minutes


def _counted(work: Callable[[list[str]], T], batch: list[str]) -> tuple[T, int]:
    return work(batch), len(batch)
