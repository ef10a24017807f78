"""The layers of a model with their shapes, parameters and multiply-adds; and its receptive field in words.

Shapes: T words, V vocabulary, E embedding.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.func import functional_call

import models
from analysis.base.table import Table
from analysis.explain import lookup
from data.base.errors import UserError, did_you_mean
from data.encoded import EncodedCorpus
from models import Architecture, WordVectors
from models.ngram import Bag
from models.parts.geometry import Window, reached, receptive_field
from models.parts.pairs import PairVectors
from search.serve.loading import task_of
from search.spec import kept
from search.spec.read import read_spec
from search.train.tasks import TASKS

EMBEDDING_SIZE, NUM_WORDS = 50, 100  # for an architecture without a search
NUM_DRAWS = 24  # random texts: in a single one, a maximum or a relu may hide the influence of a word


@dataclass(frozen=True)
class Subject:
    """The model to inspect. num_outputs: classes, or rows of an image. num_words: the most words read of a text."""

    name: str
    architecture: str
    hyperparameters: Mapping[str, Any]
    num_outputs: int
    embedding_size: int = EMBEDDING_SIZE
    num_words: int = NUM_WORDS
    num_known_words: int = NUM_WORDS + 1  # size of the vocabulary
    num_trained_words: int = 0  # number of words with trained vectors

    def build(self) -> Architecture:
        """The untrained model, in double precision, for which no kernel fuses layers."""
        embedding = WordVectors.learned(self.num_known_words, self.embedding_size)
        return models.build(self.architecture, embedding, self.num_outputs, **self.hyperparameters).double().eval()

    @property
    def text(self) -> tuple[Tensor, Tensor]:
        """Tokens (1, T), all different if the vocabulary is large enough, and lengths (1)."""
        tokens_T = torch.arange(self.num_words) % (self.num_known_words - 1) + 1
        return tokens_T.unsqueeze(0), torch.tensor([self.num_words])


def find(uri: str, name: str) -> Subject:
    """An architecture with its default hyperparameters, or a trial (see `lookup.find`). Raises UserError."""
    if name in models.ARCHITECTURES:
        _require_network(name)
        return Subject(
            f"{name}, with default hyperparameters", name, {}, TASKS[models.architecture(name).task].usual_outputs
        )
    try:
        trial = lookup.find(uri, name)
    except UserError as error:
        raise UserError(
            f"no architecture {name!r}{did_you_mean(name, models.ARCHITECTURES)}; as a model: {error}"
        ) from None
    spec = read_spec(trial.folder)
    _require_network(trial.architecture)
    corpus: EncodedCorpus = kept.corpus(trial.folder)
    return Subject(
        f"{trial.name} of {trial.search}",
        trial.architecture,
        models.built_with(trial.architecture, trial.hyperparameters),
        TASKS[task_of(trial)].num_outputs(corpus),
        corpus.embedding_size,
        spec.words_of(trial.architecture),
        len(corpus.vocabulary),
        0 if spec.embeddings == "frozen" else len(corpus.vocabulary),
    )


def _require_network(architecture: str) -> None:
    if not issubclass(models.architecture(architecture), models.Architecture):
        raise UserError(
            f"inspect: {architecture} is not a network and has no layers; `explain` shows which words it relies on"
        )


def layers(subject: Subject) -> pd.DataFrame:
    """One row per layer with weights: layer, kind, output (its shape for one text), num_parameters, multiply_adds.

    A weight of a matrix or kernel is multiplied once per position (word or pixel) that its layer reads. In attention,
    every pair of query and word takes one product of query and key, and one of weight and value. These are counts by
    formula; an implementation that fuses operations needs fewer.
    """
    model = subject.build()
    tokens_1T, lengths_1 = subject.text
    read: dict[nn.Module, int] = {}
    made: dict[nn.Module, tuple[int, ...]] = {}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor | tuple[Tensor, ...]) -> None:
        output = output if isinstance(output, Tensor) else output[0]  # torch's attention also returns its weights
        channels = 1 if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) else -1
        read[module] = inputs[0].numel() // inputs[0].shape[channels]
        made[module] = (*(size for size in output.shape[:-1] if size > 1), output.shape[-1])

    parts = {name: module for name, module in model.named_modules() if list(module.parameters(recurse=False))}
    for module in parts.values():
        module.register_forward_hook(note)
    with torch.no_grad():
        model(tokens_1T, lengths_1)
    rows: list[dict[str, Any]] = []
    for name, module in parts.items():
        weights = list(module.parameters(recurse=False))
        # Attention uses the weights of some layers without calling them: these read all words.
        num_read = read.get(module, subject.num_words)
        shape = made.get(module, (subject.num_words, len(weights[0])))
        num_weights, per_position = (sum(one.numel() for one in weights if one.ndim >= ndim) for ndim in (1, 2))
        if isinstance(module, WordVectors):
            num_weights = subject.num_trained_words * subject.embedding_size
        if isinstance(module, WordVectors | PairVectors | nn.Embedding | Bag):  # looked up
            per_position = 0
        if module is model:  # the model's direct parameters are attention queries, which are not multiplied with inputs
            name, shape, per_position = "queries", tuple(weights[0].shape), 0
        rows.append(_row(name, type(module).__name__, shape, num_weights, num_read * per_position))
    weights_of = _own(model, "attention_weights")
    if weights_of is not None and (weights_Q := weights_of(tokens_1T, lengths_1)).numel():
        *_, num_queries, num_met = weights_Q.shape
        sizes = [made.get(parts[name], (len(parts[name].weight),))[-1] for name in ("key", "value")]
        shape = (num_queries, sizes[1])
        rows.append(_row("attention", f"{num_met} words", shape, 0, num_queries * num_met * sum(sizes)))
    return pd.DataFrame(rows)


def _row(name: str, kind: str, shape: tuple[int, ...], num_parameters: int, multiply_adds: int) -> dict[str, Any]:
    output = " x ".join(map(str, shape))
    return {
        "layer": name,
        "kind": kind,
        "output": output,
        "num_parameters": num_parameters,
        "multiply_adds": multiply_adds,
    }


def _own(model: Architecture, method: str) -> Callable[[Tensor, Tensor], Tensor] | None:
    """A method that only some architectures have."""
    return getattr(model, method, None)


class _OneScore(nn.Module):
    """A single score of a model: of the word (or position) in the middle of the text if the model scores words, else of
    the whole text; for an image, its first pixel."""

    def __init__(self, model: Architecture) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens_1T: Tensor, lengths_1: Tensor) -> Tensor:
        scores = _own(self.model, "position_scores") or _own(self.model, "word_scores")
        scores_PC = scores(tokens_1T, lengths_1)[0] if scores else self.model(tokens_1T, lengths_1).flatten(1)
        return scores_PC[len(scores_PC) // 2, 0]


def reach(subject: Subject) -> int:
    """The measured receptive field: the number of words with a non-zero gradient of a single score or, if a model reads
    no word vectors, of words whose replacement changes the score."""
    num_vectors = subject.num_words + 1
    subject = replace(subject, num_known_words=num_vectors)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        one_score = _OneScore(subject.build())
        draws = [torch.randn(num_vectors, subject.embedding_size, dtype=torch.float64) for _ in range(NUM_DRAWS)]
    if not one_score.model.embedding.size:
        tokens_1T, lengths_1 = subject.text
        mask_TT = torch.eye(subject.num_words, dtype=torch.bool)
        changed_TT = torch.where(mask_TT, tokens_1T.roll(1), tokens_1T)
        with torch.no_grad():
            as_it_is = one_score(tokens_1T, lengths_1)
            return sum(bool(one_score(changed_T.unsqueeze(0), lengths_1) != as_it_is) for changed_T in changed_TT)
    name = "model.embedding.vectors_VE"
    reached_T = reached(lambda x: functional_call(one_score, {name: x}, subject.text), draws).any(1)[1:]
    if one_score.model.embedding.pairs is not None:  # a word is read with the one before it
        reached_T[:-1] |= reached_T[1:].clone()
    return int(reached_T.sum())


def table(subject: Subject, *, long: bool = False) -> Table:
    """The layers, with the totals and the receptive field in notes."""
    frame = layers(subject)
    with torch.random.fork_rng(devices=[]):
        model = subject.build()
    num_reaching = reach(subject)
    scored = {"position_scores": "One position", "word_scores": "One word"}
    whose = next((what for group, what in scored.items() if _own(model, group)), f"A {TASKS[model.task].scored}")
    notes = [
        f"Total: {frame['num_parameters'].sum():,} parameters and {frame['multiply_adds'].sum():,} multiply-adds for a "
        f"text of {subject.num_words} words.",
        f"{whose}'s score depends on {num_reaching} of {subject.num_words} words, measured by "
        f"{'its gradient' if model.embedding.size else 'replacing words'}.",
    ]
    if windows := getattr(model, "windows", None):
        windows = [Window(2), *windows] if model.embedding.pairs is not None else windows
        notes.append(f"By formula, its receptive field is {receptive_field(windows)} words.")
    settings = [f"{name} {value}" for name, value in subject.hyperparameters.items()]
    if settings:
        notes.append(f"Hyperparameters: {', '.join(settings)}.")
    return Table(frame, groups=[list(frame.columns)], key="layer", title=subject.name, notes=[] if long else notes)
