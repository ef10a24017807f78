"""The clock of training: seconds of the process, divided among the trials that it trains at the same time.

Without the division, the time of a trial trained in lockstep would be that of its whole pack, and limits and objectives
would depend on how many trials are beside it.
"""

import time


class _Clock:
    def __init__(self) -> None:
        self._num_trials = 1
        self._then, self._shown = time.perf_counter(), 0.0

    def now(self) -> float:
        return self._shown + (time.perf_counter() - self._then) / self._num_trials

    def divide(self, num_trials: int) -> None:
        if num_trials != self._num_trials:
            self._shown, self._then = self.now(), time.perf_counter()
            self._num_trials = num_trials


_of_this_process = _Clock()


def now() -> float:
    """In seconds, from any start; only differences mean something."""
    return _of_this_process.now()


def divide(num_trials: int) -> None:
    """From now on, each second counts for so many trials in equal parts."""
    _of_this_process.divide(num_trials)
