"""The commands of the analysis: `python -m analysis leaderboard`."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from search import console, record

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


@app.command()
@console.one_line_errors
def leaderboard(
    search: Search = "latest",
    rank_by: Annotated[
        str | None, typer.Option(help="a metric of validation (default: that of the search)", show_default=False)
    ] = None,
    top: Annotated[
        int | None, typer.Option(min=0, help="so many trials, 0 for all (default: 10 in a table)", show_default=False)
    ] = None,
    architecture: Annotated[str | None, typer.Option(help="only trials of this one", show_default=False)] = None,
    by_architecture: Annotated[
        bool, typer.Option("--by-architecture", help="only the best trial of each architecture")
    ] = False,
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Rank the trials of a search by validation: the best of each architecture, then all of them."""
    console.quiet_libraries()
    from analysis import leaderboard as boards
    from analysis import runs, tables

    form = tables.choose_format(format_, out)
    if rank_by:
        boards.check_metric(rank_by)
    uri = record.tracking_uri(tracking_uri)
    found = runs.find_search(uri, search)
    trials = runs.read_trials(uri, found.id)
    if architecture:
        trials = boards.only(trials, architecture)
    rank_by = rank_by or found.metric or boards.RANK_BY
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


if __name__ == "__main__":
    app()
