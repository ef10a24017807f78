"""Which of two classes is the positive one, whose F1, precision and recall are meant: it becomes the second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from data.base.errors import UserError, did_you_mean
from data.base.texts import Example, Texts

#: Instead of a class: the second in natural order, whatever it is. So it was before there was a choice.
NATURAL_ORDER = "natural order"
RARE = 0.4  # of the texts: a class with fewer is what one looks for

#: What is positive by its name, and what is not if it stands beside it. Besides: 'not X', 'no X' and 'non X' for any X.
OPPOSITES = {
    "positive": {"negative"},
    "pos": {"neg"},
    "yes": {"no"},
    "y": {"n"},
    "true": {"false"},
    "t": {"f"},
    "1": {"0", "-1"},
    "spam": {"ham", "legit", "legitimate", "normal"},
    "fraud": {"legit", "legitimate", "normal", "genuine"},
    "fake": {"real", "genuine", "true"},
    "toxic": {"neutral", "normal", "clean"},
    "hate": {"normal", "neutral"},
    "offensive": {"normal", "neutral", "inoffensive"},
    "sick": {"healthy"},
    "relevant": {"irrelevant"},
}


@dataclass(frozen=True)
class Positive:
    """The positive class, and why it is that."""

    label: int
    reason: str


def choose_positive(classes: tuple[str, ...], counts: Counter[int], wanted: str | None) -> Positive:
    """Of two classes, with the texts of each: the one that is wanted, else by its name, else the rarer one if it is
    rare, else the second. Raises UserError for one that is not there."""
    if wanted == NATURAL_ORDER:
        return Positive(1, "the second in natural order")
    if wanted is not None:
        if wanted not in classes:
            raise UserError(
                f"positive_class: no class {wanted!r}{did_you_mean(wanted, classes, else_all=False)}{_listed(classes)}"
            )
        return Positive(classes.index(wanted), "as the spec says")
    for label, (name, other) in enumerate([classes, classes[::-1]]):
        if _opposite(name, other):
            return Positive(label, f"by its name, beside {other[:40]!r}")
    rarer = min((0, 1), key=lambda label: counts[label])
    if (share := counts[rarer] / counts.total()) < RARE:
        return Positive(rarer, f"the rarer one, {share:.1%} of the texts")
    return Positive(1, "the second in natural order")


def _listed(classes: tuple[str, ...]) -> str:
    return f"; the classes are {' and '.join(repr(each[:40]) for each in classes)}"


def _opposite(name: str, other: str) -> bool:
    """Whether a class is the positive one of the two by their names."""
    positive, negative = (_plain(each) for each in (name, other))
    return negative in OPPOSITES.get(positive, ()) or negative in {
        f"{no}{space}{positive}" for no in ("not", "no", "non") for space in (" ", "")
    }


def _plain(name: str) -> str:
    try:
        return f"{float(name):g}"
    except ValueError:
        return " ".join(name.casefold().replace("-", " ").replace("_", " ").split())


def with_positive_class(texts: Texts, wanted: str | None, name: str) -> Texts:
    """The texts with their positive class as the second of two; of more classes none is.

    wanted: the class, or NATURAL_ORDER; None lets the names and the numbers of texts decide. Raises UserError for a
    class that is not there, or that is wanted of more than two.
    """
    if len(texts.classes) != 2:
        if wanted not in (None, NATURAL_ORDER):
            raise UserError(
                f"positive_class: is for two classes, and {name} has {len(texts.classes)}; leave it out; got {wanted!r}"
            )
        return texts
    from data.base.chosen import labels_of, relabelled

    counts = Counter[int]()
    for examples in (texts.examples, texts.val_examples, texts.test_examples):
        counts.update(labels_of(examples or []).tolist())
    found = choose_positive(texts.classes, counts, wanted)
    understood = replace(
        texts.understood, positive_class=texts.classes[found.label], positive_class_because=found.reason
    )
    if found.label == 1:
        return replace(texts, understood=understood)

    def swapped(examples: Sequence[Example] | None) -> Sequence[Example] | None:
        return None if examples is None else relabelled(examples, (1, 0))

    return replace(
        texts,
        classes=texts.classes[::-1],
        examples=swapped(texts.examples) or [],
        val_examples=swapped(texts.val_examples),
        test_examples=swapped(texts.test_examples),
        understood=understood,
    )
