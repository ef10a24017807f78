"""Lets an exported model predict: single texts, or the rows of a file in batches."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from rich.console import Console
from rich.progress import track

from analysis.base import runs
from analysis.base.table import Table, beginning
from analysis.explain.labelled import PREDICTED, PROBABILITY, Rows, scores
from data.base.errors import UserError
from search.base import names, record
from search.serve.classifier import UNKNOWN_SHARE
from search.train.tasks import TASKS, Task

TEXT = "text"  # of a request
MOST, TOP = "most probable", 5  # the column of so many classes, in place of one for each of more
BATCH = 1000  # texts
WIDTH = 60  # of the beginning of a text
MOSTLY = 0.5  # the share of unknown words over which a text is marked


def find(uri: str, model: str) -> str:
    """Where MLflow finds the model: models:/NAME@ALIAS or any other of its URIs, a folder, or the one that was last
    exported of a search, of SEARCH:ARCHITECTURE or SEARCH:TRIAL. Raises UserError when there is none."""
    return model if re.match(r"\w+:/", model) or Path(model).is_dir() else _exported(uri, model)


def load(uri: str, model: str) -> Any:
    """The MLflow model at a place that `find` gives. Raises UserError when there is none, or it cannot be read."""
    # All packages of now: those of a model from before exported code had a package of its own come first on the path,
    # and some of each would not go together.
    import search.classifier  # noqa: F401

    try:
        with record.mlflow_at(uri):
            return mlflow.pyfunc.load_model(model)
    except Exception as error:  # MLflow's own, or whatever the code of a damaged model raises
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"cannot load {model}: {record.without_password(reason)}") from error


def _exported(uri: str, model: str) -> str:
    """The URI of the newest version that was exported of a search, or of an architecture or a trial of it."""
    search, colon, wanted = model.partition(":")
    found = runs.find_search(uri, search)
    client = mlflow.MlflowClient(tracking_uri=uri)
    search = found.confirms or found.id
    versions = list(client.search_model_versions(f"tags.`{record.SEARCH}` = '{search}'"))
    if colon:
        versions = [version for version in versions if wanted in _goes_by(version.tags.get(record.TRIAL, ""))]
    if not versions:
        of, option = (f"{wanted} of {search}", f" --architecture {wanted}") if colon else (search, "")
        raise UserError(f"no model of {of} is in the registry yet; run: python -m search export {search}{option}")
    newest = max(versions, key=lambda version: version.creation_timestamp)
    return f"models:/{newest.name}/{newest.version}"


def _goes_by(trial: str) -> tuple[str, ...]:
    """What the model of a trial is asked for by: its name, and its architecture's."""
    architecture = names.split_trial(trial)
    return (trial, architecture[0]) if architecture else ()


def predict(model: Any, texts: Sequence[str]) -> pd.DataFrame:
    """A row for each text: what is `predicted`, and what else the model answers, such as the `probability of` each
    class. Shows a progress bar in a terminal.

    Raises UserError for a text that the model refuses.
    """
    console = Console(stderr=True)
    starts = range(0, len(texts), BATCH)
    batches = []
    for start in track(starts, "Predicting", console=console, transient=True, disable=not console.is_terminal):
        batch = texts[start : start + BATCH]
        try:
            batches.append(model.predict(pd.DataFrame({TEXT: batch})))
        except MlflowException as error:
            # The model counts the texts that it is given.
            where = f"of texts {start + 1} to {start + len(batch)}: " if start else ""
            raise UserError(where + error.message) from error
    return pd.concat(batches, ignore_index=True)


def task_of(model: Any, answer: pd.DataFrame) -> tuple[Task | None, list[str]]:
    """What the model is for and its classes; nothing of one that does not tell and has no probabilities either."""
    try:
        told = model.get_raw_model()
    except NotImplementedError:
        told = None
    if not hasattr(told, "task"):  # exported before it could be asked
        classes = [str(name).removeprefix(PROBABILITY) for name in answer if str(name).startswith(PROBABILITY)]
        return (TASKS["classification"] if classes else None), classes
    task = TASKS.get(told.task.name)
    return task and task.joined_by(told.task.separator), list(told.classes)


def meant_by(model: Any) -> Mapping[str, str]:
    """The classes that other labels mean, as its search's `labels` say; nothing of one that does not tell."""
    try:
        return getattr(model.get_raw_model(), "labels", {})
    except NotImplementedError:
        return {}


def most_probable(probabilities: pd.DataFrame, top: int) -> pd.Series:
    """Of each row so many classes, in words, 'spam 0.91, ham 0.06'; nothing of a row without a text."""
    names = [str(name).removeprefix(PROBABILITY) for name in probabilities]
    shares_NC = probabilities.to_numpy(dtype=float)
    places_NK = np.argsort(-shares_NC, axis=1, kind="stable")[:, :top]
    told = [
        "" if np.isnan(shares_C[0]) else ", ".join(f"{names[place]} {shares_C[place]:.2f}" for place in places_K)
        for shares_C, places_K in zip(shares_NC, places_NK, strict=True)
    ]
    return pd.Series(told, index=probabilities.index)


def table(name: str, model: Any, rows: Rows, answer: pd.DataFrame, *, long: bool = False, top: int = TOP) -> Table:
    """The rows with what was answered, and how often that is right where they have labels.

    long: for programs; readers see how the texts begin, no pictures, and of more classes than `top` the most probable.
    """
    task, classes = task_of(model, answer)
    answer_of_rows = answer.set_index(rows.frame.index[~rows.blank])
    notes = scores(rows.labels[~rows.blank], answer_of_rows, task, classes, meant_by(model))
    both = rows.beside(answer)
    frame = both.frame
    if not long:
        frame = frame.assign(beginning=frame[both.text].map(lambda text: beginning(text, WIDTH), na_action="ignore"))
    probabilities = [str(column) for column in answer if str(column).startswith(PROBABILITY)]
    if len(probabilities) > top and not long:
        frame = frame.assign(**{MOST: most_probable(frame[probabilities], top)})
        probabilities = [MOST]
    shown = [PREDICTED, *probabilities]
    if both.label is not None and notes:
        shown.insert(0, both.label)
    if UNKNOWN_SHARE in answer:
        shown.append(UNKNOWN_SHARE)
        if strange := int((answer[UNKNOWN_SHARE] > MOSTLY).sum()):
            notes.append(
                f"Texts most of whose words the model does not know ({UNKNOWN_SHARE} over {MOSTLY:g}): {strange:,}; "
                "what it says of them is little more than a guess."
            )
    return Table(frame, groups=[[*shown, "beginning"]], key=PREDICTED, title=name, notes=notes)
