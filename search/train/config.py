"""The hyperparameters of training, and with them those of an architecture."""

import inspect
from typing import Any

from models import ARCHITECTURES
from models.parts.hyperparameters import Choice as OneOf
from models.parts.hyperparameters import Domain, Integer, Real

MAX_GRAD_NORM = "max_grad_norm"
#: Hyperparameters of the training loop, common to all architectures.
TRAINING: dict[str, Domain] = {
    "learning_rate": Real(1e-8, 10.0),
    "batch_size": Integer(1, 65536),
    MAX_GRAD_NORM: Real(1e-6, 1e6),
    "word_dropout": Real(0.0, 0.9),
    "schedule": OneOf(("constant", "linear")),
}
DEFAULTS = {"learning_rate": 1e-3, "word_dropout": 0.0, "schedule": "constant"}
HIDDEN_SIZE = "hidden_size"  # what is solved when numbers of parameters are matched


def domains(architecture: str) -> dict[str, Domain]:
    """Every hyperparameter of an architecture, its own and the training loop's, with the values allowed."""
    return {**ARCHITECTURES[architecture].hyperparameters, **TRAINING}


def defaults(architecture: str) -> dict[str, Any]:
    """The values an architecture's constructor takes when it is not told."""
    parameters = inspect.signature(ARCHITECTURES[architecture]).parameters
    return {name: parameters[name].default for name in ARCHITECTURES[architecture].hyperparameters}
