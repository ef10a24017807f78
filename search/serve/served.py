"""The code of an exported model: what MLflow runs to load it and to answer requests (`search.export` writes it).

A request is a table with the column `text`; the answer has the column `predicted` and, for each class, `probability of
<class>`, as the record of a trial's test predictions has them.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel

from search.serve.classifier import TextClassifier

MAX_TEXTS, MAX_CHARACTERS = 10_000, 100_000  # of a request, and of each of its texts


class Served(PythonModel):
    def load_context(self, context: Any) -> None:
        self.classifier = TextClassifier.load(Path(context.artifacts["classifier"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Raises MlflowException, which a server answers with status 400, for what cannot be predicted."""
        texts = list(model_input["text"])
        _check(texts)
        probabilities_NC = self.classifier.probabilities(texts)
        classes = self.classifier.classes
        columns = {f"probability of {name}": probabilities_NC[:, i].astype(float) for i, name in enumerate(classes)}
        return pd.DataFrame({"predicted": [classes[i] for i in probabilities_NC.argmax(1)], **columns})


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
