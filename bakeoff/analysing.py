"""The commands that make tables and pages of recorded searches: `bakeoff leaderboard`, or `python -m analysis ...`."""

from pathlib import Path
from typing import Annotated

import typer

from bakeoff import boards
from bakeoff.options import (
    Architecture,
    Figure,
    Format,
    Out,
    Prefer,
    RankBy,
    SearchName,
    SearchNames,
    TrackingUri,
    uri_of,
)
from data.base import errors
from search.base import console, record

BUDGET_PARTS = ("use", "crossings", "curves")

app = typer.Typer(
    help="Turn the recorded runs of a search into tables.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
@console.command
def leaderboard(
    search: SearchName = "latest",
    rank_by: RankBy = None,
    top: Annotated[
        int | None, typer.Option(min=0, help="so many trials, 0 for all (default: 10 in a table)", show_default=False)
    ] = None,
    architecture: Architecture = None,
    by_architecture: Annotated[
        bool, typer.Option("--by-architecture", help="only the best trial of each architecture")
    ] = False,
    only_confirmed: Annotated[
        bool, typer.Option("--confirmed", help="only the configurations that were confirmed, by mean over fresh seeds")
    ] = False,
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Rank the trials of a search by validation: those confirmed on fresh seeds, the best of each architecture, all.

    csv and json hold one of these tables, all trials if not told otherwise.
    """
    from analysis.base import tables

    form, uri = tables.choose_format(format_, out), uri_of(tracking_uri, search)
    shown = boards.leaderboard(uri, search, rank_by, architecture, by_architecture, only_confirmed, form, top)
    tables.emit(shown, form, out)


@app.command()
@console.command
def best(
    search: SearchName = "latest",
    architecture: Architecture = None,
    prefer: Prefer = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """The best trial of what was searched, or the point of the front that is preferred: its scores, costs and
    hyperparameters."""
    from analysis.explain import choice
    from search.train.costs import COSTS, shown

    uri, name = uri_of(tracking_uri, search), f"{search}:{architecture}" if architecture else search
    trial = choice.preferred(uri, name, prefer) if prefer else choice.find(uri, name)
    scores = {trial.metric: trial.score} | trial.best
    told = [f"{key} {value:.4f}" for key, value in scores.items() if value is not None and key.startswith("val_")]
    told += [f"{key} {shown(trial.costs[key])} {COSTS[key].unit}".strip() for key in COSTS if key in trial.costs]
    print(f"{trial.name} of {trial.search}")
    print(f"Scores   {', '.join(told)}")
    print(f"Made of  {', '.join(f'{key} {value}' for key, value in trial.hyperparameters.items())}")
    if trial.search == trial.folder.name:
        print(f"Export   {console.python()} -m search export {trial.search} --trial {trial.name}")


@app.command()
@console.command
def table(
    searches: SearchNames = None,
    rows: Annotated[
        str, typer.Option(help="a hyperparameter, architecture, configuration or search: a row for each")
    ] = "architecture",
    columns: Annotated[
        str | None, typer.Option(help="another: a column for each value (default: none)", show_default=False)
    ] = None,
    values: Annotated[
        str | None,
        typer.Option(
            help="what to average: metrics, num_parameters, seconds, epochs_run, best_epoch (default: those of test)",
            show_default=False,
        ),
    ] = None,
    outcomes: Annotated[str, typer.Option(help="trials that ended so count: complete, pruned, ...")] = "complete",
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Mean and spread over the trials that share the values of one or two hyperparameters, such as those of all seeds.

    csv and json hold a row for each cell, the others a table for each of the values.
    """
    from analysis.base import tables
    from analysis.boards import comparison

    form = tables.choose_format(format_, out)
    counted = comparison.read_outcomes(outcomes)
    found, trials, _ = boards.read(uri_of(tracking_uri, *(searches or ["latest"])), searches or ["latest"])
    averaged = comparison.read_values(values) if values else []
    long = form in tables.FOR_PROGRAMS
    tables.emit(comparison.pivot_tables(found, trials, rows, columns, averaged, counted, long=long), form, out)


@app.command()
@console.command
def compare(
    searches: SearchNames = None,
    rank_by: RankBy = None,
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Searches side by side: the best of each architecture in each of them, and what that took."""
    from analysis.base import tables
    from analysis.boards import comparison

    form = tables.choose_format(format_, out)
    found, trials, rank_by = boards.read(
        uri_of(tracking_uri, *(searches or ["latest"])), searches or ["latest"], rank_by
    )
    tables.emit([comparison.compare_table(found, trials, rank_by)], form, out)


@app.command()
@console.command
def ledger(
    search: SearchName = "latest",
    rank_by: RankBy = None,
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """What the search spent on each architecture, and whether one was searched less."""
    from analysis.base import tables
    from analysis.boards import ledger as ledgers

    form = tables.choose_format(format_, out)
    (found,), trials, rank_by = boards.read(uri_of(tracking_uri, search), [search], rank_by)
    tables.emit([ledgers.ledger_table(found, trials, rank_by)], form, out)


@app.command()
@console.command
def importance(
    search: SearchName = "latest",
    rank_by: RankBy = None,
    architecture: Architecture = None,
    seed: Annotated[int, typer.Option(min=0, help="of the shuffles that importance is tested against")] = 0,
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """What mattered: the importance and effects of hyperparameters, and where the best is at the edge of its range."""
    from analysis.base import tables

    form = tables.choose_format(format_, out)
    (found,), trials, rank_by = boards.read(uri_of(tracking_uri, search), [search], rank_by, architecture)
    import numpy as np

    from analysis.verdicts import importance as importances

    rng, long = np.random.default_rng(seed), form in tables.FOR_PROGRAMS
    tables.emit(importances.importance_tables(found, trials, found.spec, rng, rank_by, long=long), form, out)


@app.command()
@console.command
def differences(
    search: SearchName = "latest",
    rank_by: RankBy = None,
    margin: Annotated[
        float, typer.Option(min=0.0001, max=0.5, help="who differ by less, in accuracy, are equal")
    ] = 0.01,
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Which architectures are better, equal within a margin, or cannot be told apart, on the same test texts?

    csv and json hold a row for each pair.
    """
    from analysis.base import tables

    form = tables.choose_format(format_, out)
    uri = uri_of(tracking_uri, search)
    (found,), _, rank_by = boards.read(uri, [search], rank_by)
    from analysis.verdicts import differences as different

    long = form in tables.FOR_PROGRAMS
    tables.emit(different.read_differences(uri, found, rank_by, margin, long=long), form, out)


@app.command()
@console.command
def budget(
    searches: SearchNames = None,
    rank_by: RankBy = None,
    part: Annotated[
        str | None, typer.Option(help="one part: use, crossings, curves (csv and json: curves)", show_default=False)
    ] = None,
    figure: Figure = None,
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Which architecture wins at which budget? What the best of so many trials, or core-seconds, is to be expected.

    From one search with sampler: random and pruner: none, or from three or more that repeat each other with other seeds
    (`search run --repeat 5`). csv and json hold one part.
    """
    from analysis.base import pictures, tables

    form, uri = tables.choose_format(format_, out), record.tracking_uri(tracking_uri)
    if part:
        errors.choose("part", part, BUDGET_PARTS)
    from analysis.verdicts import budget as budgets
    from analysis.verdicts import budget_tables

    found, family = budgets.read(uri, searches or ["latest"], rank_by)
    long = form in tables.FOR_PROGRAMS
    shown = budget_tables.tables(found, ", ".join(search.id for search in family), long=long)
    wanted = [part] if part else ["curves"] if long else BUDGET_PARTS
    tables.emit([shown[name] for name in wanted], form, out)
    if figure:
        from analysis.base.runs import tidy
        from analysis.figures.budget import PLOT
        from analysis.figures.plot import Found

        searched = tidy([{"architecture": name} for name in found.searched])
        files = pictures.save(PLOT.render(Found(searched, budget=found)), figure)
        print(f"wrote {', '.join(map(str, files))}")


@app.command()
@console.command
def variance(
    searches: SearchNames = None,
    rank_by: RankBy = None,
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Where the spread of test accuracy comes from: texts, seeds, hyperparameters, the search's own luck.

    Of one search, or of several that differ in their seeds only (`search run --repeat 5`). csv and json hold the
    shares.
    """
    from analysis.base import tables
    from analysis.verdicts import variance as variances

    form, uri = tables.choose_format(format_, out), record.tracking_uri(tracking_uri)
    found, _, rank_by = boards.read(uri, searches or ["latest"], rank_by)
    shown = variances.read(uri, found, rank_by)
    tables.emit(shown[:1] if form in tables.FOR_PROGRAMS else shown, form, out)


@app.command()
@console.command
def why(
    search: Annotated[str, typer.Argument(help="SEARCH:ARCHITECTURE")],
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """What each change from the default configuration to the best brought, once `search ablate` has trained them."""
    from analysis.base import tables

    form, uri = tables.choose_format(format_, out), uri_of(tracking_uri, search.partition(":")[0])
    tables.emit(boards.why(uri, search), form, out)


@app.command("data-size")
@console.command
def data_size(
    search: SearchName = "latest",
    figure: Figure = None,
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Would more labels help? The best model and the best baseline by how many texts they learned from, once `search
    train-sizes` has trained them.

    csv and json hold a row for each number of texts.
    """
    from analysis.base import pictures, tables
    from analysis.base.runs import tidy

    form, uri = tables.choose_format(format_, out), uri_of(tracking_uri, search)
    shown = boards.data_size(uri, search)
    tables.emit(shown, form, out)
    if figure:
        from analysis.figures.data_size import PLOT
        from analysis.figures.plot import Found

        files = PLOT.render(Found(tidy([]), sizes=shown[0]))
        print(f"wrote {', '.join(map(str, pictures.save(files, figure)))}")


@app.command()
@console.command
def reproduce(
    searches: Annotated[
        list[str] | None,
        typer.Argument(
            help="ids of searches of the report's studies (default: the newest of each)", show_default=False
        ),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(help="one part: conclusions, comparisons, figures, gradients, searches", show_default=False),
    ] = None,
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """The published report's studies, repeated: figure for figure, and whether its conclusions hold here.

    Reads the searches that `make report` ran. A markdown file gets figures beside it. csv and json hold one part, by
    default the figures.
    """
    from analysis.base import tables

    form = tables.choose_format(format_, out)
    from analysis.course_report import reproduction

    found = reproduction.read(record.tracking_uri(tracking_uri), searches or [])
    parts = reproduction.tables(found, long=form in tables.FOR_PROGRAMS)
    if only:
        shown = parts[errors.choose("part", only, parts)]
    else:
        shown = parts["figures"] if form in tables.FOR_PROGRAMS else [each for part in parts.values() for each in part]
    if form != "markdown" or out is None or only:
        tables.emit(shown, form, out)
        return
    command = f"python -m analysis reproduce {' '.join([*(searches or []), '--out', str(out)])}"
    reproduction.write_page(found, parts, out, command)
    print(f"wrote {out.absolute()} and its figures in {(out.parent / reproduction.FOLDER).absolute()}")


@app.command()
@console.command
def report(
    search: SearchName = "latest",
    out: Annotated[
        Path | None, typer.Option(help="the folder to write (default: reports/<search id>)", show_default=False)
    ] = None,
    rank_by: RankBy = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Write a page about a search that opens in any browser: tables, figures, and how to repeat it."""
    from analysis.base import runs
    from analysis.report import report as reports

    uri = uri_of(tracking_uri, search)
    found = runs.find_search(uri, search)
    page = reports.make(uri, found, out or Path("reports") / found.id, rank_by)
    print(f"wrote {page.absolute()}")
