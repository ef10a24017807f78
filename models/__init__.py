"""The architectures of a search by name. To add one, write its file and enter its class here; one from outside is taken
in by `register`."""

from collections.abc import Callable
from typing import Any

from data.base.errors import UserError, did_you_mean
from models.attention import Attention
from models.baselines.majority import Majority
from models.baselines.nbsvm import NBSVM, NBSVMWhole
from models.baselines.tfidf import Tfidf, TfidfWhole
from models.cnn import CNN
from models.gru import GRU
from models.mlp import MLP
from models.ngram import Ngram
from models.parts.estimator import TextEstimator, create
from models.parts.external import TextSetting, as_architecture
from models.parts.layers import CLASSIFICATION, Architecture, WordVectors, num_parameters
from models.rnn import RNN
from models.text_to_image import TextToImage

__all__ = [
    "ARCHITECTURES",
    "BASELINES",
    "CLASSIFICATION",
    "Architecture",
    "TextEstimator",
    "TextSetting",
    "WordVectors",
    "architecture",
    "build",
    "build_estimator",
    "check",
    "is_baseline",
    "num_parameters",
    "of_task",
    "register",
    "reset",
]

#: What anyone would use instead of a network, by name: every search has some of them for comparison.
BASELINES: dict[str, type[TextEstimator]] = {
    "majority": Majority,
    "tfidf": Tfidf,
    "nbsvm": NBSVM,
    "tfidf_whole": TfidfWhole,
    "nbsvm_whole": NBSVMWhole,
}
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
    if name in _SHIPPED and not kept:
        raise UserError(f"{where}: {name!r} is one of ours: give yours another name")
    ARCHITECTURES[name] = as_architecture(made, where)


def reset() -> None:
    """Let the names of ours mean ours again."""
    ARCHITECTURES.update(_SHIPPED)


def is_baseline(name: str) -> bool:
    """Whether a baseline goes by this name, not somebody's own architecture from before there was that baseline."""
    return name in BASELINES and ARCHITECTURES[name] is BASELINES[name]


def of_task(task: str) -> dict[str, type[Architecture]]:
    """The networks of a task by name."""
    return {name: each for name, each in ARCHITECTURES.items() if each.task == task and issubclass(each, Architecture)}


def architecture(name: str) -> type[Architecture] | type[TextEstimator]:
    """The class of that name. Raises UserError if there is none."""
    if name not in ARCHITECTURES:
        hint = did_you_mean(name, ARCHITECTURES)
        raise UserError(f"unknown architecture {name!r}{hint}")
    return ARCHITECTURES[name]


def check(name: str, hyperparameters: dict[str, Any]) -> None:
    """Raises UserError, in one line, if there is no such architecture or it does not take these values."""
    domains = architecture(name).hyperparameters
    for key, value in hyperparameters.items():
        if key not in domains:
            hint = did_you_mean(key, domains)
            raise UserError(f"unknown hyperparameter {key!r} of {name}{hint}")
        domains[key].check(f"{name}: {key}", value)


def build(name: str, embedding: WordVectors, num_outputs: int, **hyperparameters: Any) -> Architecture:
    """A new network of the architecture of that name, its weights drawn by torch's generator.

    num_outputs: classes or, for images, their rows. Hyperparameters not given take the defaults of the
    architecture's constructor. Raises UserError, in one line, for an unknown name or hyperparameter or a value out of
    its domain.
    """
    check(name, hyperparameters)
    constructor: Callable[..., Any] = architecture(name)
    network: Architecture = constructor(embedding, num_outputs, **hyperparameters)
    return network


def build_estimator(name: str, seed: int = 0, **hyperparameters: Any) -> TextEstimator:
    """A new estimator of the architecture of that name, not fitted; the rest as `build`."""
    check(name, hyperparameters)
    return create(architecture(name), seed, hyperparameters)
