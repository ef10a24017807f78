"""How a search that runs is stopped from outside."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from search.study.studies import Studies


class Signals:
    """Ctrl-C, SIGTERM and a closed terminal's SIGHUP while a search is open: before and after its training they stop at
    once, as anywhere, but once a first one has come, what is left to do (to deliver to MLflow, to end Ray) is done
    whatever comes then.

    While it trains the first lets running trials report and checkpoint, the second stops at once; of a terminal that is
    closed the shell and the kernel both tell. SIGHUP is none of them where it is ignored, as under `nohup`.
    In a thread nothing changes: signals arrive in the main one.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._count = 0
        self._studies: Studies | None = None

    @contextmanager
    def taken(self) -> Iterator[None]:
        """While this is open signals come here."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        taken = (signal.SIGINT, signal.SIGTERM, *(() if ignored else (signal.SIGHUP,)))
        before = {number: signal.signal(number, self._come) for number in taken}
        try:
            yield
        finally:
            for number, handler in before.items():
                if handler is not None:  # None: one from C, which only C can put back
                    signal.signal(number, handler)

    @contextmanager
    def of_training(self, studies: Studies) -> Iterator[None]:
        """While this is open the studies are trained."""
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
        elif self._count == 2:  # those after it would break off the cleaning up
            raise KeyboardInterrupt
