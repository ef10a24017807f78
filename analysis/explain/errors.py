"""What the best models get wrong: the classes that they confuse, with some of their texts, and where they are surest.

From what each best trial predicted of the test texts, which its run keeps; the texts are kept with the search.
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

NUM_TEXTS, NUM_EXAMPLES, WIDTH = 10, 3, 70  # for readers: of a model, of a pair of classes, of a text
SHARE = "share: of the class's test texts."
SURE_OF_ONE = "confidence: the probability of what was predicted."
SURE = "confidence: how sure it was of the surest of its mistakes."
NONE = "Where nothing is said, it is no class."
COLUMNS = ["model", "row", "label", "predicted", "confidence", "text"]


def confusions(
    uri: str, trials: Sequence[Trial], architecture: str | None = None, separator: str | None = None
) -> Confusions:
    """Of these trials, or those of one architecture, by their names. separator: between the classes of a text, where
    it can have several.

    Raises UserError when there is none, or none of whose predictions is kept and of classes.
    """
    if architecture is not None:
        choose("architecture", architecture, [trial.architecture for trial in trials])
        trials = [trial for trial in trials if trial.architecture == architecture]
    if not trials:
        raise UserError("no trial of the search has ended with a model yet; resume it first")
    said = {trial.name: runs.read_predictions(uri, trial.run_id) for trial in trials if trial.run_id}
    found = read(said, separator)
    if not found:
        names = ", ".join(trial.name for trial in trials)
        raise UserError(f"errors: MLflow has no predicted classes of {names}")
    return found


def read_texts(trial: Trial, confusions: Confusions) -> list[str]:
    """The test texts of its search, in the order of the predictions.

    Raises UserError when they cannot be read, or are no longer those that were predicted.
    """
    examples = kept.examples(trial.folder, "test")
    (first, *_) = confusions.values()
    # Labels are numbered as sets where texts can have several, so only which of them are equal can be compared.
    numbers, words = [label for _, label in examples], first.labels.tolist()
    if len(numbers) != len(words) or not len({*zip(numbers, words, strict=True)}) == len({*numbers}) == len({*words}):
        raise UserError(
            f"the test texts of {trial.search} have changed since its models were tested; put the file back as it was"
        )
    return [text for text, _ in examples]


def wrong(confusions: Confusions, texts: Sequence[str]) -> pd.DataFrame:
    """A row for each wrong answer of each model, those first of which the model was surest. `row` is the text's place
    in the test set, from 0. Where a text has several classes, the confidence is that in the surest mistake."""
    frames = []
    for model, each in confusions.items():
        frame = pd.DataFrame(
            {
                "model": model,
                "row": range(len(texts)),
                "label": each.labels,
                "predicted": each.predicted,
                "confidence": each.confidence_N,
                "text": pd.Series(texts, dtype="str"),
            }
        )
        own = frame[each.labels != each.predicted]
        frames.append(own.sort_values("confidence", ascending=False, kind="stable"))
    return pd.concat(frames, ignore_index=True)


# --- As tables


def pair_tables(confusions: Confusions, errors: pd.DataFrame) -> list[Table]:
    """The classes that each model confuses most often, each pair with the texts of which it was surest."""
    tables = []
    for model, each in confusions.items():
        of_model = errors[errors["model"] == model].drop(columns=["label", "predicted"])
        own = of_model.merge(each.swaps, on="row").groupby(["label", "predicted"]).head(NUM_EXAMPLES)
        shown = _begin(each.pairs.head(NUM_PAIRS).merge(own, on=["label", "predicted"]))
        columns = ["label", "predicted", "texts", "share", "confidence", "beginning"]
        notes = [SWAPPED, f"{SHARE} {SURE}"] if isinstance(each, SetConfusion) else [f"{SHARE} {SURE_OF_ONE}"]
        tables.append(
            Table(
                shown,
                groups=[columns],
                key=["label", "predicted"],
                title=f"The classes that {model} confuses most often, and up to {NUM_EXAMPLES} texts of each pair",
                notes=notes,
            )
        )
    return tables


def mistake_tables(confusions: Confusions, errors: pd.DataFrame) -> list[Table]:
    """The classes that each model misses or adds most often, each with the texts of which it was surest; none where
    each text is of one class."""
    tables = []
    for model, each in confusions.items():
        if not isinstance(each, SetConfusion):
            continue
        key = ["class", "mistake"]
        texts = errors.loc[errors["model"] == model, ["row", "text"]]
        surest = each.mistaken.sort_values("confidence", ascending=False, kind="stable")
        own = surest.groupby(key).head(NUM_EXAMPLES).merge(texts, on="row")
        tables.append(
            Table(
                _begin(each.mistakes.head(NUM_PAIRS).merge(own, on=key)),
                groups=[[*key, "texts", "share", "confidence", "beginning"]],
                key=key,
                title=f"The classes that {model} misses or adds most often, and up to {NUM_EXAMPLES} texts of each",
                notes=[f"{SHARE_OF_MISTAKES} confidence: how sure it was of that mistake."],
            )
        )
    return tables


def text_tables(confusions: Confusions, errors: pd.DataFrame, *, long: bool = False) -> list[Table]:
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
                title=f"{model}: {len(own):,} of {len(each.labels):,} test texts are wrong"
                + (f"; the {NUM_TEXTS} of which it was surest" if len(own) > NUM_TEXTS else ""),
                notes=[NONE, SURE] if isinstance(each, SetConfusion) else [],
            )
        )
    return tables


def _begin(frame: pd.DataFrame) -> pd.DataFrame:
    """With a line of each text."""
    return frame.assign(beginning=[beginning(text, WIDTH) for text in frame["text"]])
