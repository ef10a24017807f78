"""Word scores as tables, and as coloured sentences in a terminal."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from rich.text import Text

from analysis.base.table import Table, clean
from analysis.explain.explanation import Explanation

NUM_NEIGHBOURS, LEAST_WEIGHT = 3, 0.05  # most words, and smallest weight, in the column `looked at`
WORTH_TELLING = 0.01  # the smallest error of the scores that is reported, in logits


def word_frame(explanations: Sequence[Explanation]) -> pd.DataFrame:
    """One row per word of every text, with the columns of the text repeated; for programs."""
    rows = []
    for number, found in enumerate(explanations, 1):
        of_text = {
            "sentence": number,
            "text": found.text,
            "method": found.method,
            "label": found.label,
            "predicted": found.predicted,
            "right": found.is_right,
            **_by_class("probability of", found, found.probabilities_C),
            **_by_class("logit of", found, found.logits_C),
            **_by_class("average of", found, found.averages),
            **_by_class("baseline of", found, found.baseline_C),
        }
        for place, word in enumerate(found.words):
            row = {
                "position": place + 1,
                "word": word,
                "unknown": bool(found.unknown_T[place]),
                **_by_class("score of", found, found.scores_TC[place]),
                "looked at": _looked_at(found, place),
            }
            rows.append(of_text | row)
    return pd.DataFrame(rows)


def _by_class(what: str, explanation: Explanation, values_C: np.ndarray) -> dict[str, float]:
    return {f"{what} {name}": float(value) for name, value in zip(explanation.classes, values_C, strict=True)}


def _looked_at(explanation: Explanation, place: int) -> str:
    near = explanation.neighbours(place)[:NUM_NEIGHBOURS]
    return ", ".join(f"{word} {weight:.0%}" for word, weight in near if weight >= LEAST_WEIGHT)


def sentence_table(explanation: Explanation) -> Table:
    """The words with their scores, the averages and their sum; for readers."""
    rows: list[dict[str, Any]] = [
        {"word": f"{word}{' (unknown)' * bool(unknown)}"} | dict(zip(explanation.classes, scores_C, strict=True))
        for word, unknown, scores_C in zip(explanation.words, explanation.unknown_T, explanation.scores_TC, strict=True)
    ]
    sums = {"average": explanation.averages}
    if explanation.baseline_C.any():
        sums |= {"baseline": explanation.baseline_C, "both together": explanation.logits_C}
    rows += [{"word": name} | dict(zip(explanation.classes, values_C, strict=True)) for name, values_C in sums.items()]
    frame = pd.DataFrame(rows)
    columns = ["word", *explanation.classes]
    if explanation.attention_TJ is not None:
        looked = [_looked_at(explanation, place) for place in range(len(explanation.words))]
        frame["looked at"] = [*looked, *[""] * len(sums)]
        columns.append("looked at")
    notes = [f"Scores: {explanation.method}. {explanation.verdict[0].upper()}{explanation.verdict[1:]}."]
    if explanation.missed > WORTH_TELLING:
        notes.append(f"The scores miss the logits by up to {explanation.missed:.2g}.")
    return Table(frame, groups=[columns], key="word", title=explanation.text, notes=notes)


# --- As colours

#: A diverging colour map (against to for) that colour-blind readers can tell apart.
COLOURS = "PuOr"


def coloured(explanation: Explanation) -> Text:
    """The sentence for a terminal: words on the colours of their scores, unknown words in italics."""
    margins_T = explanation.margins(explanation.scores_TC)
    scale = float(np.abs(margins_T).max()) or 1.0
    text = Text()
    for word, margin, unknown in zip(explanation.words, margins_T, explanation.unknown_T, strict=True):
        background, ink = colours(margin / scale)
        text.append(f" {clean(word)} ", f"{'italic ' * bool(unknown)}{ink} on {background}")
    both = len(explanation.classes) == 2 and explanation.task.exclusive
    other = explanation.classes[0] if both else f"not {explanation.favoured}"
    return text.append(f"  purple: {explanation.favoured}, orange: {other}")


def colours(strength: float) -> tuple[str, str]:
    """The background colour of a strength from -1 to 1, and a text colour that is readable on it."""
    red, green, blue, _ = colormaps[COLOURS](0.5 + 0.42 * strength, bytes=True)
    is_dark = 0.299 * red + 0.587 * green + 0.114 * blue < 115
    return f"#{red:02x}{green:02x}{blue:02x}", "#ffffff" if is_dark else "#000000"
