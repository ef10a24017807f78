"""Several trained models as one, whose probabilities are averaged (as in bagging: Breiman 1996), in memory or in a
folder.

This file goes into exported models, as `classifier` does.

Shapes: N texts, C classes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from search.serve.classifier import Cut, TextModel, answer, parts
from search.train.tasks import Task
from search.train.tasks.base import Columns

# What is in a folder beside one for each member, which are named by their places from 1: what they are called, and how
# they were chosen.
ENSEMBLE = "ensemble.json"


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Classifiers of the same classes, each of which reads its own words of a text.

    members: by what they are called. card: how they were chosen, as JSON has it. temperature: that calibrates their
    average. threshold: as a `TextModel` has it, of the average.
    """

    members: Mapping[str, TextModel]
    card: Mapping[str, Any] = field(default_factory=dict)
    temperature: float = 1.0
    threshold: float | None = None

    @property
    def _first(self) -> TextModel:
        return next(iter(self.members.values()))

    @property
    def classes(self) -> tuple[str, ...]:
        return self._first.classes

    @property
    def labels(self) -> Mapping[str, str]:
        return self._first.labels

    @property
    def task(self) -> Task:
        return self._first.task

    @property
    def requirements(self) -> tuple[str, ...]:
        """Packages that an exported one needs besides those of every model."""
        return tuple(dict.fromkeys(name for member in self.members.values() for name in member.requirements))

    def cut(self, texts: Sequence[str]) -> Cut:
        """The words of each text, as many as any member reads: they cut texts alike."""
        return max(self.members.values(), key=lambda member: member.max_words).cut(texts)

    def outputs(self, texts: Sequence[str]) -> Tensor:
        """The probabilities (N, C) of N texts, at least one."""
        return torch.cat([self.outputs_of(some, self.cut(some)) for some in parts(texts)])

    def outputs_of(self, texts: Sequence[str], words: Cut) -> Tensor:
        """The same of texts whose words are given."""
        average_NC = mean([member.outputs_of(texts, words) for member in self.members.values()])
        return self.task.tempered(average_NC, self.temperature)

    def unknown_shares(self, words: Cut) -> list[float]:
        """See `TextModel.unknown_shares`; the vocabulary is that of all members."""
        return self._first.unknown_shares(words)

    def answer(self, texts: Sequence[str]) -> Columns:
        """The same in words (see `TextModel.answer`)."""
        return answer(self, texts)

    def save(self, folder: Path) -> None:
        """Write it into a new folder."""
        folder.mkdir()
        content = {
            "members": list(self.members),
            "temperature": self.temperature,
            "threshold": self.threshold,
            **self.card,
        }
        (folder / ENSEMBLE).write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
        for place, member in enumerate(self.members.values(), 1):
            member.save(folder / str(place))

    @classmethod
    def load(cls, folder: Path) -> "Ensemble":
        """Read what `save` wrote (see `TextModel.load`)."""
        card = json.loads((folder / ENSEMBLE).read_text(encoding="utf-8"))
        names, temperature = card.pop("members"), card.pop("temperature", 1.0)
        threshold = card.pop("threshold", None)
        members = {name: TextModel.load(folder / str(place)) for place, name in enumerate(names, 1)}
        return cls(members, card, temperature, threshold)


def mean(outputs: Sequence[Tensor]) -> Tensor:
    """The average of what several models say of N texts."""
    return torch.stack(list(outputs)).mean(0)


def load(folder: Path) -> TextModel | Ensemble:
    """What was saved into the folder."""
    return Ensemble.load(folder) if (folder / ENSEMBLE).is_file() else TextModel.load(folder)
