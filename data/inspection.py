"""Looks at a corpus before anything is trained on it: what was understood, and what is odd, with what to do about it.

The time grows with the number of texts; of a large corpus a sample is looked at.
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

NOTHING, NO_OTHERS = Understood(), Others()  # of what is no file
FORMAT = 4  # of what is kept: raise it when anything is found out in another way
LOOKED_AT = {"train": 50_000, "val": 25_000, "test": 25_000}  # texts at most whose words are looked at


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
    """Of examples by split, in an order of chance; texts: says what their labels are, and what was understood.

    tokenize: gives all words of a text. vocabulary: the words that a network knows; None where that is not known.
    learned: whether it learns their vectors from these texts. max_words: how many words of a text are read, by the
    different architectures. understood: of the corpus, when it was divided. others: columns that are not read. blocked:
    why no search can be run, where it cannot.
    """
    classes, num_texts = texts.learned_classes, sum(map(len, splits.values()))
    counted = count_classes(splits, texts)
    found = [Finding("no search", "blocking", blocked.removeprefix(f"{name}: "), 0, "")] if blocked else []
    found += [
        *file.of_reading(understood, reading.contradictions),
        *labels.odd_labels(counted, num_texts, texts.label_separator),
        *columns.of_splits(splits, texts),
        *columns.findings(others, reading),
    ]
    looked_at = {split: list(splits.get(split, ())[: LOOKED_AT[split]]) for split in SPLITS}
    examples = [example for split in SPLITS for example in looked_at[split]]
    every = Words.of((text for text, _ in examples), tokenize)
    lengths = words.lengths(every, max_words)
    unknown = words.unknown(every, vocabulary, max(max_words)) if lengths and vocabulary is not None else None
    scripts = script.letters([text for text, _ in examples])
    found += [*script.without_spaces(scripts, num_texts, reading), *words.wordless(every)]
    if lengths:
        found += words.unread(lengths, num_texts)
    if unknown:
        found += words.unfamiliar(unknown, script.what_helps(reading, learned))
    num_train, held_out = len(looked_at["train"]), looked_at["val"] + looked_at["test"]
    if lengths and held_out and num_train:
        train, held = every.part(0, num_train), every.part(num_train, len(examples))
        found += twins.finding(twins.near_duplicates(train, held), looked_at["train"], held_out)
        of_NC = classes_of(examples, texts)
        given = leaks.leaks(train, of_NC[:num_train], held, of_NC[num_train:])
        found += leaks.finding(given, classes, of_NC.sum(axis=0))
        if not given:
            named = leaks.share_that_names(every, of_NC, [tokenize(each) for each in classes])
            found += leaks.names_finding(*named, len(examples))
    return Inspection(
        name=name,
        understood=file.facts(understood) | _facts(splits, texts, script.in_words(scripts) if scripts else ""),
        num_texts=num_texts,
        num_looked_at=len(examples),
        classes=counted,
        lengths=lengths,
        unknown=unknown,
        findings=by_severity(found),
        sizes={split: len(examples) for split, examples in splits.items()},
    )


def _facts(splits: Mapping[str, Sequence[Example]], texts: Texts, in_script: str) -> dict[str, str]:
    """What else there is to say of the texts, by name."""
    found = {"script": in_script} if in_script else {}
    none = [label for label in range(len(texts.classes)) if not texts.places(label)]
    num_none = sum(int(np.isin(labels_of(examples), none).sum()) for examples in splits.values()) if none else 0
    if num_none:
        share = num_none / sum(map(len, splits.values()))
        found["no class"] = f"{num_none:,} texts ({share:.1%}), whose label is empty"
    return found


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
    """Of a corpus as a search divides it. What was found out once about a corpus is kept.

    read: gives its texts, which are looked at as they are where they cannot be divided.
    others: reads the columns that the texts are not read from.
    encoded: the corpus as a search takes it. None where it cannot, for the reason `blocked`; then it is looked at as it
    is. The others are those of `data.inspect`. Raises UserError when it cannot be read.
    """
    path = None
    if encoded is not None:
        key = json.dumps([FORMAT, encoded.digest, sorted(set(max_words))])
        path = cache / "inspected" / f"{hashlib.sha256(key.encode()).hexdigest()}.json"
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # none yet, or damaged: looked at again
            return dataclasses.replace(Inspection.from_json(path.read_text(encoding="utf-8")), name=name)
    try:
        division = divide()
    except UserError:
        texts = read()
        given = {"train": texts.examples, "val": texts.val_examples, "test": texts.test_examples}
        division = Division(texts, {split: examples for split, examples in given.items() if examples})

    cut = Tokenizer.of(reading)
    inspection = inspect(
        division.splits,
        division.texts,
        name=name,
        tokenize=lambda text: cut(text, ALL_WORDS),
        vocabulary=encoded.vocabulary if encoded else None,
        learned=encoded is not None and encoded.vectors_VE is None,
        max_words=max_words,
        reading=reading,
        understood=division.understood,
        others=others(),
        blocked=blocked,
    )
    if path is not None:
        with contextlib.suppress(OSError):  # it costs seconds the next time
            path.parent.mkdir(parents=True, exist_ok=True)
            with write_whole(path) as out:
                out.write(inspection.to_json().encode("utf-8", "surrogatepass"))
    return inspection


def classes_of(examples: Sequence[Example], texts: Texts) -> csr_array:
    """NC: 1 where a text is of a class, else 0."""
    places = [texts.places(label) for label in labels_of(examples).tolist()]
    starts_N = np.cumsum([0, *map(len, places)])
    columns = np.fromiter(chain.from_iterable(places), dtype=np.int64, count=int(starts_N[-1]))
    shape = len(examples), len(texts.learned_classes)
    return csr_array((np.ones(len(columns), dtype=np.int64), columns, starts_N), shape=shape)


def count_classes(splits: Mapping[str, Sequence[Example]], texts: Texts) -> tuple[ClassCount, ...]:
    counts = {split: classes_of(examples, texts).sum(axis=0).tolist() for split, examples in splits.items()}
    return tuple(
        ClassCount(name, sum(of[place] for of in counts.values()), {split: of[place] for split, of in counts.items()})
        for place, name in enumerate(texts.learned_classes)
    )
