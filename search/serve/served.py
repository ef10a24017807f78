"""The code of an exported model: what MLflow runs to load it and to answer requests (`search.export` writes it).

A request is a table with the column `text`; the answer has the columns of the model's task (`Task.answer`): `predicted`
and, of a classifier, `probability of <class>` for each class; of a model that draws, `image`.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel

from search.serve.ensemble import load

MAX_TEXTS, MAX_CHARACTERS = 10_000, 100_000  # of a request, and of each of its texts


class Served(PythonModel):
    def load_context(self, context: Any) -> None:
        self.model = load(Path(context.artifacts["model"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Raises MlflowException, which a server answers with status 400, for what cannot be predicted."""
        texts = list(model_input["text"])
        _check(texts)
        return pd.DataFrame(self.model.answer(texts))


def _check(texts: list[Any]) -> None:
    problem = None
    if not 1 <= len(texts) <= MAX_TEXTS:
        problem = f"a request has from 1 to {MAX_TEXTS:,} texts; got {len(texts):,}"
    for number, text in enumerate(texts, 1):
        if not isinstance(text, str):
            problem = f"text {number} is not text but {text!r}"
        elif len(text) > MAX_CHARACTERS:
            problem = f"text {number} has {len(text):,} characters, and {MAX_CHARACTERS:,} are allowed"
    if problem:
        raise MlflowException(problem, error_code=INVALID_PARAMETER_VALUE)


set_model(Served())
