"""The pyfunc flavour of exported models: MLflow loads models and answers requests with it. Like `classifier`, it is
part of exported models.

A request is a table with the column `text`. The answer has the columns of the model's task (`Task.answer`):
`predicted`, and `probability of <class>` for all classes of a classifier, or `image` for a model that generates images;
and `unknown_share`, the share of words outside of the vocabulary, in [0, 1]. Long texts are truncated as in training.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from search.serve.classifier import TextModel
from search.serve.ensemble import Ensemble, load

MAX_TEXTS = 10_000  # per request


def _load_pyfunc(folder: str) -> "Served":
    """Loads the model in a folder. The name is MLflow's convention."""
    return Served(load(Path(folder)))


class Served:
    def __init__(self, model: TextModel | Ensemble) -> None:
        self.model = model

    def predict(self, model_input: pd.DataFrame) -> pd.DataFrame:
        """Predictions, a row per text. Raises MlflowException for invalid input (status 400 from a server)."""
        texts = list(model_input["text"])
        _check(texts)
        return pd.DataFrame(self.model.answer(texts))

    def get_raw_model(self) -> TextModel | Ensemble:
        """The underlying model, with its task and classes, as MLflow's `unwrap_python_model` returns it."""
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
