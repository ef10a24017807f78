"""The classifier module that models exported before version 0.2 import."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from search.serve.classifier import TextModel


class TextClassifier:
    """The interface that the code of these models uses."""

    def __init__(self, model: TextModel) -> None:
        self._model, self.classes = model, model.classes

    @classmethod
    def load(cls, folder: Path) -> "TextClassifier":
        return cls(TextModel.load(folder))

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Probabilities (N, C) of N texts, float32."""
        return self._model.outputs(texts).numpy()
