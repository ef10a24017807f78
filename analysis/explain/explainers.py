"""How the models of each task are explained. To explain those of a new one, write its file and enter it here."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
from matplotlib.figure import Figure

from analysis.explain import drawing, words
from analysis.explain.explanation import TOP
from data.base.errors import UserError
from search.serve.trained import task_of
from search.study.trial import Trial


class Explainer(Protocol):
    """What a module in EXPLAINERS has."""

    def explain_all(
        self, trial: Trial, texts: Sequence[str] | None, labels: Sequence[str] | None, top: int = TOP
    ) -> Any:
        """Why the trial's model says what it says of these texts, by default of some that are worth it.

        labels: what the texts are, where the task knows that. top: how many classes, the most probable ones, and those
        that the text has or is said to have. Raises UserError for what cannot be explained.
        """

    def emit(self, explanations: Any, name: str, form: str, out: Path | None) -> None:
        """Print them under the name of the model, or write them into a file, in a format of `tables.TEXTS`."""

    def word_frame(self, explanations: Any) -> pd.DataFrame:
        """A row a word of each text, in their order: what it did to each class or part of the answer."""

    def draw(self, explanations: Any, name: str) -> Figure:
        """Draw them under the name of the model."""

    def save_picture(self, explanations: Any, name: str, path: Path) -> None:
        """Draw them into a PNG, their data as csv beside it. Raises UserError when it cannot be written."""


EXPLAINERS: Mapping[str, Explainer] = {"classification": words, "multi_label": words, "text_to_image": drawing}


def of(trial: Trial) -> Explainer:
    """The explainer of the trial's task. Raises UserError if it has none."""
    task = task_of(trial)
    if task not in EXPLAINERS:
        raise UserError(f"{trial.name} is for {task}, and only models for {', '.join(EXPLAINERS)} can be explained")
    return EXPLAINERS[task]
