"""Which texts and classes of a corpus are used: each text once, with one label, in classes of enough texts."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from data.base.errors import UserError, did_you_mean
from data.base.label_sets import LabelSets
from data.base.ordering import natural_order
from data.base.reading import Reading
from data.base.texts import Example, Texts

V = TypeVar("V", str, float)

END_PUNCTUATION = ".,:;!?\u2026\u3002\uff01\uff1f\uff0c '\"\u201d\u2019)"

OTHER = "other"  # the class that those of too few texts become


def fold(text: str) -> str:
    """What texts share that differ in case, spaces or the punctuation at their ends only."""
    folded = " ".join(text.casefold().split())
    return folded.rstrip(END_PUNCTUATION) or folded


@dataclass
class _Part:
    """One text of each group of equal ones, with its label; and what was left out."""

    labels: dict[str, int] = field(default_factory=dict)  # text -> class
    keys: set[str] = field(default_factory=set)  # of all groups, those left out as well
    num_duplicates: int = 0
    num_near_duplicates: int = 0
    num_contradictions: int = 0
    num_contradictory: int = 0
    variants: dict[str, set[str]] = field(default_factory=dict)  # text -> those that are nearly like it, and itself


def use_each_once(texts: Texts, reading: Reading, name: str) -> Texts:
    """The texts, each once, and no two equal ones in two splits: what is in the test split, or else in the validation
    split, is taken out of the others. Of equal texts the first by alphabet is kept, with the group that is the first by
    alphabet and the earliest time.
    """
    test, val, rest = parts = [
        _unique(examples or [], reading) for examples in (texts.test_examples, texts.val_examples, texts.examples)
    ]
    for part, above in ((val, test.keys), (rest, test.keys | val.keys)):
        for text in [each for each in part.labels if _key(each, reading) in above] if above else ():
            del part.labels[text]
            part.num_duplicates += 1
    if texts.examples and not rest.labels and rest.num_contradictory:
        raise UserError(
            f"{name}: all of its {rest.num_contradictions:,} different texts have several labels each, so that none "
            "can be learned; are the labels those of several annotators, or rows out of step?"
        )
    totals = {
        each: sum(getattr(part, each) for part in parts)
        for each in ("num_duplicates", "num_near_duplicates", "num_contradictions", "num_contradictory")
    }
    return dataclasses.replace(
        texts,
        examples=[*rest.labels.items()],
        val_examples=None if texts.val_examples is None else [*val.labels.items()],
        test_examples=None if texts.test_examples is None else [*test.labels.items()],
        understood=dataclasses.replace(texts.understood, **totals),
        group_of=_of_kept(texts.group_of, parts),
        time_of=_of_kept(texts.time_of, parts),
    )


def _of_kept(values: Mapping[str, V], parts: Iterable[_Part]) -> dict[str, V]:
    """Of each text that is kept the least value that equal ones have, by text."""
    found = {}
    for part in parts if values else ():
        for text in part.labels:
            if own := [values[each] for each in part.variants.get(text, (text,)) if each in values]:
                found[text] = min(own)
    return found


def _key(text: str, reading: Reading) -> str:
    return fold(text) if reading.duplicates == "folded" else text


def _unique(examples: Iterable[Example], reading: Reading) -> _Part:
    part = _Part()
    kept: dict[str, tuple[str, int]] = {}  # key -> text, its class
    counts: dict[str, Counter[int]] = {}  # key -> how often each label, where it comes more than once
    others: dict[str, set[str]] = {}  # key -> texts that are nearly as the one that is kept
    for text, label in examples:
        key = _key(text, reading)
        if key not in kept:
            kept[key] = text, label
            continue
        before, first = kept[key]
        counts.setdefault(key, Counter({first: 1}))[label] += 1
        if text != before:
            others.setdefault(key, {before}).add(text)
            kept[key] = min(text, before), first
    for key, labels in counts.items():
        text, label = kept[key]
        (most, number), *less = labels.most_common()
        if reading.contradictions == "first":
            kept[key] = text, min(labels)
        elif less:
            part.num_contradictions += 1
            if reading.contradictions == "drop" or less[0][1] == number:
                del kept[key]
                part.num_contradictory += labels.total()
                continue
            kept[key] = text, most
            part.num_contradictory += labels.total() - number
            part.num_duplicates += number - 1
            continue
        part.num_duplicates += labels.total() - 1
    part.num_near_duplicates = sum(len(each) - 1 for key, each in others.items() if key in kept)
    part.keys = {*kept, *counts}
    part.labels = dict(kept.values())
    part.variants = {kept[key][0]: each for key, each in others.items() if key in kept}
    return part


def merge_labels(texts: Texts, labels: Mapping[str, str], name: str) -> Texts:
    """The texts with some classes called as others. Raises UserError for a class that is not there."""
    for old in labels:
        if old not in texts.learned_classes:
            known = texts.learned_classes[:1000]
            raise UserError(f"labels: {name} has no class {old[:40]!r}{did_you_mean(old, known, else_all=False)}")
    return _rename(texts, labels) if labels else texts


def leave_out(texts: Texts, rare: Mapping[str, int]) -> Texts:
    """The texts without those of some classes; where texts have several, without these."""
    understood = dataclasses.replace(texts.understood, dropped=dict(rare))
    return _rename(dataclasses.replace(texts, understood=understood), dict.fromkeys(rare))


def put_together(texts: Texts, rare: Mapping[str, int]) -> Texts:
    """The texts with some classes as one."""
    understood = dataclasses.replace(texts.understood, merged=dict(rare))
    return _rename(dataclasses.replace(texts, understood=understood), dict.fromkeys(rare, OTHER))


def _rename(texts: Texts, new: Mapping[str, str] | Mapping[str, None]) -> Texts:
    """The texts with some classes called in another way; None leaves a class out."""
    if texts.label_separator:
        called = [_join(label, new, texts.label_separator) for label in texts.classes]
        given = (texts.examples, texts.test_examples, texts.val_examples)
        plain = Texts((), *given, texts.understood, texts.group_of, texts.time_of)
        return LabelSets.of(_with_classes(plain, called), texts.label_separator)
    return _with_classes(texts, [new.get(label, label) for label in texts.classes])


def _join(label: str, new: Mapping[str, str] | Mapping[str, None], separator: str) -> str:
    called = (new.get(each, each) for each in label.split(separator) if each)
    return separator.join(each for each in called if each is not None)


def _with_classes(texts: Texts, called: Sequence[str | None]) -> Texts:
    """The texts, by class called so, or left out. The classes that are there already stay in their order."""
    kept = {each for each in called if each is not None}
    same = [each for each in texts.classes if each in kept]
    classes = same if len(same) == len(kept) else sorted(kept, key=natural_order)
    places = {each: place for place, each in enumerate(classes)}
    index = [None if each is None else places[each] for each in called]

    def renamed(examples: list[Example]) -> list[Example]:
        return [(text, new) for text, label in examples if (new := index[label]) is not None]

    return dataclasses.replace(
        texts,
        classes=tuple(classes),
        examples=renamed(texts.examples),
        test_examples=None if texts.test_examples is None else renamed(texts.test_examples),
        val_examples=None if texts.val_examples is None else renamed(texts.val_examples),
    )
