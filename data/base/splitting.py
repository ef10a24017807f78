"""Divides labelled texts into training, validation and test, by a hash of each text."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from data.base.errors import UserError
from data.base.label_sets import LabelSets
from data.base.positive import with_positive_class
from data.base.reading import USUAL, Reading, Understood
from data.base.texts import SPLITS, Example, Texts

HELD_OUT = 10  # one in ten for validation, and one in ten for test


LEAST = 2  # examples of a class in a split


@dataclass(frozen=True)
class Division:
    """What is made of a corpus's texts: those that are used, by split, and their classes."""

    texts: Texts
    splits: dict[str, list[Example]]  # 'train', 'val' and 'test'
    understood: Understood


def split_examples(texts: Texts, *, name: str, limit: int | None, seed: int = 0, reading: Reading = USUAL) -> Division:
    """The examples of 'train', 'val' and 'test', in the order of their texts' hashes.

    Within each class the first tenth by hash is the test split and the next the validation split, so that the
    order of the file does not matter and each split has the classes' shares. An official test or validation split
    stays as it is, and its texts are taken out of the others. `limit` keeps the first of each class in each split: what
    a limited search holds out, a full one holds out too. Of equal texts one is kept, with the first of their labels.

    seed: any but 0 salts the hashes, which gives another division (and with `limit` another choice) of all texts but
    those of official splits.

    Raises UserError if a class has fewer than two examples in a split.
    """
    if reading.multi_label:
        texts = LabelSets.of(texts, reading.multi_label)
    else:
        texts = with_positive_class(texts, reading.positive_class, name)
    given = (texts.test_examples, texts.val_examples, texts.examples)
    test, val, rest = (_unique(examples or []) for examples in given)
    val = {text: label for text, label in val.items() if text not in test}
    rest = {text: label for text, label in rest.items() if text not in test and text not in val}
    num_duplicates = sum(len(examples or []) for examples in given) - len(rest) - len(val) - len(test)

    salt = f"{seed}\0" if seed else ""
    rank = {text: hashlib.sha256((salt + text).encode()).digest() for text in rest}
    rank |= {text: hashlib.sha256(text.encode()).digest() for text in chain(val, test)}
    label_of = rest | val | test
    group_of = texts.groups(Counter(label_of.values()))
    rest_by_group, val_by_group, test_by_group = ([list[str]() for _ in texts.classes] for _ in range(3))
    for labels, by_group in ((rest, rest_by_group), (val, val_by_group), (test, test_by_group)):
        for text in sorted(labels, key=rank.__getitem__):
            by_group[group_of[labels[text]]].append(text)

    groups: dict[tuple[str, int], list[str]] = {}
    for label, ordered in enumerate(rest_by_group):
        groups["test", label], groups["val", label] = test_by_group[label], val_by_group[label]
        tenth = (len(ordered) + HELD_OUT // 2) // HELD_OUT
        for split, examples in (("test", texts.test_examples), ("val", texts.val_examples)):
            if examples is None:
                groups[split, label], ordered = ordered[:tenth], ordered[tenth:]
        groups["train", label] = ordered
    sizes = {group: len(members) for group, members in groups.items()}
    of_class = _sizes_of_classes(texts, groups, sizes, label_of)
    for label, class_name in enumerate(texts.learned_classes):
        for split in SPLITS:
            if of_class[split, label] < LEAST:
                raise UserError(
                    f"{name}: class {class_name!r} has {of_class[split, label]} examples in the {split} split, and "
                    f"{LEAST} are needed; {LEAST * HELD_OUT - HELD_OUT // 2} different texts of a class are enough"
                )

    sizes = _shares(limit, sizes)
    left = _sizes_of_classes(texts, groups, sizes, label_of)
    if min(left.values()) < LEAST:
        split, label = min(left, key=left.__getitem__)
        least = -(-LEAST * sum(map(len, groups.values())) // of_class[split, label])
        raise UserError(
            f"{name}: limit={limit} leaves {left[split, label]} examples of class {texts.learned_classes[label]!r} in "
            f"the {split} split, and {LEAST} are needed; limit={least} is enough"
        )
    splits: dict[str, list[Example]] = {}
    for split in SPLITS:
        chosen = [
            (text, label_of[text])
            for (of, group), all_ in groups.items()
            if of == split
            for text in all_[: sizes[of, group]]
        ]
        # by the hash read backwards: forwards, the first of one class could all come before those of another
        splits[split] = sorted(chosen, key=lambda example: rank[example[0]][::-1])
    return Division(texts, splits, dataclasses.replace(texts.understood, num_duplicates=num_duplicates))


def _sizes_of_classes(
    texts: Texts,
    groups: Mapping[tuple[str, int], Sequence[str]],
    sizes: Mapping[tuple[str, int], int],
    label_of: Mapping[str, int],
) -> dict[tuple[str, int], int]:
    """How many texts of each class are in each split, when the first of each group are kept, as `sizes` says."""
    found = {(split, label): 0 for label in range(len(texts.learned_classes)) for split in SPLITS}
    for (split, group), all_ in groups.items():
        for label, num in Counter(map(label_of.__getitem__, all_[: sizes[split, group]])).items():
            for place in texts.places(label):
                found[split, place] += num
    return found


def _unique(examples: Sequence[Example]) -> dict[str, int]:
    labels: dict[str, int] = {}
    for text, label in examples:
        labels[text] = min(label, labels.get(text, label))
    return labels


def _shares(total: int | None, sizes: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], int]:
    """Divides the total in proportion to the sizes; what rounding leaves goes to the largest remainders."""
    whole = sum(sizes.values())
    if total is None or total >= whole:
        return dict(sizes)
    shares = {group: total * size // whole for group, size in sizes.items()}
    by_remainder = sorted(sizes, key=lambda group: -(total * sizes[group] % whole))
    for group in by_remainder[: total - sum(shares.values())]:
        shares[group] += 1
    return shares
