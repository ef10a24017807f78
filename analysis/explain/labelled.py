"""A file of texts to predict, and the scores of the predictions if the file has labels.

Shapes: N labelled texts, C classes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from analysis.base.table import heading
from data.base.errors import UserError, did_you_mean
from data.base.reading import Reading
from data.corpora.files import read_rows
from search.train.metrics import measured_in
from search.train.tasks import Task
from search.train.training import DivergenceError, measure

PREDICTED, PROBABILITY = "predicted", "probability of "  # columns of a model's answer


@dataclass(frozen=True)
class Rows:
    """The rows of a file, in order, with all of its columns; a blank line is a row of missing values.

    text, label: the names of these columns; label is None without labels.
    """

    frame: pd.DataFrame
    text: str
    label: str | None = None

    @property
    def blank(self) -> pd.Series:
        return self.frame.isna().all(axis=1)

    @property
    def texts(self) -> list[str]:
        """The texts of the rows that are not blank."""
        return [*self.frame.loc[~self.blank, self.text].fillna("")]

    @property
    def labels(self) -> pd.Series:
        """The labels by row, stripped; '' for none."""
        if self.label is None:
            return pd.Series("", self.frame.index)
        return self.frame[self.label].fillna("").astype(str).str.strip()

    def beside(self, answer: pd.DataFrame) -> "Rows":
        """The rows with the answer for every text. Columns of the file that clash with the answer's are renamed."""
        names = {str(name): str(name) for name in self.frame}
        for name in set(names) & set(answer):
            names[name] = _unused(f"{name} in the file", {*names.values(), *answer})
        columns = answer.set_index(self.frame.index[~self.blank]).reindex(self.frame.index)
        joined = pd.concat([self.frame.rename(columns=names), columns], axis=1)
        return replace(self, frame=joined, text=names[self.text], label=self.label and names[self.label])


def read(path: Path, reading: Reading) -> Rows:
    """The rows of a file (see `data.corpora.files.read_rows`). Raises UserError when it is unreadable or empty."""
    found = read_rows(path, reading)
    if found.label is None and (wanted := reading.label_column) is not None:
        raise UserError(f"{path} has no column {wanted!r}{did_you_mean(wanted, found.columns)}")
    names: list[str] = []
    for name in found.columns:
        names.append(_unused(name, names))
    nothing = [np.nan] * len(names)
    frame = pd.DataFrame([row or nothing for row in found.cells], columns=names, dtype=object)
    if frame.isna().all(axis=None):
        raise UserError(f"{path} has no row")
    return Rows(frame, names[found.text], None if found.label is None else names[found.label])


def _unused(name: str, names: Iterable[str]) -> str:
    """The name, with a number appended if it is taken."""
    taken, number, found = set(names), 2, name
    while found in taken:
        found, number = f"{name} {number}", number + 1
    return found


def scores(
    labels: pd.Series, answer: pd.DataFrame, task: Task | None, classes: Sequence[str], meant: Mapping[str, str] = {}
) -> list[str]:
    """The scores of answers for texts with these labels ('' for none), as sentences; empty without labels.

    meant: class by label, for labels that are not class names. Texts with labels unknown to the model are not scored,
    but counted.
    """
    labelled = labels != ""
    if task is None or not task.has_classes or not labelled.any():
        return []
    if not task.exclusive:  # an empty label means a text without any class
        labelled[:] = True
    wanted = labels[labelled].map(lambda label: frozenset(meant.get(part, part) for part in task.parts(label)))
    known = wanted.map(set(classes).issuperset)
    unknown = sorted({name for parts in wanted[~known] for name in parts - set(classes)})
    listed = ", ".join(f"{name!r:.40}" for name in unknown[:5]) + (", ..." if unknown[5:] else "")
    notes = []
    if known.any():
        chosen = wanted[known]
        sets = measured(chosen, answer.loc[chosen.index], task, classes)
        notes.append(f"{len(chosen):,} labelled {'texts' if len(chosen) > 1 else 'text'}: {sets}.")
    if not known.all():
        notes.append(
            f"Texts whose label is not a class of the model, which are not scored: {(~known).sum():,} ({listed})."
        )
    if not labelled.all():
        notes.append(f"Rows without a label: {(~labelled).sum():,}.")
    return notes


def measured(wanted: pd.Series, answer: pd.DataFrame, task: Task, classes: Sequence[str]) -> str:
    """'accuracy 0.9000, F1 0.8889, ...'. wanted: the true classes."""
    predicted = answer[PREDICTED].map(task.parts)
    right = (predicted == wanted).mean()
    names = [f"{PROBABILITY}{name}" for name in classes]
    if not set(names) <= set(answer):  # the answer has only the most probable classes
        return f"accuracy {right:.4f}"
    outputs_NC = torch.tensor(answer[names].to_numpy(dtype=np.float32))
    wanted_N, predicted_N = (_places(parts, task, classes) for parts in (wanted, predicted))
    try:
        # Predicted classes are passed, since an exported model may have its own decision threshold.
        found = measure(task, task.logits(outputs_NC), (wanted_N,), "test", predicted_N)
    except DivergenceError:  # some metrics need texts of more than one class
        return f"accuracy {right:.4f}"
    shown = {metric.name: found[f"test_{metric.name}"] for metric in measured_in(task.name) if metric.column}
    return ", ".join(f"{heading(name)} {value:.4f}" for name, value in {**shown, "accuracy": right}.items())


def _places(parts: pd.Series, task: Task, classes: Sequence[str]) -> torch.Tensor:
    """The place of every text's class (N,) or, with several classes per text, a 0/1 matrix (N, C)."""
    chosen_NC = torch.tensor([[name in of_text for name in classes] for of_text in parts]).long()
    return chosen_NC.argmax(1) if task.exclusive else chosen_NC
