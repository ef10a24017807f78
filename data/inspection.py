"""Looks at a corpus before anything is trained on it: what was understood, and what is odd, with what to do about it.

The time grows with the number of texts; of a large corpus a sample is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from data.base.texts import SPLITS, Example
from data.inspecting import labels, leaks, twins, words
from data.inspecting.findings import ClassCount, Finding, Inspection, by_severity
from data.inspecting.words import Words

LOOKED_AT = {"train": 50_000, "val": 25_000, "test": 25_000}  # texts at most whose words are looked at


def inspect(
    splits: Mapping[str, Sequence[Example]],
    classes: Sequence[str],
    *,
    name: str,
    tokenize: Callable[[str], Sequence[str]],
    vocabulary: Collection[str] | None,
    max_words: Collection[int],
    num_duplicates: int = 0,
    understood: Mapping[str, str] | None = None,
    findings: Sequence[Finding] = (),
) -> Inspection:
    """Of examples by split, in an order of chance; 'train' alone holds them where they cannot be divided.

    tokenize: gives all words of a text. vocabulary: the words that a network knows; None where that is not known.
    max_words: how many words of a text are read, by the different architectures. understood, findings: what is known
    from reading the corpus.
    """
    counted = count_classes(splits, classes)
    looked_at = {split: list(splits.get(split, ()))[: LOOKED_AT[split]] for split in SPLITS}
    examples = [example for split in SPLITS for example in looked_at[split]]
    found = [*findings, *labels.odd_labels(counted)]
    every = Words.of((text for text, _ in examples), tokenize)
    lengths = words.lengths(every, max_words)
    unknown = words.unknown(every, vocabulary, max(max_words)) if lengths and vocabulary is not None else None
    found += words.wordless(every)
    if lengths:
        found += words.unread(lengths, sum(map(len, splits.values())))
    if unknown:
        found += words.unfamiliar(unknown, "")
    num_train, held_out = len(looked_at["train"]), looked_at["val"] + looked_at["test"]
    if lengths and held_out:
        train, held = every.part(0, num_train), every.part(num_train, len(examples))
        found += twins.finding(twins.near_duplicates(train, held), looked_at["train"], held_out)
        labels_N = np.array([label for _, label in examples], dtype=np.int64)
        given = leaks.leaks(train, labels_N[:num_train], held, labels_N[num_train:])
        found += leaks.finding(given, classes, np.bincount(labels_N, minlength=len(classes)))
    return Inspection(
        name=name,
        understood=dict(understood or {}),
        num_texts=sum(map(len, splits.values())),
        num_looked_at=len(examples),
        num_duplicates=num_duplicates,
        classes=counted,
        lengths=lengths,
        unknown=unknown,
        findings=by_severity(found),
    )


def count_classes(splits: Mapping[str, Sequence[Example]], classes: Sequence[str]) -> tuple[ClassCount, ...]:
    counts = {
        split: np.bincount(np.array([label for _, label in examples], dtype=np.int64), minlength=len(classes)).tolist()
        for split, examples in splits.items()
    }
    return tuple(
        ClassCount(name, sum(of[place] for of in counts.values()), {split: of[place] for split, of in counts.items()})
        for place, name in enumerate(classes)
    )
