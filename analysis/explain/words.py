"""The explainer of classifiers: word scores by class, for given texts or for some hard ones."""

import dataclasses
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import pandas as pd
from rich.console import Console

import models
from analysis.base import pictures, tables
from analysis.base.table import Table
from analysis.base.terminal import show
from analysis.explain import explanation, leave_out
from analysis.explain.explanation import TOP, Explanation
from analysis.explain.word_picture import draw
from analysis.explain.word_tables import coloured, sentence_table, word_frame
from data.base.errors import UserError, did_you_mean
from search.serve.calibration import as_exported
from search.serve.classifier import TextModel
from search.serve.loading import load
from search.study.trial import Trial
from search.train.tasks import Task

#: The functions that compute word scores, by the kind of learner.
METHODS = {"network": explanation.explain, "estimator": leave_out.explain}
#: Labelled texts on which models often fail.
EXAMPLES = Path(__file__).parent / "example_sentences.csv"


def explain_all(
    trial: Trial, texts: Sequence[str] | None, labels: Sequence[str] | None, top: int = TOP
) -> list[Explanation]:
    """Explain the trial's model on these texts, by default on the shipped sentences.

    Raises UserError for invalid labels or a missing checkpoint.
    """
    classifier = as_exported(trial, load(trial))
    texts, labels = (texts, labels or []) if texts else read_examples(classifier.classes)
    check_labels(labels, len(texts), classifier.classes, classifier.task)
    return [explain(classifier, text, label, top) for text, label in zip_longest(texts, labels)]


def explain(model: TextModel, text: str, label: str | None = None, top: int = TOP) -> Explanation:
    """Explain a prediction."""
    return METHODS[models.architecture(model.architecture).learner](model, text, label, top)


def read_examples(classes: Sequence[str]) -> tuple[list[str], list[str]]:
    """The shipped sentences, and their labels if these are classes of the model."""
    frame = pd.read_csv(EXAMPLES)
    labels = frame["label"].tolist()
    return frame["text"].tolist(), labels if set(labels) <= set(classes) else []


def check_labels(labels: Sequence[str], num_texts: int, classes: Sequence[str], task: Task) -> None:
    """Raise UserError unless there are no labels, or one known label per text."""
    if labels and len(labels) != num_texts:
        raise UserError(f"--label: give one per text; got {len(labels)} for {num_texts}")
    for label in labels:
        for name in sorted(task.parts(label) - {*classes}):
            raise UserError(f"--label: unknown class {name!r}{did_you_mean(name, classes)}")


def emit(explanations: Sequence[Explanation], name: str, form: str, out: Path | None) -> None:
    """Print explanations or write them to a file: one table per text, or for programs one row per word."""
    if form in tables.FOR_PROGRAMS:
        tables.emit([Table(word_frame(explanations), groups=[], key=[], title=name)], form, out)
        return
    console = Console(highlight=False)
    if form != "table" or out is not None or not console.is_terminal:
        tables.emit([sentence_table(found) for found in explanations], form, out)
        return
    console.print(name, style="bold")
    for found in explanations:
        console.print("\n", coloured(found), sep="")
        show(dataclasses.replace(sentence_table(found), title=""), console)


def save_picture(explanations: Sequence[Explanation], name: str, path: Path) -> None:
    """Write the heat strips of a model, with their data as csv beside them. Raises UserError when that fails."""
    pictures.save(pictures.encode(draw(explanations, name), word_frame(explanations).assign(model=name)), path)
