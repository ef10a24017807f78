"""Prediction with an exported model: of single texts, or of the rows of a file in batches."""

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
from search.base import mlflow_uri, names, schema
from search.serve.classifier import UNKNOWN_SHARE
from search.train.tasks import TASKS, Task

TEXT = "text"  # the column of a request
MOST, TOP = "most probable", 5  # with more classes than TOP, one column of the most probable ones
BATCH = 1000  # texts per request
WIDTH = 60  # characters shown of a text
MOSTLY = 0.5  # texts with a larger share of unknown words are reported


def find(uri: str, model: str) -> str:
    """The URI of a model: models:/NAME@ALIAS or any other URI of MLflow, a folder, or the latest export of SEARCH,
    SEARCH:ARCHITECTURE or SEARCH:TRIAL. Raises UserError when there is none."""
    return model if re.match(r"\w+:/", model) or Path(model).is_dir() else _exported(uri, model)


def load(uri: str, model: str) -> Any:
    """Load the model at a URI from `find`. Raises UserError when it is missing or cannot be read."""
    # Import the current packages first: models exported before exported code had its own package put their old packages
    # first on the path, and a mixture of old and current modules would fail.
    import search.classifier  # noqa: F401

    try:
        with mlflow_uri.mlflow_at(uri):
            return mlflow.pyfunc.load_model(model)
    except Exception as error:  # from MLflow, or from the code of a damaged model
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"cannot load {model}: {mlflow_uri.without_password(reason)}") from error


def _exported(uri: str, model: str) -> str:
    """The URI of the newest exported version of SEARCH, SEARCH:ARCHITECTURE or SEARCH:TRIAL."""
    search, colon, wanted = model.partition(":")
    found = runs.find_search(uri, search)
    client = mlflow.MlflowClient(tracking_uri=uri)
    search = found.confirms or found.id
    versions = list(client.search_model_versions(f"tags.`{schema.SEARCH}` = '{search}'"))
    if colon:
        versions = [version for version in versions if wanted in _goes_by(version.tags.get(schema.TRIAL, ""))]
    if not versions:
        of, option = (f"{wanted} of {search}", f" --architecture {wanted}") if colon else (search, "")
        raise UserError(f"no model of {of} is in the registry yet; run: python -m search export {search}{option}")
    newest = max(versions, key=lambda version: version.creation_timestamp)
    return f"models:/{newest.name}/{newest.version}"


def _goes_by(trial: str) -> tuple[str, ...]:
    """The names by which the model of a trial can be requested: the trial and its architecture."""
    architecture = names.split_trial(trial)
    return (trial, architecture[0]) if architecture else ()


def predict(model: Any, texts: Sequence[str]) -> pd.DataFrame:
    """One row per text: `predicted` and the other columns of the model's answer, such as `probability of` each class.

    Shows a progress bar in a terminal. Raises UserError for a text that the model rejects.
    """
    console = Console(stderr=True)
    starts = range(0, len(texts), BATCH)
    batches = []
    for start in track(starts, "Predicting", console=console, transient=True, disable=not console.is_terminal):
        batch = texts[start : start + BATCH]
        try:
            batches.append(model.predict(pd.DataFrame({TEXT: batch})))
        except MlflowException as error:
            # The model's message counts from the start of the batch.
            where = f"of texts {start + 1} to {start + len(batch)}: " if start else ""
            raise UserError(where + error.message) from error
    return pd.concat(batches, ignore_index=True)


def task_of(model: Any, answer: pd.DataFrame) -> tuple[Task | None, list[str]]:
    """The model's task and classes; (None, []) if neither the model nor its answer shows them."""
    try:
        raw = model.get_raw_model()
    except NotImplementedError:
        raw = None
    if not hasattr(raw, "task"):  # exported by an old version
        classes = [str(name).removeprefix(PROBABILITY) for name in answer if str(name).startswith(PROBABILITY)]
        return (TASKS["classification"] if classes else None), classes
    task = TASKS.get(raw.task.name)
    return task and task.joined_by(raw.task.separator), list(raw.classes)


def meant_by(model: Any) -> Mapping[str, str]:
    """The classes that other labels stand for, from the key `labels` of the search's spec; empty if unknown."""
    try:
        return getattr(model.get_raw_model(), "labels", {})
    except NotImplementedError:
        return {}


def most_probable(probabilities: pd.DataFrame, top: int) -> pd.Series:
    """The most probable classes of every row as text, 'spam 0.91, ham 0.06'; '' for a blank row."""
    names = [str(name).removeprefix(PROBABILITY) for name in probabilities]
    shares_NC = probabilities.to_numpy(dtype=float)
    places_NK = np.argsort(-shares_NC, axis=1, kind="stable")[:, :top]
    texts = [
        "" if np.isnan(shares_C[0]) else ", ".join(f"{names[place]} {shares_C[place]:.2f}" for place in places_K)
        for shares_C, places_K in zip(shares_NC, places_NK, strict=True)
    ]
    return pd.Series(texts, index=probabilities.index)


def table(name: str, model: Any, rows: Rows, answer: pd.DataFrame, *, long: bool = False, top: int = TOP) -> Table:
    """The rows with the model's answers, and the scores in notes if the rows have labels.

    long: all columns, for programs. Readers see the beginning of the texts, no images, and only the `top` classes.
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
                f"Texts with mostly unknown words ({UNKNOWN_SHARE} over {MOSTLY:g}): {strange:,}; their predictions "
                "are little more than guesses."
            )
    return Table(frame, groups=[[*shown, "beginning"]], key=PREDICTED, title=name, notes=notes)
