"""Word scores as a picture: one heat strip per text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.base.table import clean
from analysis.explain.explanation import Explanation
from analysis.explain.word_tables import colours

BAND = 84  # characters per line of the picture
MOST_LETTERS = 18  # characters shown of a word


@dataclass(frozen=True, eq=False)
class _Cell:
    """A column of a heat strip, in characters from the left."""

    left: int
    width: int
    head: str
    is_word: bool  # else an average or the baseline
    scores_C: np.ndarray


def draw(explanations: Sequence[Explanation], name: str) -> Figure:
    """One heat strip per text, with the scores of words by class, and their average. name: of the model."""
    strips = [_strip(explanation) for explanation in explanations]
    heights = [
        1.6 + len(bands) * (len(explanation.classes) + 1.5)
        for explanation, bands in zip(explanations, strips, strict=True)
    ]
    figure = Figure(figsize=(9, 0.24 * sum(heights) + 0.1), dpi=110, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(-12, BAND + 2), ylim=(sum(heights), 0))
    axes.axis("off")
    top = 0.3
    for explanation, bands, height in zip(explanations, strips, heights, strict=True):
        title = f"{name}: {explanation.verdict}"
        axes.text(-11.5, top + 0.4, title, size=9, weight="bold", parse_math=False, va="center")
        _draw_strip(axes, explanation, bands, top + 1.2)
        top += height
    return figure


def _strip(explanation: Explanation) -> list[list[_Cell]]:
    """The columns in lines of at most BAND characters; unknown words have a question mark."""
    words = zip(explanation.words, explanation.unknown_T, explanation.scores_TC, strict=True)
    columns = [
        (_shortened(word, MOST_LETTERS) + "?" * bool(unknown), True, scores_C) for word, unknown, scores_C in words
    ]
    sums = [("average", False, explanation.averages)]
    if explanation.baseline_C.any():
        sums.append(("baseline", False, explanation.baseline_C))
    bands: list[list[_Cell]] = [[]]
    left = 0
    for together in [*([column] for column in columns), sums]:
        widths = [max(len(head), 5) + 2 for head, _, _ in together]
        if left + sum(widths) > BAND:
            bands.append([])
            left = 0
        for (head, is_word, scores_C), width in zip(together, widths, strict=True):
            bands[-1].append(_Cell(left, width, head, is_word, scores_C))
            left += width
    return bands


def _draw_strip(axes: Axes, explanation: Explanation, bands: list[list[_Cell]], top: float) -> None:
    scale = max(float(np.abs(explanation.scores_TC).max()), 1e-9)
    middle: dict[str, Any] = {"va": "center", "parse_math": False}
    for band in bands:
        for row, name in enumerate(explanation.classes):
            axes.text(-0.6, top + 1.5 + row, _shortened(name, 14), size=7.5, ha="right", **middle)
        for cell in band:
            x = cell.left + cell.width / 2
            style = "normal" if cell.is_word else "italic"
            axes.text(x, top + 0.5, cell.head, size=7.5, ha="center", style=style, **middle)
            for row, score in enumerate(cell.scores_C.tolist()):
                background, ink = colours(float(np.clip(score / scale, -1, 1)))
                place = (cell.left + 0.1, top + 1 + row)
                axes.add_patch(Rectangle(place, cell.width - 0.2, 0.94, color=background, lw=0))
                axes.text(x, top + 1.5 + row, f"{score:+.3g}", size=6.5, ha="center", color=ink, **middle)
        top += len(explanation.classes) + 1.5


def _shortened(text: str, length: int) -> str:
    text = clean(text)
    return text if len(text) <= length else f"{text[: length - 1]}…"
