"""Multi-label classification: any number of classes per text, a sigmoid for each.

Shapes: N examples, C classes.
"""

from collections.abc import Sequence

import numpy as np
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from data.base.label_sets import LABEL_SETS, split_label
from data.encoded import EncodedCorpus, Split
from search.train.tasks.base import LEAST, Columns, Observation, Targets, Task

OVER = 0.5  # a class is predicted above this probability


class MultiLabel(Task):
    """Logits (N, C); targets: labels_NC, ones and zeros; outputs: the probability of each class (N, C).

    A text is right if exactly its classes are predicted. F1 is the micro average over all pairs of a text and a class,
    or the macro average over classes.
    """

    name = "multi_label"
    arrays = (LABEL_SETS,)
    usual_outputs = 2
    has_classes = True
    exclusive = False

    def __init__(self, separator: str = ";") -> None:
        self.separator: str = separator

    @property
    def kind(self) -> str:
        return "classification"

    def joined_by(self, separator: str | None) -> Task:
        return MultiLabel(separator) if separator else self

    def num_outputs(self, corpus: EncodedCorpus) -> int:
        return len(corpus.classes)

    def targets(self, split: Split) -> tuple[np.ndarray, ...]:
        return (split.arrays[LABEL_SETS],)

    def loss(
        self, logits_N: Tensor, targets: Targets, smoothing: float = 0.0, weights_C: Tensor | None = None
    ) -> Tensor:
        """Binary cross-entropy of each class, averaged over texts and classes."""
        wanted_NC = targets[0].to(logits_N.dtype)
        if smoothing:
            wanted_NC = wanted_NC * (1 - smoothing) + smoothing / 2
        return binary_cross_entropy_with_logits(logits_N, wanted_NC)

    def accuracy(self, logits_N: Tensor, targets: Targets) -> float:
        return float((self._chosen(self.outputs(logits_N)) == targets[0].bool()).all(1).float().mean())

    def outputs(self, logits_N: Tensor) -> Tensor:
        return logits_N.sigmoid()

    def logits(self, outputs_N: Tensor) -> Tensor:
        return outputs_N.logit(eps=LEAST)

    def observe(self, logits_N: Tensor, targets: Targets, loss: float) -> Observation:
        (labels_NC,) = targets
        outputs_NC = self.outputs(logits_N)
        return Observation(
            loss=loss,
            labels_N=labels_NC.long(),
            predicted_N=self._chosen(outputs_NC).long(),
            num_classes=logits_N.shape[1],
            outputs_N=outputs_NC,
            targets_N=labels_NC,
        )

    def labels(self, split: Split, classes: Sequence[str]) -> list[str]:
        return self._in_words(split.arrays[LABEL_SETS], classes)

    def says(self, outputs_N: Tensor, classes: Sequence[str]) -> Columns:
        """The classes with a probability over one half ('' for none), and `probability of <class>` for each."""
        probabilities = zip(classes, outputs_N.T.tolist(), strict=True)
        predicted = self._in_words(self._chosen(outputs_N).numpy(), classes)
        return {"predicted": predicted, **{f"probability of {name}": each for name, each in probabilities}}

    def parts(self, words: str) -> frozenset[str]:
        return split_label(words, self.separator)

    def _chosen(self, outputs_NC: Tensor) -> Tensor:
        return outputs_NC > OVER

    def _in_words(self, chosen_NC: np.ndarray, classes: Sequence[str]) -> list[str]:
        places = (np.flatnonzero(chosen_C).tolist() for chosen_C in chosen_NC)
        return [self.separator.join(classes[place] for place in each) for each in places]
