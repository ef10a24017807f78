"""The commands that turn recorded searches into tables: `bakeoff leaderboard`, or `python -m analysis leaderboard`."""

from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from bakeoff import boards
from bakeoff.calls import application
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
from search.base import console, mlflow_uri

BUDGET_PARTS = ("use", "crossings", "curves")

app = application("Turn the recorded runs of a search into tables.")


@app.command()
@console.command
def leaderboard(
    search: SearchName = "latest",
    rank_by: RankBy = None,
    top: Annotated[
        int | None,
        typer.Option(min=0, help="number of trials to show, 0 for all (default: 10 in a table)", show_default=False),
    ] = None,
    architecture: Architecture = None,
    by_architecture: Annotated[
        bool, typer.Option("--by-architecture", help="only the best trial of each architecture")
    ] = False,
    only_confirmed: Annotated[
        bool, typer.Option("--confirmed", help="only confirmed configurations, by their mean over fresh seeds")
    ] = False,
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Rank a search by validation score: confirmed configurations, the best of each architecture, all trials.

    csv and json hold one of these tables: all trials by default.
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
    """Show the best trial of a search, or the preferred point of its front: scores, costs and hyperparameters."""
    from analysis.explain import lookup
    from search.train.costs import COSTS, shown

    uri, name = uri_of(tracking_uri, search), f"{search}:{architecture}" if architecture else search
    trial = lookup.preferred(uri, name, prefer) if prefer else lookup.find(uri, name)
    scores = {trial.metric: trial.score} | trial.best
    parts = [f"{key} {value:.4f}" for key, value in scores.items() if value is not None and key.startswith("val_")]
    parts += [f"{key} {shown(trial.costs[key])} {COSTS[key].unit}".strip() for key in COSTS if key in trial.costs]
    print(f"{trial.name} of {trial.search}")
    print(f"Scores   {', '.join(parts)}")
    print(f"Made of  {', '.join(f'{key} {value}' for key, value in trial.hyperparameters.items())}")
    if trial.search == trial.folder.name:
        print(f"Export   {console.python()} -m search export {trial.search} --trial {trial.name}")


@app.command()
@console.command
def table(
    searches: SearchNames = None,
    rows: Annotated[
        str, typer.Option(help="what to group by in rows: a hyperparameter, architecture, configuration or search")
    ] = "architecture",
    columns: Annotated[
        str | None, typer.Option(help="what to group by in columns (default: nothing)", show_default=False)
    ] = None,
    values: Annotated[
        str | None,
        typer.Option(
            help="what to average: metrics, num_parameters, seconds, epochs_run, best_epoch (default: test metrics)",
            show_default=False,
        ),
    ] = None,
    outcomes: Annotated[str, typer.Option(help="count trials with these outcomes: complete, pruned, ...")] = "complete",
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Show mean and spread over trials that share one or two hyperparameters, such as repetitions with other seeds.

    csv and json hold one row per cell; the other formats, one table per averaged value.
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
    """Compare searches: the best trial of each architecture in each search, and the compute spent."""
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
    """Show the compute spent on each architecture, and whether any was searched less than the others."""
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
    seed: Annotated[int, typer.Option(min=0, help="random seed of the permutation test of importance")] = 0,
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Show which hyperparameters mattered, their effects, and best values at the edge of their range."""
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
        float, typer.Option(min=0.0001, max=0.5, help="architectures that differ by less are equal, in accuracy")
    ] = 0.01,
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Test which architectures are better, equal within a margin, or undecided, on the same test texts.

    csv and json hold one row per pair.
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
    """Show which architecture wins at which budget: the expected score of the best of n trials, or of n core-seconds.

    Needs one search with sampler: random and pruner: none, or at least three that differ in their seeds only
    (`search run --repeat 5`). csv and json hold one part.
    """
    from analysis.base import tables

    form, uri = tables.choose_format(format_, out), mlflow_uri.tracking_uri(tracking_uri)
    tables.require_png(figure)
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
        from analysis.base import pictures
        from analysis.base.runs import tidy
        from analysis.figures.budget import PLOT
        from analysis.figures.plot import PlotData

        searched = tidy([{"architecture": name} for name in found.searched])
        files = pictures.save(PLOT.render(PlotData(searched, budget=found)), figure)
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
    """Split the variance of test accuracy by source: test texts, seeds, hyperparameters, luck of the search.

    Reads one search, or several that differ in their seeds only (`search run --repeat 5`). csv and json hold the
    shares.
    """
    from analysis.base import tables
    from analysis.verdicts import variance as variances

    form, uri = tables.choose_format(format_, out), mlflow_uri.tracking_uri(tracking_uri)
    found, _, rank_by = boards.read(uri, searches or ["latest"], rank_by)
    shown = variances.read(uri, found, rank_by)
    tables.emit(shown[:1] if form in tables.FOR_PROGRAMS else shown, form, out)


@app.command()
@console.command
def why(
    search: Annotated[str, typer.Argument(help="SEARCH:ARCHITECTURE")],
    figure: Figure = None,
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Show what each change from the default configuration to the best one gained, after `search ablate`."""
    from analysis.base import tables

    form, uri = tables.choose_format(format_, out), uri_of(tracking_uri, search.partition(":")[0])
    tables.require_png(figure)
    paths = boards.why(uri, search)
    tables.emit([*paths.values()], form, out)
    if figure:
        from analysis.base import pictures
        from analysis.base.runs import tidy
        from analysis.figures.plot import PlotData
        from analysis.figures.why import PLOT

        files = PLOT.render(PlotData(tidy([]), paths=paths))
        print(f"wrote {', '.join(map(str, pictures.save(files, figure)))}")


@app.command("data-size")
@console.command
def data_size(
    search: SearchName = "latest",
    figure: Figure = None,
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Show whether more labels would help: test scores by number of training texts, after `search train-sizes`.

    csv and json hold one row per number of texts.
    """
    from analysis.base import tables

    form, uri = tables.choose_format(format_, out), uri_of(tracking_uri, search)
    tables.require_png(figure)
    shown = boards.data_size(uri, search)
    tables.emit(shown, form, out)
    if figure:
        from analysis.base import pictures
        from analysis.base.runs import tidy
        from analysis.figures.data_size import PLOT
        from analysis.figures.plot import PlotData

        files = PLOT.render(PlotData(tidy([]), sizes=shown[0]))
        print(f"wrote {', '.join(map(str, pictures.save(files, figure)))}")


@app.command()
@console.command
def reproduce(
    searches: Annotated[
        list[str] | None,
        typer.Argument(
            help="search ids of the report's studies (default: the newest of each study)", show_default=False
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
    """Compare the published report with repetitions of its studies: every figure, and whether its conclusions hold.

    Reads the searches that `make report` ran. With a markdown file, figures are written beside it. csv and json hold
    one part, by default the figures.
    """
    from analysis.base import tables

    form = tables.choose_format(format_, out)
    from analysis.course_report import reproduction

    found = reproduction.read(mlflow_uri.tracking_uri(tracking_uri), searches or [])
    parts = reproduction.tables(found, long=form in tables.FOR_PROGRAMS)
    if only:
        shown = parts[errors.choose("part", only, parts)]
    else:
        shown = parts["figures"] if form in tables.FOR_PROGRAMS else [*chain.from_iterable(parts.values())]
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
    """Write the report page of a search, for any browser: verdict, tables, figures, and how to repeat it."""
    from analysis.base import runs
    from analysis.report import report as reports

    uri = uri_of(tracking_uri, search)
    found = runs.find_search(uri, search)
    page = reports.make(uri, found, out or Path("reports") / found.id, rank_by)
    print(f"wrote {page.absolute()}")
