"""What a model is made of: its layers with their shapes, weights and work; and how many words reach one word's score.

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
from analysis.explain import choice
from data.base.errors import UserError, did_you_mean
from data.encoded import EncodedCorpus
from models import Architecture, WordVectors
from models.ngram import Bag
from models.parts.geometry import Window, reached, receptive_field
from models.parts.pairs import PairVectors
from search.serve.trained import task_of
from search.spec import kept
from search.spec.read import read_spec
from search.train.tasks import TASKS

EMBEDDING_SIZE, NUM_WORDS = 50, 100  # where no search says so
NUM_DRAWS = 24  # of random words, which together let every word through: a maximum takes one, a relu may be off


@dataclass(frozen=True)
class Subject:
    """What is inspected. num_outputs: classes, or rows of an image. num_words: of a text, the most that it reads."""

    name: str
    architecture: str
    hyperparameters: Mapping[str, Any]
    num_outputs: int
    embedding_size: int = EMBEDDING_SIZE
    num_words: int = NUM_WORDS
    num_known_words: int = NUM_WORDS + 1  # of the vocabulary
    num_trained_words: int = 0  # whose vectors are trained

    def build(self) -> Architecture:
        """The model as drawn before training; in double precision, where no kernels take layers together."""
        embedding = WordVectors.learned(self.num_known_words, self.embedding_size)
        return models.build(self.architecture, embedding, self.num_outputs, **self.hyperparameters).double().eval()

    @property
    def text(self) -> tuple[Tensor, Tensor]:
        """tokens (1, T), all of them different if so many words are known, and lengths (1)."""
        tokens_T = torch.arange(self.num_words) % (self.num_known_words - 1) + 1
        return tokens_T.unsqueeze(0), torch.tensor([self.num_words])


def find(uri: str, name: str) -> Subject:
    """An architecture with its default hyperparameters, or a trial as `choice.find` does. Raises UserError."""
    if name in models.ARCHITECTURES:
        _require_network(name)
        return Subject(f"{name}, as it is by default", name, {}, TASKS[models.architecture(name).task].usual_outputs)
    try:
        trial = choice.find(uri, name)
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
            f"inspect: {architecture} is not a network and has no layers; `explain` shows the words that it goes by"
        )


def layers(subject: Subject) -> pd.DataFrame:
    """A row for each layer with weights: layer, kind, output (its shape, of one text), num_parameters, multiply_adds.

    A weight of a matrix or kernel is multiplied once for every position that its layer reads (a word; a pixel). Where
    queries meet words, as in attention, each meeting takes a product of a query and a key and one of a weight and a
    value. So say the formulas: what a program folds together is less.
    """
    model = subject.build()
    tokens_1T, lengths_1 = subject.text
    read: dict[nn.Module, int] = {}
    made: dict[nn.Module, tuple[int, ...]] = {}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor | tuple[Tensor, ...]) -> None:
        output = output if isinstance(output, Tensor) else output[0]  # torch's own attention gives its weights as well
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
        # Of a layer whose weights are used without a call, as attention does: it reads all words.
        num_read = read.get(module, subject.num_words)
        shape = made.get(module, (subject.num_words, len(weights[0])))
        num_weights, per_position = (sum(each.numel() for each in weights if each.ndim >= ndim) for ndim in (1, 2))
        if isinstance(module, WordVectors):
            num_weights = subject.num_trained_words * subject.embedding_size
        if isinstance(module, WordVectors | PairVectors | nn.Embedding | Bag):  # looked up
            per_position = 0
        if module is model:  # its own are the queries of its attention, which are not multiplied with what it reads
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
    """The score of the word in the middle of a text; of the position there, where a model leaves fewer of them; of the
    whole text after its last word, where a model has only that; the first pixel of its image."""

    def __init__(self, model: Architecture) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens_1T: Tensor, lengths_1: Tensor) -> Tensor:
        scores = _own(self.model, "position_scores") or _own(self.model, "word_scores")
        scores_PC = scores(tokens_1T, lengths_1)[0] if scores else self.model(tokens_1T, lengths_1).flatten(1)
        return scores_PC[len(scores_PC) // 2, 0]


def reach(subject: Subject) -> int:
    """How many words can reach one word's score, measured: where its gradient by the words is not zero; where a model
    reads no word vectors, where another word changes it."""
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
            return sum(bool(one_score(each_T.unsqueeze(0), lengths_1) != as_it_is) for each_T in changed_TT)
    name = "model.embedding.vectors_VE"
    reached_T = reached(lambda x: functional_call(one_score, {name: x}, subject.text), draws).any(1)[1:]
    if one_score.model.embedding.pairs is not None:  # a word is read with the one before it
        reached_T[:-1] |= reached_T[1:].clone()
    return int(reached_T.sum())


def table(subject: Subject, *, long: bool = False) -> Table:
    """The layers, and below them what they come to."""
    frame = layers(subject)
    with torch.random.fork_rng(devices=[]):
        model = subject.build()
    num_reaching = reach(subject)
    scored = {"position_scores": "One position", "word_scores": "One word"}
    whose = next((what for own, what in scored.items() if _own(model, own)), f"A {TASKS[model.task].scored}")
    notes = [
        f"In all {frame['num_parameters'].sum():,} parameters and {frame['multiply_adds'].sum():,} multiply-adds for a "
        f"text of {subject.num_words} words.",
        f"{whose}'s score is reached by {num_reaching} of {subject.num_words} words: by those, measured, for which its "
        f"{'gradient is not zero' if model.embedding.size else 'value is another with another word'}.",
    ]
    if windows := getattr(model, "windows", None):
        windows = [Window(2), *windows] if model.embedding.pairs is not None else windows
        notes.append(f"By formula, its receptive field is {receptive_field(windows)} words.")
    settings = [f"{name} {value}" for name, value in subject.hyperparameters.items()]
    if settings:
        notes.append(f"Hyperparameters: {', '.join(settings)}.")
    return Table(frame, groups=[list(frame.columns)], key="layer", title=subject.name, notes=[] if long else notes)
