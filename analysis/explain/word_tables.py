"""The words of texts with their scores, as tables and as lines of coloured words."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from rich.text import Text

from analysis.base.table import Table, clean
from analysis.explain.explanation import Explanation

NUM_NEIGHBOURS, LEAST_WEIGHT = 3, 0.05  # shown of those that a word looked at
WORTH_TELLING = 0.01  # in logits


def word_frame(explanations: Sequence[Explanation]) -> pd.DataFrame:
    """A row for each word of each text, with what is known of its text repeated; for programs."""
    rows = []
    for number, each in enumerate(explanations, 1):
        of_text = {
            "sentence": number,
            "text": each.text,
            "method": each.method,
            "label": each.label,
            "predicted": each.predicted,
            "right": each.is_right,
            **_by_class("probability of", each, each.probabilities_C),
            **_by_class("logit of", each, each.logits_C),
            **_by_class("average of", each, each.averages),
            **_by_class("baseline of", each, each.baseline_C),
        }
        for place, word in enumerate(each.words):
            own = {
                "position": place + 1,
                "word": word,
                "unknown": bool(each.unknown_T[place]),
                **_by_class("score of", each, each.scores_TC[place]),
                "looked at": _looked_at(each, place),
            }
            rows.append(of_text | own)
    return pd.DataFrame(rows)


def _by_class(what: str, explanation: Explanation, values_C: np.ndarray) -> dict[str, float]:
    return {f"{what} {name}": float(value) for name, value in zip(explanation.classes, values_C, strict=True)}


def _looked_at(explanation: Explanation, place: int) -> str:
    near = explanation.neighbours(place)[:NUM_NEIGHBOURS]
    return ", ".join(f"{word} {weight:.0%}" for word, weight in near if weight >= LEAST_WEIGHT)


def sentence_table(explanation: Explanation) -> Table:
    """The words with their scores, the averages, and what they come to; for readers."""
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

#: From what speaks against to what speaks for; apart also for colour-blind readers.
COLOURS = "PuOr"


def coloured(explanation: Explanation) -> Text:
    """The sentence for a terminal: each word on the colour of what it speaks for, unknown ones in italics."""
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
    """Of a strength from -1 to 1: its colour, and that of what can be read on it."""
    red, green, blue, _ = colormaps[COLOURS](0.5 + 0.42 * strength, bytes=True)
    is_dark = 0.299 * red + 0.587 * green + 0.114 * blue < 115
    return f"#{red:02x}{green:02x}{blue:02x}", "#ffffff" if is_dark else "#000000"
