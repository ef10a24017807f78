"""Holding out texts by group or by time, rather than by the hash of each text."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from data.base.errors import UserError

LEAST = 2  # minimum number of examples of a class in a split


def by_group(
    stratum_of: Mapping[str, int], group_of: Mapping[str, str], held_out: Sequence[str], *, share: int, salt: str
) -> dict[str, str]:
    """The split of each text, 'train' or one of `held_out`. All texts of a group are in the same split.

    The target of each held-out split is a fraction 1/`share` of each stratum. A split takes every group, in the order
    of the hashes of their names, that brings it closer to its targets, and then further groups until it has LEAST texts
    of every stratum. A text without a group forms a group by itself. Row order does not matter.

    Raises UserError if there are too few groups for the splits.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for text in stratum_of:
        # the prefix keeps names of groups and texts apart
        members[f"{len(group)} {group}" if (group := group_of.get(text)) else f"- {text}"].append(text)
    if len(members) <= len(held_out):
        raise UserError(f"at least {len(held_out) + 1} groups are needed, one for each split; there are {len(members)}")
    # sorted, so that sums over strata are equal to the last digit in any row order
    strata = {name: Counter(sorted(stratum_of[text] for text in texts)) for name, texts in members.items()}
    left = sorted(members, key=lambda name: hashlib.sha256((salt + name).encode()).digest())
    sizes = Counter(stratum_of.values())
    targets = {stratum: (size + share // 2) // share for stratum, size in sizes.items()}
    split_of = dict.fromkeys(stratum_of, "train")
    for split in held_out:
        chosen = _nearest([(name, strata[name]) for name in left], targets)
        split_of.update((text, split) for name in chosen for text in members[name])
        left = [name for name in left if name not in chosen]
    return split_of


def _nearest(groups: Sequence[tuple[str, Counter[int]]], targets: Mapping[int, int]) -> set[str]:
    """The names of groups that together have about the target number of texts of each stratum."""
    have, chosen = Counter[int](), set()

    def further(group: Counter[int]) -> list[float]:
        """By stratum, how much the group would increase the squared distance to the target, relative to the target."""
        return [
            number * (2 * (have[stratum] - targets[stratum]) + number) / max(1, targets[stratum])
            for stratum, number in group.items()
        ]

    def take(name: str, group: Counter[int]) -> None:
        chosen.add(name)
        have.update(group)

    for distance in (max, sum):  # first groups that improve every stratum, then groups that improve the total
        for name, group in groups:
            if name not in chosen and distance(further(group)) < 0:
                take(name, group)
    for stratum in sorted(targets):
        if have[stratum] >= LEAST:
            continue
        others = [(name, group) for name, group in groups if group[stratum] and name not in chosen]
        while have[stratum] < LEAST and others:
            name, group = best = min(others, key=lambda candidate: sum(further(candidate[1])))
            take(name, group)
            others.remove(best)
    return chosen


def by_time(time_of: Mapping[str, float], held_out: Sequence[str], *, share: int) -> dict[str, str]:
    """The split of each text: the newest texts are the first split of `held_out`, the next newest the second, ...

    The size of each held-out split is as close to a fraction 1/`share` of the texts as possible without separating
    texts of equal times.

    Raises UserError if there are too few different times for the splits.
    """
    counts = Counter(time_of.values())
    times = sorted(counts)
    if len(times) <= len(held_out):
        raise UserError(
            f"at least {len(held_out) + 1} different times are needed, one for each split; there are {len(times)}"
        )
    before = [0, *accumulate(counts[time] for time in times)]  # number of texts before each time
    size = (len(time_of) + share // 2) // share
    split_at: dict[float, str] = dict.fromkeys(times, "train")
    end = len(times)
    for place, split in enumerate(held_out):
        needed = len(held_out) - place  # times to leave for the remaining splits
        target = before[end] - size
        later = bisect_left(before, target)
        borders = [border for border in (later - 1, later) if needed <= border < end] or [max(needed, end - 1)]
        start = min(borders, key=lambda border: abs(before[border] - target))
        split_at.update((time, split) for time in times[start:end])
        end = start
    return {text: split_at[time] for text, time in time_of.items()}


def without_groups_held_out(
    split_of: Mapping[str, str], group_of: Mapping[str, str], held_out: Iterable[str]
) -> dict[str, str]:
    """Leaves out texts whose group also occurs in an earlier split; 'train' comes after the splits of `held_out`."""
    taken: set[str] = set()
    left_out: set[str] = set()
    for split in (*held_out, "train"):
        members = [text for text, text_split in split_of.items() if text_split == split]
        left_out.update(text for text in members if group_of.get(text) in taken)
        taken.update(group_of[text] for text in members if text in group_of and text not in left_out)
    return {text: split for text, split in split_of.items() if text not in left_out}
