"""Which classes models confuse, miss or add, as tables."""

from collections.abc import Mapping

import pandas as pd

from analysis.base.table import Table
from analysis.verdicts.confusion import PROBABILITY, TOP_CLASS, Confusion
from analysis.verdicts.set_confusion import SetConfusion

MOST_CLASSES = 20  # that a figure, or a table for readers, has room for
NUM_PAIRS = 10  # for readers

SWAPPED = "Of a text one class is missed and the other is added, and it has no other mistake."
SHARE_OF_MISTAKES = "share: missed of the class's texts, added of those that are said to be of it."

Confusions = Mapping[str, Confusion | SetConfusion]  # by what the models are called


def read(predictions: Mapping[str, pd.DataFrame | None], separator: str | None = None) -> Confusions:
    """Of each model whose predictions are of classes. separator: between those of a text, which can have several."""
    found = {
        name: SetConfusion.of(each, separator) if separator else Confusion.of(each)
        for name, each in predictions.items()
    }
    return {name: each for name, each in found.items() if each is not None}


def class_tables(confusions: Confusions, *, long: bool = False) -> list[Table]:
    """Each model's precision, recall and F1 of each class; of many classes for readers those that it does worst.

    long: one table of all classes of all models.
    """
    frames = {name: each.by_class for name, each in confusions.items()}
    if long:
        frame = pd.concat([each.assign(model=name) for name, each in frames.items()], ignore_index=True)
        frame.insert(0, "model", frame.pop("model"))
        return [Table(frame, groups=[list(frame.columns)], key=["model", "class"], title="Classes")]
    return [_of_classes(name, frames[name], one_class(each)) for name, each in confusions.items()]


def _of_classes(name: str, frame: pd.DataFrame, warning: str) -> Table:
    shown, title = frame, f"Each class on test, by {name}"
    if len(frame) > MOST_CLASSES:
        shown = frame.sort_values("f1", kind="stable", na_position="last").head(MOST_CLASSES).reset_index(drop=True)
        title = f"The {MOST_CLASSES} of {len(frame):,} classes with the lowest F1 on test, by {name}"
    notes = ["support: test texts of the class; predicted: those that are said to be."]
    if "missed" in frame:
        notes[0] += (
            " missed: texts of the class that are not (false negatives); added: others that are (false positives)."
        )
    notes += [f"{name} tells nothing apart: it {warning}."] if warning else []
    return Table(shown, groups=[list(frame.columns)], key="class", title=title, notes=notes)


def pair_table(confusions: Confusions) -> Table:
    """The pairs of classes that the models confuse most often."""
    frames = [each.pairs.head(NUM_PAIRS).assign(model=name) for name, each in confusions.items()]
    columns = ["model", "label", "predicted", "texts", "share"]
    frame = pd.concat(frames or [pd.DataFrame()]).reindex(columns=columns).reset_index(drop=True)
    return Table(
        frame,
        groups=[columns],
        key=["model", "label", "predicted"],
        title="The classes that are most often confused on test",
        notes=["share: of the class's texts." + (f" {SWAPPED}" if _of_sets(confusions) else "")],
    )


def mistake_tables(confusions: Confusions) -> list[Table]:
    """The classes that the models miss or add most often; none where each text is of one class."""
    sets = _of_sets(confusions)
    frames = [each.mistakes.head(NUM_PAIRS).assign(model=name) for name, each in sets.items()]
    if not frames:
        return []
    columns = ["model", "class", "mistake", "texts", "share"]
    return [
        Table(
            pd.concat(frames, ignore_index=True).reindex(columns=columns),
            groups=[columns],
            key=["model", "class", "mistake"],
            title="The classes that are most often missed or added on test",
            notes=[SHARE_OF_MISTAKES],
        )
    ]


def _of_sets(confusions: Confusions) -> dict[str, SetConfusion]:
    return {name: each for name, each in confusions.items() if isinstance(each, SetConfusion)}


def one_class(confusion: Confusion | SetConfusion) -> str:
    """What there is to say of a model that says the same of every text; else ''."""
    return says_one(confusion.labels, confusion.predicted)


def says_one(labels: pd.Series, predicted: pd.Series) -> str:
    """As `one_class`, of what texts are and what is said of them, in words."""
    said = predicted.unique()
    if len(said) != 1 or labels.nunique() < 2:
        return ""
    what = f"{said[0][:40]!r}" if said[0] else "no class"
    return f"says {what} of every test text, as {(labels == said[0]).mean():.1%} of them are"


def same_of_all(predictions: pd.DataFrame | None) -> str:
    """As `one_class`, of what `runs.read_predictions` reads; '' where that is nothing, or not of classes."""
    if predictions is None or predictions.empty:
        return ""
    of_classes = any(str(name) == TOP_CLASS or str(name).startswith(PROBABILITY) for name in predictions)
    return says_one(predictions["label"], predictions["predicted"]) if of_classes else ""
