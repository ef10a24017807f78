"""Pivot tables of trials by shared hyperparameters, and comparisons of searches by the best of each architecture."""

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.base import runs
from analysis.base.baselines import baselines, searched, shown
from analysis.base.runs import Search, hyperparameters, present
from analysis.base.table import Table, cell, heading, in_words
from analysis.boards.leaderboard import RANK_BY, by_architecture, notes_on_classes, notes_on_ranking, tested
from data.base.errors import UserError, choose
from data.base.reading import Reading
from search.base import schema
from search.base.schema import Outcome
from search.train.metrics import measures

#: The keys of a spec that determine which texts are scored, and with which labels.
CHOOSE_TEXTS = (
    *("corpus", "limit", "split_seed"),
    *(key.name for key in fields(Reading) if key.name not in ("clean", "tokenizer", "positive_class")),
)

#: The columns that can be averaged, besides metrics.
VALUES = ["num_parameters", "seconds", "epochs_run", "best_epoch"]

Groups = dict[tuple[Any, ...], pd.DataFrame]


def read_values(names: str) -> list[str]:
    """'test_f1,test_accuracy' -> the unique names. Raises UserError for one that cannot be averaged."""
    valid = [*measures(), *VALUES]
    return list(dict.fromkeys(choose("value", name.strip(), valid) for name in names.split(",")))


def read_outcomes(names: str) -> list[str]:
    """'complete,pruned' -> the unique outcomes. Raises UserError for an unknown one."""
    known = [outcome.value for outcome in Outcome]
    return list(dict.fromkeys(choose("outcome", name.strip(), known) for name in names.split(",")))


# --- The pivot


def grouped(trials: pd.DataFrame, by: Sequence[str]) -> Groups:
    """The trials grouped by the values of columns, sorted: None, numbers, text.

    Trials without one of these hyperparameters are left out.
    """
    having = trials[trials[list(by)].map(present).astype(bool).all(axis=1)]
    # The only missing value left is None, which `groupby` turns into NaN.
    groups = {tuple(map(_value, key)): group for key, group in having.groupby(list(by), dropna=False, sort=False)}
    return {key: groups[key] for key in sorted(groups, key=lambda key: [*map(_order, key)])}


def _value(key: Any) -> Any:
    return None if pd.isna(key) else key


def _order(value: Any) -> tuple[bool, bool, Any]:
    return value is not None, isinstance(value, str), 0 if value is None else value


def spread(numbers: pd.Series) -> tuple[float, float, int]:
    """Mean, standard deviation (NaN for fewer than two) and count of the finite numbers."""
    finite = numbers[np.isfinite(numbers.astype("float64"))].astype("float64")
    return finite.mean(), finite.std(), len(finite)


def pivot(
    trials: pd.DataFrame, rows: str, columns: str | None = None, values: Sequence[str] = ("test_accuracy",)
) -> pd.DataFrame:
    """Mean, spread and number of trials of `values`, by the values of `rows` and, if given, of `columns`.

    One row per cell: the columns of the key, then `<value>_mean`, `<value>_sd` (standard deviation, missing for one
    trial) and `<value>_trials` (trials with a finite value).
    """
    by = _keys(trials, rows, columns)
    groups = grouped(trials, by)
    cells = [[*key, *(number for value in values for number in spread(group[value]))] for key, group in groups.items()]
    kinds = {"mean": "float64", "sd": "float64", "trials": "int64"}
    dtypes = trials[by].dtypes.to_dict() | {f"{value}_{of}": kinds[of] for value in values for of in kinds}
    return pd.DataFrame(cells, columns=list(dtypes), dtype=object).astype(dtypes)


def _keys(trials: pd.DataFrame, rows: str, columns: str | None) -> list[str]:
    known = ["architecture", "search", *hyperparameters(trials)]
    if trials["configuration"].notna().any():
        known.append("configuration")
    if rows == columns:
        raise UserError(f"--rows and --columns are both {rows!r}; choose another for one of them")
    return [choose("row", rows, known), *([choose("column", columns, known)] if columns else [])]


def pivot_tables(
    searches: Sequence[Search],
    trials: pd.DataFrame,
    rows: str,
    columns: str | None = None,
    values: Sequence[str] = (),
    outcomes: Sequence[str] = (Outcome.COMPLETE.value,),
    *,
    long: bool = False,
) -> list[Table]:
    """The pivot of the trials with these outcomes, for readers; with `columns`, one table per value.

    Baselines are left out, since a mean over their grids is meaningless. values: by default, the metrics on test. long:
    a single table with one row per cell.
    """
    ids = ", ".join(search.id for search in searches)
    if trials.empty:  # its hyperparameters are unknown
        return [Table(pd.DataFrame(columns=[rows]), groups=[[rows]], key=rows, title=f"{ids}: no trials yet.")]
    num_baselines, trials = len(baselines(trials)), searched(trials)
    values = values or tested(trials, RANK_BY)
    by = _keys(trials, rows, columns)
    counted = trials[trials["outcome"].isin(outcomes)]
    cells = pivot(counted, rows, columns, values)
    aside = [f"Also left out: {num_baselines} trials of baselines."] if num_baselines else []
    notes = [*_left_out(trials, counted, outcomes, by), *aside, *_differing(counted, by), *notes_on_data(searches)]
    notes += notes_on_classes(searches)
    if any(value not in VALUES for value in values):
        notes.append(schema.SCORE_RULE)
    if cells.empty:
        return [Table(cells, groups=[by], key=rows, title=f"{ids}: no trial is counted.", notes=notes)]
    of = f"by {' and '.join(by)}: mean ± standard deviation (trials)"
    if long:
        return [Table(cells, groups=[list(cells.columns)], key=by, title=f"{ids} {of}", notes=notes)]
    if columns is None:
        shown = pd.DataFrame(
            {rows: cells[rows]} | {f"mean {heading(value)}": _written(cells, value) for value in values}
        )
        return [Table(shown, groups=_side_by_side(shown), key=rows, title=f"{ids} {of}", notes=notes)]
    tables = []
    for value in values:
        wide = _wide(cells.assign(written=_written(cells, value)), rows, columns)
        tables.append(Table(wide, groups=_side_by_side(wide), key=rows, title=f"{ids}: {heading(value)} {of}"))
    return [*tables[:-1], replace(tables[-1], notes=notes)]


def _side_by_side(frame: pd.DataFrame) -> list[list[str]]:
    """One group per column, so that as many as fit stand side by side."""
    first, *others = frame.columns[1:]
    return [[frame.columns[0], first], *([name] for name in others)]


def _written(cells: pd.DataFrame, value: str) -> list[str]:
    """'0.8123 ± 0.0042 (5)' for every cell; without a spread for one trial."""
    found = zip(cells[f"{value}_mean"], cells[f"{value}_sd"], cells[f"{value}_trials"], strict=True)
    return [
        f"{cell(value, mean)}{f' ± {cell(value, sd)}' if count > 1 else ''} ({count})" if count else ""
        for mean, sd, count in found
    ]


def _wide(cells: pd.DataFrame, rows: str, columns: str) -> pd.DataFrame:
    """One column per value of `columns`, named after column and value."""
    texts = {(row, column): text for row, column, text in cells[[rows, columns, "written"]].itertuples(index=False)}
    down, across = ([key for (key,) in grouped(cells, [name])] for name in (rows, columns))
    wide: dict[str, Any] = {rows: pd.Series(down, dtype=cells[rows].dtype)}
    for column in across:
        wide[f"{columns} {cell(columns, column)}"] = [texts.get((row, column), "") for row in down]
    return pd.DataFrame(wide)


def _left_out(trials: pd.DataFrame, counted: pd.DataFrame, outcomes: Sequence[str], by: Sequence[str]) -> Iterable[str]:
    """The number of trials counted, and why others are left out."""
    others = trials[~trials["outcome"].isin(outcomes)]["outcome"].fillna("unknown").value_counts(sort=False)
    left = ", ".join(f"{count} {outcome}" for outcome, count in sorted(others.items(), key=lambda each: str(each[0])))
    yield f"Counted: {len(counted)} trials ({', '.join(outcomes)}). Left out: {left or 'none'}."
    for name in by:
        lacking = counted[~counted[name].map(present).astype(bool)]
        if len(lacking):
            having = sorted(set(counted["architecture"].dropna()) - set(lacking["architecture"]))
            whose = f", which only {', '.join(having)} has" if len(having) == 1 else ""
            yield f"Also left out: {len(lacking)} without {name}{whose}."


def _differing(counted: pd.DataFrame, by: Sequence[str]) -> Iterable[str]:
    """What else differs between the trials of a cell: their spread is then not over seeds alone."""
    groups = [group for group in grouped(counted, by).values() if len(group) > 1]
    others = [name for name in ["search", "architecture", *hyperparameters(counted)] if name not in by]
    differing = [name for name in others if any(len(runs.values(group[name])) > 1 for group in groups)]
    if differing:
        yield f"The trials of a cell also differ in {', '.join(differing)}: the spread is not over seeds alone."
    elif groups:
        yield "The trials of a cell differ in their seeds only."


# --- Searches side by side


def compare(searches: Sequence[Search], trials: pd.DataFrame, rank_by: str = RANK_BY) -> pd.DataFrame:
    """One row per architecture and search: the best trial, and the number of trials and seconds spent.

    The best architecture comes first; its searches are in the given order.
    """
    parts = []
    for place, search in enumerate(searches):
        subset = trials[trials["search"] == search.id]
        best = by_architecture(subset, rank_by)
        seconds = subset.groupby("architecture")["seconds"].sum()
        best["total_seconds"] = best["architecture"].map(seconds).astype("float64")
        best.insert(1, "search", search.id)
        parts.append(best.assign(place=place))
    table = pd.concat(parts, ignore_index=True)
    order = {name: place for place, name in enumerate(by_architecture(trials, rank_by)["architecture"])}
    table["order"] = table["architecture"].map(order)
    return table.sort_values(["order", "place"]).drop(columns=["order", "place"]).reset_index(drop=True)


def compare_table(searches: Sequence[Search], trials: pd.DataFrame, rank_by: str = RANK_BY) -> Table:
    """The best of each architecture in each search."""
    table = compare(searches, trials, rank_by)
    metrics = list(dict.fromkeys([rank_by, RANK_BY, *tested(trials, rank_by)]))
    also = " and baseline" if shown(table) else ""
    return Table(
        table,
        groups=[
            ["architecture", *shown(table), "search", *metrics],
            ["trial", "num_parameters", "trials", "total_seconds"],
        ],
        key=["architecture", *shown(table), "search"],
        title=f"{', '.join(search.id for search in searches)}: "
        + (f"the best of each architecture{also} by {rank_by}" if len(trials) else "no trials yet."),
        notes=[
            *_empty(searches, trials),
            *notes_on_data(searches),
            *notes_on_classes(searches),
            *notes_on_ranking(searches, rank_by),
        ],
    )


def _empty(searches: Sequence[Search], trials: pd.DataFrame) -> Iterable[str]:
    without = [search.id for search in searches if search.id not in set(trials["search"])]
    if without and len(trials):
        yield f"No trials yet: {', '.join(without)}."


def notes_on_data(searches: Sequence[Search]) -> Iterable[str]:
    """The differences between the specs of searches, which limit how their scores can be compared."""
    if len(searches) < 2:
        return
    unknown = [search.id for search in searches if not search.spec]
    if unknown:
        yield f"How the specs differ is unknown: the spec of {', '.join(unknown)} cannot be read from MLflow."
        return
    specs = [search.spec.short() for search in searches if search.spec]
    given = {key: [in_words(spec[key]) for spec in specs] for key in specs[0] if key != "name"}
    differing = [f"{key} ({' / '.join(values)})" for key, values in given.items() if len(set(values)) > 1]
    if differing:
        yield f"The specs differ in {', '.join(differing)}."
    if len({tuple(in_words(spec[key]) for key in CHOOSE_TEXTS) for spec in specs}) > 1:
        yield "The searches were scored on different texts: their scores cannot be compared directly."
