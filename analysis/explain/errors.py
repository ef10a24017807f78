"""What the best models get wrong: the classes that they confuse, with some of their texts, and where they are surest.

From what each best trial predicted of the test texts, which its run keeps; the texts are kept with the search.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from analysis.base import runs
from analysis.base.table import Table, clean
from analysis.verdicts.confusion import NUM_PAIRS, Confusion, read
from data.base.errors import UserError, choose
from search.spec import kept
from search.study.trial import Trial

NUM_TEXTS, NUM_EXAMPLES, LETTERS = 10, 3, 70  # for readers: of a model, of a pair of classes, of a text
COLUMNS = ["model", "row", "label", "predicted", "confidence", "text"]


def confusions(uri: str, trials: Sequence[Trial], architecture: str | None = None) -> dict[str, Confusion]:
    """Of these trials, or those of one architecture, by their names.

    Raises UserError when there is none, or none of whose predictions is kept and of one class a text.
    """
    if architecture is not None:
        choose("architecture", architecture, [trial.architecture for trial in trials])
        trials = [trial for trial in trials if trial.architecture == architecture]
    if not trials:
        raise UserError("no trial of the search has a model yet")
    found = read({trial.name: runs.read_predictions(uri, trial.run_id) for trial in trials if trial.run_id})
    if not found:
        names = ", ".join(trial.name for trial in trials)
        raise UserError(f"errors: what {names} predicted is not on record, or is not one class a text")
    return found


def read_texts(trial: Trial, confusions: Mapping[str, Confusion]) -> list[str]:
    """The test texts of its search, in the order of the predictions.

    Raises UserError when they cannot be read, or are no longer those that were predicted.
    """
    examples = kept.examples(trial.folder, "test")
    (first, *_) = confusions.values()
    if [label for _, label in examples] != first.labels_N.tolist():
        raise UserError(f"the test texts of {trial.search} are not those that its models were tested on any more")
    return [text for text, _ in examples]


def wrong(confusions: Mapping[str, Confusion], texts: Sequence[str]) -> pd.DataFrame:
    """A row for each wrong answer of each model, those first of which the model was surest. `row` is the text's place
    in the test set, from 0."""
    frames = []
    for model, each in confusions.items():
        frame = pd.DataFrame(
            {
                "model": model,
                "row": range(len(texts)),
                "label": pd.Series([each.classes[label] for label in each.labels_N], dtype="str"),
                "predicted": pd.Series([each.classes[label] for label in each.predicted_N], dtype="str"),
                "confidence": each.confidence_N,
                "text": pd.Series(texts, dtype="str"),
            }
        )
        own = frame[each.labels_N != each.predicted_N]
        frames.append(own.sort_values("confidence", ascending=False, kind="stable"))
    return pd.concat(frames, ignore_index=True)


# --- As tables


def pair_tables(confusions: Mapping[str, Confusion], errors: pd.DataFrame) -> list[Table]:
    """The classes that each model confuses most often, each pair with the texts of which it was surest."""
    tables = []
    for model, each in confusions.items():
        pairs = each.pairs.head(NUM_PAIRS)
        own = errors[errors["model"] == model].groupby(["label", "predicted"]).head(NUM_EXAMPLES)
        shown = _begin(pairs.merge(own, on=["label", "predicted"]))
        columns = ["label", "predicted", "texts", "share", "confidence", "beginning"]
        tables.append(
            Table(
                shown,
                groups=[columns],
                key=["label", "predicted"],
                title=f"The classes that {model} confuses most often, and up to {NUM_EXAMPLES} texts of each pair",
                notes=["share: of the class's test texts. confidence: the probability of what was predicted."],
            )
        )
    return tables


def text_tables(confusions: Mapping[str, Confusion], errors: pd.DataFrame, *, long: bool = False) -> list[Table]:
    """The wrong answers of which each model was surest; long: all wrong answers, in one table."""
    if long:
        return [Table(errors, groups=[COLUMNS], key=["model", "row"], title="Wrong answers")]
    tables = []
    for model, each in confusions.items():
        own = errors[errors["model"] == model]
        tables.append(
            Table(
                _begin(own.head(NUM_TEXTS)),
                groups=[["row", "label", "predicted", "confidence", "beginning"]],
                key="row",
                title=f"{model}: {len(own):,} of {len(each.labels_N):,} test texts are wrong"
                + (f"; the {NUM_TEXTS} of which it was surest" if len(own) > NUM_TEXTS else ""),
            )
        )
    return tables


def _begin(frame: pd.DataFrame) -> pd.DataFrame:
    """With a line of each text."""
    lines = [" ".join(clean(text).split()) for text in frame["text"]]
    return frame.assign(beginning=[line if len(line) <= LETTERS else f"{line[:LETTERS]}…" for line in lines])
