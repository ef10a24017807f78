"""Choosing the positive class of two, for which F1, precision and recall are computed: it becomes the second class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from data.base.errors import UserError, did_you_mean
from data.base.texts import Example, Texts

#: Can be given instead of a class name: the second class in natural order, which is what older specs mean.
NATURAL_ORDER = "natural order"
RARE = 0.4  # a class with a smaller share of the texts is likely the one to be detected

#: Positive class -> names of the negative class. 'not X', 'no X' and 'non X' are negatives of any X.
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
    """The index of the positive class, and the reason for the choice, in words."""

    label: int
    reason: str


def choose_positive(classes: tuple[str, ...], counts: Counter[int], wanted: str | None) -> Positive:
    """Chooses the positive one of two classes: the wanted one, or else by name, or else a rare one, or else the second.

    counts: texts by class index. Raises UserError if the wanted class does not exist.
    """
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
    return f"; the classes are {' and '.join(repr(name[:40]) for name in classes)}"


def _opposite(name: str, other: str) -> bool:
    """Whether the names alone make `name` the positive class."""
    positive, negative = _plain(name), _plain(other)
    return negative in OPPOSITES.get(positive, ()) or negative in {
        f"{no}{space}{positive}" for no in ("not", "no", "non") for space in (" ", "")
    }


def _plain(name: str) -> str:
    try:
        return f"{float(name):g}"
    except ValueError:
        return " ".join(name.casefold().replace("-", " ").replace("_", " ").split())


def with_positive_class(texts: Texts, wanted: str | None, name: str) -> Texts:
    """Orders two classes so that the positive one is the second. With more classes there is no positive one.

    wanted: the class, or NATURAL_ORDER; None decides by the names and numbers of texts. Raises UserError for a class
    that does not exist, or if a class is wanted although there are more than two.
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
    positive = choose_positive(texts.classes, counts, wanted)
    understood = replace(
        texts.understood, positive_class=texts.classes[positive.label], positive_class_because=positive.reason
    )
    if positive.label == 1:
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
