"""The progress of a search, read from MLflow: the search may run on another machine."""

from collections.abc import Iterable
from datetime import UTC, datetime

import pandas as pd

from analysis.base import runs
from analysis.base.baselines import BASELINE, ROLE, shown
from analysis.base.runs import Search
from analysis.base.table import Table, in_prose
from analysis.boards.leaderboard import by_architecture, check_metric
from search.base.schema import Outcome
from search.run.progress import duration

_BARS = "▁▂▃▄▅▆▇█"
_LOST = (Outcome.DIVERGED, Outcome.FAILED, Outcome.REFUSED)
MOST_POINTS = 24  # of a sparkline
_OPEN = (Outcome.RUNNING.value, Outcome.INTERRUPTED.value)


def sparkline(values: Iterable[float]) -> str:
    """The values as a curve of block characters, scaled from their minimum to their maximum; '' for a single value.

    More than MOST_POINTS values are thinned out evenly.
    """
    known = [value for value in values if value == value and abs(value) != float("inf")]
    if len(known) < 2:
        return ""
    known = known[:: -(-len(known) // MOST_POINTS)]
    low, high = min(known), max(known)
    step = (high - low) / (len(_BARS) - 1) or 1.0
    return "".join(_BARS[round((value - low) / step)] for value in known)


def progress(trials: pd.DataFrame, series: pd.DataFrame, wanted: int | None, rank_by: str) -> pd.DataFrame:
    """One row per architecture and baseline, the best first.

    series: the history of `rank_by`, from `runs.read_series`. wanted: trials per architecture, None if unknown. `done`
    counts the trials that have ended; `curve` is of the best trial; `seconds_left` is the mean time of ended trials
    times the number missing, divided by the number running, and NaN before any has ended.
    """
    table = by_architecture(trials, rank_by)
    ended = trials[~trials["outcome"].isin(_OPEN)]
    going = trials[trials["outcome"] == Outcome.RUNNING.value]
    done = table["architecture"].map(ended.groupby("architecture").size()).fillna(0).astype("Int64")
    mean = table["architecture"].map(ended.groupby("architecture")["seconds"].mean()).astype("float64")
    running = table["architecture"].map(going.groupby("architecture").size()).fillna(0).astype("Int64")
    missing = (wanted - done).clip(lower=0) if wanted else pd.Series(pd.NA, table.index, dtype="Int64")
    missing = missing.mask(table[ROLE] == BASELINE)
    curves = series.groupby("run_id")["value"].agg(sparkline) if len(series) else pd.Series(dtype="str")
    return pd.DataFrame(
        {
            "architecture": table["architecture"],
            ROLE: table[ROLE],
            "done": done,
            "missing": missing,
            "running": running,
            **{each.value: table[each.value] for each in (Outcome.PRUNED, *_LOST)},
            "trial": table["trial"],
            rank_by: table[rank_by],
            "curve": table["run_id"].map(curves).fillna("").astype("str"),
            "seconds_left": (missing.astype("float64") * mean / running.clip(lower=1)).astype("float64"),
        }
    )


def live_table(uri: str, search: Search, rank_by: str) -> Table:
    """The current progress of a search. Raises UserError when MLflow cannot be read."""
    check_metric(rank_by)
    trials = runs.read_trials(uri, search.id)
    best = by_architecture(trials, rank_by)["run_id"].dropna().tolist()
    spec = search.spec
    wanted = spec.num_trials if spec and spec.sampler != "grid" else None
    frame = progress(trials, runs.read_series(uri, best, [rank_by]), wanted, rank_by)
    until = search.end or datetime.now(UTC)
    lines = [f"{search.outcome or 'running'}, {duration((until - search.start).total_seconds())} since its start"]
    left = frame["seconds_left"].sum(min_count=1)
    if search.outcome == Outcome.RUNNING.value and pd.notna(left) and left > 0:
        at_once = max(1, int((frame["running"] > 0).sum()))
        lines[0] += f", about {duration(left / at_once)} left"
    going = trials[trials["outcome"] == Outcome.RUNNING.value]
    lines += [f"running: {row['trial']}, epoch {row['epochs_run']}" for _, row in going.iterrows()]
    columns = ["architecture", *shown(frame), "done", "missing", "running", Outcome.PRUNED.value]
    lost = [each.value for each in _LOST if frame[each.value].any()]
    return Table(
        frame.assign(left=[duration(each) if each == each and each else "" for each in frame["seconds_left"]]),
        groups=[[*columns, *lost, "trial", rank_by, "curve", "left"]],
        key="architecture",
        title=f"{search.id}: progress, by {in_prose(rank_by)}",
        notes=lines,
    )
