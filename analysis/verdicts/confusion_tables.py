"""Tables of the classes that models confuse, miss or add."""

from collections.abc import Mapping

import pandas as pd

from analysis.base.table import Table
from analysis.verdicts.confusion import PROBABILITY, TOP_CLASS, Confusion
from analysis.verdicts.set_confusion import SetConfusion

MOST_CLASSES = 20  # the most classes in a figure, or in a table for readers
NUM_PAIRS = 10  # pairs in a table for readers

SWAPPED = "Counted are texts whose only mistakes are one class missed and one added."
SHARE_OF_MISTAKES = "share: for missed, of the class's texts; for added, of the texts predicted as the class."

Confusions = Mapping[str, Confusion | SetConfusion]  # by the name of the model


def read(predictions: Mapping[str, pd.DataFrame | None], separator: str | None = None) -> Confusions:
    """The confusions of the models that predict classes. separator: of a text's classes, if it can have several."""
    found = {
        name: SetConfusion.of(frame, separator) if separator else Confusion.of(frame)
        for name, frame in predictions.items()
    }
    return {name: confusion for name, confusion in found.items() if confusion is not None}


def class_tables(confusions: Confusions, *, long: bool = False) -> list[Table]:
    """Precision, recall and F1 by class, one table per model; with many classes, only those with the lowest F1.

    long: a single table of all classes and models.
    """
    frames = {name: confusion.by_class for name, confusion in confusions.items()}
    if long:
        frame = pd.concat([group.assign(model=name) for name, group in frames.items()], ignore_index=True)
        frame.insert(0, "model", frame.pop("model"))
        return [Table(frame, groups=[list(frame.columns)], key=["model", "class"], title="Classes")]
    return [_of_classes(name, frames[name], one_class(confusion)) for name, confusion in confusions.items()]


def _of_classes(name: str, frame: pd.DataFrame, warning: str) -> Table:
    shown, title = frame, f"Classes on test, by {name}"
    if len(frame) > MOST_CLASSES:
        shown = frame.sort_values("f1", kind="stable", na_position="last").head(MOST_CLASSES).reset_index(drop=True)
        title = f"The {MOST_CLASSES} of {len(frame):,} classes with the lowest F1 on test, by {name}"
    notes = ["support: test texts of the class; predicted: test texts predicted as the class."]
    if "missed" in frame:
        notes[0] += (
            " missed: texts of the class not predicted as it (false negatives); added: other texts predicted as it "
            "(false positives)."
        )
    notes += [f"{name} does not distinguish the classes: it {warning}."] if warning else []
    return Table(shown, groups=[list(frame.columns)], key="class", title=title, notes=notes)


def pair_table(confusions: Confusions) -> Table:
    """The pairs of classes that the models confuse most often."""
    frames = [confusion.pairs.head(NUM_PAIRS).assign(model=name) for name, confusion in confusions.items()]
    columns = ["model", "label", "predicted", "texts", "share"]
    frame = pd.concat(frames or [pd.DataFrame()]).reindex(columns=columns).reset_index(drop=True)
    return Table(
        frame,
        groups=[columns],
        key=["model", "label", "predicted"],
        title="The most confused classes on test",
        notes=["share: of the class's texts." + (f" {SWAPPED}" if _of_sets(confusions) else "")],
    )


def mistake_tables(confusions: Confusions) -> list[Table]:
    """The classes that the models miss or add most often, as a list; empty if texts have one class each."""
    sets = _of_sets(confusions)
    frames = [confusion.mistakes.head(NUM_PAIRS).assign(model=name) for name, confusion in sets.items()]
    if not frames:
        return []
    columns = ["model", "class", "mistake", "texts", "share"]
    return [
        Table(
            pd.concat(frames, ignore_index=True).reindex(columns=columns),
            groups=[columns],
            key=["model", "class", "mistake"],
            title="The classes most often missed or added on test",
            notes=[SHARE_OF_MISTAKES],
        )
    ]


def _of_sets(confusions: Confusions) -> dict[str, SetConfusion]:
    return {name: confusion for name, confusion in confusions.items() if isinstance(confusion, SetConfusion)}


def one_class(confusion: Confusion | SetConfusion) -> str:
    """A clause about a model that predicts the same for every text; '' for any other model."""
    return says_one(confusion.labels, confusion.predicted)


def says_one(labels: pd.Series, predicted: pd.Series) -> str:
    """`one_class` from true and predicted classes as strings."""
    answers = predicted.unique()
    if len(answers) != 1 or labels.nunique() < 2:
        return ""
    what = f"{answers[0][:40]!r}" if answers[0] else "no class"
    share = (labels == answers[0]).mean()
    return f"predicts {what} for every test text, which is right for {share:.1%} of them"


def same_of_all(predictions: pd.DataFrame | None) -> str:
    """`one_class` from `runs.read_predictions`; '' without predictions of classes."""
    if predictions is None or predictions.empty:
        return ""
    of_classes = any(str(name) == TOP_CLASS or str(name).startswith(PROBABILITY) for name in predictions)
    return says_one(predictions["label"], predictions["predicted"]) if of_classes else ""
