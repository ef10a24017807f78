"""Classification: one class per text.

Shapes: N examples, C classes.
"""

from collections.abc import Sequence

import numpy as np
from torch import Tensor
from torch.nn.functional import cross_entropy

from data.encoded import EncodedCorpus, Split
from search.train.tasks.base import LEAST, Columns, Observation, Targets, Task


def decided(outputs_NC: Tensor, classes: Sequence[str], threshold: float | None) -> Columns:
    """The column `predicted` of a binary classifier with this threshold; empty without a threshold."""
    if threshold is None:
        return {}
    return {"predicted": [classes[int(is_second)] for is_second in outputs_NC[:, 1] > threshold]}


class Classification(Task):
    """Logits (N, C); targets: labels_N; outputs: probabilities (N, C)."""

    name = "classification"
    usual_outputs = 2
    has_classes = True

    def num_outputs(self, corpus: EncodedCorpus) -> int:
        return len(corpus.classes)

    def targets(self, split: Split) -> tuple[np.ndarray, ...]:
        return (split.labels_N,)

    def loss(
        self, logits_N: Tensor, targets: Targets, smoothing: float = 0.0, weights_C: Tensor | None = None
    ) -> Tensor:
        (labels_N,) = targets
        return cross_entropy(logits_N, labels_N, weights_C, label_smoothing=smoothing)

    def accuracy(self, logits_N: Tensor, targets: Targets) -> float:
        (labels_N,) = targets
        return float((logits_N.argmax(1) == labels_N).float().mean())

    def outputs(self, logits_N: Tensor) -> Tensor:
        return logits_N.softmax(1)

    def logits(self, outputs_N: Tensor) -> Tensor:
        return outputs_N.clamp(min=LEAST).log()

    def observe(self, logits_N: Tensor, targets: Targets, loss: float) -> Observation:
        (labels_N,) = targets
        return Observation(
            loss=loss,
            labels_N=labels_N,
            predicted_N=logits_N.argmax(1),
            num_classes=logits_N.shape[1],
            outputs_N=self.outputs(logits_N),
            targets_N=labels_N,
        )

    def labels(self, split: Split, classes: Sequence[str]) -> list[str]:
        return [classes[label] for label in split.labels_N]

    def says(self, outputs_N: Tensor, classes: Sequence[str]) -> Columns:
        """The class, and `probability of <class>` for each."""
        predicted = [classes[label] for label in outputs_N.argmax(1).tolist()]
        probabilities = zip(classes, outputs_N.T.tolist(), strict=True)
        return {"predicted": predicted, **{f"probability of {name}": each for name, each in probabilities}}
