"""The architectures of a search by name. To add one, write its file and enter its class here; one from outside is taken
in by `register`."""

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from data.base.errors import UserError, did_you_mean
from models.attention import Attention
from models.baselines.embedding import Embedding
from models.baselines.majority import Majority
from models.baselines.nbsvm import NBSVM
from models.baselines.tfidf import Tfidf
from models.cnn import CNN
from models.gru import GRU
from models.mlp import MLP
from models.ngram import Ngram
from models.parts.estimator import TextEstimator, create
from models.parts.external import TextSetting, as_architecture
from models.parts.hyperparameters import Domain, Input
from models.parts.layers import CLASSIFICATION, Architecture, WordVectors, num_parameters
from models.rnn import RNN
from models.text_to_image import TextToImage

__all__ = [
    "ARCHITECTURES",
    "BASELINES",
    "CLASSIFICATION",
    "WHOLE",
    "Architecture",
    "TextEstimator",
    "TextSetting",
    "WordVectors",
    "architecture",
    "baseline",
    "build",
    "build_estimator",
    "built_with",
    "check",
    "defaults",
    "domains",
    "find",
    "inputs",
    "is_baseline",
    "num_parameters",
    "of_task",
    "reads_embeddings",
    "register",
    "reset",
    "words_named",
]

#: What anyone would use instead of a network, by name: every search has some of them for comparison. A name may end in
#: how many words of a text are read (see `words_named`).
BASELINES: dict[str, type[TextEstimator]] = {
    "majority": Majority,
    "tfidf": Tfidf,
    "nbsvm": NBSVM,
    "embedding": Embedding,
}
WHOLE = "whole"
_ON_WORDS = re.compile(rf"(.+)_({WHOLE}|[1-9]\d*)")
ARCHITECTURES: dict[str, type[Architecture] | type[TextEstimator]] = {
    "rnn": RNN,
    "gru": GRU,
    "mlp": MLP,
    "attention": Attention,
    "cnn": CNN,
    "ngram": Ngram,
    "text_to_image": TextToImage,
    **BASELINES,
}
_SHIPPED = dict(ARCHITECTURES)
OURS = tuple(name for name in ARCHITECTURES if name not in BASELINES)  # that a search may compare


def register(name: str, made: Any, where: str = "", *, kept: bool = False) -> None:
    """Take in an architecture from outside (see `models.parts.external`); a later one of its name takes its place.

    where: what a message calls it. kept: whether it comes from what was kept, maybe before its name was one of ours: it
    stands for that until `reset`. Raises UserError if it is no architecture, or its name is one of ours and it is new.
    """
    where = where or name
    if (name in _SHIPPED or baseline(name)) and not kept:
        raise UserError(f"{where}: {name!r} is a built-in one: give yours another name")
    ARCHITECTURES[name] = as_architecture(made, where)


def reset() -> None:
    """Let the names of ours mean ours again."""
    for name in [name for name in ARCHITECTURES if baseline(name)]:
        del ARCHITECTURES[name]
    ARCHITECTURES.update(_SHIPPED)


def baseline(name: str) -> type[TextEstimator] | None:
    """The class of the baseline of that name, which may end in the words that it reads: nbsvm_200, nbsvm_whole."""
    if match := _ON_WORDS.fullmatch(name):
        found = BASELINES.get(match[1])
        return found if found and found.depends_on_words else None
    return BASELINES.get(name)


def is_baseline(name: str) -> bool:
    """Whether a baseline goes by this name, not somebody's own architecture from before there was that baseline."""
    return (found := baseline(name)) is not None and find(name) is found


def words_named(name: str) -> str:
    """How many words of a text a baseline reads by its name: '200' by nbsvm_200, WHOLE by nbsvm_whole; '' where the
    name does not say, and it reads as many as any architecture of its search."""
    return match[2] if is_baseline(name) and (match := _ON_WORDS.fullmatch(name)) else ""


def reads_embeddings(name: str) -> bool:
    """Whether it learns from embeddings of whole texts (`TextEstimator.reads_embeddings`)."""
    return getattr(find(name), "reads_embeddings", False) is True


def of_task(task: str) -> dict[str, type[Architecture]]:
    """The networks of a task by name."""
    return {name: each for name, each in ARCHITECTURES.items() if each.task == task and issubclass(each, Architecture)}


def find(name: str) -> type[Architecture] | type[TextEstimator] | None:
    """The class of that name, an architecture's or a baseline's, or None."""
    return ARCHITECTURES.get(name) or baseline(name)


def architecture(name: str) -> type[Architecture] | type[TextEstimator]:
    """The same. Raises UserError if there is none."""
    if (found := find(name)) is None:
        hint = did_you_mean(name, ARCHITECTURES)
        raise UserError(f"unknown architecture {name!r}{hint}")
    return found


def inputs(kind: type[Architecture] | type[TextEstimator]) -> dict[str, Input]:
    """What an architecture is told of what it reads. A hyperparameter of its own by such a name is its own matter."""
    return {key: each for key, each in kind.inputs.items() if key not in kind.hyperparameters}


def domains(name: str) -> dict[str, Domain]:
    """The hyperparameters that the architecture of that name is built with, and the values allowed: its own, and those
    of what it reads."""
    return {
        **architecture(name).hyperparameters,
        **{key: each.domain for key, each in inputs(architecture(name)).items()},
    }


def defaults(name: str) -> dict[str, Any]:
    """The value that each of them takes by default."""
    parameters = inspect.signature(architecture(name)).parameters
    own = {key: parameters[key].default for key in architecture(name).hyperparameters}
    return own | {key: each.default for key, each in inputs(architecture(name)).items()}


def built_with(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a trial's flat config that its model is built with. Old ones lack what is told of what it reads."""
    before = {key: each.default for key, each in inputs(architecture(name)).items()}
    return {key: config[key] if key in config else before[key] for key in domains(name)}


def check(name: str, hyperparameters: dict[str, Any]) -> None:
    """Raises UserError, in one line, if there is no such architecture or it does not take these values."""
    known = domains(name)
    for key, value in hyperparameters.items():
        if key not in known:
            hint = did_you_mean(key, known)
            raise UserError(f"unknown hyperparameter {key!r} of {name}{hint}")
        known[key].check(f"{name}: {key}", value)


def build(name: str, embedding: WordVectors, num_outputs: int, **hyperparameters: Any) -> Architecture:
    """A new network of the architecture of that name, its weights drawn by torch's generator.

    num_outputs: classes or, for images, their rows. Hyperparameters not given take the defaults of the
    architecture's constructor. Raises UserError, in one line, for an unknown name or hyperparameter or a value out of
    its domain.
    """
    check(name, hyperparameters)
    constructor: Callable[..., Any] = architecture(name)
    read = {key: hyperparameters.pop(key) for key in inputs(architecture(name)) if key in hyperparameters}
    network: Architecture = constructor(embedding.reading(**read), num_outputs, **hyperparameters)
    return network


def build_estimator(name: str, seed: int = 0, **hyperparameters: Any) -> TextEstimator:
    """A new estimator of the architecture of that name, not fitted; the rest as `build`."""
    check(name, hyperparameters)
    return create(architecture(name), seed, hyperparameters)
