"""Where the best models of the architectures disagree: on which test texts, of which kind, and due to which words.

Every model predicts the whole test set again from its checkpoint.

Shapes: N texts, A models, C classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from analysis.base.table import Table
from analysis.explain.words import explain
from data.base.errors import UserError
from data.encoded import UNKNOWN
from search.serve.classifier import TextModel
from search.serve.loading import load
from search.spec import kept
from search.study.trial import Trial

#: English negations as tokenized: "don't" becomes don ' t.
NEGATIONS = frozenset(
    ["not", "no", "never", "none", "nobody", "nothing", "nowhere", "neither", "nor", "cannot", "without", "hardly", "t"]
)
NUM_TEXTS = 10  # texts in a table for readers
NUM_WORDS = 10  # words shown of a text: those with the largest scores in any model

TEXT, LABEL, LENGTH, NEGATED, UNKNOWN_SHARE, GAP = "text", "label", "words", "negations", "unknown_share", "gap"


@dataclass(frozen=True)
class Reading:
    """The predictions of all models for the test set.

    texts: one row per text, with its label, number of words and of negations, and share of unknown words.
    probabilities: (N, C) by model. max_words: the number of words read by the model that reads most; `texts` counts
    these words.
    """

    texts: pd.DataFrame
    classes: tuple[str, ...]
    max_words: int
    probabilities: Mapping[str, np.ndarray]

    @property
    def predicted(self) -> pd.DataFrame:
        """The predicted classes, one column per model."""
        names = np.array(self.classes, dtype=object)
        return pd.DataFrame({model: names[own_NC.argmax(1)] for model, own_NC in self.probabilities.items()})

    @property
    def right(self) -> pd.DataFrame:
        """Whether the predictions are right, one column per model."""
        return self.predicted.eq(self.texts[LABEL], axis=0)

    @property
    def differ(self) -> pd.Series:
        """Whether the models predict different classes."""
        return self.predicted.nunique(axis=1) > 1


def load_all(trials: Sequence[Trial]) -> dict[str, TextModel]:
    """The models by architecture. Raises UserError for fewer than two, or for tasks without single classes."""
    if len(trials) < 2:
        raise UserError(f"at least two architectures with a model are needed to compare; there are {len(trials)}")
    found = {trial.architecture: load(trial) for trial in trials}
    for name, model in found.items():
        if not model.task.has_classes:
            raise UserError(
                f"disagree compares predicted classes, and {name} predicts none; it is for {model.task.name}"
            )
        if not model.task.exclusive:
            raise UserError(
                f"disagree compares one class per text, and {name} predicts several; see python -m analysis differences"
            )
    return found


def read(trials: Sequence[Trial], models: Mapping[str, TextModel]) -> Reading:
    """Predict the test set of the trials' search with all models."""
    some = max(models.values(), key=lambda model: model.max_words)
    examples = kept.examples(trials[0].folder, "test")
    texts = [text for text, _ in examples]
    tokens_NT, lengths_N, words = some.encode(texts)
    frame = pd.DataFrame(
        {
            TEXT: texts,
            LABEL: [some.classes[label] for _, label in examples],
            LENGTH: lengths_N.numpy(),
            NEGATED: [sum(word in NEGATIONS for word in of_text) for of_text in words],
            UNKNOWN_SHARE: ((tokens_NT == UNKNOWN).sum(1) / lengths_N).numpy(),
        }
    )
    probabilities = {name: model.outputs(texts).numpy() for name, model in models.items()}
    return Reading(frame, some.classes, some.max_words, probabilities)


def slices(reading: Reading) -> pd.DataFrame:
    """The accuracy of every model, and the share of disagreements, for all texts and by kind of text."""
    texts, longest = reading.texts, int(reading.texts[LENGTH].max())
    is_cut = longest == reading.max_words
    edges = [0, *(longest * quarter // 4 for quarter in (1, 2, 3)), *[longest - 1] * is_cut, longest]
    kinds: dict[str, pd.Series] = {"all": texts[LENGTH] > 0}
    for low, high in pairwise(edges):
        name = f"{high} words and more" if is_cut and high == longest else f"{low + 1} to {high} words"
        kinds[name] = texts[LENGTH].between(low + 1, high)
    kinds |= {
        "no negation": texts[NEGATED] == 0,
        "1 negation": texts[NEGATED] == 1,
        "2 negations and more": texts[NEGATED] >= 2,
        "all words known": texts[UNKNOWN_SHARE] == 0,
        "up to 5 % unknown": texts[UNKNOWN_SHARE].between(0, 0.05, inclusive="right"),
        "over 5 % unknown": texts[UNKNOWN_SHARE] > 0.05,
    }
    right, differ = reading.right, reading.differ
    rows = [
        {"texts of": name, "texts": int(chosen.sum())} | dict(right[chosen].mean()) | {"differ": differ[chosen].mean()}
        for name, chosen in kinds.items()
        if chosen.any()
    ]
    return pd.DataFrame(rows)


def disagreements(reading: Reading) -> pd.DataFrame:
    """The texts on which the models disagree, sorted by `gap`: the range of the probabilities that they give to the
    text's class. `row` is the text's place in the test set, from 0."""
    label_N = reading.texts[LABEL].map(reading.classes.index).to_numpy()
    of_label = pd.DataFrame(
        {name: group[np.arange(len(group)), label_N] for name, group in reading.probabilities.items()}
    )
    frame = reading.texts.copy()
    frame.insert(0, "row", frame.index)
    frame[GAP] = of_label.max(axis=1) - of_label.min(axis=1)
    for name, column in reading.predicted.items():
        frame[f"{name}"] = column
        frame[f"{name}_probability"] = of_label[name]
    return frame[reading.differ].sort_values(GAP, ascending=False, kind="stable").reset_index(drop=True)


def side_by_side(models: Mapping[str, TextModel], text: str, label: str) -> tuple[pd.DataFrame, dict[str, str]]:
    """The score of every word of a text for its label by model, in the order of the text; and the models' verdicts.

    Of a long text, only the words with the largest scores in any model are kept. Words that a model does not read have
    no score (NaN).
    """
    explanations = {name: explain(model, text, label) for name, model in models.items()}
    longest = max(explanations.values(), key=lambda explanation: len(explanation.words))
    columns = {}
    for name, explanation in explanations.items():
        of_label = explanation.classes.index(label)  # models may explain different classes
        others_T = np.delete(explanation.scores_TC, of_label, axis=1).mean(1)
        columns[name] = pd.Series(explanation.scores_TC[:, of_label] - others_T)
    frame = pd.DataFrame({"position": range(1, len(longest.words) + 1), "word": longest.words} | columns)
    sizes = frame[list(models)].abs()
    largest = (sizes / sizes.max()).fillna(0).max(axis=1).nlargest(NUM_WORDS).index  # all scores may be zero
    return frame.loc[sorted(largest)].reset_index(drop=True), {
        name: explanation.verdict for name, explanation in explanations.items()
    }


# --- As tables


def slice_table(search: str, trials: Sequence[Trial], reading: Reading) -> Table:
    names = list(reading.probabilities)
    chosen = ", ".join(f"{trial.name} of {trial.search}" for trial in trials)
    return Table(
        slices(reading),
        groups=[["texts of", "texts", *names, "differ"]],
        key="texts of",
        title=f"{search}: test accuracy by kind of text, and how often the models disagree",
        notes=[f"The models: {chosen}.", f"A negation is one of: {', '.join(sorted(NEGATIONS))}."],
    )


def text_table(reading: Reading, *, long: bool = False) -> Table:
    """The texts on which the models disagree. long: all of them, else the beginning of those with the largest gap."""
    frame = disagreements(reading)
    names = list(reading.probabilities)
    most = frame.head(NUM_TEXTS)
    shown = frame if long else most.assign(beginning=most[TEXT].str.slice(0, 60))
    return Table(
        shown,
        groups=[["row", LABEL, *names, GAP], [LENGTH, NEGATED, UNKNOWN_SHARE, "beginning"]],
        key="row",
        title=f"{len(frame)} of {len(reading.texts)} test texts on which the models disagree"
        + (f"; the {len(shown)} with the largest gap" if len(shown) < len(frame) else ""),
        notes=["gap: largest minus smallest probability that a model gives to the text's class."],
    )


def word_tables(models: Mapping[str, TextModel], reading: Reading, top: int) -> list[Table]:
    """The words of the texts with the largest gap, with the scores of all models."""
    tables = []
    for row in disagreements(reading).head(top).to_dict("records"):
        frame, verdicts = side_by_side(models, row[TEXT], row[LABEL])
        tables.append(
            Table(
                frame,
                groups=[["position", "word", *models]],
                key="position",
                title=f"row {row['row']}: scores of its words for {row[LABEL]}",
                notes=[f"{name}: {verdict}." for name, verdict in verdicts.items()],
            )
        )
    return tables
