"""The explainer of text-to-image models: how much each quadrant of the image attended to each word.

It shows the model's attention, the mean over heads. The attention is over the states of a recurrent network, so what a
quadrant takes from a word may be about the words before it.

Shapes: T words of the text, Q quadrants, Y rows, X columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.base import pictures, tables
from analysis.base.table import Table, clean
from data.base.errors import UserError
from data.corpora.captions import DIGITS, EMPTY, QUADRANTS, read_digits, split_quadrants
from data.encoded import UNKNOWN
from models.text_to_image import TextToImage
from search.serve.classifier import TextModel
from search.serve.loading import load
from search.spec import kept
from search.study.trial import Trial

NUM_CAPTIONS = 3  # of the test split, where no text is given


@dataclass(frozen=True, eq=False)
class Drawing:
    """The image that a model draws for a text, and the attention of its quadrants."""

    text: str
    words: list[str]
    unknown_T: np.ndarray  # whether the word is not in the vocabulary
    ink_YX: np.ndarray  # from 0 to 1
    shown: list[str]  # by quadrant, the digit shown, or 'nothing'
    weights_QT: np.ndarray  # attention; sums to one for every quadrant

    @property
    def says(self) -> str:
        """'three at the top left, nothing at the top right, ...'."""
        return ", ".join(f"{what} at the {where}" for what, where in zip(self.shown, QUADRANTS, strict=True))


def explain_all(
    trial: Trial, texts: Sequence[str] | None, labels: Sequence[str] | None = None, top: int = 0
) -> list[Drawing]:
    """The drawings of the trial's model for these texts (by default, the first captions of its test split).

    `top` is ignored, since there are no classes. Raises UserError for labels, for a model without attention, or when
    its checkpoint is missing.
    """
    if labels:
        raise UserError(f"--label: {trial.name} draws images and knows no classes; leave it out")
    drawer = load(trial)
    if not texts:
        texts = [text for text, _ in kept.examples(trial.folder, "test")[:NUM_CAPTIONS]]
    if not drawer.hyperparameters["heads"]:
        raise UserError(
            f"{trial.name} of {trial.search} has no attention (heads: 0), which is all that explain could show"
        )
    return [explain(drawer, text) for text in texts]


@torch.no_grad()
def explain(drawer: TextModel, text: str) -> Drawing:
    """The model's drawing for the text, with its attention."""
    model = drawer.model
    assert isinstance(model, TextToImage)
    tokens_1T, lengths_1, (words,) = drawer.encode([text])
    ink_1YX = model(tokens_1T, lengths_1).sigmoid().numpy()
    digits_Q = read_digits(split_quadrants(ink_1YX)[0])
    return Drawing(
        text=text,
        words=words,
        unknown_T=tokens_1T[0].numpy() == UNKNOWN,
        ink_YX=ink_1YX[0],
        shown=["nothing" if digit == EMPTY else DIGITS[digit] for digit in digits_Q],
        weights_QT=model.attention_weights(tokens_1T, lengths_1)[0].mean(0).numpy(),
    )


# --- As tables


def word_frame(drawings: Sequence[Drawing]) -> pd.DataFrame:
    """One row per word of every text, with the columns of the text repeated; for programs."""
    rows = []
    for number, drawing in enumerate(drawings, 1):
        of_text = {"sentence": number, "text": drawing.text}
        of_text |= {f"shown {where}": what for where, what in zip(QUADRANTS, drawing.shown, strict=True)}
        for place, word in enumerate(drawing.words):
            columns = {"position": place + 1, "word": word, "unknown": bool(drawing.unknown_T[place])}
            rows.append(of_text | columns | dict(zip(QUADRANTS, drawing.weights_QT[:, place].tolist(), strict=True)))
    return pd.DataFrame(rows)


def drawing_table(drawing: Drawing) -> Table:
    """The words, and the attention of every quadrant to them; for readers."""
    words = [
        f"{word}{' (unknown)' * bool(unknown)}" for word, unknown in zip(drawing.words, drawing.unknown_T, strict=True)
    ]
    shares = {where: weights_T.round(3) for where, weights_T in zip(QUADRANTS, drawing.weights_QT, strict=True)}
    return Table(
        pd.DataFrame({"word": words} | shares),
        groups=[["word", *QUADRANTS]],
        key="word",
        title=drawing.text,
        notes=[f"Drawn: {drawing.says}. A column is a quadrant's attention to the words, the mean over heads."],
    )


def emit(drawings: Sequence[Drawing], name: str, form: str, out: Path | None) -> None:
    """Print the drawings or write them to a file: one table per text, or for programs one row per word."""
    if form in tables.FOR_PROGRAMS:
        shown = [Table(word_frame(drawings), groups=[], key=[], title=name)]
    else:
        shown = [drawing_table(drawing) for drawing in drawings]
    tables.emit(shown, form, out)


# --- As a picture


def save_picture(drawings: Sequence[Drawing], name: str, path: Path) -> None:
    """Write a picture, with its data as csv beside it. Raises UserError when it cannot be written."""
    pictures.save(pictures.encode(draw(drawings, name), word_frame(drawings)), path)


def draw(drawings: Sequence[Drawing], name: str) -> Figure:
    """For every text, the image and one strip per quadrant: the darker a word, the more the quadrant attended to it."""
    figure = Figure(figsize=(9, 2.1 * len(drawings)), dpi=110, facecolor="white", layout="constrained")
    panels = figure.subplots(len(drawings), 2, squeeze=False, width_ratios=(1, 4.5))
    for (image, strips), drawing in zip(panels, drawings, strict=True):
        _draw_image(image, drawing)
        strips.imshow(drawing.weights_QT, cmap="Purples", vmin=0, vmax=1, aspect="auto")
        strips.set_yticks(range(len(QUADRANTS)), QUADRANTS, size=7.5)
        words = [clean(word) + "?" * bool(new) for word, new in zip(drawing.words, drawing.unknown_T, strict=True)]
        strips.set_xticks(
            range(len(words)), words, size=7.5, rotation=60, ha="right", rotation_mode="anchor", parse_math=False
        )
        strips.set_title(f"{name}: {drawing.says}", size=8, loc="left", parse_math=False)
        strips.tick_params(length=0)
        strips.hlines(np.arange(1, len(QUADRANTS)) - 0.5, -0.5, len(words) - 0.5, color="white", lw=2)
    return figure


def _draw_image(axes: Axes, drawing: Drawing) -> None:
    axes.imshow(drawing.ink_YX, cmap="gray_r", vmin=0, vmax=1)
    middle = len(drawing.ink_YX) / 2 - 0.5
    axes.axhline(middle, color="#b0b0b0", lw=0.7)
    axes.axvline(middle, color="#b0b0b0", lw=0.7)
    axes.set_xticks([])
    axes.set_yticks([])
