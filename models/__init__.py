"""The registry of architectures. To add one, write its file and enter its class here; `register` adds one from
outside."""

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

#: Simple alternatives to a network by name; every search includes some for comparison. A name may end in the number of
#: words to read (see `words_named`).
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
OURS = tuple(name for name in ARCHITECTURES if name not in BASELINES)  # networks that a search may compare


def register(name: str, made: Any, where: str = "", *, kept: bool = False) -> None:
    """Register an architecture from outside (see `models.parts.external`), replacing an earlier one of the same name.

    where: its source, for messages. kept: it comes from a stored search, maybe from before the name was built in; it
    then hides the built-in one until `reset`. Raises UserError if it is not an architecture, or if it is new and its
    name is built in.
    """
    where = where or name
    if (name in _SHIPPED or baseline(name)) and not kept:
        raise UserError(f"{where}: {name!r} is the name of a built-in architecture: give yours another name")
    ARCHITECTURES[name] = as_architecture(made, where)


def reset() -> None:
    """Restore the built-in architectures under their names."""
    for name in [name for name in ARCHITECTURES if baseline(name)]:
        del ARCHITECTURES[name]
    ARCHITECTURES.update(_SHIPPED)


def baseline(name: str) -> type[TextEstimator] | None:
    """The baseline class of a name, which may end in the number of words to read: nbsvm_200, nbsvm_whole."""
    if match := _ON_WORDS.fullmatch(name):
        kind = BASELINES.get(match[1])
        return kind if kind and kind.depends_on_words else None
    return BASELINES.get(name)


def is_baseline(name: str) -> bool:
    """Whether the name refers to a baseline, rather than to a stored architecture that is older than the baseline."""
    return (kind := baseline(name)) is not None and find(name) is kind


def words_named(name: str) -> str:
    """The number of words in a baseline's name: '200' for nbsvm_200, WHOLE for nbsvm_whole. '' for other names, for
    which `max_words` of the spec applies."""
    return match[2] if is_baseline(name) and (match := _ON_WORDS.fullmatch(name)) else ""


def reads_embeddings(name: str) -> bool:
    """Whether the architecture learns from embeddings of whole texts (`TextEstimator.reads_embeddings`)."""
    return getattr(find(name), "reads_embeddings", False) is True


def of_task(task: str) -> dict[str, type[Architecture]]:
    """The networks of a task by name."""
    return {name: kind for name, kind in ARCHITECTURES.items() if kind.task == task and issubclass(kind, Architecture)}


def find(name: str) -> type[Architecture] | type[TextEstimator] | None:
    """The class of an architecture or baseline by name, or None."""
    return ARCHITECTURES.get(name) or baseline(name)


def architecture(name: str) -> type[Architecture] | type[TextEstimator]:
    """Like `find`, but raises UserError if there is none."""
    if (kind := find(name)) is None:
        hint = did_you_mean(name, ARCHITECTURES)
        raise UserError(f"unknown architecture {name!r}{hint}")
    return kind


def inputs(kind: type[Architecture] | type[TextEstimator]) -> dict[str, Input]:
    """The hyperparameters of an architecture's inputs, except those with the name of one of its own hyperparameters."""
    return {key: value for key, value in kind.inputs.items() if key not in kind.hyperparameters}


def domains(name: str) -> dict[str, Domain]:
    """The domains of all hyperparameters with which an architecture is built, those of its inputs included."""
    return {
        **architecture(name).hyperparameters,
        **{key: option.domain for key, option in inputs(architecture(name)).items()},
    }


def defaults(name: str) -> dict[str, Any]:
    """The default of each hyperparameter in `domains`."""
    parameters = inspect.signature(architecture(name)).parameters
    values = {key: parameters[key].default for key in architecture(name).hyperparameters}
    return values | {key: option.default for key, option in inputs(architecture(name)).items()}


def built_with(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a trial's flat config that its model is built with. Old configs lack hyperparameters of inputs."""
    default_of = {key: option.default for key, option in inputs(architecture(name)).items()}
    return {key: config[key] if key in config else default_of[key] for key in domains(name)}


def check(name: str, hyperparameters: dict[str, Any]) -> None:
    """Raises UserError, in one line, for an unknown architecture or hyperparameter or a value outside its domain."""
    known = domains(name)
    for key, value in hyperparameters.items():
        if key not in known:
            hint = did_you_mean(key, known)
            raise UserError(f"unknown hyperparameter {key!r} of {name}{hint}")
        known[key].check(f"{name}: {key}", value)


def build(name: str, embedding: WordVectors, num_outputs: int, **hyperparameters: Any) -> Architecture:
    """A new network of the named architecture, with weights drawn from torch's generator.

    num_outputs: number of classes or, for images, of rows. Hyperparameters not given take the defaults of the
    architecture's constructor. Raises UserError, in one line, for an unknown name or hyperparameter or a value
    outside its domain.
    """
    check(name, hyperparameters)
    constructor: Callable[..., Any] = architecture(name)
    read = {key: hyperparameters.pop(key) for key in inputs(architecture(name)) if key in hyperparameters}
    network: Architecture = constructor(embedding.reading(**read), num_outputs, **hyperparameters)
    network.built_with = {**defaults(name), **hyperparameters, "num_outputs": num_outputs}
    return network


def build_estimator(name: str, seed: int = 0, **hyperparameters: Any) -> TextEstimator:
    """A new, unfitted estimator; otherwise like `build`."""
    check(name, hyperparameters)
    return create(architecture(name), seed, hyperparameters)
