"""The commands of the analysis: `python -m analysis leaderboard`."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search import console, record

if TYPE_CHECKING:
    import pandas as pd

    from analysis.runs import Search as FoundSearch

app = typer.Typer(
    help="Turn the recorded runs of a search into tables.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

TrackingUri = Annotated[
    str | None,
    typer.Option(
        help="MLflow tracking URI (default: MLFLOW_TRACKING_URI, else mlflow.db in the working directory)",
        show_default=False,
    ),
]
Search = Annotated[str, typer.Argument(help="an id, a name (its newest search), or latest")]
Searches = Annotated[list[str] | None, typer.Argument(help="ids, names (of each its newest search), or latest")]
RankBy = Annotated[
    str | None, typer.Option(help="a metric of validation (default: that of the search)", show_default=False)
]
Architecture = Annotated[str | None, typer.Option(help="only trials of this one", show_default=False)]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="table, csv, json, markdown or latex (default: by the ending of --out, else table)",
        show_default=False,
    ),
]
Out = Annotated[Path | None, typer.Option(help="write into this file instead of the terminal", show_default=False)]


@app.callback()
def commands() -> None:
    """Turn the recorded runs of a search into tables."""


def read(
    names: Iterable[str], tracking_uri: str | None, rank_by: str | None = None, architecture: str | None = None
) -> tuple[list["FoundSearch"], "pd.DataFrame", str]:
    """The searches that were asked for, their trials, and what to rank these by."""
    console.quiet_libraries()
    from analysis import leaderboard, runs

    if rank_by:
        leaderboard.check_metric(rank_by)
    uri = record.tracking_uri(tracking_uri)
    found = runs.find_searches(uri, names)
    trials = runs.read_trials(uri, *(search.id for search in found))
    if architecture and len(trials):
        trials = leaderboard.only(trials, architecture)
    return found, trials, rank_by or leaderboard.common_metric(found)


@app.command()
@console.one_line_errors
def leaderboard(
    search: Search = "latest",
    rank_by: RankBy = None,
    top: Annotated[
        int | None, typer.Option(min=0, help="so many trials, 0 for all (default: 10 in a table)", show_default=False)
    ] = None,
    architecture: Architecture = None,
    by_architecture: Annotated[
        bool, typer.Option("--by-architecture", help="only the best trial of each architecture")
    ] = False,
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Rank the trials of a search by validation: the best of each architecture, then all of them."""
    from analysis import leaderboard as boards
    from analysis import tables

    form = tables.choose_format(format_, out)
    (found,), trials, rank_by = read([search], tracking_uri, rank_by, architecture)
    top = top if top is not None else 10 if form == "table" else 0

    best = boards.architecture_table(found, trials, rank_by)
    ranking = boards.ranking_table(found, trials, rank_by, top)
    if by_architecture:
        shown = [best]
    elif form == "table" and len(trials):
        shown = [dataclasses.replace(best, notes=()), ranking]
    else:
        shown = [ranking]
    tables.emit(shown, form, out)


@app.command()
@console.one_line_errors
def table(
    searches: Searches = None,
    rows: Annotated[
        str, typer.Option(help="a hyperparameter, architecture or search: a row for each value")
    ] = "architecture",
    columns: Annotated[
        str | None, typer.Option(help="another: a column for each value (default: none)", show_default=False)
    ] = None,
    values: Annotated[
        str, typer.Option(help="what to average: metrics, num_parameters, seconds, epochs_run, best_epoch")
    ] = "test_accuracy,test_f1,test_roc_auc",
    outcomes: Annotated[str, typer.Option(help="trials that ended so count: complete, pruned, ...")] = "complete",
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Mean and spread over the trials that share the values of one or two hyperparameters, such as those of all seeds.

    csv and json hold a row for each cell, the others a table for each of the values.
    """
    from analysis import comparison, tables

    form = tables.choose_format(format_, out)
    averaged, counted = comparison.read_values(values), comparison.read_outcomes(outcomes)
    found, trials, _ = read(searches or ["latest"], tracking_uri)
    long = form in tables.FOR_PROGRAMS
    tables.emit(comparison.pivot_tables(found, trials, rows, columns, averaged, counted, long=long), form, out)


@app.command()
@console.one_line_errors
def compare(
    searches: Searches = None,
    rank_by: RankBy = None,
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Searches side by side: the best of each architecture in each of them, and what that took."""
    from analysis import comparison, tables

    form = tables.choose_format(format_, out)
    found, trials, rank_by = read(searches or ["latest"], tracking_uri, rank_by)
    tables.emit([comparison.compare_table(found, trials, rank_by)], form, out)


@app.command()
@console.one_line_errors
def ledger(
    search: Search = "latest",
    rank_by: RankBy = None,
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """What the search spent on each architecture, and whether one was searched less."""
    from analysis import ledger as ledgers
    from analysis import tables

    form = tables.choose_format(format_, out)
    (found,), trials, rank_by = read([search], tracking_uri, rank_by)
    tables.emit([ledgers.ledger_table(found, trials, rank_by)], form, out)


@app.command()
@console.one_line_errors
def importance(
    search: Search = "latest",
    rank_by: RankBy = None,
    architecture: Architecture = None,
    seed: Annotated[int, typer.Option(min=0, help="of the shuffles that importance is tested against")] = 0,
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """What mattered: the importance and effects of hyperparameters, and where the best is at the edge of its range."""
    from analysis import tables

    form = tables.choose_format(format_, out)
    (found,), trials, rank_by = read([search], tracking_uri, rank_by, architecture)
    import numpy as np

    from analysis import importance as importances
    from analysis import runs

    space = runs.read_space(record.tracking_uri(tracking_uri), found)
    rng, long = np.random.default_rng(seed), form in tables.FOR_PROGRAMS
    tables.emit(importances.importance_tables(found, trials, space, rng, rank_by, long=long), form, out)


if __name__ == "__main__":
    app()
