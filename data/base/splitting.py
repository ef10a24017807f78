"""Divides labelled texts into training, validation and test splits: by hash, by group, or by time."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data.base import holding_out, selecting
from data.base.chosen import Chosen, joined
from data.base.errors import UserError
from data.base.folding import Fold, parts
from data.base.holding_out import LEAST
from data.base.label_sets import LabelSets
from data.base.positive import with_positive_class
from data.base.reading import USUAL, Reading, Understood
from data.base.texts import SPLITS, Example, Texts

HELD_OUT = 10  # one in ten for validation, and one in ten for test

NUM_LISTED = 50  # classes named in a message at most

_CODES = {split: code for code, split in enumerate(SPLITS)}  # 'train' is 0

NO_FOLDS_OF_TIMES = (
    "folds: with time_column a model may not learn from texts that are newer than its test texts; leave folds out "
    "(confirm --seeds trains the best again on fresh seeds)"
)


@dataclass(frozen=True)
class Division:
    """The texts of a corpus that are used, by split, and their classes."""

    texts: Texts
    splits: Mapping[str, Sequence[Example]]  # 'train', 'val' and 'test'

    @property
    def understood(self) -> Understood:
        return self.texts.understood


def split_examples(
    texts: Texts,
    *,
    name: str,
    limit: int | None,
    seed: int = 0,
    reading: Reading = USUAL,
    fold: Fold | None = None,
    progress: bool = False,
) -> Division:
    """Divides examples into 'train', 'val' and 'test', each in the order of the hashes of its texts.

    Within each class the first tenth by hash is the test split and the next tenth the validation split, so that the
    order of the file does not matter and all splits have the same shares of the classes. An official test or
    validation split stays as it is, and its texts are removed from the others. `limit` keeps the first texts of each
    class in each split, so that a text held out in a limited search is held out in a full one too.

    If texts have groups or times, these decide which texts are held out (see `holding_out`). With both, time decides,
    and texts whose group is in a split of later texts are left out.

    seed: other values than 0 salt the hashes, which changes the division (and with `limit` the selection) of all texts
    outside of official splits; a division by time stays the same.

    reading: how to treat duplicates, texts with several labels, and classes with fewer than two examples in a split
    (by default a UserError).

    fold: divides the texts of all three splits into equal parts instead; this fold tests on one part, validates on the
    next and trains on the rest.
    """
    if reading.multi_label:
        texts = LabelSets.of(texts, reading.multi_label)
    for column, values in (("group_column", texts.group_of), ("time_column", texts.time_of)):
        if getattr(reading, column) is not None and not values:
            raise UserError(f"{column}: that column of {name} has no value in any row; leave it out")
    texts = selecting.merge_labels(texts, reading.labels, name)
    _require_two(texts, name)
    texts = selecting.use_each_once(texts, reading, name, salt=_salt(seed), progress=progress)
    divided = _divide(texts, name, seed)
    if rare := divided.rare():
        others = len(texts.learned_classes) - len(rare)
        if reading.min_examples is None or not others:
            advice = "; min_examples: drop leaves such classes out, merge makes one of them" if others else ""
            raise _too_few(divided, rare, name, advice)
        texts = (selecting.leave_out if reading.min_examples == "drop" else selecting.put_together)(texts, rare)
        _require_two(texts, name)
        divided = _divide(texts, name, seed)
        if rare := divided.rare():
            raise _too_few(divided, rare, name, "")
    if not reading.multi_label:
        texts = with_positive_class(texts, reading.positive_class, name)
        if texts.classes != divided.texts.classes:
            divided = _divide(texts, name, seed)

    sizes = _shares(limit, divided.sizes)
    left = divided.sizes_of_classes(sizes)
    if min(left.values()) < LEAST:
        split, label = min(left, key=left.__getitem__)
        least = -(-LEAST * sum(divided.sizes.values()) // divided.sizes_of_classes(divided.sizes)[split, label])
        raise UserError(
            f"{name}: limit={limit} leaves {left[split, label]} examples of class {texts.learned_classes[label]!r:.40} "
            f"in the {split} split, and {LEAST} are needed; limit={least} is enough"
        )
    if fold:
        divided = _of_fold(divided, sizes, fold, name, seed)
        sizes = divided.sizes
    splits: dict[str, Sequence[Example]] = {}
    for split in SPLITS:
        chosen_N = np.concatenate(
            [members_N[: sizes[key]] for key, members_N in divided.strata.items() if key[0] == split]
        )
        # Ordered by the reversed hash: `limit` selects by hash, whose order could separate the texts of the classes.
        ranks_N32 = divided.examples.only(chosen_N).ranks_N32
        assert ranks_N32 is not None
        splits[split] = divided.examples.only(chosen_N[_order(ranks_N32[:, ::-1])])
    understood = dataclasses.replace(
        texts.understood, num_groups=len({*texts.group_of.values()}), num_spanning=divided.num_spanning
    )
    return Division(dataclasses.replace(texts, understood=understood), splits)


@dataclass(frozen=True)
class _Divided:
    """Texts by split and stratum (see `Texts.strata`), in the order of their hashes."""

    texts: Texts
    examples: Chosen  # of all splits
    strata: Mapping[tuple[str, int], np.ndarray]  # int64, positions in `examples`
    num_spanning: int = 0  # texts left out because their group is in a split of later texts

    @property
    def sizes(self) -> dict[tuple[str, int], int]:
        return {stratum: len(members_N) for stratum, members_N in self.strata.items()}

    def sizes_of_classes(self, sizes: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], int]:
        """The number of texts by split and class if only the first `sizes` texts of each stratum are kept."""
        counts_of = {(split, label): 0 for label in range(len(self.texts.learned_classes)) for split in SPLITS}
        for (split, stratum), members_N in self.strata.items():
            labels, nums = np.unique(self.examples.labels_N[members_N[: sizes[split, stratum]]], return_counts=True)
            for label, num in zip(labels.tolist(), nums.tolist(), strict=True):
                for place in self.texts.places(label):
                    counts_of[split, place] += num
        return counts_of

    def rare(self) -> dict[str, int]:
        """Classes with too few texts in some split, with their total numbers of texts."""
        sizes = self.sizes_of_classes(self.sizes)
        return {
            class_name: sum(sizes[split, label] for split in SPLITS)
            for label, class_name in enumerate(self.texts.learned_classes)
            if any(sizes[split, label] < LEAST for split in SPLITS)
        }


def _divide(texts: Texts, name: str, seed: int) -> _Divided:
    official = {"test": texts.test_examples, "val": texts.val_examples}
    rest, val, test = (Chosen.of(part or []) for part in (texts.examples, texts.val_examples, texts.test_examples))
    examples = joined([rest, val, test])
    assert examples.ranks_N32 is not None
    labels, counts = np.unique(examples.labels_N, return_counts=True)
    strata = texts.strata(Counter(dict(zip(labels.tolist(), counts.tolist(), strict=True))))
    stratum_N = np.array(strata, dtype=np.int64)[examples.labels_N]
    held_out = [split for split, given in official.items() if given is None]
    order_N = _order(examples.ranks_N32)
    rest_N = order_N[order_N < len(rest)]
    split_N = np.concatenate(
        [np.zeros(len(rest), np.int8), np.full(len(val), _CODES["val"]), np.full(len(test), _CODES["test"])]
    )
    split_N[: len(rest)] = _hold_out(rest, stratum_N[: len(rest)], rest_N, texts, held_out, name, _salt(seed))
    num_spanning = int(np.count_nonzero(split_N < 0))
    # sorts by split and stratum; the stable sort keeps the order of hashes within them
    group_N = split_N[order_N].astype(np.int64) * len(texts.classes) + stratum_N[order_N]
    sorted_N = order_N[np.argsort(group_N, kind="stable")]
    sorted_N = sorted_N[num_spanning:] if num_spanning else sorted_N
    sizes = np.bincount(group_N[group_N >= 0], minlength=len(SPLITS) * len(texts.classes))
    members = np.split(sorted_N, np.cumsum(sizes)[:-1])
    divided = {
        (split, stratum): members[_CODES[split] * len(texts.classes) + stratum]
        for stratum in range(len(texts.classes))
        for split in ("test", "val", "train")
    }
    return _Divided(texts, examples, divided, num_spanning)


def _order(hashes_N32: np.ndarray) -> np.ndarray:
    """The positions that sort the hashes as byte strings."""
    quarters_N4 = np.ascontiguousarray(hashes_N32).view(">u8").astype(np.uint64)
    return np.lexsort(quarters_N4.T[::-1])


def _salt(seed: int) -> str:
    return f"{seed}\0" if seed else ""


def _of_fold(divided: _Divided, sizes: Mapping[tuple[str, int], int], fold: Fold, name: str, seed: int) -> _Divided:
    """Divides the texts that are used (the first `sizes` of each stratum) into the splits of a fold."""
    texts = divided.texts
    if texts.time_of:
        raise UserError(NO_FOLDS_OF_TIMES)
    if texts.val_examples is not None or texts.test_examples is not None:
        remedy = (
            "write split_column: none to divide all texts anew" if texts.understood.split_column else "leave folds out"
        )
        raise UserError(f"folds: {name} comes with a validation or test split, which is kept; {remedy}")
    ranks_N32 = divided.examples.ranks_N32
    assert ranks_N32 is not None
    strata: dict[int, np.ndarray] = {}
    for stratum in dict.fromkeys(stratum for _, stratum in divided.strata):
        used = [divided.strata[split, stratum][: sizes[split, stratum]] for split in SPLITS]
        places_N = np.concatenate(used)
        strata[stratum] = places_N[_order(ranks_N32[places_N])]
    written = {stratum: [text for text, _ in divided.examples.only(places_N)] for stratum, places_N in strata.items()}
    try:
        part_of = parts(written, texts.group_of, fold.count, _salt(seed))
    except UserError as error:
        raise UserError(f"folds: {name}: {error}; use fewer folds, or leave group_column out") from None
    sizes_of = {(part, label): 0 for part in range(fold.count) for label in range(len(texts.learned_classes))}
    new = {}
    for stratum, places_N in strata.items():
        parts_N = np.array([part_of[text] for text in written[stratum]], dtype=np.int64)
        for part, label in zip(parts_N.tolist(), divided.examples.labels_N[places_N].tolist(), strict=True):
            for place in texts.places(label):
                sizes_of[part, place] += 1
        split_P = np.array([_CODES[fold.split_of(part)] for part in range(fold.count)])
        for split in SPLITS:
            new[split, stratum] = places_N[split_P[parts_N] == _CODES[split]]
    if min(sizes_of.values()) < LEAST:  # checks all parts, so that the first fold already reports the error
        _, label = min(sizes_of, key=sizes_of.__getitem__)
        num = sum(sizes_of[part, label] for part in range(fold.count))
        raise UserError(
            f"folds: class {texts.learned_classes[label][:40]!r} of {name} has {num} texts, too few for {LEAST} in "
            f"each of {fold.count} parts; use fewer folds, or min_examples: drop or merge"
        )
    return dataclasses.replace(divided, strata=new)


def _hold_out(
    rest: Chosen,
    stratum_N: np.ndarray,
    order_N: np.ndarray,
    texts: Texts,
    held_out: Sequence[str],
    name: str,
    salt: str,
) -> np.ndarray:
    """The split code (see `_CODES`) of each text outside of official splits: 'train', one of `held_out`, or -1 if the
    text is left out. order_N: positions that sort the texts by hash."""
    if texts.time_of or texts.group_of:
        written = [text for text, _ in rest]
        stratum_of = dict(zip(written, stratum_N.tolist(), strict=True))
        split_of = _by_columns(stratum_of, texts, held_out, name, salt)
        return np.array([_CODES[split_of[text]] if text in split_of else -1 for text in written], dtype=np.int8)
    split_N = np.zeros(len(rest), dtype=np.int8)
    ordered_N = order_N[np.argsort(stratum_N[order_N], kind="stable")]
    sizes = np.bincount(stratum_N)
    for members_N in np.split(ordered_N, np.cumsum(sizes)[:-1]):
        tenth = (len(members_N) + HELD_OUT // 2) // HELD_OUT
        for place, split in enumerate(held_out):
            split_N[members_N[place * tenth : (place + 1) * tenth]] = _CODES[split]
    return split_N


def _by_columns(
    stratum_of: Mapping[str, int], texts: Texts, held_out: Sequence[str], name: str, salt: str
) -> dict[str, str]:
    """The split of each text, decided by its group or time."""
    try:
        if texts.time_of:
            times = {text: texts.time_of[text] for text in stratum_of}
            split_of = holding_out.by_time(times, held_out, share=HELD_OUT)
            return holding_out.without_groups_held_out(split_of, texts.group_of, held_out)
        return holding_out.by_group(stratum_of, texts.group_of, held_out, share=HELD_OUT, salt=salt)
    except UserError as error:
        raise UserError(f"{'time' if texts.time_of else 'group'}_column: {name}: {error}; leave it out") from None


def _require_two(texts: Texts, name: str) -> None:
    if len(texts.classes) < 2:
        which = ", ".join(f"{class_name[:40]!r}" for class_name in texts.classes) or "none"
        raise UserError(
            f"{name} has only one class, {which}, and at least two are needed; is it the right label_column?"
        )


def _too_few(divided: _Divided, rare: Mapping[str, int], name: str, advice: str) -> UserError:
    """The error for classes with too few texts. It lists them with their counts."""
    texts, sizes = divided.texts, divided.sizes_of_classes(divided.sizes)

    def described(class_name: str) -> str:
        label = texts.learned_classes.index(class_name)
        least = min(SPLITS, key=lambda split: sizes[split, label])
        return f"{class_name[:40]!r} ({rare[class_name]:,}, of which {sizes[least, label]} in {least})"

    listed = ", ".join(map(described, list(rare)[:NUM_LISTED]))
    more = f" and {len(rare) - NUM_LISTED:,} more" if len(rare) > NUM_LISTED else ""
    understood = texts.understood
    left_out = [
        f"{number:,} {what} texts were left out"
        for number, what in ((understood.num_duplicates, "equal"), (understood.num_contradictory, "contradictory"))
        if number
    ]
    if understood.split_column:
        hint = "; write split_column: none to divide all texts anew"
    elif texts.val_examples is not None or texts.test_examples is not None:
        hint = ""
    elif texts.time_of:
        hint = ", and the time of a text decides its split"
    elif texts.group_of:
        hint = f", and each of the {len({*texts.group_of.values()}):,} groups is in one split only"
    else:
        hint = f", for which {LEAST * HELD_OUT - HELD_OUT // 2} different texts of a class are enough"
    if divided.num_spanning:
        left_out.append(f"{divided.num_spanning:,} texts of groups in a later split were left out")
    return UserError(
        f"{name}: too few examples of {'class' if len(rare) == 1 else f'{len(rare)} classes:'} {listed}{more}; "
        f"{LEAST} are needed in each split{hint}{''.join(f'; {reason}' for reason in left_out)}{advice}"
    )


def _shares(total: int | None, sizes: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], int]:
    """Divides the total in proportion to the sizes; rounding by largest remainders."""
    whole = sum(sizes.values())
    if total is None or total >= whole:
        return dict(sizes)
    shares = {stratum: total * size // whole for stratum, size in sizes.items()}
    by_remainder = sorted(sizes, key=lambda stratum: -(total * sizes[stratum] % whole))
    for stratum in by_remainder[: total - sum(shares.values())]:
        shares[stratum] += 1
    return shares
