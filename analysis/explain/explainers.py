"""The explainers, by task. To explain models of a new task, write a module and add it to EXPLAINERS."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
from matplotlib.figure import Figure

from analysis.explain import drawing, words
from analysis.explain.explanation import TOP
from data.base.errors import UserError
from search.serve.loading import task_of
from search.study.trial import Trial


class Explainer(Protocol):
    """The functions of a module in EXPLAINERS."""

    def explain_all(
        self, trial: Trial, texts: Sequence[str] | None, labels: Sequence[str] | None, top: int = TOP
    ) -> Any:
        """Explain the trial's model on these texts, by default on some of the module's choice.

        labels: the true labels of the texts, if the task has labels. top: number of classes to explain, the most
        probable ones, besides true and predicted ones. Raises UserError when that is impossible.
        """

    def emit(self, explanations: Any, name: str, form: str, out: Path | None) -> None:
        """Print explanations under the name of the model, or write them to a file, in a format of `tables.TEXTS`."""

    def word_frame(self, explanations: Any) -> pd.DataFrame:
        """One row per word of every text, in order, with its scores for classes or parts of the output."""

    def draw(self, explanations: Any, name: str) -> Figure:
        """Draw explanations under the name of the model."""

    def save_picture(self, explanations: Any, name: str, path: Path) -> None:
        """Write a PNG, with its data as csv beside it. Raises UserError when it cannot be written."""


EXPLAINERS: Mapping[str, Explainer] = {"classification": words, "multi_label": words, "text_to_image": drawing}


def of(trial: Trial) -> Explainer:
    """The explainer of the trial's task. Raises UserError if it has none."""
    task = task_of(trial)
    if task not in EXPLAINERS:
        raise UserError(f"{trial.name} is for {task}, but only models for {', '.join(EXPLAINERS)} can be explained")
    return EXPLAINERS[task]
