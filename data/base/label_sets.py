"""Multi-label texts: a label names all classes of a text, with a separator between them.

Until the texts are encoded, every distinct set of classes is treated as one class; encoding turns it into a row of
ones and zeros.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from data.base.ordering import natural_order
from data.base.texts import Example, Texts

if TYPE_CHECKING:
    import numpy as np

LABEL_SETS = "labels_NC"  # key among a split's arrays: uint8, 1 if the text has the class
ENOUGH = 20  # minimum number of texts of a stratum, which leaves at least two in each split


def split_label(label: str, separator: str) -> frozenset[str]:
    """'good; urgent' -> good, urgent. Spaces around a class are removed, and empty parts are ignored."""
    return frozenset(filter(None, (part.strip() for part in label.split(separator))))


@dataclass(frozen=True)
class LabelSets(Texts):
    """Multi-label texts: `classes` are the distinct sets of classes that occur.

    single: the classes, in order. members: for each set, the indices of its classes in `single`. separator: see `of`.
    """

    single: tuple[str, ...] = ()
    members: tuple[tuple[int, ...], ...] = ()
    separator: str = ";"

    @property
    def label_separator(self) -> str:
        return self.separator

    @property
    def learned_classes(self) -> tuple[str, ...]:
        return self.single

    @classmethod
    def of(cls, texts: Texts, separator: str) -> LabelSets:
        """Texts whose labels list classes, in any order, with the separator between them."""
        from data.base.chosen import relabelled

        sets = [split_label(name, separator) for name in texts.classes]
        single = sorted(frozenset().union(*sets), key=natural_order)
        places = {name: place for place, name in enumerate(single)}
        members_of = [tuple(sorted(places[name] for name in names)) for names in sets]
        members = sorted({*members_of})
        new = [members.index(classes) for classes in members_of]

        def renamed(examples: Sequence[Example] | None) -> Sequence[Example] | None:
            return None if examples is None else relabelled(examples, new)

        return cls(
            classes=tuple(separator.join(single[place] for place in combination) for combination in members),
            examples=renamed(texts.examples) or [],
            test_examples=renamed(texts.test_examples),
            val_examples=renamed(texts.val_examples),
            single=tuple(single),
            members=tuple(members),
            separator=separator,
            understood=texts.understood,
            group_of=texts.group_of,
            time_of=texts.time_of,
        )

    def places(self, label: int) -> tuple[int, ...]:
        return self.members[label]

    def strata(self, counts: Mapping[int, int]) -> Sequence[int]:
        """Rare sets of classes are pooled by their rarest class; pools that are still too small form one stratum."""
        texts_of = Counter[int]()
        for label, num in counts.items():
            texts_of.update(dict.fromkeys(self.members[label], num))
        stratum_of = list(range(len(self.classes)))
        for together in (False, True):
            sizes = Counter[int]()
            for label, stratum in enumerate(stratum_of):
                sizes[stratum] += counts.get(label, 0)
            first: dict[int, int] = {}
            for label, members in enumerate(self.members):
                if sizes[stratum_of[label]] < ENOUGH:
                    rarest = -1 if together else min(members, key=texts_of.__getitem__, default=-1)
                    stratum_of[label] = first.setdefault(rarest, label)
        return stratum_of

    def arrays(self, split: str, examples: Sequence[Example]) -> dict[str, np.ndarray]:
        import numpy as np

        from data.base.chosen import labels_of

        labels_NC = np.zeros((len(examples), len(self.single)), dtype=np.uint8)
        for labels_C, label in zip(labels_NC, labels_of(examples).tolist(), strict=True):
            labels_C[list(self.members[label])] = 1
        return {LABEL_SETS: labels_NC}
