"""Ensembles: several trained models with averaged probabilities (as in bagging: Breiman 1996).

This file is part of exported models, like `classifier`.

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

# The names of the members, and how they were selected; besides it, there is a folder per member: 1, 2, ...
ENSEMBLE = "ensemble.json"


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Classifiers with the same classes. Members may truncate texts differently.

    members: name -> model. card: how they were selected, as JSON values. temperature, threshold: as in `TextModel`, but
    applied to the average.
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
        """Packages that the exported ensemble needs, besides those of all models."""
        return tuple(dict.fromkeys(name for member in self.members.values() for name in member.requirements))

    def cut(self, texts: Sequence[str]) -> Cut:
        """The words of each text, truncated to the largest maximum of all members, which have the same tokenizer."""
        return max(self.members.values(), key=lambda member: member.max_words).cut(texts)

    def outputs(self, texts: Sequence[str]) -> Tensor:
        """The probabilities (N, C) for N texts (at least one)."""
        return torch.cat([self.outputs_of(some, self.cut(some)) for some in parts(texts)])

    def outputs_of(self, texts: Sequence[str], words: Cut) -> Tensor:
        """Like `outputs`, for texts with given words."""
        average_NC = mean([member.outputs_of(texts, words) for member in self.members.values()])
        return self.task.tempered(average_NC, self.temperature)

    def unknown_shares(self, words: Cut) -> list[float]:
        """See `TextModel.unknown_shares`; all members have the same vocabulary."""
        return self._first.unknown_shares(words)

    def answer(self, texts: Sequence[str]) -> Columns:
        """Predictions as columns of a table (see `TextModel.answer`)."""
        return answer(self, texts)

    def save(self, folder: Path) -> None:
        """Writes the ensemble into a new folder."""
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
        """Reads what `save` wrote (see `TextModel.load`)."""
        card = json.loads((folder / ENSEMBLE).read_text(encoding="utf-8"))
        names, temperature = card.pop("members"), card.pop("temperature", 1.0)
        threshold = card.pop("threshold", None)
        members = {name: TextModel.load(folder / str(place)) for place, name in enumerate(names, 1)}
        return cls(members, card, temperature, threshold)


def mean(outputs: Sequence[Tensor]) -> Tensor:
    """The mean of the outputs of several models."""
    return torch.stack(list(outputs)).mean(0)


def load(folder: Path) -> TextModel | Ensemble:
    """The model or ensemble that was saved in the folder."""
    return Ensemble.load(folder) if (folder / ENSEMBLE).is_file() else TextModel.load(folder)
