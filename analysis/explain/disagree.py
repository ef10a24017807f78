"""Where the best models of the architectures differ: on which test texts, of which kind, and because of which words.

Every model reads the whole test set again, with the weights of its checkpoint.

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
from search.serve.trained import load
from search.spec import kept
from search.study.trial import Trial

#: Words of English that negate, as the tokenizer leaves them: "don't" is read as don ' t.
NEGATIONS = frozenset(
    ["not", "no", "never", "none", "nobody", "nothing", "nowhere", "neither", "nor", "cannot", "without", "hardly", "t"]
)
NUM_TEXTS = 10  # shown to readers
NUM_WORDS = 10  # shown of a text: those that speak loudest in any of the models

TEXT, LABEL, LENGTH, NEGATED, UNKNOWN_SHARE, GAP = "text", "label", "words", "negations", "unknown_share", "gap"


@dataclass(frozen=True)
class Reading:
    """What each model says of each text of the test set.

    texts: a row for each text: its text, label, number of words and of negations, share of unknown words.
    probabilities: model -> (N, C). max_words: how much of a text is read by the model that reads most,
    whose words are those of `texts`.
    """

    texts: pd.DataFrame
    classes: tuple[str, ...]
    max_words: int
    probabilities: Mapping[str, np.ndarray]

    @property
    def predicted(self) -> pd.DataFrame:
        """A column for each model: the class it predicts."""
        names = np.array(self.classes, dtype=object)
        return pd.DataFrame({model: names[each.argmax(1)] for model, each in self.probabilities.items()})

    @property
    def right(self) -> pd.DataFrame:
        """A column for each model: whether it is right."""
        return self.predicted.eq(self.texts[LABEL], axis=0)

    @property
    def differ(self) -> pd.Series:
        """Whether the models predict different classes."""
        return self.predicted.nunique(axis=1) > 1


def load_all(trials: Sequence[Trial]) -> dict[str, TextModel]:
    """The models by the names of their architectures. Raises UserError unless there are two to compare."""
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
    """Let the models read the test set of their search."""
    some = max(models.values(), key=lambda model: model.max_words)
    examples = kept.examples(trials[0].folder, "test")
    texts = [text for text, _ in examples]
    tokens_NT, lengths_N, words = some.encode(texts)
    frame = pd.DataFrame(
        {
            TEXT: texts,
            LABEL: [some.classes[label] for _, label in examples],
            LENGTH: lengths_N.numpy(),
            NEGATED: [sum(word in NEGATIONS for word in each) for each in words],
            UNKNOWN_SHARE: ((tokens_NT == UNKNOWN).sum(1) / lengths_N).numpy(),
        }
    )
    probabilities = {name: model.outputs(texts).numpy() for name, model in models.items()}
    return Reading(frame, some.classes, some.max_words, probabilities)


def slices(reading: Reading) -> pd.DataFrame:
    """Accuracy of each model, and how often they differ, in all texts and in those of each kind."""
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
    """The texts on which the models differ, the most telling first: those where the probabilities that they give to
    the text's class are furthest apart (`gap`). `row` is the text's place in the test set, from 0."""
    label_N = reading.texts[LABEL].map(reading.classes.index).to_numpy()
    of_label = pd.DataFrame({name: each[np.arange(len(each)), label_N] for name, each in reading.probabilities.items()})
    frame = reading.texts.copy()
    frame.insert(0, "row", frame.index)
    frame[GAP] = of_label.max(axis=1) - of_label.min(axis=1)
    for name, column in reading.predicted.items():
        frame[f"{name}"] = column
        frame[f"{name}_probability"] = of_label[name]
    return frame[reading.differ].sort_values(GAP, ascending=False, kind="stable").reset_index(drop=True)


def side_by_side(models: Mapping[str, TextModel], text: str, label: str) -> tuple[pd.DataFrame, dict[str, str]]:
    """How much each word of a text speaks for its label in each model, in the order of the text; and what each says.

    Of a long text only the words are kept that speak loudest in any of the models. A model that reads fewer words than
    another says nothing (NaN) of the rest.
    """
    explanations = {name: explain(model, text, label) for name, model in models.items()}
    some = max(explanations.values(), key=lambda each: len(each.words))
    columns = {}
    for name, each in explanations.items():
        of_label = each.classes.index(label)  # each explains the classes that it takes for the most probable
        others_T = np.delete(each.scores_TC, of_label, axis=1).mean(1)
        columns[name] = pd.Series(each.scores_TC[:, of_label] - others_T)
    frame = pd.DataFrame({"position": range(1, len(some.words) + 1), "word": some.words} | columns)
    loudness = frame[list(models)].abs()
    loudest = (loudness / loudness.max()).fillna(0).max(axis=1).nlargest(NUM_WORDS).index  # a model may be silent
    return frame.loc[sorted(loudest)].reset_index(drop=True), {
        name: each.verdict for name, each in explanations.items()
    }


# --- As tables


def slice_table(search: str, trials: Sequence[Trial], reading: Reading) -> Table:
    names = list(reading.probabilities)
    chosen = ", ".join(f"{trial.name} of {trial.search}" for trial in trials)
    return Table(
        slices(reading),
        groups=[["texts of", "texts", *names, "differ"]],
        key="texts of",
        title=f"{search}: test accuracy by the kind of text, and how often the models differ",
        notes=[f"The models: {chosen}.", f"A negation is one of: {', '.join(sorted(NEGATIONS))}."],
    )


def text_table(reading: Reading, *, long: bool = False) -> Table:
    """The texts on which the models differ: for programs all of them, for readers how the most telling ones begin."""
    frame = disagreements(reading)
    names = list(reading.probabilities)
    most = frame.head(NUM_TEXTS)
    shown = frame if long else most.assign(beginning=most[TEXT].str.slice(0, 60))
    return Table(
        shown,
        groups=[["row", LABEL, *names, GAP], [LENGTH, NEGATED, UNKNOWN_SHARE, "beginning"]],
        key="row",
        title=f"{len(frame)} of {len(reading.texts)} test texts on which the models differ"
        + (f"; the {len(shown)} most telling" if len(shown) < len(frame) else ""),
        notes=["gap: how far apart the probabilities are that the models give to the text's class."],
    )


def word_tables(models: Mapping[str, TextModel], reading: Reading, top: int) -> list[Table]:
    """The words of the most telling texts, side by side."""
    tables = []
    for row in disagreements(reading).head(top).to_dict("records"):
        frame, verdicts = side_by_side(models, row[TEXT], row[LABEL])
        tables.append(
            Table(
                frame,
                groups=[["position", "word", *models]],
                key="position",
                title=f"row {row['row']}: how much its words speak for {row[LABEL]}",
                notes=[f"{name}: {verdict}." for name, verdict in verdicts.items()],
            )
        )
    return tables
