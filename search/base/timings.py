"""When what of a command happened, for whoever wonders where its time goes: `bakeoff run --timings`."""

import time
from enum import StrEnum


class Event(StrEnum):
    """What is timed, in words."""

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
    """Note that this happened, now or `at` a time in seconds since 1970; only the first time is kept."""
    _happened.setdefault(event, time.time() if at is None else at)


def lines() -> list[str]:
    """What has been noted, in its order: seconds since this process was started, and the words."""
    import psutil

    started = psutil.Process().create_time()
    return [f"{at - started:8.2f} s  {event}" for event, at in sorted(_happened.items(), key=lambda each: each[1])]
