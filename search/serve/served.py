"""What MLflow runs to load an exported model and to answer requests; like `classifier` it goes into exported models.

A request is a table with the column `text`; the answer has the columns of the model's task (`Task.answer`): `predicted`
and, of a classifier, `probability of <class>` for each class; of a model that draws, `image`. `unknown_share` says how
much of the text's words the model does not know, from 0 to 1. Of a long text it reads the beginning, as in training.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from search.serve.classifier import TextModel
from search.serve.ensemble import Ensemble, load

MAX_TEXTS = 10_000  # of a request


def _load_pyfunc(folder: str) -> "Served":
    """The model in a folder; MLflow calls it by this name."""
    return Served(load(Path(folder)))


class Served:
    def __init__(self, model: TextModel | Ensemble) -> None:
        self.model = model

    def predict(self, model_input: pd.DataFrame) -> pd.DataFrame:
        """Raises MlflowException, which a server answers with status 400, for what cannot be predicted."""
        texts = list(model_input["text"])
        _check(texts)
        return pd.DataFrame(self.model.answer(texts))

    def get_raw_model(self) -> TextModel | Ensemble:
        """What MLflow gives to who wants to know its task and its classes."""
        return self.model


def _check(texts: list[Any]) -> None:
    problem = None
    if not 1 <= len(texts) <= MAX_TEXTS:
        problem = f"a request has from 1 to {MAX_TEXTS:,} texts; got {len(texts):,}"
    for number, text in enumerate(texts, 1):
        if not isinstance(text, str):
            problem = f"text {number} is not text but {text!r}"
    if problem:
        raise MlflowException(problem, error_code=INVALID_PARAMETER_VALUE)
