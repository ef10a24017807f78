"""Images generated from captions.

Shapes: N examples, Q quadrants, Y rows, X columns.
"""

import base64
import io
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from data.corpora.captions import EMPTY, read_digits, split_quadrants
from data.encoded import EncodedCorpus, Split
from search.train.tasks.base import Columns, Observation, Targets, Task


class TextToImage(Task):
    """Logits (N, Y, X) of the ink; targets: images_NYX and digits_NQ; outputs: the ink (N, Y, X), from 0 to 1.

    A quadrant is right if a classifier of real digits reads the requested digit, or nothing where none was requested
    (`captions.read_digits`). Accuracy is the share of quadrants that are right, F1 the macro average over digits
    and empty; the pixel error is the root mean square of the difference in ink, from 0 to 1.
    """

    name = "text_to_image"
    arrays = ("images_NYX", "digits_NQ")
    requirements = ("scikit-learn", "pillow")
    usual_outputs = 16
    scored = "pixel"
    has_pictures = True

    #: Numbers of images, the last ones, whose digits are read for metrics and for a point of the training curve; enough
    #: for the validation and test splits of `captions`. Reading all training images would take a third of the training
    #: time.
    MOST_READ, MOST_READ_FOR_CURVE = 1000, 100
    NUM_PICTURED, SCALE, GAP = 8, 5, 4  # images side by side; enlargement; pixels between images

    def num_outputs(self, corpus: EncodedCorpus) -> int:
        """Rows of an image."""
        return int(corpus.train.arrays["images_NYX"].shape[1])

    def targets(self, split: Split) -> tuple[np.ndarray, ...]:
        return tuple(split.arrays[name] for name in self.arrays)

    def loss(
        self, logits_N: Tensor, targets: Targets, smoothing: float = 0.0, weights_C: Tensor | None = None
    ) -> Tensor:
        """Binary cross-entropy of the ink, averaged over pixels."""
        images_NYX, _ = targets
        if smoothing:
            images_NYX = images_NYX * (1 - smoothing) + smoothing / 2
        return binary_cross_entropy_with_logits(logits_N, images_NYX)

    def accuracy(self, logits_N: Tensor, targets: Targets) -> float:
        most = self.MOST_READ_FOR_CURVE
        _, digits_NQ = targets
        return float((_read(self.outputs(logits_N[-most:])) == digits_NQ[-most:].cpu()).float().mean())

    def outputs(self, logits_N: Tensor) -> Tensor:
        return logits_N.sigmoid()

    def observe(self, logits_N: Tensor, targets: Targets, loss: float) -> Observation:
        """The digits in each quadrant of the last images, and the ink of all images."""
        images_NYX, digits_NQ = targets
        ink_NYX = self.outputs(logits_N)
        return Observation(
            loss=loss,
            labels_N=digits_NQ[-self.MOST_READ :].cpu().flatten(),
            predicted_N=_read(ink_NYX[-self.MOST_READ :]).flatten(),
            num_classes=EMPTY + 1,
            outputs_N=ink_NYX,
            targets_N=images_NYX,
        )

    def labels(self, split: Split, classes: Sequence[str]) -> list[str]:
        return _in_words(split.arrays["digits_NQ"])

    def says(self, outputs_N: Tensor, classes: Sequence[str]) -> Columns:
        """The digits read in the quadrants: '7 - - 3'."""
        return {"predicted": _in_words(_read(outputs_N).tolist())}

    def answer(self, outputs_N: Tensor, classes: Sequence[str]) -> Columns:
        """Also `image`: a PNG in base64, dark ink on white."""
        images = [base64.b64encode(_png(1 - ink_YX)).decode() for ink_YX in outputs_N.numpy()]
        return {**self.says(outputs_N, classes), "image": images}

    def picture(self, logits_N: Tensor, targets: Targets) -> bytes:
        """The first images: outputs above targets."""
        ink_NYX = torch.stack((self.outputs(logits_N[: self.NUM_PICTURED]), targets[0][: self.NUM_PICTURED])).cpu()
        tiles = np.kron(1 - ink_NYX.numpy(), np.ones((self.SCALE, self.SCALE)))
        framed = np.pad(tiles, ((0, 0), (0, 0), (0, self.GAP), (0, self.GAP)), constant_values=0.75)
        return _png(np.concatenate([np.concatenate([*row], axis=1) for row in framed]))


def _read(ink_NYX: Tensor) -> Tensor:
    """The digits (N, Q) that images show, on the CPU."""
    quadrants_NQYX = split_quadrants(ink_NYX.cpu().numpy())
    num, num_quadrants, *size = quadrants_NQYX.shape
    return torch.from_numpy(read_digits(quadrants_NQYX.reshape(-1, *size))).view(num, num_quadrants)


def _in_words(digits_NQ: Iterable[Iterable[int]]) -> list[str]:
    return [" ".join("-" if digit == EMPTY else str(digit) for digit in digits_Q) for digits_Q in digits_NQ]


def _png(grey_YX: np.ndarray) -> bytes:
    """From black, 0, to white, 1."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.uint8(255 * grey_YX)).save(file, "png")
    return file.getvalue()
