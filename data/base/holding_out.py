"""Which texts are held out where their groups or their times decide that, rather than the hash of each text."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from data.base.errors import UserError

LEAST = 2  # examples of a class in a split


def by_group(
    stratum_of: Mapping[str, int], group_of: Mapping[str, str], held_out: Sequence[str], *, share: int, salt: str
) -> dict[str, str]:
    """The split of each text, 'train' or one of those held out; all texts of a group are in the same.

    Each held out split takes groups in the order of the hashes of their names, as long as one brings it nearer to one
    in `share` texts of each stratum, and then what it lacks of LEAST texts of a stratum. A text without a group is one
    of its own. Row order does not matter.

    Raises UserError where there are too few groups for as many splits.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for text in stratum_of:
        # a name, with its length before it, is never like a text
        members[f"{len(group)} {group}" if (group := group_of.get(text)) else f"- {text}"].append(text)
    if len(members) <= len(held_out):
        raise UserError(f"at least {len(held_out) + 1} groups are needed, one for each split; there are {len(members)}")
    # sorted, so that sums over strata are the same to the last digit in any order of rows
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
    """The names of groups that together have about the wanted number of each stratum."""
    have, chosen = Counter[int](), set()

    def further(group: Counter[int]) -> list[float]:
        """How much further away from each target it brings what there is, by squares, as a part of that target."""
        return [
            number * (2 * (have[each] - targets[each]) + number) / max(1, targets[each])
            for each, number in group.items()
        ]

    def take(name: str, group: Counter[int]) -> None:
        chosen.add(name)
        have.update(group)

    for distance in (max, sum):  # first those that suit every stratum, then those that do more good than harm
        for name, group in groups:
            if name not in chosen and distance(further(group)) < 0:
                take(name, group)
    for stratum in sorted(targets):
        if have[stratum] >= LEAST:
            continue
        others = [(name, group) for name, group in groups if group[stratum] and name not in chosen]
        while have[stratum] < LEAST and others:
            name, group = best = min(others, key=lambda each: sum(further(each[1])))
            take(name, group)
            others.remove(best)
    return chosen


def by_time(time_of: Mapping[str, float], held_out: Sequence[str], *, share: int) -> dict[str, str]:
    """The split of each text: the latest of the future are the first of those held out, those before them the next.

    Each held out split is as near to one in `share` texts as it can be where texts of the same time are never parted.

    Raises UserError where there are too few different times for as many splits.
    """
    counts = Counter(time_of.values())
    times = sorted(counts)
    if len(times) <= len(held_out):
        raise UserError(
            f"at least {len(held_out) + 1} different times are needed, one for each split; there are {len(times)}"
        )
    before = [0, *accumulate(counts[time] for time in times)]  # texts before each of the times
    tenth = (len(time_of) + share // 2) // share
    split_at: dict[float, str] = dict.fromkeys(times, "train")
    end = len(times)
    for place, split in enumerate(held_out):
        needed = len(held_out) - place  # times that the other splits need
        wanted = before[end] - tenth
        later = bisect_left(before, wanted)
        borders = [each for each in (later - 1, later) if needed <= each < end] or [max(needed, end - 1)]
        start = min(borders, key=lambda each: abs(before[each] - wanted))
        split_at.update((time, split) for time in times[start:end])
        end = start
    return {text: split_at[time] for text, time in time_of.items()}


def without_groups_held_out(
    split_of: Mapping[str, str], group_of: Mapping[str, str], held_out: Iterable[str]
) -> dict[str, str]:
    """Without those texts whose group is in a split that is held out before theirs."""
    taken: set[str] = set()
    left_out: set[str] = set()
    for split in (*held_out, "train"):
        own = [text for text, of in split_of.items() if of == split]
        left_out.update(text for text in own if group_of.get(text) in taken)
        taken.update(group_of[text] for text in own if text in group_of and text not in left_out)
    return {text: split for text, split in split_of.items() if text not in left_out}
