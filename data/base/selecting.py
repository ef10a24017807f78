"""Which texts and classes of a corpus are used: each text once, with one label, in classes of enough texts."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import numpy as np

from data.base.chosen import Chosen, relabelled
from data.base.errors import UserError, did_you_mean
from data.base.label_sets import LabelSets
from data.base.ordering import natural_order
from data.base.parallel import over_batches
from data.base.reading import Reading
from data.base.texts import Texts

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

    examples: Chosen
    keys_N: np.ndarray  # S16, of `examples`
    all_keys: np.ndarray  # S16, of all groups, those left out as well
    num_duplicates: int = 0
    num_near_duplicates: int = 0
    num_contradictions: int = 0
    num_contradictory: int = 0
    variants: dict[str, set[str]] = field(default_factory=dict)  # text -> those that are nearly like it, and itself


def use_each_once(texts: Texts, reading: Reading, name: str, *, salt: str = "", progress: bool = False) -> Texts:
    """The texts, each once, and no two equal ones in two splits: what is in the test split, or else in the validation
    split, is taken out of the others. Of equal texts the first by alphabet is kept, with the group that is the first by
    alphabet and the earliest time.

    The examples have ranks: the SHA-256 of each text; of those that are in no official split, with the salt before it.
    """
    test, val, rest = parts = [
        _unique(Chosen.of(examples or []), reading, salt=own, progress=progress)
        for examples, own in ((texts.test_examples, ""), (texts.val_examples, ""), (texts.examples, salt))
    ]
    for part, above in ((val, test.all_keys), (rest, np.concatenate([test.all_keys, val.all_keys]))):
        if len(above) and len(part.examples):
            left_N = np.flatnonzero(~np.isin(part.keys_N, above))
            part.num_duplicates += len(part.examples) - len(left_N)
            part.examples = part.examples.only(left_N)
    if texts.examples and not len(rest.examples) and rest.num_contradictory:
        raise UserError(
            f"{name}: each of its {rest.num_contradictions:,} different texts comes with several labels, so all are "
            "left out; are rows and labels out of step? If the labels are by several annotators, write "
            "contradictions: majority"
        )
    totals = {
        each: sum(getattr(part, each) for part in parts)
        for each in ("num_duplicates", "num_near_duplicates", "num_contradictions", "num_contradictory")
    }
    return dataclasses.replace(
        texts,
        examples=rest.examples,
        val_examples=None if texts.val_examples is None else val.examples,
        test_examples=None if texts.test_examples is None else test.examples,
        understood=dataclasses.replace(texts.understood, **totals),
        group_of=_of_kept(texts.group_of, parts),
        time_of=_of_kept(texts.time_of, parts),
    )


def _of_kept(values: Mapping[str, V], parts: Iterable[_Part]) -> dict[str, V]:
    """Of each text that is kept the least value that equal ones have, by text."""
    found = {}
    for part in parts if values else ():
        for text, _ in part.examples:
            if own := [values[each] for each in part.variants.get(text, (text,)) if each in values]:
                found[text] = min(own)
    return found


def _digests(texts: list[str], *, salt: str, folded: bool) -> tuple[bytes, bytes]:
    """Of each text the hash that ranks it, 32 bytes, and that of what it shares with equal ones, 16 bytes."""
    ranks = b"".join(hashlib.sha256((salt + text).encode("utf-8", "surrogatepass")).digest() for text in texts)
    same = map(fold, texts) if folded else texts
    keys = b"".join(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16] for text in same)
    return ranks, keys


def _unique(examples: Chosen, reading: Reading, *, salt: str, progress: bool) -> _Part:
    work = partial(_digests, salt=salt, folded=reading.duplicates == "folded")
    bar = "Comparing texts" if progress else ""
    pieces = [*over_batches(work, examples.batches(), len(examples), bar=bar)]
    ranks_N32 = np.frombuffer(b"".join(ranks for ranks, _ in pieces), dtype=np.uint8).reshape(-1, 32)
    keys_N = np.frombuffer(b"".join(keys for _, keys in pieces), dtype="S16")
    del pieces
    halves_N2 = keys_N.view(np.uint64).reshape(-1, 2)
    order_N = np.lexsort((halves_N2[:, 1], halves_N2[:, 0]))  # equal ones together, in the order of the rows
    sorted_N2 = halves_N2[order_N]
    starts = np.flatnonzero(np.r_[True, (sorted_N2[1:] != sorted_N2[:-1]).any(axis=1)] if len(order_N) else [])
    first, sizes = order_N[starts], np.diff(np.r_[starts, len(order_N)])
    kept, labels, is_kept = first.copy(), examples.labels_N[first], np.ones(len(first), dtype=bool)
    part = _Part(examples, keys_N, keys_N[first])
    for group in np.flatnonzero(sizes > 1).tolist():
        members = order_N[starts[group] : starts[group] + sizes[group]]
        label, one_of = _label(Counter(examples.labels_N[members].tolist()), reading, part)
        if label is None:
            is_kept[group] = False
            continue
        labels[group] = label
        different = np.unique(ranks_N32[members], axis=0, return_index=True)[1] if one_of > 1 else np.zeros(1)
        if len(different) > 1:  # equal but for case, spaces or punctuation at their ends
            written = examples.store.batch(examples.places_N[members[different]])
            part.num_near_duplicates += len(written) - 1
            kept[group] = members[different[written.index(min(written))]]
            part.variants[min(written)] = {*written}
    shown = np.argsort(first, kind="stable")  # in the order of the rows
    shown = shown[is_kept[shown]]
    part.examples = Chosen(
        examples.store, examples.places_N[kept[shown]], labels[shown], np.ascontiguousarray(ranks_N32[kept[shown]])
    )
    part.keys_N = keys_N[kept[shown]]
    return part


def _label(labels: Counter[int], reading: Reading, part: _Part) -> tuple[int | None, int]:
    """The label of several equal texts, None where they are left out, and how many they are; what is left out of them
    is counted."""
    number_of = labels.total()
    (most, number), *less = labels.most_common()
    if reading.contradictions != "first" and less:
        part.num_contradictions += 1
        if reading.contradictions == "drop" or less[0][1] == number:
            part.num_contradictory += number_of
            return None, number_of
        part.num_contradictory += number_of - number
        part.num_duplicates += number - 1
        return most, number_of
    part.num_duplicates += number_of - 1
    return min(labels), number_of


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

    return dataclasses.replace(
        texts,
        classes=tuple(classes),
        examples=relabelled(texts.examples, index),
        test_examples=None if texts.test_examples is None else relabelled(texts.test_examples, index),
        val_examples=None if texts.val_examples is None else relabelled(texts.val_examples, index),
    )
