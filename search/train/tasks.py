"""What a model is trained for: the loss, what is measured besides, and what is kept of its test predictions.

The training loop knows nothing else of a task; an architecture says which one is its own (`Architecture.task`).

Shapes: N examples of a split or a batch, C classes, Q quadrants, Y rows, X columns.
"""

import io
from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from data.corpora.captions import EMPTY, read_digits, split_quadrants
from data.encoded import EncodedCorpus, ImageSplit, Split
from models import CLASSIFICATION, IMAGE

Targets = tuple[Tensor, ...]  # what is wanted of each example, as the task has it


class Task(ABC):
    """`logits_N` are what a model makes of N examples, `targets` what is wanted of them."""

    @abstractmethod
    def num_outputs(self, corpus: EncodedCorpus) -> int:
        """What a model is built for (see `models.build`)."""

    @abstractmethod
    def targets(self, split: Split) -> tuple[np.ndarray, ...]:
        """What is wanted, as arrays of N."""

    @abstractmethod
    def loss(self, logits_N: Tensor, targets: Targets) -> Tensor:
        """What is minimised, a scalar."""

    @abstractmethod
    def accuracy(self, logits_N: Tensor, targets: Targets) -> float:
        """For a point of the training curve."""

    @abstractmethod
    def measure(self, logits_N: Tensor, targets: Targets) -> dict[str, float]:
        """All metrics of the task (`record.MEASURED`) but the loss, which is known to be finite."""

    @abstractmethod
    def outputs(self, logits_N: Tensor) -> Tensor:
        """What the model says, in a unit that can be read."""

    @abstractmethod
    def predictions(self, outputs_N: Tensor, corpus: EncodedCorpus) -> Iterator[list[str]]:
        """The outputs for the test texts as rows (see `record.PREDICTIONS`), the names of their columns first."""

    def picture(self, logits_N: Tensor, targets: Targets) -> bytes | None:
        """Some of the outputs beside what is wanted, as PNG, where that can be seen."""
        return None


class Classification(Task):
    """Which class a text is of. Logits (N, C); targets: labels_N."""

    def num_outputs(self, corpus: EncodedCorpus) -> int:
        return len(corpus.classes)

    def targets(self, split: Split) -> tuple[np.ndarray, ...]:
        return (split.labels_N,)

    def loss(self, logits_N: Tensor, targets: Targets) -> Tensor:
        (labels_N,) = targets
        return cross_entropy(logits_N, labels_N)

    def accuracy(self, logits_N: Tensor, targets: Targets) -> float:
        (labels_N,) = targets
        return float((logits_N.argmax(1) == labels_N).float().mean())

    def measure(self, logits_N: Tensor, targets: Targets) -> dict[str, float]:
        """Two classes: F1 and ROC AUC of the second, positive one. More: their macro averages, one against the rest."""
        # Its import takes a second; only what trains needs it, and not before the first epoch is over.
        from torchmetrics.functional.classification import (
            binary_auroc,
            binary_f1_score,
            multiclass_auroc,
            multiclass_f1_score,
        )

        (labels_N,) = targets
        num_classes = logits_N.shape[1]
        predicted_N = logits_N.argmax(1)
        if num_classes == 2:
            score_N = logits_N.softmax(1)[:, 1]
            f1 = binary_f1_score(predicted_N, labels_N, validate_args=False)
            roc_auc = binary_auroc(score_N, labels_N, validate_args=False)
        else:
            f1 = multiclass_f1_score(predicted_N, labels_N, num_classes, average="macro", validate_args=False)
            roc_auc = multiclass_auroc(logits_N.softmax(1), labels_N, num_classes, validate_args=False)
        accuracy = float((predicted_N == labels_N).float().mean())
        return {"accuracy": accuracy, "f1": float(f1), "roc_auc": float(roc_auc)}

    def outputs(self, logits_N: Tensor) -> Tensor:
        """Probabilities (N, C)."""
        return logits_N.softmax(1)

    def predictions(self, outputs_N: Tensor, corpus: EncodedCorpus) -> Iterator[list[str]]:
        yield ["label", "predicted", *(f"probability of {name}" for name in corpus.classes)]
        rows = zip(corpus.test.labels_N, outputs_N.argmax(1).tolist(), outputs_N.tolist(), strict=True)
        for label, predicted, probabilities in rows:
            numbers = (f"{probability:.6f}" for probability in probabilities)
            yield [corpus.classes[label], corpus.classes[predicted], *numbers]


class ImageGeneration(Task):
    """The image that a caption asks for. Logits (N, Y, X) of the ink; targets: images_NYX and digits_NQ.

    A quadrant is right if it is read as the digit asked for, or as empty where none is, by a classifier of real digits
    (`captions.read_digits`). Accuracy is the share of quadrants that are right, F1 the macro average over digits
    and empty; the pixel error is the root mean square of the difference in ink, from 0 to 1.
    """

    #: Images whose digits are read, the last ones, for metrics and for a point of the training curve: of `captions` the
    #: whole validation and test splits. To read all that training draws would take a third of the training's time.
    MOST_READ, MOST_READ_FOR_CURVE = 1000, 100
    NUM_PICTURED, SCALE, GAP = 8, 5, 4  # images side by side; pixels of a pixel; pixels between them

    def num_outputs(self, corpus: EncodedCorpus) -> int:
        assert isinstance(corpus.train, ImageSplit)  # the spec was checked
        return int(corpus.train.images_NYX.shape[1])

    def targets(self, split: Split) -> tuple[np.ndarray, ...]:
        assert isinstance(split, ImageSplit)
        return split.images_NYX, split.digits_NQ

    def loss(self, logits_N: Tensor, targets: Targets) -> Tensor:
        """Cross-entropy of the ink, the mean over pixels."""
        images_NYX, _ = targets
        return binary_cross_entropy_with_logits(logits_N, images_NYX)

    def accuracy(self, logits_N: Tensor, targets: Targets) -> float:
        most = self.MOST_READ_FOR_CURVE
        _, digits_NQ = targets
        return float((_read(self.outputs(logits_N[-most:])) == digits_NQ[-most:].cpu()).float().mean())

    def measure(self, logits_N: Tensor, targets: Targets) -> dict[str, float]:
        from torchmetrics.functional.classification import multiclass_f1_score

        images_NYX, digits_NQ = targets
        ink_NYX = self.outputs(logits_N)
        wanted, read = digits_NQ[-self.MOST_READ :].cpu().flatten(), _read(ink_NYX[-self.MOST_READ :]).flatten()
        return {
            "accuracy": float((read == wanted).float().mean()),
            "f1": float(multiclass_f1_score(read, wanted, EMPTY + 1, average="macro", validate_args=False)),
            "pixel_error": float((ink_NYX - images_NYX).square().mean().sqrt()),
        }

    def outputs(self, logits_N: Tensor) -> Tensor:
        """Ink (N, Y, X), from 0 to 1."""
        return logits_N.sigmoid()

    def predictions(self, outputs_N: Tensor, corpus: EncodedCorpus) -> Iterator[list[str]]:
        assert isinstance(corpus.test, ImageSplit)
        yield ["label", "predicted"]
        for wanted_Q, read_Q in zip(corpus.test.digits_NQ, _read(outputs_N).tolist(), strict=True):
            yield [" ".join("-" if digit == EMPTY else str(digit) for digit in each) for each in (wanted_Q, read_Q)]

    def picture(self, logits_N: Tensor, targets: Targets) -> bytes:
        """The first images: what was drawn, above what was asked for."""
        from PIL import Image

        ink_NYX = torch.stack((self.outputs(logits_N[: self.NUM_PICTURED]), targets[0][: self.NUM_PICTURED])).cpu()
        tiles = np.kron(1 - ink_NYX.numpy(), np.ones((self.SCALE, self.SCALE)))
        framed = np.pad(tiles, ((0, 0), (0, 0), (0, self.GAP), (0, self.GAP)), constant_values=0.75)
        grid_YX = np.concatenate([np.concatenate([*row], axis=1) for row in framed])
        file = io.BytesIO()
        Image.fromarray(np.uint8(255 * grid_YX)).save(file, "png")
        return file.getvalue()


def _read(ink_NYX: Tensor) -> Tensor:
    """The digits (N, Q) that images show, on the CPU."""
    quadrants_NQYX = split_quadrants(ink_NYX.cpu().numpy())
    num, num_quadrants, *size = quadrants_NQYX.shape
    return torch.from_numpy(read_digits(quadrants_NQYX.reshape(-1, *size))).view(num, num_quadrants)


TASKS: dict[str, Task] = {CLASSIFICATION: Classification(), IMAGE: ImageGeneration()}
