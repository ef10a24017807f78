"""Errors of the best models: the classes that they confuse with example texts, and their most confident mistakes.

Predictions come from the trials' runs in MLflow; the test texts, from the folder of the search.
"""

from collections.abc import Sequence

import pandas as pd

from analysis.base import runs
from analysis.base.table import Table, beginning
from analysis.verdicts.confusion_tables import NUM_PAIRS, SHARE_OF_MISTAKES, SWAPPED, Confusions, read
from analysis.verdicts.set_confusion import SetConfusion
from data.base.errors import UserError, choose
from search.spec import kept
from search.study.trial import Trial

NUM_TEXTS = 10  # texts per model in a table for readers
NUM_EXAMPLES = 3  # texts per pair of classes
WIDTH = 70  # characters shown of a text
SHARE = "share: of the class's test texts."
SURE_OF_ONE = "confidence: the probability of the predicted class."
SURE = "confidence: in the text's most confident mistake."
NONE = "An empty cell means no class."
COLUMNS = ["model", "row", "label", "predicted", "confidence", "text"]


def confusions(
    uri: str, trials: Sequence[Trial], architecture: str | None = None, separator: str | None = None
) -> Confusions:
    """The confusions of these trials, or of those of one architecture, by name. separator: of the classes of a text, if
    it can have several.

    Raises UserError when there is no trial, or none with predictions of classes.
    """
    if architecture is not None:
        choose("architecture", architecture, [trial.architecture for trial in trials])
        trials = [trial for trial in trials if trial.architecture == architecture]
    if not trials:
        raise UserError("no trial of the search has ended with a model yet; resume it first")
    predictions = {trial.name: runs.read_predictions(uri, trial.run_id) for trial in trials if trial.run_id}
    found = read(predictions, separator)
    if not found:
        names = ", ".join(trial.name for trial in trials)
        raise UserError(f"errors: MLflow has no predicted classes of {names}")
    return found


def read_texts(trial: Trial, confusions: Confusions) -> list[str]:
    """The test texts of the trial's search, in the order of the predictions.

    Raises UserError when they cannot be read, or have changed since the predictions.
    """
    examples = kept.examples(trial.folder, "test")
    (first, *_) = confusions.values()
    # With several classes per text, labels are numbers of sets: only their equality can be compared.
    numbers, words = [label for _, label in examples], first.labels.tolist()
    if len(numbers) != len(words) or not len({*zip(numbers, words, strict=True)}) == len({*numbers}) == len({*words}):
        raise UserError(
            f"the test texts of {trial.search} have changed since its models were tested; put the file back as it was"
        )
    return [text for text, _ in examples]


def wrong(confusions: Confusions, texts: Sequence[str]) -> pd.DataFrame:
    """One row per error of every model, the most confident first. `row` is the text's place in the test set, from 0.
    With several classes per text, the confidence is that of the text's most confident mistake."""
    frames = []
    for model, confusion in confusions.items():
        frame = pd.DataFrame(
            {
                "model": model,
                "row": range(len(texts)),
                "label": confusion.labels,
                "predicted": confusion.predicted,
                "confidence": confusion.confidence_N,
                "text": pd.Series(texts, dtype="str"),
            }
        )
        group = frame[confusion.labels != confusion.predicted]
        frames.append(group.sort_values("confidence", ascending=False, kind="stable"))
    return pd.concat(frames, ignore_index=True)


# --- As tables


def pair_tables(confusions: Confusions, errors: pd.DataFrame) -> list[Table]:
    """The classes that every model confuses most often, each pair with its most confident texts."""
    tables = []
    for model, confusion in confusions.items():
        of_model = errors[errors["model"] == model].drop(columns=["label", "predicted"])
        group = of_model.merge(confusion.swaps, on="row").groupby(["label", "predicted"]).head(NUM_EXAMPLES)
        shown = _begin(confusion.pairs.head(NUM_PAIRS).merge(group, on=["label", "predicted"]))
        columns = ["label", "predicted", "texts", "share", "confidence", "beginning"]
        notes = [SWAPPED, f"{SHARE} {SURE}"] if isinstance(confusion, SetConfusion) else [f"{SHARE} {SURE_OF_ONE}"]
        tables.append(
            Table(
                shown,
                groups=[columns],
                key=["label", "predicted"],
                title=f"The classes that {model} confuses most often, with up to {NUM_EXAMPLES} texts per pair",
                notes=notes,
            )
        )
    return tables


def mistake_tables(confusions: Confusions, errors: pd.DataFrame) -> list[Table]:
    """The classes that every model misses or adds most often, each with its most confident texts; empty if texts have
    one class each."""
    tables = []
    for model, confusion in confusions.items():
        if not isinstance(confusion, SetConfusion):
            continue
        key = ["class", "mistake"]
        texts = errors.loc[errors["model"] == model, ["row", "text"]]
        surest = confusion.mistaken.sort_values("confidence", ascending=False, kind="stable")
        group = surest.groupby(key).head(NUM_EXAMPLES).merge(texts, on="row")
        tables.append(
            Table(
                _begin(confusion.mistakes.head(NUM_PAIRS).merge(group, on=key)),
                groups=[[*key, "texts", "share", "confidence", "beginning"]],
                key=key,
                title=f"The classes that {model} misses or adds most often, with up to {NUM_EXAMPLES} texts each",
                notes=[f"{SHARE_OF_MISTAKES} confidence: in that mistake."],
            )
        )
    return tables


def text_tables(confusions: Confusions, errors: pd.DataFrame, *, long: bool = False) -> list[Table]:
    """The most confident errors of every model. long: all errors, in a single table."""
    if long:
        return [Table(errors, groups=[COLUMNS], key=["model", "row"], title="Errors")]
    tables = []
    for model, confusion in confusions.items():
        group = errors[errors["model"] == model]
        tables.append(
            Table(
                _begin(group.head(NUM_TEXTS)),
                groups=[["row", "label", "predicted", "confidence", "beginning"]],
                key="row",
                title=f"{model}: {len(group):,} of {len(confusion.labels):,} test texts are wrong"
                + (f"; the {NUM_TEXTS} most confident errors" if len(group) > NUM_TEXTS else ""),
                notes=[NONE, SURE] if isinstance(confusion, SetConfusion) else [],
            )
        )
    return tables


def _begin(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the beginning of every text, on one line."""
    return frame.assign(beginning=[beginning(text, WIDTH) for text in frame["text"]])
