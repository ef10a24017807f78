"""Lets an exported model predict: single texts, or a column of a CSV file in batches."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from rich.console import Console
from rich.progress import track

from analysis.base import runs
from analysis.base.table import Table
from data.base.errors import UserError, did_you_mean
from search.base import names, record

TEXT, LABEL, PREDICTED, PROBABILITY = "text", "label", "predicted", "probability of "
BATCH = 1000  # texts


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
        raise UserError(f"no model of {of} is in the registry yet; python -m search export {search}{option}")
    newest = max(versions, key=lambda version: version.creation_timestamp)
    return f"models:/{newest.name}/{newest.version}"


def _goes_by(trial: str) -> tuple[str, ...]:
    """What the model of a trial is asked for by: its name, and its architecture's."""
    architecture = names.split_trial(trial)
    return (trial, architecture[0]) if architecture else ()


def read_csv(path: Path, column: str = TEXT) -> pd.DataFrame:
    """The file, every cell as text. Raises UserError when it cannot be read or has no such column or no row."""
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8", skip_blank_lines=False)
    except (OSError, ValueError) as error:  # parser and decoding errors are ValueErrors
        raise UserError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes the first cells for names of rows
        raise UserError(f"{path}: a row has more cells than the header has; quote texts that hold a comma")
    if column not in frame:
        raise UserError(f"{path} has no column {column!r}{did_you_mean(column, frame.columns)}")
    if frame.empty:
        raise UserError(f"{path} has no row")
    return frame


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


def table(name: str, rows: pd.DataFrame, predictions: pd.DataFrame, column: str = TEXT, *, long: bool = False) -> Table:
    """The rows with what was predicted; where a column `label` has the model's classes, also how often that is right.

    long: for programs; readers see how the texts begin, and no pictures.
    """
    earlier = [name for name in rows if name in predictions]  # the file is itself what was predicted before
    frame = pd.concat([rows.reset_index(drop=True).drop(columns=earlier), predictions], axis=1)
    if not long:
        frame["beginning"] = frame[column].str.slice(0, 60)
    probabilities = [str(name) for name in predictions if str(name).startswith(PROBABILITY)]
    classes = {name.removeprefix(PROBABILITY) for name in probabilities}
    notes = []
    shown = [PREDICTED, *probabilities, "beginning"]
    if LABEL in rows and set(rows[LABEL]) <= classes:
        right = (frame[LABEL] == frame[PREDICTED]).mean()
        notes.append(f"{right:.1%} of {len(frame):,} texts are predicted as labelled.")
        shown.insert(0, LABEL)
    return Table(frame, groups=[shown], key=PREDICTED, title=name, notes=notes)
