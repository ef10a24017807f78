"""Inspects a corpus before anything is trained on it: facts, and findings (possible problems) with their remedies.

Takes time linear in the number of texts; of a large corpus only a sample is inspected.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from data.base.chosen import labels_of
from data.base.errors import UserError
from data.base.files import write_whole
from data.base.reading import USUAL, Reading, Understood
from data.base.splitting import Division
from data.base.texts import SPLITS, Example, Texts
from data.corpora.table import Others
from data.encoded import ALL_WORDS, EncodedCorpus
from data.inspecting import columns, file, labels, leaks, script, twins, words
from data.inspecting.findings import ClassCount, Finding, Inspection, by_severity
from data.inspecting.words import Words
from data.text import Tokenizer

NOTHING, NO_OTHERS = Understood(), Others()  # for corpora that are not files
FORMAT = 5  # version of cached inspections: raise it when any finding changes
LOOKED_AT = {"train": 50_000, "val": 25_000, "test": 25_000}  # maximum number of texts whose words are inspected


def inspect(
    splits: Mapping[str, Sequence[Example]],
    texts: Texts,
    *,
    name: str,
    tokenize: Callable[[str], Sequence[str]],
    vocabulary: Collection[str] | None,
    learned: bool = False,
    max_words: Collection[int],
    reading: Reading = USUAL,
    understood: Understood = NOTHING,
    others: Others = NO_OTHERS,
    blocked: str = "",
) -> Inspection:
    """Inspects examples by split.

    splits: examples in random order. texts: their classes, groups and times. tokenize: returns all words of a text.
    vocabulary: the words that a network knows; None if unknown. learned: whether word vectors are learned from these
    texts. max_words: the numbers of words to which the architectures truncate texts. understood: facts detected when
    the corpus was divided. others: samples of unused columns. blocked: why no search is possible; '' if it is.
    """
    classes, num_texts = texts.learned_classes, sum(map(len, splits.values()))
    counted = count_classes(splits, texts)
    findings = [Finding("no search", "blocking", blocked.removeprefix(f"{name}: "), 0, "")] if blocked else []
    findings += [
        *file.of_reading(understood, reading.contradictions),
        *labels.odd_labels(counted, num_texts, texts.label_separator),
        *columns.of_splits(splits, texts),
        *columns.findings(others, reading),
    ]
    sampled = {split: list(splits.get(split, ())[: LOOKED_AT[split]]) for split in SPLITS}
    examples = [example for split in SPLITS for example in sampled[split]]
    all_words = Words.of((text for text, _ in examples), tokenize)
    lengths = words.lengths(all_words, max_words)
    unknown = words.unknown(all_words, vocabulary, max(max_words)) if lengths and vocabulary is not None else None
    scripts = script.letters([text for text, _ in examples])
    findings += [*script.without_spaces(scripts, num_texts, reading), *words.wordless(all_words)]
    if lengths:
        findings += words.unread(lengths, num_texts)
    if unknown:
        findings += words.unfamiliar(unknown, script.what_helps(reading, learned))
    num_train, held_out = len(sampled["train"]), sampled["val"] + sampled["test"]
    if lengths and held_out and num_train:
        train, held = all_words.part(0, num_train), all_words.part(num_train, len(examples))
        findings += twins.finding(twins.near_duplicates(train, held), sampled["train"], held_out)
        classes_NC = classes_of(examples, texts)
        leaking = leaks.leaks(train, classes_NC[:num_train], held, classes_NC[num_train:])
        findings += leaks.finding(leaking, classes, classes_NC.sum(axis=0))
        if not leaking:
            named = leaks.share_that_names(all_words, classes_NC, [tokenize(class_name) for class_name in classes])
            findings += leaks.names_finding(*named, len(examples))
    return Inspection(
        name=name,
        understood=file.facts(understood) | _facts(splits, texts, script.in_words(scripts) if scripts else ""),
        num_texts=num_texts,
        num_looked_at=len(examples),
        classes=counted,
        lengths=lengths,
        unknown=unknown,
        findings=by_severity(findings),
        sizes={split: len(examples) for split, examples in splits.items()},
    )


def _facts(splits: Mapping[str, Sequence[Example]], texts: Texts, in_script: str) -> dict[str, str]:
    """Further facts about the texts, by name."""
    facts = {"script": in_script} if in_script else {}
    none = [label for label in range(len(texts.classes)) if not texts.places(label)]
    num_none = sum(int(np.isin(labels_of(examples), none).sum()) for examples in splits.values()) if none else 0
    if num_none:
        share = num_none / sum(map(len, splits.values()))
        facts["no class"] = f"{num_none:,} texts ({share:.1%}), whose label is empty"
    return facts


def of_corpus(
    divide: Callable[[], Division],
    read: Callable[[], Texts],
    encoded: EncodedCorpus | None,
    *,
    others: Callable[[], Others],
    name: str,
    max_words: Collection[int],
    reading: Reading,
    blocked: str,
    cache: Path,
) -> Inspection:
    """Inspects a corpus as a search would divide it. The result is cached.

    divide: divides the corpus. read: reads its texts, which are inspected undivided if `divide` fails. encoded: the
    encoded corpus; None if it cannot be encoded, for the reason `blocked`. others: reads samples of unused columns. The
    other arguments are those of `data.inspect`. Raises UserError if the corpus cannot be read.
    """
    path = None
    if encoded is not None:
        key = json.dumps([FORMAT, encoded.digest, sorted(set(max_words))])
        path = cache / "inspected" / f"{hashlib.sha256(key.encode()).hexdigest()}.json"
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # missing or damaged
            return dataclasses.replace(Inspection.from_json(path.read_text(encoding="utf-8")), name=name)
    try:
        division = divide()
    except UserError:
        texts = read()
        given = {"train": texts.examples, "val": texts.val_examples, "test": texts.test_examples}
        division = Division(texts, {split: examples for split, examples in given.items() if examples})

    tokenizer = Tokenizer.of(reading)
    inspection = inspect(
        division.splits,
        division.texts,
        name=name,
        tokenize=lambda text: tokenizer(text, ALL_WORDS),
        vocabulary=encoded.vocabulary if encoded else None,
        learned=encoded is not None and encoded.vectors_VE is None,
        max_words=max_words,
        reading=reading,
        understood=division.understood,
        others=others(),
        blocked=blocked,
    )
    if path is not None:
        with contextlib.suppress(OSError):  # without a cache the next inspection takes seconds
            path.parent.mkdir(parents=True, exist_ok=True)
            with write_whole(path) as out:
                out.write(inspection.to_json().encode("utf-8", "surrogatepass"))
    return inspection


def classes_of(examples: Sequence[Example], texts: Texts) -> csr_array:
    """Shape (N, C): 1 where a text has a class, else 0."""
    places = [texts.places(label) for label in labels_of(examples).tolist()]
    starts_N = np.cumsum([0, *map(len, places)])
    columns = np.fromiter(chain.from_iterable(places), dtype=np.int64, count=int(starts_N[-1]))
    shape = len(examples), len(texts.learned_classes)
    return csr_array((np.ones(len(columns), dtype=np.int64), columns, starts_N), shape=shape)


def count_classes(splits: Mapping[str, Sequence[Example]], texts: Texts) -> tuple[ClassCount, ...]:
    counts = {split: classes_of(examples, texts).sum(axis=0).tolist() for split, examples in splits.items()}
    return tuple(
        ClassCount(
            name,
            sum(class_counts[place] for class_counts in counts.values()),
            {split: class_counts[place] for split, class_counts in counts.items()},
        )
        for place, name in enumerate(texts.learned_classes)
    )
