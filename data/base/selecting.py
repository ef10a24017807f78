"""Selecting the texts and classes of a corpus: each text once, with one label, in classes with enough texts."""

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

OTHER = "other"  # the class into which rare classes are merged


def fold(text: str) -> str:
    """A normal form, equal for texts that differ only in case, spaces or punctuation at the end."""
    folded = " ".join(text.casefold().split())
    return folded.rstrip(END_PUNCTUATION) or folded


@dataclass
class _Part:
    """The distinct texts of a split, with their labels, and counts of what was left out."""

    examples: Chosen
    keys_N: np.ndarray  # S16, hash of the (normalised) text of each example
    all_keys: np.ndarray  # S16, likewise, including texts that were left out
    num_duplicates: int = 0
    num_near_duplicates: int = 0
    num_contradictions: int = 0
    num_contradictory: int = 0
    variants: dict[str, set[str]] = field(default_factory=dict)  # text -> its near duplicates, and itself


def use_each_once(texts: Texts, reading: Reading, name: str, *, salt: str = "", progress: bool = False) -> Texts:
    """Removes duplicates, within and across splits: a text of the test split is removed from the others, and a text of
    the validation split from the training split. Of equal texts the alphabetically first is kept, with the
    alphabetically first group and the earliest time of all of them.

    The examples get ranks: the SHA-256 of the text, with the salt before it if the text is in no official split.
    """
    test, val, rest = parts = [
        _unique(Chosen.of(examples or []), reading, salt=split_salt, progress=progress)
        for examples, split_salt in ((texts.test_examples, ""), (texts.val_examples, ""), (texts.examples, salt))
    ]
    for part, taken in ((val, test.all_keys), (rest, np.concatenate([test.all_keys, val.all_keys]))):
        if len(taken) and len(part.examples):
            left_N = np.flatnonzero(~np.isin(part.keys_N, taken))
            part.num_duplicates += len(part.examples) - len(left_N)
            part.examples = part.examples.only(left_N)
    if texts.examples and not len(rest.examples) and rest.num_contradictory:
        raise UserError(
            f"{name}: each of its {rest.num_contradictions:,} different texts has several labels, so all are left out; "
            "are texts and labels misaligned? If the labels are by several annotators, write "
            "contradictions: majority"
        )
    totals = {
        count: sum(getattr(part, count) for part in parts)
        for count in ("num_duplicates", "num_near_duplicates", "num_contradictions", "num_contradictory")
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
    """For each text that is kept, the smallest value among its duplicates."""
    smallest = {}
    for part in parts if values else ():
        for text, _ in part.examples:
            variants = part.variants.get(text, (text,))
            if known := [values[variant] for variant in variants if variant in values]:
                smallest[text] = min(known)
    return smallest


def _digests(texts: list[str], *, salt: str, folded: bool) -> tuple[bytes, bytes]:
    """For each text the hash that ranks it (32 bytes) and the hash that duplicates share (16 bytes), concatenated."""
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
    order_N = np.lexsort((halves_N2[:, 1], halves_N2[:, 0]))  # groups equal texts; row order within a group
    sorted_N2 = halves_N2[order_N]
    starts = np.flatnonzero(np.r_[True, (sorted_N2[1:] != sorted_N2[:-1]).any(axis=1)] if len(order_N) else [])
    first, sizes = order_N[starts], np.diff(np.r_[starts, len(order_N)])
    kept, labels, is_kept = first.copy(), examples.labels_N[first], np.ones(len(first), dtype=bool)
    part = _Part(examples, keys_N, keys_N[first])
    for group in np.flatnonzero(sizes > 1).tolist():
        members = order_N[starts[group] : starts[group] + sizes[group]]
        label, num_equal = _label(Counter(examples.labels_N[members].tolist()), reading, part)
        if label is None:
            is_kept[group] = False
            continue
        labels[group] = label
        distinct = np.unique(ranks_N32[members], axis=0, return_index=True)[1] if num_equal > 1 else np.zeros(1)
        if len(distinct) > 1:  # equal except for case, spaces or punctuation at the end
            written = examples.store.batch(examples.places_N[members[distinct]])
            part.num_near_duplicates += len(written) - 1
            kept[group] = members[distinct[written.index(min(written))]]
            part.variants[min(written)] = {*written}
    by_row = np.argsort(first, kind="stable")
    by_row = by_row[is_kept[by_row]]
    part.examples = Chosen(
        examples.store, examples.places_N[kept[by_row]], labels[by_row], np.ascontiguousarray(ranks_N32[kept[by_row]])
    )
    part.keys_N = keys_N[kept[by_row]]
    return part


def _label(labels: Counter[int], reading: Reading, part: _Part) -> tuple[int | None, int]:
    """The label of a group of equal texts, None if all are left out, and the size of the group.

    Adds what is left out to the counts of `part`.
    """
    num_equal = labels.total()
    (most, number), *others = labels.most_common()
    if reading.contradictions != "first" and others:
        part.num_contradictions += 1
        if reading.contradictions == "drop" or others[0][1] == number:
            part.num_contradictory += num_equal
            return None, num_equal
        part.num_contradictory += num_equal - number
        part.num_duplicates += number - 1
        return most, num_equal
    part.num_duplicates += num_equal - 1
    return min(labels), num_equal


def merge_labels(texts: Texts, labels: Mapping[str, str], name: str) -> Texts:
    """Renames classes, merging those with the same new name. Raises UserError for a class that does not exist."""
    for old in labels:
        if old not in texts.learned_classes:
            known = texts.learned_classes[:1000]
            raise UserError(f"labels: {name} has no class {old[:40]!r}{did_you_mean(old, known, else_all=False)}")
    return _rename(texts, labels) if labels else texts


def leave_out(texts: Texts, rare: Mapping[str, int]) -> Texts:
    """Leaves out the texts of rare classes; multi-label texts only lose these classes."""
    understood = dataclasses.replace(texts.understood, dropped=dict(rare))
    return _rename(dataclasses.replace(texts, understood=understood), dict.fromkeys(rare))


def put_together(texts: Texts, rare: Mapping[str, int]) -> Texts:
    """Merges rare classes into one."""
    understood = dataclasses.replace(texts.understood, merged=dict(rare))
    return _rename(dataclasses.replace(texts, understood=understood), dict.fromkeys(rare, OTHER))


def _rename(texts: Texts, new: Mapping[str, str] | Mapping[str, None]) -> Texts:
    """Renames classes; None leaves a class out."""
    if texts.label_separator:
        renamed = [_join(label, new, texts.label_separator) for label in texts.classes]
        given = (texts.examples, texts.test_examples, texts.val_examples)
        plain = Texts((), *given, texts.understood, texts.group_of, texts.time_of)
        return LabelSets.of(_with_classes(plain, renamed), texts.label_separator)
    return _with_classes(texts, [new.get(label, label) for label in texts.classes])


def _join(label: str, new: Mapping[str, str] | Mapping[str, None], separator: str) -> str:
    renamed = (new.get(name, name) for name in label.split(separator) if name)
    return separator.join(name for name in renamed if name is not None)


def _with_classes(texts: Texts, renamed: Sequence[str | None]) -> Texts:
    """Gives the classes new names; None leaves a class out. Classes that keep their names keep their order."""
    kept = {name for name in renamed if name is not None}
    same = [name for name in texts.classes if name in kept]
    classes = same if len(same) == len(kept) else sorted(kept, key=natural_order)
    places = {name: place for place, name in enumerate(classes)}
    index = [None if name is None else places[name] for name in renamed]

    return dataclasses.replace(
        texts,
        classes=tuple(classes),
        examples=relabelled(texts.examples, index),
        test_examples=None if texts.test_examples is None else relabelled(texts.test_examples, index),
        val_examples=None if texts.val_examples is None else relabelled(texts.val_examples, index),
    )
