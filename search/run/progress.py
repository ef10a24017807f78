"""The progress display of a search: a live table in a terminal or notebook, elsewhere one line per finished trial."""

import errno
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import IO, Any, cast

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from search.base.schema import Outcome
from search.study.ranking import LOST, first_of, is_ranked, shared
from search.study.stopping import Stop
from search.study.trial import Trial
from search.train.config import length_of
from search.train.length import Length
from search.train.metrics import split_metric
from search.train.training import Result

REDRAWN = 0.5  # minimum seconds between redraws in a notebook


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook; without IPython imported it is not."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel")


class _Output:
    """Standard output that cannot break a search: if its reader goes away (a closed terminal, a `tee` that Ctrl-C
    ended) or its disk is full, only the output is lost."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    @property
    def _real(self) -> Any:
        return getattr(sys.stdout, "rich_proxied_file", sys.stdout)  # rich's live table replaces sys.stdout

    def write(self, text: str) -> int:
        with self._lasting():
            self._real.write(text)
        return len(text)

    def flush(self) -> None:
        with self._lasting():
            self._real.flush()

    @contextmanager
    def _lasting(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.EIO):  # permanently: discard later output, too
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._real.fileno())
                os.close(nowhere)


def console(shown: bool = True) -> Console:
    """The console of a search. shown: if false, it prints nothing.

    A notebook claims to be a terminal, but cannot overwrite lines.
    """
    return Console(
        file=cast(IO[str], _Output()),
        soft_wrap=True,
        quiet=not shown,
        force_jupyter=False,
        force_terminal=False if in_notebook() else None,
    )


class Progress:
    """Listens to the studies and counts trials; as a context manager, it shows the live table.

    num_wanted: trials per architecture, baselines included. baselines: their names. ended: the trials that ended before
    a resume. num_parallel: the current number of parallel trials.
    """

    def __init__(
        self,
        console: Console,
        metric: str,
        length: Length,
        num_wanted: Mapping[str, int],
        num_parallel: Callable[[], int],
        ended: Iterable[Trial] = (),
        baselines: Collection[str] = (),
    ) -> None:
        self._console, self._metric, self._length = console, metric, length
        self._num_wanted, self._num_parallel = dict(num_wanted), num_parallel
        self._stopped: dict[str, str] = {}
        self._trials: dict[str, dict[str, Trial]] = {name: {} for name in num_wanted}
        self._outcomes: dict[str, Counter[Outcome]] = {name: Counter() for name in num_wanted}
        for trial in ended:
            self._trials[trial.architecture][trial.name] = trial
            self._outcomes[trial.architecture][trial.outcome] += 1
        self._baselines = baselines
        self._maximize = split_metric(metric)[1].maximize
        self._running: dict[str, tuple[Trial, float]] = {}  # with the time of its start
        self._seconds: dict[str, list[float]] = {name: [] for name in num_wanted}
        self._started = time.monotonic()
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=4, transient=True)
        self._cell: Any = None  # the displayed output in a notebook
        self._drawn = 0.0

    # A separate thread draws the display, so it iterates over copies of `_running` and `_trials`.

    def __enter__(self) -> "Progress":
        if self._console.is_terminal:
            self._live.start()
        elif in_notebook() and not self._console.quiet:
            from IPython.display import display

            self._cell = display(self._as_text(), raw=True, display_id=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()
            self._console.print(self._render())
        elif self._cell:
            self._cell.update(self._as_text(), raw=True)

    def _as_text(self) -> dict[str, str]:
        """The table as plain text for a notebook, which cannot update rich's own displays."""
        console = Console(width=100, color_system=None, force_jupyter=False, force_terminal=False)
        with console.capture() as captured:
            console.print(self._render())
        return {"text/plain": captured.get()}

    def changed(self, trial: Trial, result: Result | None) -> None:
        self._trials[trial.architecture][trial.name] = trial
        if trial.outcome is not Outcome.RUNNING:
            self._end(trial)
        elif result is None:
            self._running.setdefault(trial.name, (trial, time.monotonic()))
        if self._cell and time.monotonic() > self._drawn + REDRAWN:
            self._drawn = time.monotonic()
            self._cell.update(self._as_text(), raw=True)

    def stopped(self, architecture: str, stop: Stop) -> None:
        """Notified when an architecture gets no more trials."""
        self._num_wanted[architecture] = stop.trials
        self._stopped[architecture] = f"{architecture}: {stop.summary}"
        if not self._console.is_terminal and not self._cell:
            self._console.print(self._stopped[architecture], highlight=False, soft_wrap=True, markup=False)

    def _end(self, trial: Trial) -> None:
        _, started = self._running.pop(trial.name, (trial, time.monotonic()))  # the trial ended before it was displayed
        self._outcomes[trial.architecture][trial.outcome] += 1
        self._seconds[trial.architecture].append(time.monotonic() - started)
        if not self._console.is_terminal and not self._cell:
            left = f"{self._num_left()} left" + (f", about {duration(self.seconds_left())}" if self._num_left() else "")
            parts = [
                f"{trial.name:<14} {trial.outcome:<11}",
                f"{trial.epochs:.4g}/{self._whole(trial)} epochs",
                self._score(trial),
                trial.error or "",
                f"({left})",
            ]
            self._console.print("  ".join(filter(None, parts)), highlight=False, soft_wrap=True, markup=False)

    def _whole(self, trial: Trial) -> int:
        return length_of(trial.architecture, self._length).epochs

    def _score(self, trial: Trial) -> str:
        return "" if trial.score is None else f"{self._metric} {trial.score:.4f}"

    def _best(self, architecture: str) -> str:
        """The best score so far, running trials included. A configuration that was proposed more than once has the mean
        of its trials that ended, as in the ranking, so that the better of two repetitions is not shown."""
        trials = [*self._trials[architecture].values()]
        means = shared(trials)
        scores = [
            found.score if (found := means.get(first_of(trial))) else trial.score
            for trial in trials
            if trial.outcome not in LOST and (trial.repeats is None or is_ranked(trial))
        ]
        known = [score for score in scores if score is not None and math.isfinite(score)]
        return f"{(max if self._maximize else min)(known):.4f}" if known else ""

    def _num_left(self, architecture: str | None = None) -> int:
        names = [architecture] if architecture else list(self._num_wanted)
        return sum(max(self._num_wanted[name] - self._num_done(name), 0) for name in names)

    def _num_done(self, architecture: str) -> int:
        counts = self._outcomes[architecture]
        return counts.total() - counts[Outcome.INTERRUPTED]  # interrupted trials continue after a resume

    def seconds_left(self, architecture: str | None = None) -> float:
        """The seconds left, estimated from the mean finished trial of the architecture, else of all, else from the
        epochs so far."""
        now, running = time.monotonic(), list(self._running.values())
        projected = [(now - started) * self._whole(trial) / trial.epochs for trial, started in running if trial.epochs]
        everything = [seconds for each in self._seconds.values() for seconds in each] or projected
        left = 0.0
        for name in [architecture] if architecture else self._num_wanted:
            seconds = self._seconds[name] or everything
            if not seconds:
                return float("nan")
            mean = sum(seconds) / len(seconds)
            spent = [now - started for trial, started in running if trial.architecture == name]
            left += max(self._num_left(name) * mean - sum(min(each, mean) for each in spent), 0.0)
        return left / max(1, self._num_parallel(), len(running))  # with packs, more trials run than there are workers

    def _render(self) -> Any:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        table.add_column("architecture")
        ended = [Outcome.PRUNED, Outcome.DIVERGED, Outcome.FAILED]
        ended += [Outcome.REFUSED] if any(counts[Outcome.REFUSED] for counts in self._outcomes.values()) else []
        columns = ["done", "running", *(each.value for each in ended), f"best {self._metric}", "time left"]
        for column in columns:
            table.add_column(column, justify="right")
        for name, wanted in self._num_wanted.items():
            counts = self._outcomes[name]
            running = sum(trial.architecture == name for trial, _ in list(self._running.values()))
            table.add_row(
                f"{name} (baseline)" if name in self._baselines else name,
                f"{self._num_done(name)}/{wanted}",
                str(running or ""),
                *(str(counts[each] or "") for each in ended),
                self._best(name),
                duration(self.seconds_left(name)) if self._num_left(name) else "",
            )
        lines = [Text(""), *(Text(f"  {line}") for line in list(self._stopped.values()))]
        for trial, started in list(self._running.values()):
            spent = duration(time.monotonic() - started)
            parts = [f"  {trial.name:<14} epoch {trial.epochs:.4g}/{self._whole(trial)}", self._score(trial), spent]
            lines.append(Text("  ".join(filter(None, parts)), style="dim"))
        elapsed = duration(time.monotonic() - self._started)
        left = f", about {duration(self.seconds_left())} left" if self._num_left() else ""
        return Group(table, *lines, Text(f"  {elapsed} elapsed{left}"))


def duration(seconds: float) -> str:
    """'4 s', '3:05', '1:02:03'; '?' if it is NaN."""
    if seconds != seconds:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest} s"
