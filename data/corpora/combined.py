"""A corpus whose test split is another corpus, such as a separate file."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data.base.errors import UserError
from data.base.ordering import natural_order
from data.base.reading import USUAL, Reading
from data.base.texts import Corpus, Example, Texts


@dataclass(frozen=True)
class WithTest:
    """One corpus, with all texts of another as its test split. Classes are matched by name."""

    corpus: Corpus
    test: Corpus

    def fingerprint(self) -> str:
        return f"{self.corpus.fingerprint()} test {self.test.fingerprint()}"

    def read(self, downloads: Path, *, progress: bool, reading: Reading = USUAL) -> Texts:
        from data.base.chosen import Chosen, joined, relabelled

        texts = self.corpus.read(downloads, progress=progress, reading=reading)
        whole = dataclasses.replace(reading, split_column="none", group_column=None, time_column=None)
        test = self.test.read(downloads, progress=progress, reading=whole)
        if texts.test_examples is not None:
            raise UserError(
                "test: the corpus already has a test split; leave test out, or write split_column: none to ignore "
                "that split"
            )
        names = {*texts.classes, *test.classes}
        classes = texts.classes if len(names) == len(texts.classes) else tuple(sorted(names, key=natural_order))
        places = {name: place for place, name in enumerate(classes)}

        def mapped(examples: Sequence[Example], old_classes: tuple[str, ...]) -> Sequence[Example]:
            return relabelled(examples, [places[class_name] for class_name in old_classes])

        both = (texts.understood, test.understood)
        understood = dataclasses.replace(
            texts.understood,
            num_rows=sum(part.num_rows for part in both),
            num_control_characters=sum(part.num_control_characters for part in both),
        )
        return dataclasses.replace(
            texts,
            understood=understood,
            classes=classes,
            examples=mapped(texts.examples, texts.classes),
            val_examples=None if texts.val_examples is None else mapped(texts.val_examples, texts.classes),
            test_examples=mapped(
                joined([Chosen.of(split or []) for split in (test.examples, test.val_examples, test.test_examples)]),
                test.classes,
            ),
        )
