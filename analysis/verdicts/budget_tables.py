"""Tables of which architecture wins at which budget: recommendations, crossings and curves."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from analysis.base.baselines import BASELINE, ROLE
from analysis.base.best_of import Curve, apart, crossing
from analysis.base.table import Table, cell, heading, in_prose
from analysis.verdicts.budget import SECONDS, TRIALS, Budget
from search.train.metrics import split_metric

ASKED = {"a minute": 60.0, "ten minutes": 600.0, "an hour": 3600.0}  # of one core


def what_to_use(found: Budget) -> pd.DataFrame:
    """Two rows per budget of ASKED: the best architecture by expected validation score, and the best baseline if any.

    `or_else`: architectures (or baselines) that do not differ significantly from it. `beyond`: whether the curve ends
    before the budget, so that the score is a lower bound. Budgets too small for a trial have no row.
    """
    sign, rows = _sign(found), []
    for words, seconds in ASKED.items():
        curves = found.curves.get(SECONDS, {})
        here = {name: point for name, (val, _) in curves.items() if (point := val.at(seconds))}
        for role in dict.fromkeys(found.roles.values()):
            group = {name: point for name, point in here.items() if found.roles[name] == role}
            if not group:
                continue
            best = max(group, key=lambda name: sign * here[name].value)
            point, test = group[best], curves[best][1].at(seconds)
            alike = [name for name, other in group.items() if name != best and not apart(point, other)]
            row: dict[str, Any] = {"budget": words, SECONDS: seconds, "use": best, ROLE: role}
            half = point.half if math.isfinite(point.half) else math.nan
            bounds = {"mean": point.value, "low": point.value - half, "high": point.value + half}
            row |= {f"{found.rank_by}_{what}": value for what, value in bounds.items()}
            row |= {f"{found.on_test}_mean": test.value if test else math.nan}
            rows.append(row | {"beyond": point.beyond and role != BASELINE, "or_else": ", ".join(alike)})
    measures = [*(f"{found.rank_by}_{what}" for what in _BOUNDS), f"{found.on_test}_mean"]
    columns = ["budget", SECONDS, "use", ROLE, *measures, "beyond", "or_else"]
    return pd.DataFrame(rows, columns=columns).sort_values(
        [SECONDS, f"{found.rank_by}_mean"], ascending=[True, sign < 0], kind="stable", ignore_index=True
    )


def sentences(found: Budget) -> list[str]:
    """What to use with a minute, ten minutes and an hour, as sentences."""
    use, lines = what_to_use(found), []
    for words in ASKED:
        rows = use[use["budget"] == words].to_dict("records")
        parts = []
        for row in rows:
            scores = ", ".join(f"{in_prose(name)} {cell(name, row[f'{name}_mean'])}" for name in found.measures)
            more = " or more (the curve ends before)" if row["beyond"] else ""
            alike = f", not significantly different from {row['or_else']}" if row["or_else"] else ""
            parts.append(f"{row['use']}{' (baseline)' * (row[ROLE] == BASELINE)}: {scores}{more}{alike}")
        lines.append(f"With {words} of one core, {'; '.join(parts) or 'no trial ends'}.")
    return lines


def crossings(found: Budget) -> pd.DataFrame:
    """One row per pair and unit: which is `ahead` at the smallest budget, which at the largest (`later`), and from
    which budget on.

    `at`, `low` and `high`: see `best_of.Crossing`. `told_apart`: whether they differ significantly at the largest
    common budget. Pairs without a common budget have no row.
    """
    sign, rows = _sign(found), []
    for unit, curves in found.curves.items():
        for pair in combinations(curves, 2):
            where = crossing(curves[pair[0]][0], curves[pair[1]][0])
            if where is None:
                continue
            ahead, later = (pair[0] if sign * difference >= 0 else pair[1] for difference in (where.first, where.last))
            row = {"first": pair[0], "second": pair[1], "unit": unit, "ahead": ahead, "later": later}
            rows.append(row | {"at": where.at, "low": where.low, "high": where.high, "told_apart": where.apart})
    columns = ["first", "second", "unit", "ahead", "later", "at", "low", "high", "told_apart"]
    return pd.DataFrame(rows, columns=columns)


def tables(found: Budget, title: str, *, long: bool = False) -> dict[str, Table]:
    """Recommendations (`use`), `crossings`, and expected scores of the best of n trials (`curves`). long: whole frames,
    for programs."""
    if long:
        frames = {"use": what_to_use(found), "crossings": crossings(found), "curves": found.frame}
        return {name: Table(frame, [[*frame.columns]], key=frame.columns[0]) for name, frame in frames.items()}
    return {"use": _use_table(found, title), "crossings": _crossing_table(found), "curves": _curve_table(found)}


def notes(found: Budget) -> list[str]:
    """The basis of the curves, and their limits."""
    counts = sorted({found.trials[name] for name in found.searched})
    number = " to ".join(map(str, dict.fromkeys([counts[0], counts[-1]])))
    if found.independent:
        made = (
            f"Estimated from {number} independent trials of each architecture, without the first, which has the "
            "default configuration: the expected best of n draws (Tang et al. 2020), for n up to half of the trials; "
            "95 % intervals by jackknife."
        )
    else:
        made = f"The mean over {found.searches} repeated searches, with its 95 % interval (Student's t)."
    return [
        made,
        "A budget is spent on one architecture: core-seconds are those of its trials. All numbers are for these texts; "
        "test scores are those of the trial chosen on validation.",
    ]


_BOUNDS = ("mean", "low", "high")


def _sign(found: Budget) -> int:
    return 1 if split_metric(found.rank_by)[1].maximize else -1


def _use_table(found: Budget, title: str) -> Table:
    frame = what_to_use(found)
    shown = frame.assign(beyond=np.where(frame["beyond"].astype(bool), "at least", ""))
    groups = [[name for name in frame.columns if name != SECONDS]]
    return Table(shown, groups, key=["budget", "use"], title=title, notes=[*sentences(found), *notes(found)])


def _crossing_table(found: Budget) -> Table:
    """Crossings of searched architectures and the best baseline; crossings among baselines are rare."""
    kept = [*found.searched, *found.best_baseline]
    frame = crossings(found)
    frame = frame[frame["first"].isin(kept) & frame["second"].isin(kept)]
    words = {TRIALS: "trials", SECONDS: "core-seconds"}
    rows = [
        {
            "pair": f"{row['first']}, {row['second']}",
            "unit": words[row["unit"]],
            "ahead_with_little": row["ahead"],
            "ahead_with_much": row["later"],
            "from": _from(row),
            "between": _between(row),
            "told_apart": "yes" if row["told_apart"] else "no",
        }
        for row in frame.to_dict("records")
    ]
    columns = ["pair", "unit", "ahead_with_little", "ahead_with_much", "from", "between", "told_apart"]
    return Table(
        pd.DataFrame(rows, columns=columns),
        groups=[columns],
        key=["pair", "unit"],
        title="Budgets at which one architecture overtakes another",
        notes=[
            "From: the budget from which the later leader is expected to stay ahead. Between: the budgets at which "
            "the 95 % interval of the difference contains zero. Told apart: whether it excludes zero at the largest "
            "budget."
        ],
    )


def _from(row: Mapping[Any, Any]) -> str:
    return "throughout" if math.isnan(row["at"]) else f"{row['at']:,.3g}"


def _between(row: Mapping[Any, Any]) -> str:
    if math.isnan(row["at"]) and math.isnan(row["low"]) and math.isnan(row["high"]):
        return "" if row["told_apart"] else "all known budgets"
    low = "the start" if math.isnan(row["low"]) else f"{row['low']:,.3g}"
    high = "beyond the known budgets" if math.isnan(row["high"]) else f"{row['high']:,.3g}"
    return f"{low} to {high}"


def _curve_table(found: Budget) -> Table:
    curves = found.curves[TRIALS]
    budgets = next(iter(curves.values()))[0].budget
    counts = [count for count in (1, 2, 4, 8, 16, 32, 64, 128) if count <= budgets[-1]]
    rows = []
    for name, (val, test) in curves.items():
        row: dict[str, Any] = {"architecture": name, "trials": found.trials[name]}
        for count in counts:
            row[f"best_of_{count}"] = _interval(found.rank_by, val, count)
        row[f"{found.on_test}_of_{counts[-1]}"] = _interval(found.on_test, test, counts[-1])
        rows.append(row)
    frame = pd.DataFrame(rows)
    return Table(frame, [[*frame.columns]], key="architecture", title=f"Expected {heading(found.rank_by)}")


def _interval(metric: str, curve: Curve, count: int) -> str:
    point = curve.at(count)
    if point is None or point.beyond:
        return ""
    bounds: Sequence[float] = (
        () if not math.isfinite(point.error) else (point.value - point.half, point.value + point.half)
    )
    shown = " to ".join(cell(metric, bound) for bound in bounds)
    return cell(metric, point.value) + (f" ({shown})" if shown else "")
