"""Stopping a running search by signals."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from search.base.handlers import restoring
from search.study.studies import Studies


class Signals:
    """Handles Ctrl-C, SIGTERM and SIGHUP (a closed terminal) during a search.

    Before and after training, the first signal stops the search at once; cleaning up (writing to MLflow, shutting Ray
    down) then ignores further signals. During training, the first signal lets running trials report and checkpoint, and
    the second stops at once. SIGHUP never counts as the second signal, since both the shell and the kernel send it. It
    stays ignored if it was ignored before, as under `nohup`. Outside the main thread, where no signals arrive, nothing
    is done.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._count = 0
        self._studies: Studies | None = None

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Handle signals inside the context."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        taken = (signal.SIGINT, signal.SIGTERM, *(() if ignored else (signal.SIGHUP,)))
        with restoring(taken):
            for number in taken:
                signal.signal(number, self._come)
            yield

    @contextmanager
    def of_training(self, studies: Studies) -> Iterator[None]:
        """Signals inside the context concern the training of these studies."""
        self._studies = studies
        try:
            yield
        finally:
            self._studies = None

    def _come(self, number: int, frame: Any) -> None:
        if number == signal.SIGHUP and self._count:
            return
        self._count += 1
        if self._studies is None:
            if self._count == 1:
                raise KeyboardInterrupt
        elif self._count == 1:
            self._studies.stop()
            self._console.print(
                "Stopping: running trials end with their next report. Once more stops at once.", style="yellow"
            )
        elif self._count == 2:  # later ones would interrupt the cleanup
            raise KeyboardInterrupt
