"""Handlers of signals, which belong to the whole process."""

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


@contextmanager
def restoring(numbers: Iterable[int]) -> Iterator[None]:
    """Restores the handlers of these signals at the end of the block; outside the main thread, none can be set."""
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                if handler is not None:  # None: a handler installed from C, which Python cannot restore
                    signal.signal(number, handler)
