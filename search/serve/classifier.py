"""A trained model that reads text, with its vocabulary and word vectors, in memory or in a folder of plain files.

This file is part of exported models, like `data`, `models` and the tasks, so it imports nothing else from the project.

Shapes: N texts, B texts of a batch, T words of the longest text, V vocabulary, E embedding, C classes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

import models
from data.base.plugins import Plugin
from data.encode import encode_texts, encode_words, word_ids
from data.encoded import pad
from data.encoder import Encoder
from data.text import AS_WRITTEN, Tokenizer
from models import WordVectors
from models.parts.weights import from_bytes, to_bytes
from search.train.tasks import TASKS, Task
from search.train.tasks.base import Columns
from search.train.tasks.classification import decided

Cut = Sequence[Sequence[str]]  # the words of each of N texts

BATCH = 256  # texts per batch of a network
PART = 16 * BATCH  # texts that are tokenized at once
UNKNOWN_SHARE = "unknown_share"  # a column of every prediction

VECTORS = "embedding.vectors_VE"  # among the weights, if word vectors were trained

# The files in a folder: the architecture and all short values; the vocabulary, a word per line in the order of ids; the
# weights as safetensors; frozen word vectors; the sources of a custom architecture and tokenizer, and of the encoder if
# the model reads embeddings. An estimator has a folder of files instead of weights.
MODEL, VOCABULARY, WEIGHTS, FROZEN_VECTORS = "model.json", "vocabulary.txt", "weights.safetensors", "vectors.npy"
OLD_WEIGHTS = "weights.pt"  # of models exported by older versions: a torch state dict
CODE, TOKENIZER_CODE, ENCODER_CODE = "architecture.py", "tokenizer.py", "encoder.py"
ESTIMATOR = "estimator"


@dataclass(frozen=True, eq=False, kw_only=True)
class TextModel:
    """A trained model with its vocabulary, on the CPU. This class is for networks; subclasses are for other learners.

    needs: packages that models of this kind need, besides those of all models.
    classes: of the corpus. temperature: divisor of the logits, which calibrates probabilities. threshold: the
    probability from which the second of two classes is predicted; None predicts the likelier class. labels: label ->
    class, for labels that were renamed or merged.
    """

    needs: ClassVar[tuple[str, ...]] = ()

    architecture: str
    hyperparameters: Mapping[str, Any]
    classes: tuple[str, ...]
    vocabulary: tuple[str, ...]
    max_words: int
    num_outputs: int
    task: Task
    model: Any
    code: Plugin | None = None  # the source of a custom architecture
    tokenizer: Tokenizer = AS_WRITTEN
    encoder: Plugin | None = None  # if the model reads embeddings of whole texts
    temperature: float = 1.0
    threshold: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def build(
        cls,
        architecture: str,
        hyperparameters: Mapping[str, Any],
        classes: Sequence[str],
        vocabulary: Sequence[str],
        max_words: int,
        weights: Mapping[str, Tensor],
        vectors_VE: np.ndarray | None,
        code: Plugin | None = None,
        num_outputs: int | None = None,
        task: str | None = None,
        separator: str | None = None,
        tokenizer: Tokenizer = AS_WRITTEN,
        temperature: float = 1.0,
        threshold: float | None = None,
        encoder: Plugin | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> "TextModel":
        """Builds a model from a state dict.

        vectors_VE: the word vectors, if they are not in the state dict. code: the source of a custom architecture.
        num_outputs: see `Task.num_outputs`; None for models exported before version 0.2, which are classifiers. task:
        its name; None for older models, which have the default task of their architecture. separator: see `Task`.
        encoder: if the model reads embeddings of whole texts.
        """
        if code is not None:
            models.register(architecture, code.load(), code.reference, kept=True)
        kind = TEXT_MODELS[models.architecture(architecture).learner]
        num_outputs = num_outputs or len(classes)
        if vectors_VE is None:  # the weights contain them, or the model has none
            vectors_VE = np.zeros((len(vocabulary), 0), dtype=np.float32)
        return kind(
            architecture=architecture,
            hyperparameters=dict(hyperparameters),
            classes=tuple(classes),
            vocabulary=tuple(vocabulary),
            max_words=max_words,
            num_outputs=num_outputs,
            task=TASKS[task or models.architecture(architecture).task].joined_by(separator),
            model=kind._rebuild(architecture, hyperparameters, num_outputs, weights, vectors_VE),
            code=code,
            tokenizer=tokenizer,
            encoder=encoder,
            temperature=temperature,
            threshold=threshold,
            labels=dict(labels or {}),
        )

    @staticmethod
    def _rebuild(
        architecture: str,
        hyperparameters: Mapping[str, Any],
        num_outputs: int,
        weights: Mapping[str, Tensor],
        vectors_VE: np.ndarray,
    ) -> Any:
        if VECTORS in weights:
            embedding = WordVectors.learned(*weights[VECTORS].shape)
        else:
            embedding = WordVectors(torch.from_numpy(vectors_VE))
        model = models.build(architecture, embedding, num_outputs, **hyperparameters)
        model.load_state_dict(weights)
        return model.requires_grad_(False).eval()

    @cached_property
    def _ids(self) -> dict[str, int]:
        return word_ids(self.vocabulary)

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor, list[list[str]]]:
        """tokens_BT, lengths_B, and the (truncated) words of each text."""
        tokens_BT, lengths_B, words = encode_texts(texts, self._ids, max_words=self.max_words, cut=self.tokenizer)
        return torch.from_numpy(tokens_BT), torch.from_numpy(lengths_B), words

    def cut(self, texts: Sequence[str]) -> Cut:
        """The words of each text, truncated to the model's maximum."""
        return [self.tokenizer(text, self.max_words) for text in texts]

    def outputs(self, texts: Sequence[str]) -> Tensor:
        """The outputs for N texts (at least one), in the form of the task: probabilities (N, C), or ink (N, Y, X)."""
        return torch.cat([self.outputs_of(some, self.cut(some)) for some in parts(texts)])

    @torch.no_grad()
    def outputs_of(self, texts: Sequence[str], words: Cut) -> Tensor:
        """Like `outputs`, for texts with given words, which may be more than the model reads."""
        words = [text_words[: self.max_words] for text_words in words]
        by_length = sorted(range(len(words)), key=lambda place: len(words[place]))  # reduces padding
        logits = []
        for start in range(0, len(words), BATCH):
            places = by_length[start : start + BATCH]
            tokens_W, starts_B, lengths_B = encode_words([words[place] for place in places], self._ids)
            tokens_BT = torch.from_numpy(pad(tokens_W, starts_B, lengths_B))
            logits.append(self.model(tokens_BT, torch.from_numpy(lengths_B)))
        outputs = [self.task.outputs(logits_B / self.temperature) for logits_B in logits]
        return torch.cat(outputs)[torch.tensor(by_length).argsort()]

    def answer(self, texts: Sequence[str]) -> Columns:
        """Predictions as columns of a table: `predicted`, further columns of the task, and UNKNOWN_SHARE."""
        return answer(self, texts)

    def unknown_shares(self, words: Cut) -> list[float]:
        """For each text, the share, in [0, 1], of (truncated) words outside of the vocabulary; 1 if it has no words."""
        truncated, is_known = [text_words[: self.max_words] for text_words in words], self._ids.__contains__
        return [1 - sum(map(is_known, text_words)) / len(text_words) if text_words else 1.0 for text_words in truncated]

    @property
    def requirements(self) -> tuple[str, ...]:
        """Packages that the exported model needs, besides those of all models."""
        candidates = (self.code, self.tokenizer.cuts, self.encoder)
        plugins = [plugin for plugin in candidates if isinstance(plugin, Plugin)]
        return tuple(dict.fromkeys([*self.needs, *(name for plugin in plugins for name in plugin.packages())]))

    def save(self, folder: Path) -> None:
        """Writes the model into a new folder."""
        folder.mkdir()
        names = ("architecture", "hyperparameters", "classes", "max_words", "num_outputs", "temperature", "threshold")
        short = {name: getattr(self, name) for name in names} | {"task": self.task.name}
        if self.task.separator is not None:
            short["separator"] = self.task.separator
        if self.labels:
            short["labels"] = dict(self.labels)
        if self.code is not None:
            short["reference"] = f"{Path(self.code.file).name}:{self.code.name}"
            (folder / CODE).write_text(self.code.source, encoding="utf-8")
        cuts = self.tokenizer.cuts
        if isinstance(cuts, Plugin):
            (folder / TOKENIZER_CODE).write_text(cuts.source, encoding="utf-8")
            cuts = f"{Path(cuts.file).name}:{cuts.name}"
        if self.encoder is not None:
            (folder / ENCODER_CODE).write_text(self.encoder.source, encoding="utf-8")
            short["encoder"] = f"{Path(self.encoder.file).name}:{self.encoder.name}"
        short |= {"clean": self.tokenizer.clean, "tokenizer": cuts}
        (folder / MODEL).write_text(json.dumps(short, indent=2, ensure_ascii=False), encoding="utf-8")
        (folder / VOCABULARY).write_text("".join(f"{word}\n" for word in self.vocabulary), encoding="utf-8")
        self._write_weights(folder)

    def _write_weights(self, folder: Path) -> None:
        weights = self.model.state_dict()
        (folder / WEIGHTS).write_bytes(to_bytes(weights))
        if VECTORS not in weights:
            np.save(folder / FROZEN_VECTORS, self.model.embedding.vectors_VE.numpy(), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> "TextModel":
        """Reads what `save` wrote. Nothing in the folder is executed except the sources of plugins."""
        short = json.loads((folder / MODEL).read_text(encoding="utf-8"))
        vectors, estimator = folder / FROZEN_VECTORS, folder / ESTIMATOR
        reference = short.pop("reference", None)
        cleans, cuts = short.pop("clean", AS_WRITTEN.clean), short.pop("tokenizer", AS_WRITTEN.cuts)
        if (code := folder / TOKENIZER_CODE).exists():
            cuts = Plugin(cuts, code.read_text(encoding="utf-8"))
        if encoder := short.pop("encoder", None):
            encoder = Plugin(encoder, (folder / ENCODER_CODE).read_text(encoding="utf-8"))
        if estimator.is_dir():
            files = {path.name: bytearray(path.read_bytes()) for path in estimator.iterdir()}
            weights = {name: torch.frombuffer(file, dtype=torch.uint8) for name, file in files.items()}
        elif (old := folder / OLD_WEIGHTS).exists():
            weights = torch.load(old, weights_only=True)
        else:
            weights = from_bytes((folder / WEIGHTS).read_bytes())
        return cls.build(
            **short,
            vocabulary=(folder / VOCABULARY).read_text(encoding="utf-8").split("\n")[:-1],
            weights=weights,
            vectors_VE=np.load(vectors, allow_pickle=False) if vectors.exists() else None,
            code=Plugin(reference, (folder / CODE).read_text(encoding="utf-8")) if reference else None,
            tokenizer=Tokenizer(cleans, cuts),
            encoder=encoder,
        )


class EstimatorModel(TextModel):
    """A fitted estimator. It reads words, known or not, or the embedding of the whole text; `encode` still uses the
    vocabulary of the search's networks."""

    needs = ("scikit-learn", "skops")

    @staticmethod
    def _rebuild(
        architecture: str,
        hyperparameters: Mapping[str, Any],
        num_outputs: int,
        weights: Mapping[str, Tensor],
        vectors_VE: np.ndarray,
    ) -> Any:
        estimator = models.build_estimator(architecture, **hyperparameters)
        estimator.restore({name: content.numpy().tobytes() for name, content in weights.items()})
        return estimator

    def outputs_of(self, texts: Sequence[str], words: Cut) -> Tensor:
        if self.encoder is not None:
            outputs_NC = self.of_read([self.tokenizer.plain(text) for text in texts])
        else:
            outputs_NC = self.of_read([" ".join(text_words[: self.max_words]) for text_words in words])
        return self.task.tempered(outputs_NC, self.temperature)

    def of_read(self, texts: Sequence[str]) -> Tensor:
        """The outputs (N, C) of the estimator itself for texts that are cleaned, and tokenized if the estimator reads
        words."""
        read = texts if self.encoder is None else Encoder(self.encoder)(texts)
        return torch.from_numpy(np.asarray(self.model.predict_proba(read), dtype=np.float32))

    def _write_weights(self, folder: Path) -> None:
        (folder / ESTIMATOR).mkdir()
        for name, file in self.model.files().items():
            (folder / ESTIMATOR / name).write_bytes(file)


def parts(texts: Sequence[str]) -> list[Sequence[str]]:
    """Splits texts into parts of PART, to bound the memory for their words."""
    return [texts[start : start + PART] for start in range(0, len(texts), PART)]


def answer(model: Any, texts: Sequence[str]) -> Columns:
    """Predictions of a TextModel or an Ensemble (see `TextModel.answer`). Every text is tokenized only once."""
    outputs, shares = [], []
    for some in parts(texts):
        words = model.cut(some)
        outputs.append(model.outputs_of(some, words))
        shares += model.unknown_shares(words)
    outputs_N = torch.cat(outputs)
    columns = model.task.answer(outputs_N, model.classes) | decided(outputs_N, model.classes, model.threshold)
    return {**columns, UNKNOWN_SHARE: shares}


#: By the `learner` of the architecture.
TEXT_MODELS: dict[str, type[TextModel]] = {"network": TextModel, "estimator": EstimatorModel}
