"""Timestamps of the phases of a command: `bakeoff run --timings`."""

import time
from enum import StrEnum


class Event(StrEnum):
    """The events that are timed, as shown to users."""

    LOADED = "libraries imported"
    CORPUS = "corpus ready"
    RAY = "Ray ready"
    WORKER = "first worker up"
    MLFLOW = "MLflow ready"
    FIRST_STEP = "first training step"
    LAST_END = "last trial ended"
    RAY_ENDED = "Ray ended"
    LEADERBOARD = "leaderboard shown"
    PAGE = "page written"
    END = "end"


_happened: dict[Event, float] = {}


def note(event: Event, at: float | None = None) -> None:
    """Records the time of an event: now, or `at` (seconds since 1970). Only the first time is kept."""
    _happened.setdefault(event, time.time() if at is None else at)


def lines() -> list[str]:
    """The recorded events in order of time, with seconds since the start of this process."""
    import psutil

    started = psutil.Process().create_time()
    return [f"{at - started:8.2f} s  {event}" for event, at in sorted(_happened.items(), key=lambda item: item[1])]
