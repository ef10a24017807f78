"""Divides labelled texts into training, validation and test, by a hash of each text."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from data.base import selecting
from data.base.errors import UserError
from data.base.label_sets import LabelSets
from data.base.positive import with_positive_class
from data.base.reading import USUAL, Reading, Understood
from data.base.texts import SPLITS, Example, Texts

HELD_OUT = 10  # one in ten for validation, and one in ten for test


LEAST = 2  # examples of a class in a split

NUM_LISTED = 50  # classes in a message


@dataclass(frozen=True)
class Division:
    """What is made of a corpus's texts: those that are used, by split, and their classes."""

    texts: Texts
    splits: dict[str, list[Example]]  # 'train', 'val' and 'test'

    @property
    def understood(self) -> Understood:
        return self.texts.understood


def split_examples(texts: Texts, *, name: str, limit: int | None, seed: int = 0, reading: Reading = USUAL) -> Division:
    """The examples of 'train', 'val' and 'test', in the order of their texts' hashes.

    Within each class the first tenth by hash is the test split and the next the validation split, so that the
    order of the file does not matter and each split has the classes' shares. An official test or validation split
    stays as it is, and its texts are taken out of the others. `limit` keeps the first of each class in each split: what
    a limited search holds out, a full one holds out too.

    seed: any but 0 salts the hashes, which gives another division (and with `limit` another choice) of all texts but
    those of official splits.

    reading: what becomes of equal texts, of those with several labels, and of classes with fewer than two examples in a
    split, which are a UserError if it does not say.
    """
    if reading.multi_label:
        texts = LabelSets.of(texts, reading.multi_label)
    texts = selecting.merge_labels(texts, reading.labels, name)
    _require_two(texts, name)
    texts = selecting.use_each_once(texts, reading, name)
    divided = _divide(texts, seed)
    if rare := divided.rare():
        if reading.min_examples is None:
            advice = "; min_examples: drop leaves such classes out, merge makes one of them"
            raise _too_few(divided, rare, name, advice)
        texts = (selecting.leave_out if reading.min_examples == "drop" else selecting.put_together)(texts, rare)
        _require_two(texts, name)
        divided = _divide(texts, seed)
        if rare := divided.rare():
            raise _too_few(divided, rare, name, "")
    if not reading.multi_label:
        texts = with_positive_class(texts, reading.positive_class, name)
        if texts.classes != divided.texts.classes:
            divided = _divide(texts, seed)

    sizes = _shares(limit, divided.sizes)
    left = divided.sizes_of_classes(sizes)
    if min(left.values()) < LEAST:
        split, label = min(left, key=left.__getitem__)
        least = -(-LEAST * sum(divided.sizes.values()) // divided.sizes_of_classes(divided.sizes)[split, label])
        raise UserError(
            f"{name}: limit={limit} leaves {left[split, label]} examples of class {texts.learned_classes[label]!r:.40} "
            f"in the {split} split, and {LEAST} are needed; limit={least} is enough"
        )
    splits: dict[str, list[Example]] = {}
    for split in SPLITS:
        chosen = [
            (text, divided.label_of[text])
            for (of, group), all_ in divided.groups.items()
            if of == split
            for text in all_[: sizes[of, group]]
        ]
        # by the hash read backwards: forwards, the first of one class could all come before those of another
        splits[split] = sorted(chosen, key=lambda example: divided.rank[example[0]][::-1])
    return Division(texts, splits)


@dataclass(frozen=True)
class _Divided:
    """Texts by split and group (`Texts.groups`), in the order of their hashes."""

    texts: Texts
    label_of: Mapping[str, int]
    rank: Mapping[str, bytes]  # the hash of each text
    groups: Mapping[tuple[str, int], Sequence[str]]

    @property
    def sizes(self) -> dict[tuple[str, int], int]:
        return {group: len(members) for group, members in self.groups.items()}

    def sizes_of_classes(self, sizes: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], int]:
        """How many texts of each class are in each split, when the first of each group are kept, as `sizes` says."""
        found = {(split, label): 0 for label in range(len(self.texts.learned_classes)) for split in SPLITS}
        for (split, group), all_ in self.groups.items():
            for label, num in Counter(map(self.label_of.__getitem__, all_[: sizes[split, group]])).items():
                for place in self.texts.places(label):
                    found[split, place] += num
        return found

    def rare(self) -> dict[str, int]:
        """The classes that have too few texts in any split, and how many they have in all."""
        sizes = self.sizes_of_classes(self.sizes)
        return {
            class_name: sum(sizes[split, label] for split in SPLITS)
            for label, class_name in enumerate(self.texts.learned_classes)
            if any(sizes[split, label] < LEAST for split in SPLITS)
        }


def _divide(texts: Texts, seed: int) -> _Divided:
    parts = [dict(examples or []) for examples in (texts.examples, texts.val_examples, texts.test_examples)]
    rest, val, test = parts
    salt = f"{seed}\0" if seed else ""
    rank = {text: hashlib.sha256((salt + text).encode()).digest() for text in rest}
    rank |= {text: hashlib.sha256(text.encode()).digest() for text in chain(val, test)}
    label_of = rest | val | test
    group_of = texts.groups(Counter(label_of.values()))
    by_group = [[list[str]() for _ in texts.classes] for _ in parts]
    for labels, groups in zip(parts, by_group, strict=True):
        for text in sorted(labels, key=rank.__getitem__):
            groups[group_of[labels[text]]].append(text)

    divided: dict[tuple[str, int], list[str]] = {}
    rest_by_group, val_by_group, test_by_group = by_group
    for group, ordered in enumerate(rest_by_group):
        divided["test", group], divided["val", group] = test_by_group[group], val_by_group[group]
        tenth = (len(ordered) + HELD_OUT // 2) // HELD_OUT
        for split, examples in (("test", texts.test_examples), ("val", texts.val_examples)):
            if examples is None:
                divided[split, group], ordered = ordered[:tenth], ordered[tenth:]
        divided["train", group] = ordered
    return _Divided(texts, label_of, rank, divided)


def _require_two(texts: Texts, name: str) -> None:
    if len(texts.classes) < 2:
        which = ", ".join(f"{each[:40]!r}" for each in texts.classes) or "none"
        raise UserError(f"{name} has one class only, {which}; at least two are needed")


def _too_few(divided: _Divided, rare: Mapping[str, int], name: str, advice: str) -> UserError:
    """What to say of classes of too few texts: all of them."""
    texts, sizes = divided.texts, divided.sizes_of_classes(divided.sizes)

    def described(class_name: str) -> str:
        label = texts.learned_classes.index(class_name)
        least = min(SPLITS, key=lambda split: sizes[split, label])
        return f"{class_name[:40]!r} ({rare[class_name]:,}, of which {sizes[least, label]} in {least})"

    listed = ", ".join(map(described, list(rare)[:NUM_LISTED]))
    more = f" and {len(rare) - NUM_LISTED:,} more" if len(rare) > NUM_LISTED else ""
    understood = texts.understood
    if len(rare) == len(texts.learned_classes):  # nothing would be left
        advice = ""
    left_out = [
        f"{number:,} {what} texts were left out"
        for number, what in ((understood.num_duplicates, "equal"), (understood.num_contradictory, "contradictory"))
        if number
    ]
    if understood.split_column:
        enough = "; split_column: none divides all texts anew"
    elif texts.val_examples is not None or texts.test_examples is not None:
        enough = ""
    else:
        enough = f", for which {LEAST * HELD_OUT - HELD_OUT // 2} different texts of a class are enough"
    return UserError(
        f"{name}: too few examples of {'class' if len(rare) == 1 else f'{len(rare)} classes:'} {listed}{more}; "
        f"{LEAST} are needed in each split{enough}{''.join(f'; {each}' for each in left_out)}{advice}"
    )


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
