"""The architectures of a search by name. To add one, write its file and enter its class here."""

from collections.abc import Callable
from typing import Any

from models.attention import Attention
from models.cnn import CNN
from models.gru import GRU
from models.hyperparameters import did_you_mean
from models.layers import Architecture, WordVectors, num_parameters
from models.mlp import MLP
from models.rnn import RNN

__all__ = ["ARCHITECTURES", "Architecture", "WordVectors", "architecture", "build", "check", "num_parameters"]

ARCHITECTURES: dict[str, type[Architecture]] = {
    "rnn": RNN,
    "gru": GRU,
    "mlp": MLP,
    "attention": Attention,
    "cnn": CNN,
}


def architecture(name: str) -> type[Architecture]:
    """The class of that name. Raises ValueError if there is none."""
    if name not in ARCHITECTURES:
        hint = did_you_mean(name, ARCHITECTURES)
        raise ValueError(f"architecture must be one of {', '.join(ARCHITECTURES)}, got {name!r}{hint}")
    return ARCHITECTURES[name]


def check(name: str, hyperparameters: dict[str, Any]) -> None:
    """Raises ValueError, in one line, if there is no such architecture or it does not take these values."""
    domains = architecture(name).hyperparameters
    for key, value in hyperparameters.items():
        if key not in domains:
            hint = did_you_mean(key, domains)
            raise ValueError(f"hyperparameter of {name} must be one of {', '.join(domains)}, got {key!r}{hint}")
        domains[key].check(f"{name}: {key}", value)


def build(name: str, embedding: WordVectors, num_classes: int, **hyperparameters: Any) -> Architecture:
    """A new model of the architecture of that name, its weights drawn by torch's generator.

    Hyperparameters not given take the defaults of the architecture's constructor. Raises ValueError, in one line, for
    an unknown name or hyperparameter or a value out of its domain.
    """
    check(name, hyperparameters)
    constructor: Callable[..., Architecture] = architecture(name)
    return constructor(embedding, num_classes, **hyperparameters)
