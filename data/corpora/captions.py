"""Captions with the images they describe: handwritten digits in the quadrants of a square.

Captions are sampled from a small grammar and split by hash like all texts. Images are composed after that: every split
uses different handwritten digits, so that no stroke of a test image was seen in training.

Shapes: N captions, D handwritten digits, Q quadrants (top left, top right, bottom left, bottom right), Y rows,
X columns.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from data.base.reading import USUAL, Reading
from data.base.sources import installed_file, sha256
from data.base.texts import Example, Texts

if TYPE_CHECKING:
    import numpy as np
    from sklearn.svm import SVC

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
EMPTY = len(DIGITS)  # in place of the digit of an empty quadrant
QUADRANTS = ("top left", "top right", "bottom left", "bottom right")
SIZE = 8  # rows and columns of a handwritten digit, and of a quadrant

GRAMMAR = 1  # version: raise it when the captions or images below change
SYNONYMS = {"zero": ("zero", "nought"), "top": ("top", "upper"), "bottom": ("bottom", "lower")}
ADJECTIVES = ("big", "bold", "curly", "fine", "handwritten", "neat", "tidy", "wobbly")
SOME_DIGIT = ("a {adjective} {digit}", "{article} {digit}", "the digit {digit}", "the number {digit}", "{digit}")
NO_DIGIT = ("a blank", "an empty space", "no digit", "nothing")
PLACES = ("at the {row} {column}", "in the {row} {column} corner", "{row} {column}", "on the {column} at the {edge}")
PHRASES = ("{what} {where}", "{what} goes {where}", "{where} {what}", "{where} there is {what}")
JOINTS = (" and ", ", ", ", and ", ". ", " plus ")
OPENINGS = (
    "draw",
    "please draw",
    "i would like",
    "show me",
    "a picture with",
    "on white paper",
    "for my wall",
    "imagine",
)
CLOSINGS = ("please", "thank you", "if you can", "in black ink", "as ever", "and be quick", "for a friend", "on a card")

Scene = tuple[int, ...]  # the digit in each quadrant, or EMPTY


@dataclass(frozen=True)
class Captions:
    """`num` captions of 1 to 4 digits; the class is the number of digits, and classes are balanced. Seeded."""

    num: int = 10_000
    seed: int = 0
    arrays: ClassVar[tuple[str, ...]] = ("images_NYX", "digits_NQ")

    def fingerprint(self) -> str:
        digits = sha256(installed_file("sklearn", "datasets", "data", "digits.csv.gz"))
        return f"captions {GRAMMAR} {self.num} {self.seed} {digits}"

    def read(self, downloads: Path, *, progress: bool, reading: Reading = USUAL) -> CaptionTexts:
        rng = random.Random(self.seed)
        scenes: dict[str, Scene] = {}
        while len(scenes) < self.num:
            scene = some_scene(rng, num_digits=1 + len(scenes) % len(QUADRANTS))
            scenes.setdefault(describe(scene, rng), scene)
        classes = tuple(f"{number} digit{'s' * (number > 1)}" for number in range(1, 1 + len(QUADRANTS)))
        examples = [(caption, len(QUADRANTS) - scene.count(EMPTY) - 1) for caption, scene in scenes.items()]
        return CaptionTexts(classes, examples, scenes=scenes)


@dataclass(frozen=True)
class CaptionTexts(Texts):
    """Captions with their scenes."""

    scenes: Mapping[str, Scene] = field(default_factory=dict)  # by caption

    def arrays(self, split: str, examples: Sequence[Example]) -> dict[str, np.ndarray]:
        """The targets of captions: images_NYX (float32, ink from 0 to 1) and digits_NQ (int64, EMPTY if none).

        Handwritten digits are sampled with the caption as the seed.
        """
        import numpy as np

        written_DYX, labels_D = handwritten(split)
        by_digit = [np.flatnonzero(labels_D == digit) for digit in range(len(DIGITS))]
        digits_NQ = np.array([self.scenes[caption] for caption, _ in examples], dtype=np.int64)
        quadrants_NQYX = np.zeros((len(examples), len(QUADRANTS), SIZE, SIZE), dtype=np.float32)
        for (caption, _), digits_Q, quadrants_QYX in zip(examples, digits_NQ, quadrants_NQYX, strict=True):
            rng = random.Random(caption)
            for quadrant, digit in enumerate(digits_Q):
                if digit != EMPTY:
                    quadrants_QYX[quadrant] = written_DYX[rng.choice(by_digit[digit])]
        return {"images_NYX": join_quadrants(quadrants_NQYX), "digits_NQ": digits_NQ}


def some_scene(rng: random.Random, num_digits: int) -> Scene:
    """A random scene of `num_digits` digits, in different quadrants."""
    filled = rng.sample(range(len(QUADRANTS)), num_digits)
    return tuple(rng.randrange(len(DIGITS)) if quadrant in filled else EMPTY for quadrant in range(len(QUADRANTS)))


def describe(scene: Scene, rng: random.Random) -> str:
    """A random caption of the scene: all digits, in random order, and a quarter of the empty quadrants."""
    mentioned = [quadrant for quadrant, digit in enumerate(scene) if digit != EMPTY or rng.random() < 0.25]
    rng.shuffle(mentioned)
    phrases = [_phrase(scene[quadrant], QUADRANTS[quadrant], rng) for quadrant in mentioned]
    caption = phrases[0] + "".join(rng.choice(JOINTS) + phrase for phrase in phrases[1:])
    if rng.random() < 0.5:
        caption = f"{rng.choice(OPENINGS)} {caption}"
    if rng.random() < 0.5:
        caption = f"{caption} {rng.choice(CLOSINGS)}"
    return caption


def _phrase(digit: int, quadrant: str, rng: random.Random) -> str:
    edge, column = quadrant.split()
    where = rng.choice(PLACES).format(row=rng.choice(SYNONYMS[edge]), column=column, edge=edge)
    if digit == EMPTY:
        what = rng.choice(NO_DIGIT)
    else:
        name = rng.choice((rng.choice(SYNONYMS.get(DIGITS[digit], DIGITS[digit : digit + 1])), str(digit)))
        article = "an" if name in ("eight", "8") else "a"
        what = rng.choice(SOME_DIGIT).format(digit=name, article=article, adjective=rng.choice(ADJECTIVES))
    return rng.choice(PHRASES).format(what=what, where=where)


def join_quadrants(quadrants_NQYX: np.ndarray) -> np.ndarray:
    """Joins four quadrants, (N, 4, Y, X), to images, (N, 2Y, 2X)."""
    num, _, rows, columns = quadrants_NQYX.shape
    return quadrants_NQYX.reshape(num, 2, 2, rows, columns).swapaxes(2, 3).reshape(num, 2 * rows, 2 * columns)


def split_quadrants(images_NYX: np.ndarray) -> np.ndarray:
    """The four quadrants, (N, 4, Y/2, X/2), of images, (N, Y, X)."""
    num, rows, columns = images_NYX.shape
    halves = images_NYX.reshape(num, 2, rows // 2, 2, columns // 2)
    return halves.swapaxes(2, 3).reshape(num, 4, rows // 2, columns // 2)


@cache
def handwritten(split: str) -> tuple[np.ndarray, np.ndarray]:
    """The handwritten digits of a split: images_DYX (float32, ink from 0 to 1) and labels_D (int64).

    1,797 real digits (the test set of Alpaydin and Kaynak 1998, included in scikit-learn), split by hash like texts:
    one in ten each for validation and test.
    """
    import numpy as np
    from sklearn.datasets import load_digits

    from data.base.splitting import split_examples

    bundled = load_digits()
    images = [image.tobytes().hex() for image in bundled.images.astype(np.uint8)]  # 0 to 16
    texts = Texts(DIGITS, list(zip(images, bundled.target.tolist(), strict=True)))
    examples = split_examples(texts, name="digits", limit=None).splits[split]
    images_D64 = np.frombuffer(bytes.fromhex("".join(image for image, _ in examples)), dtype=np.uint8)
    images_DYX = images_D64.reshape(-1, SIZE, SIZE) / np.float32(16)
    return images_DYX, np.array([digit for _, digit in examples], dtype=np.int64)


def read_digits(quadrants_NYX: np.ndarray) -> np.ndarray:
    """The digit shown in each quadrant, (N,) int64. EMPTY if the quadrant has less than half the ink of the faintest
    handwritten digit of the training split; otherwise recognised by a support vector machine trained on that split.
    """
    import numpy as np

    classifier, least_ink = _reader()
    digits_N = np.full(len(quadrants_NYX), EMPTY, dtype=np.int64)
    shown_N = quadrants_NYX.mean((1, 2)) >= least_ink / 2
    if shown_N.any():
        digits_N[shown_N] = classifier.predict(quadrants_NYX[shown_N].reshape(shown_N.sum(), -1))
    return digits_N


@cache
def _reader() -> tuple[SVC, float]:
    from sklearn.svm import SVC

    written_DYX, labels_D = handwritten("train")
    return SVC().fit(written_DYX.reshape(len(written_DYX), -1), labels_D), float(written_DYX.mean((1, 2)).min())
