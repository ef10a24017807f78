"""The commands that inspect, explain and use models: `bakeoff explain`, or `python -m analysis explain`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from bakeoff import looking
from bakeoff.analysing import app
from bakeoff.options import Architecture, Format, Out, SearchName, Set, TrackingUri
from data.base.errors import UserError, choose
from search.base import console, mlflow_uri


@app.command()
@console.command
def explain(
    run: Annotated[
        str,
        typer.Argument(help="a run id or its first characters, SEARCH:TRIAL, or SEARCH:ARCHITECTURE (its best trial)"),
    ],
    sentences: Annotated[
        list[str] | None,
        typer.Argument(help="texts to explain (default: three hard ones; for images, three of the test set)"),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="the true label of a text; repeat it for every text, in their order", show_default=False),
    ] = None,
    top: Annotated[int, typer.Option(min=2, help="number of classes to show, the most probable ones")] = 5,
    png: Annotated[
        Path | None,
        typer.Option(help="also draw the scores to this PNG, with the data as csv beside it", show_default=False),
    ] = None,
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Explain predictions: the score of every word for every class. For images: the attention of every quadrant to the
    words."""
    from analysis.base import tables

    form = tables.choose_format(format_, out)
    tables.require_png(png)
    from analysis.explain import explainers, lookup

    trial = lookup.find(mlflow_uri.tracking_uri(tracking_uri), run)
    explainer = explainers.of(trial)
    explanations = explainer.explain_all(trial, sentences, label, top)
    explainer.emit(explanations, f"{trial.name} of {trial.search}", form, out)
    if png:
        explainer.save_picture(explanations, trial.name, png)
        print(f"wrote {png.absolute()} and {png.with_suffix('.csv').name}")


@app.command()
@console.command
def disagree(
    search: SearchName = "latest",
    top: Annotated[int, typer.Option(min=0, help="number of texts to explain word by word")] = 3,
    part: Annotated[
        str | None, typer.Option(help="one part: slices, texts, words (csv and json: texts)", show_default=False)
    ] = None,
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Show where the best models of the architectures disagree: test texts, kinds of text, and words responsible."""
    from analysis.base import tables

    form = tables.choose_format(format_, out)
    parts = ("slices", "texts", "words")
    shown = [choose("part", part, parts)] if part else ["texts"] if form in tables.FOR_PROGRAMS else parts
    from analysis.base import runs
    from analysis.explain import disagree as disagreeing
    from analysis.explain import lookup

    uri = mlflow_uri.tracking_uri(tracking_uri)
    found = runs.find_search(uri, search)
    trials = lookup.best_of_each(uri, found)
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
def errors(
    search: SearchName = "latest",
    architecture: Architecture = None,
    part: Annotated[
        str | None, typer.Option(help="one part: classes, pairs, texts (csv and json: texts)", show_default=False)
    ] = None,
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Show the errors of the best models: precision and recall by class, confused classes, and misclassified texts.

    For texts with several classes, also the classes missed or added most often. csv and json hold all errors with their
    texts, or (--part classes) all classes.
    """
    from analysis.base import tables

    form = tables.choose_format(format_, out)
    parts, long = ("classes", "pairs", "texts"), form in tables.FOR_PROGRAMS
    shown = [choose("part", part, parts)] if part else ["texts"] if long else parts
    from analysis.base import runs
    from analysis.explain import errors as wrongs
    from analysis.explain import lookup
    from analysis.verdicts import confusion_tables

    uri = mlflow_uri.tracking_uri(tracking_uri)
    found = runs.find_search(uri, search)
    confusions = wrongs.confusions(uri, trials := lookup.best_of_each(uri, found), architecture, found.separator)
    emitted = []
    if "classes" in shown:
        emitted += confusion_tables.class_tables(confusions, long=long)
    if {"pairs", "texts"} & {*shown}:
        wrong = wrongs.wrong(confusions, wrongs.read_texts(trials[0], confusions))
        if "pairs" in shown:
            emitted += [*wrongs.mistake_tables(confusions, wrong), *wrongs.pair_tables(confusions, wrong)]
        emitted += wrongs.text_tables(confusions, wrong, long=long) if "texts" in shown else []
    tables.emit(emitted, form, out)


@app.command()
@console.command
def inspect(
    model: Annotated[
        str,
        typer.Argument(help="an architecture, or a trial: a run id, SEARCH:TRIAL, SEARCH:ARCHITECTURE (its best)"),
    ],
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Describe a model: layers, shapes, parameters, multiply-adds, and the receptive field in words."""
    from analysis.base import tables

    form = tables.choose_format(format_, out)
    from analysis.explain import inspection

    found = inspection.find(mlflow_uri.tracking_uri(tracking_uri), model)
    tables.emit([inspection.table(found, long=form in tables.FOR_PROGRAMS)], form, out)


@app.command()
@console.command
def memory(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="searches, SEARCH:ARCHITECTURE, SEARCH:TRIAL or run ids (default: latest)", show_default=False
        ),
    ] = None,
    untrained: Annotated[
        bool, typer.Option("--untrained", help="also show every model with its initial weights")
    ] = False,
    png: Annotated[
        Path | None,
        typer.Option(help="also draw the curves to this PNG, with svg and csv beside it", show_default=False),
    ] = None,
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Measure the memory of recurrent models: how much the last state depends on the states and words before it.

    For a search: the best trial of every recurrent architecture and activation that has a checkpoint on this machine.
    csv and json hold the whole curves.
    """
    from analysis.base import tables

    form = tables.choose_format(format_, out)
    tables.require_png(png)
    from analysis.explain import memory_curves as memories

    uri = mlflow_uri.tracking_uri(tracking_uri)
    found = [model for name in names or ["latest"] for model in memories.find(uri, name)]
    frame = memories.read(found, untrained=untrained)
    tables.emit([memories.table(frame, long=form in tables.FOR_PROGRAMS)], form, out)
    if png:
        print(f"wrote {', '.join(str(path.absolute()) for path in memories.draw(frame, png))}")


@app.command()
@console.command
def predict(
    model: Annotated[str, typer.Argument(help="models:/NAME@ALIAS, the folder of a model, or an exported search")],
    texts: Annotated[list[str] | None, typer.Argument(help="texts to classify")] = None,
    csv: Annotated[
        Path | None,
        typer.Option(help="a file of texts to classify: csv, jsonl, parquet, ...", show_default=False),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option("--text", "--column", help="the file's column of texts, by name or number", show_default=False),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(help="the file's column of labels, if any: the predictions are scored by it", show_default=False),
    ] = None,
    top: Annotated[
        int, typer.Option(min=1, help="number of classes to show, the most probable ones (csv and json: all)")
    ] = 5,
    set_: Set = None,
    format_: Format = None,
    out: Out = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Predict with an exported model (python -m search export): the class of every text, or the image drawn for it.

    The rows of a file keep their order and all of their columns; with labels, the predictions are scored. --set takes
    the spec keys that say how a file is read, such as encoding=latin-1.
    """
    from analysis.base import tables

    form = tables.choose_format(format_, out)
    if bool(texts) == (csv is not None):
        raise UserError("give either texts or --csv FILE")
    import pandas as pd

    from analysis.explain import labelled
    from analysis.explain import predict as predicting

    if csv:
        columns = {"text_column": text, "label_column": label}
        rows = labelled.read(csv, looking.reading_of(csv, columns, set_))
    else:
        rows = labelled.Rows(pd.DataFrame({predicting.TEXT: texts}), predicting.TEXT)
    uri = mlflow_uri.tracking_uri(tracking_uri)
    found = predicting.find(uri, model)
    loaded = predicting.load(uri, found)
    answer = predicting.predict(loaded, rows.texts)
    programs = form in tables.FOR_PROGRAMS
    table = predicting.table(found, loaded, rows, answer, long=programs, top=top)
    tables.emit([table], form, out)
    if programs:  # csv and json hold the rows only
        for note in table.notes:
            print(note, file=sys.stderr if out is None else sys.stdout)
