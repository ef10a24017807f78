"""Where models that were exported before version 0.2 look for their classifier."""

from collections.abc import Sequence

import numpy as np

from search.serve.classifier import TextModel


class TextClassifier(TextModel):
    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """(N, C) of N texts, float32."""
        return self.outputs(texts).numpy()
