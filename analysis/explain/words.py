"""Why does a model say so? Each word's score for each class, which add up to what the model says.

An architecture that scores words by itself (`word_scores`: the mean over a text's words is its logits) says so itself;
`cnn` scores positions that read several words, and divides each score among these.
Any other is explained by integrated gradients on the word vectors, from zero vectors to those of the text
(Sundararajan, Taly and Yan 2017): their sum is what the logits differ by, here given times the number of words, so that
the average and the baseline (the logits of zero vectors) add up to the logits in both cases.

Shapes: T words of the text, E embedding, C classes, K window on either side.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from captum.attr import IntegratedGradients
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from rich.console import Console
from rich.text import Text
from torch import Tensor

from analysis.base import tables
from analysis.base.tables import Table, clean
from data.base.errors import UserError, did_you_mean
from data.encoded import UNKNOWN
from models import Architecture
from search.serve.classifier import TextClassifier
from search.serve.trained import TrainedTrial, load

#: Integrated gradients are taken with twice the steps until the scores miss what they should add up to by less than
#: this share of it, or of 1. Smooth activations need the fewest steps; relu has kinks and may need the most.
TOLERANCE = 1e-3
FEWEST_STEPS, MOST_STEPS = 64, 256
STEPS_AT_ONCE = 256
WORTH_TELLING = 0.01  # in logits

#: Texts with their labels that models are known to stumble on.
EXAMPLES = Path(__file__).parent / "example_sentences.csv"

NUM_NEIGHBOURS, LEAST_WEIGHT = 3, 0.05  # shown of those that a word looked at


@dataclass(frozen=True, eq=False)
class Explanation:
    """What a model says of a text, word by word."""

    text: str
    label: str | None  # what the text is, if that is known
    classes: tuple[str, ...]
    method: str
    words: list[str]
    unknown_T: np.ndarray  # whether the model does not know the word
    scores_TC: np.ndarray
    baseline_C: np.ndarray
    logits_C: np.ndarray
    probabilities_C: np.ndarray
    attention_TJ: np.ndarray | None  # how much each word looked at its neighbours, J = 2K + 1, itself in the middle

    @property
    def averages(self) -> np.ndarray:
        return self.scores_TC.mean(0)

    @property
    def missed(self) -> float:
        """How far average and baseline are from the logits at most: by rounding, or for want of steps."""
        return float(np.abs(self.averages + self.baseline_C - self.logits_C).max())

    @property
    def predicted(self) -> str:
        return self.classes[int(self.probabilities_C.argmax())]

    @property
    def is_right(self) -> bool | None:
        return None if self.label is None else self.label == self.predicted

    @property
    def favoured(self) -> str:
        """The class that `margins` speak for: of two the second, of more the one predicted."""
        return self.classes[1] if len(self.classes) == 2 else self.predicted

    def margins(self, scores_NC: np.ndarray) -> np.ndarray:
        """How much each of these scores speaks for the favoured class, more than for the others on average."""
        favoured = self.classes.index(self.favoured)
        others_N = np.delete(scores_NC, favoured, axis=1).mean(1)
        margins_N: np.ndarray = scores_NC[:, favoured] - others_N
        return margins_N

    @property
    def verdict(self) -> str:
        """'predicted negative (97.3 %), which is right'."""
        verdict = f"predicted {self.predicted} ({self.probabilities_C.max():.1%})"
        if self.label is None:
            return verdict
        return f"{verdict}, which is right" if self.is_right else f"{verdict}, but it is {self.label}: wrong"

    def neighbours(self, word: int) -> list[tuple[str, float]]:
        """The words that a word looked at, itself included, and how much; most first."""
        if self.attention_TJ is None:
            return []
        window = self.attention_TJ.shape[1] // 2
        near = range(max(0, word - window), min(len(self.words), word + window + 1))
        weights = {place: float(self.attention_TJ[word, place - word + window]) for place in near}
        return [(self.words[place], weights[place]) for place in sorted(weights, key=weights.__getitem__, reverse=True)]


def read_examples(classes: Sequence[str]) -> tuple[list[str], list[str]]:
    """The shipped sentences, and their labels where a model knows these."""
    frame = pd.read_csv(EXAMPLES)
    labels = frame["label"].tolist()
    return frame["text"].tolist(), labels if set(labels) <= set(classes) else []


def check_labels(labels: Sequence[str], num_texts: int, classes: Sequence[str]) -> None:
    """Raises UserError unless there is none, or a known one for each text."""
    if labels and len(labels) != num_texts:
        raise UserError(f"--label is given once for each sentence; got {len(labels)} for {num_texts}")
    for label in labels:
        if label not in classes:
            raise UserError(f"--label: unknown class {label!r}{did_you_mean(label, classes)}")


def explain_all(trial: TrainedTrial, texts: Sequence[str] | None, labels: Sequence[str] | None) -> list[Explanation]:
    """What the trial's model says of these texts, by default of the shipped sentences. Raises UserError for labels that
    do not fit, or a checkpoint that is gone."""
    classifier = load(trial)
    texts, labels = (texts, labels or []) if texts else read_examples(classifier.classes)
    check_labels(labels, len(texts), classifier.classes)
    return [explain(classifier, text, label) for text, label in zip_longest(texts, labels)]


def explain(classifier: TextClassifier, text: str, label: str | None = None) -> Explanation:
    """What the model says of the text, and why."""
    model = classifier.model
    tokens_1T, lengths_1, (words,) = classifier.encode([text])
    with torch.no_grad():
        logits_C = model(tokens_1T, lengths_1)[0]
        attention_TJ = _own(model, "attention_weights", tokens_1T, lengths_1)
        scores_TC = _own(model, "word_scores", tokens_1T, lengths_1)
    if scores_TC is not None:
        method = "the model's own word scores"
        baseline_C = torch.zeros_like(logits_C)
    else:
        method = "integrated gradients"
        scores_TC, baseline_C = integrated_gradients(model, model.embedding(tokens_1T), lengths_1)
    return Explanation(
        text=text,
        label=label,
        classes=classifier.classes,
        method=method,
        words=words,
        unknown_T=tokens_1T[0].numpy() == UNKNOWN,
        scores_TC=scores_TC.numpy(),
        baseline_C=baseline_C.numpy(),
        logits_C=logits_C.numpy(),
        probabilities_C=logits_C.softmax(0).numpy(),
        attention_TJ=None if attention_TJ is None else attention_TJ.numpy(),
    )


def _own(model: Architecture, method: str, tokens_1T: Tensor, lengths_1: Tensor) -> Tensor | None:
    """What a method that only some architectures have says of the one text."""
    found: Callable[[Tensor, Tensor], Tensor] | None = getattr(model, method, None)
    return found(tokens_1T, lengths_1)[0] if found else None


def integrated_gradients(model: Architecture, words_1TE: Tensor, lengths_1: Tensor) -> tuple[Tensor, Tensor]:
    """The scores (T, C) of the words of one text, whose mean is what its logits differ by from those of zero vectors,
    the baseline (C)."""
    zeros_1TE = torch.zeros_like(words_1TE)
    with torch.no_grad():
        baseline_C = model.classify(zeros_1TE, lengths_1)[0]
        difference_C = model.classify(words_1TE, lengths_1)[0] - baseline_C
    method = IntegratedGradients(model.classify)
    num_steps = FEWEST_STEPS
    while True:
        attributions = [
            method.attribute(
                words_1TE.requires_grad_(),
                zeros_1TE,
                target=target,
                additional_forward_args=(lengths_1,),
                n_steps=num_steps,
                internal_batch_size=STEPS_AT_ONCE,
            )
            for target in range(len(difference_C))
        ]
        parts_TC = torch.stack([each[0].sum(1) for each in attributions], 1).detach().float()
        missed = (parts_TC.sum(0) - difference_C).abs().max()
        if missed < TOLERANCE * difference_C.abs().max().clamp(min=1) or num_steps >= MOST_STEPS:
            return parts_TC * len(parts_TC), baseline_C
        num_steps *= 2


# --- As tables


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


def emit(explanations: Sequence[Explanation], name: str, form: str, out: Path | None) -> None:
    """Print them, or write them into a file: for readers a table a sentence, for programs a row a word."""
    if form in tables.FOR_PROGRAMS:
        tables.emit([Table(word_frame(explanations), groups=[], key=[], title=name)], form, out)
        return
    console = Console(highlight=False)
    if form != "table" or out is not None or not console.is_terminal:
        tables.emit([sentence_table(each) for each in explanations], form, out)
        return
    console.print(name, style="bold")
    for each in explanations:
        console.print("\n", coloured(each), sep="")
        tables.show(dataclasses.replace(sentence_table(each), title=""), console)


# --- As colours

#: From what speaks against to what speaks for; apart also for colour-blind readers.
COLOURS = "PuOr"


def coloured(explanation: Explanation) -> Text:
    """The sentence for a terminal: each word on the colour of what it speaks for, unknown ones in italics."""
    margins_T = explanation.margins(explanation.scores_TC)
    scale = float(np.abs(margins_T).max()) or 1.0
    text = Text()
    for word, margin, unknown in zip(explanation.words, margins_T, explanation.unknown_T, strict=True):
        background, ink = _colours(margin / scale)
        text.append(f" {clean(word)} ", f"{'italic ' * bool(unknown)}{ink} on {background}")
    other = explanation.classes[0] if len(explanation.classes) == 2 else f"not {explanation.favoured}"
    return text.append(f"  purple: {explanation.favoured}, orange: {other}")


def _colours(strength: float) -> tuple[str, str]:
    """Of a strength from -1 to 1: its colour, and that of what can be read on it."""
    red, green, blue, _ = colormaps[COLOURS](0.5 + 0.42 * strength, bytes=True)
    is_dark = 0.299 * red + 0.587 * green + 0.114 * blue < 115
    return f"#{red:02x}{green:02x}{blue:02x}", "#ffffff" if is_dark else "#000000"


BAND = 84  # characters of a line of the picture
MOST_LETTERS = 18  # of a word in it


@dataclass(frozen=True, eq=False)
class _Cell:
    """A column of a heat strip, in characters from the left."""

    left: int
    width: int
    head: str
    is_word: bool  # or an average
    scores_C: np.ndarray


def save_picture(explanations: Sequence[Explanation], name: str, path: Path) -> None:
    """Write the heat strips of a model, and their data as csv beside them. Raises UserError when it cannot."""
    data = Table(word_frame(explanations).assign(model=name), groups=[], key=[])
    tables.write(tables.to_csv(data), path.with_suffix(".csv"))
    try:
        draw(explanations, name).savefig(path, format="png", metadata={"Software": None})
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error


def draw(explanations: Sequence[Explanation], name: str) -> Figure:
    """A heat strip for each text: each word with its score for each class, and the average. `name`: of the model."""
    strips = [_strip(each) for each in explanations]
    heights = [1.6 + len(bands) * (len(each.classes) + 1.5) for each, bands in zip(explanations, strips, strict=True)]
    figure = Figure(figsize=(9, 0.24 * sum(heights) + 0.1), dpi=110, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(-12, BAND + 2), ylim=(sum(heights), 0))
    axes.axis("off")
    top = 0.3
    for each, bands, height in zip(explanations, strips, heights, strict=True):
        axes.text(-11.5, top + 0.4, f"{name}: {each.verdict}", size=9, weight="bold", parse_math=False, va="center")
        _draw_strip(axes, each, bands, top + 1.2)
        top += height
    return figure


def _strip(explanation: Explanation) -> list[list[_Cell]]:
    """The columns in bands of at most BAND characters; an unknown word has a question mark."""
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
                background, ink = _colours(float(np.clip(score / scale, -1, 1)))
                place = (cell.left + 0.1, top + 1 + row)
                axes.add_patch(Rectangle(place, cell.width - 0.2, 0.94, color=background, lw=0))
                axes.text(x, top + 1.5 + row, f"{score:+.3g}", size=6.5, ha="center", color=ink, **middle)
        top += len(explanation.classes) + 1.5


def _shortened(text: str, length: int) -> str:
    text = clean(text)
    return text if len(text) <= length else f"{text[: length - 1]}…"
