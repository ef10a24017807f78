"""The commands of the analysis: `python -m analysis leaderboard`."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from data.base import errors
from data.base.errors import UserError
from search.base import console, record

if TYPE_CHECKING:
    import pandas as pd

    from analysis.base.runs import Search as FoundSearch

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


def read(
    names: Iterable[str], tracking_uri: str | None, rank_by: str | None = None, architecture: str | None = None
) -> tuple[list["FoundSearch"], "pd.DataFrame", str]:
    """The searches that were asked for, their trials, and what to rank these by."""
    from analysis.base import runs
    from analysis.boards import leaderboard

    if rank_by:
        leaderboard.check_metric(rank_by)
    uri = record.tracking_uri(tracking_uri)
    found = runs.find_searches(uri, names)
    trials = runs.read_trials(uri, *(search.id for search in found))
    if architecture and len(trials):
        trials = leaderboard.only(trials, architecture)
    return found, trials, rank_by or leaderboard.common_metric(found)


@app.command()
@console.command
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
    from analysis.boards import leaderboard as boards

    form = tables.choose_format(format_, out)
    (found,), trials, rank_by = read([search], tracking_uri, rank_by, architecture)
    from analysis.boards import confirmation

    confirmed = confirmation.read_confirmed(record.tracking_uri(tracking_uri), found, rank_by, architecture)
    if only_confirmed and not confirmed:
        raise UserError(f"nothing of {found.id} was confirmed; do that with: python -m search confirm {found.id}")
    top = top if top is not None else 10 if form == "table" else 0

    best = boards.architecture_table(found, trials, rank_by)
    ranking = boards.ranking_table(found, trials, rank_by, top)
    if only_confirmed:
        shown = confirmed
    elif by_architecture:
        shown = [best]
    elif form == "table" and len(trials):
        # The best of each architecture in a search of equal trials is only the luckiest one.
        shown = [*confirmed, *([] if found.confirms else [dataclasses.replace(best, notes=())]), ranking]
    else:
        shown = [ranking]
    tables.emit(shown, form, out)


@app.command()
@console.command
def table(
    searches: Searches = None,
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
    averaged, counted = comparison.read_values(values) if values else [], comparison.read_outcomes(outcomes)
    found, trials, _ = read(searches or ["latest"], tracking_uri)
    long = form in tables.FOR_PROGRAMS
    tables.emit(comparison.pivot_tables(found, trials, rows, columns, averaged, counted, long=long), form, out)


@app.command()
@console.command
def compare(
    searches: Searches = None,
    rank_by: RankBy = None,
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Searches side by side: the best of each architecture in each of them, and what that took."""
    from analysis.base import tables
    from analysis.boards import comparison

    form = tables.choose_format(format_, out)
    found, trials, rank_by = read(searches or ["latest"], tracking_uri, rank_by)
    tables.emit([comparison.compare_table(found, trials, rank_by)], form, out)


@app.command()
@console.command
def ledger(
    search: Search = "latest",
    rank_by: RankBy = None,
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """What the search spent on each architecture, and whether one was searched less."""
    from analysis.base import tables
    from analysis.boards import ledger as ledgers

    form = tables.choose_format(format_, out)
    (found,), trials, rank_by = read([search], tracking_uri, rank_by)
    tables.emit([ledgers.ledger_table(found, trials, rank_by)], form, out)


@app.command()
@console.command
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
    from analysis.base import tables

    form = tables.choose_format(format_, out)
    (found,), trials, rank_by = read([search], tracking_uri, rank_by, architecture)
    import numpy as np

    from analysis.base import runs
    from analysis.verdicts import importance as importances

    space = runs.read_space(record.tracking_uri(tracking_uri), found)
    rng, long = np.random.default_rng(seed), form in tables.FOR_PROGRAMS
    tables.emit(importances.importance_tables(found, trials, space, rng, rank_by, long=long), form, out)


@app.command()
@console.command
def differences(
    search: Search = "latest",
    rank_by: RankBy = None,
    seed: Annotated[int, typer.Option(min=0, help="of the bootstrap")] = 0,
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Are the architectures really different? Their best configurations, paired on the same test texts.

    csv and json hold a row for each pair.
    """
    from analysis.base import tables

    form = tables.choose_format(format_, out)
    (found,), _, rank_by = read([search], tracking_uri, rank_by)
    import numpy as np

    from analysis.verdicts import differences as different

    rng, long = np.random.default_rng(seed), form in tables.FOR_PROGRAMS
    uri = record.tracking_uri(tracking_uri)
    tables.emit(different.read_differences(uri, found, rng, rank_by, long=long), form, out)


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
    from analysis.base import runs
    from analysis.course_report import reproduction

    uri = record.tracking_uri(tracking_uri)
    studies = reproduction.find_studies(runs.searches(uri), runs.find_searches(uri, searches) if searches else [])
    trials = reproduction.with_study(runs.read_trials(uri, *(search.id for search in studies.values())), studies)
    gated = trials[trials["study"] == "gru-gate"]["run_id"]
    layers = [name for name in runs.read_names(uri, gated) if name.startswith(record.GRAD_NORM_OF)]
    norms = reproduction.gradient_norms(trials, runs.read_series(uri, gated, layers))
    published = reproduction.read_published()
    parts = reproduction.tables(studies, trials, norms, published, long=form in tables.FOR_PROGRAMS)
    if only:
        shown = parts[errors.choose("part", only, parts)]
    else:
        shown = parts["figures"] if form in tables.FOR_PROGRAMS else [each for part in parts.values() for each in part]
    if form != "markdown" or out is None or only:
        tables.emit(shown, form, out)
        return
    from analysis.course_report import reproduction_page as pages

    command = f"python -m analysis reproduce {' '.join([*(searches or []), '--out', str(out)])}"
    points = {study: pages.study_points(trials, published, study) for study in studies}
    pages.write_page(out, parts, points, norms, command)
    print(f"wrote {out.absolute()} and its figures in {(out.parent / pages.FOLDER).absolute()}")


@app.command()
@console.command
def report(
    search: Search = "latest",
    out: Annotated[
        Path | None, typer.Option(help="the folder to write (default: reports/<search id>)", show_default=False)
    ] = None,
    rank_by: RankBy = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Write a page about a search that opens in any browser: tables, figures, and how to repeat it."""
    from analysis.base import runs
    from analysis.boards import leaderboard
    from analysis.report import report as reports

    if rank_by:
        leaderboard.check_metric(rank_by)
    uri = record.tracking_uri(tracking_uri)
    found = runs.find_search(uri, search)
    page = reports.make(uri, found, out or Path("reports") / found.id, rank_by)
    print(f"wrote {page.absolute()}")


@app.command()
@console.command
def explain(
    run: Annotated[
        str, typer.Argument(help="a run id or its first characters, SEARCH:TRIAL, or SEARCH:ARCHITECTURE for its best")
    ],
    sentences: Annotated[
        list[str] | None,
        typer.Argument(help="texts (default: three that are hard; of an image, three of its test set)"),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="what a sentence is, once for each in their order", show_default=False)
    ] = None,
    png: Annotated[
        Path | None, typer.Option(help="draw the scores into this PNG, its data as csv beside it", show_default=False)
    ] = None,
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Why does a model say so? Each word's score for each class. Of an image: what each quadrant attended to."""
    from analysis.base import tables

    form = tables.choose_format(format_, out)
    if png:
        tables.choose_format(None, png)
    from analysis.explain import choice, explainers

    trial = choice.find(record.tracking_uri(tracking_uri), run)
    explainer = explainers.of(trial)
    explanations = explainer.explain_all(trial, sentences, label)
    explainer.emit(explanations, f"{trial.name} of {trial.search}", form, out)
    if png:
        explainer.save_picture(explanations, trial.name, png)
        print(f"wrote {png.absolute()} and {png.with_suffix('.csv').name}")


@app.command()
@console.command
def disagree(
    search: Search = "latest",
    top: Annotated[int, typer.Option(min=0, help="how many texts to show the words of")] = 3,
    part: Annotated[
        str | None, typer.Option(help="one part: slices, texts, words (csv and json: texts)", show_default=False)
    ] = None,
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Where the best models of the architectures differ: on which test texts, of which kind, because of which words."""
    from analysis.base import tables

    form = tables.choose_format(format_, out)
    parts = ("slices", "texts", "words")
    shown = [errors.choose("part", part, parts)] if part else ["texts"] if form in tables.FOR_PROGRAMS else parts
    from analysis.base import runs
    from analysis.explain import choice
    from analysis.explain import disagree as disagreeing

    uri = record.tracking_uri(tracking_uri)
    found = runs.find_search(uri, search)
    trials = choice.best_of_each(uri, found)
    models = disagreeing.load_all(trials)
    reading = disagreeing.read(trials, models)
    emitted = []
    if "slices" in shown:
        emitted.append(disagreeing.slice_table(found.id, trials, reading))
    if "texts" in shown:
        emitted.append(disagreeing.text_table(reading, long=form in tables.FOR_PROGRAMS))
    if "words" in shown:
        emitted += disagreeing.word_tables(models, reading, top)
    tables.emit(emitted, form, out)


@app.command()
@console.command
def inspect(
    model: Annotated[
        str,
        typer.Argument(help="an architecture, or a trial: a run id, SEARCH:TRIAL, SEARCH:ARCHITECTURE for its best"),
    ],
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """What a model is made of: layers, shapes, parameters, multiply-adds; and how many words reach one word's score."""
    from analysis.base import tables

    form = tables.choose_format(format_, out)
    from analysis.explain import inspection

    found = inspection.find(record.tracking_uri(tracking_uri), model)
    tables.emit([inspection.table(found, long=form in tables.FOR_PROGRAMS)], form, out)


@app.command()
@console.command
def memory(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="searches, SEARCH:ARCHITECTURE or SEARCH:TRIAL, run ids (default: latest)", show_default=False
        ),
    ] = None,
    untrained: Annotated[
        bool, typer.Option("--untrained", help="also each model with its weights as drawn before training")
    ] = False,
    png: Annotated[
        Path | None, typer.Option(help="draw the curves into this PNG, svg and csv beside it", show_default=False)
    ] = None,
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """What recurrent models remember: how much the last state depends on the state and the word so many words before.

    Of a search the best trial of each recurrent architecture and activation whose checkpoint is at hand. csv and json
    hold the whole curves.
    """
    from analysis.base import tables

    form = tables.choose_format(format_, out)
    if png:
        tables.choose_format(None, png)
    from analysis.explain import memory as memories

    uri = record.tracking_uri(tracking_uri)
    found = [model for name in names or ["latest"] for model in memories.find(uri, name)]
    frame = memories.read(found, untrained=untrained)
    tables.emit([memories.table(frame, long=form in tables.FOR_PROGRAMS)], form, out)
    if png:
        print(f"wrote {', '.join(str(path.absolute()) for path in memories.draw(frame, png))}")


@app.command()
@console.command
def predict(
    model: Annotated[str, typer.Argument(help="models:/NAME@ALIAS, the folder of a model, or an exported search")],
    texts: Annotated[list[str] | None, typer.Argument(help="what to predict")] = None,
    csv: Annotated[Path | None, typer.Option(help="or a file with a column of texts", show_default=False)] = None,
    column: Annotated[str, typer.Option(help="the name of that column")] = "text",
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Predict with an exported model (python -m search export): the class of each text, and the probability of each."""
    from analysis.base import tables

    form = tables.choose_format(format_, out)
    if bool(texts) == (csv is not None):
        raise UserError("give texts or --csv FILE, one of the two")
    import pandas as pd

    from analysis.explain import predict as predicting

    rows = predicting.read_csv(csv, column) if csv else pd.DataFrame({column: texts})
    uri = record.tracking_uri(tracking_uri)
    found = predicting.find(uri, model)
    predictions = predicting.predict(predicting.load(uri, found), rows[column].tolist())
    tables.emit([predicting.table(found, rows, predictions, column, long=form in tables.FOR_PROGRAMS)], form, out)


if __name__ == "__main__":
    app()
