"""The hyperparameters of training, each declared once, and their union with those of an architecture."""

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, Self

import models
from models.parts.hyperparameters import Choice, Domain, Integer, OrNone, Real
from search.train.length import Length

HIDDEN_SIZE = "hidden_size"  # solved for when numbers of parameters are matched
#: Factor of the learning rate as a function of progress: the share of iterations done, from 0 to less than 1.
SCHEDULES = {"constant": lambda progress: 1.0, "linear": lambda progress: 1 - progress}


def _hyperparameter(domain: Domain, default: Any, doc: str) -> Any:
    return field(default=default, metadata={"domain": domain, "doc": doc})


@dataclass(frozen=True)
class TrainingConfig:
    """The settings of the training loop for one trial. Raises UserError for a value outside its domain.

    To add a hyperparameter that can be searched, add a field and read it in the loop.
    """

    learning_rate: float = _hyperparameter(Real(1e-8, 10.0), 1e-3, "of Adam at the first iteration")
    batch_size: int = _hyperparameter(Integer(1, 65536), 32, "texts per iteration")
    max_grad_norm: float | None = _hyperparameter(
        OrNone(Real(1e-6, 1e6)), None, "gradients with a larger L2 norm are scaled down to this norm; None: no clipping"
    )
    word_dropout: float = _hyperparameter(
        Real(0.0, 0.9), 0.0, "share of a batch's words that are read as the zero vector (Iyyer et al. 2015)"
    )
    schedule: str = _hyperparameter(
        Choice(tuple(SCHEDULES)), "constant", "of the learning rate; linear: it falls to zero over all iterations"
    )
    label_smoothing: float = _hyperparameter(
        Real(0.0, 0.9),
        0.0,
        "share of the target probability that is spread evenly over all classes in training (Szegedy et al. 2016)",
    )
    averaging: float | None = _hyperparameter(
        OrNone(Real(0.5, 0.99999)),
        None,
        "decay per iteration of an exponential moving average of the weights, which is evaluated and stored instead of "
        "them (Polyak and Juditsky 1992); None: no averaging",
    )
    adam: str = _hyperparameter(
        Choice(("dense", "lazy")),
        "dense",
        "updates of trained word vectors; lazy: only those of an iteration's words, at a fraction of the cost",
    )

    def __post_init__(self) -> None:
        for name, domain in TRAINING.items():
            domain.check(name, getattr(self, name))

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """From a trial's flat config; keys that an old config lacks take their defaults."""
        return cls(**{name: config[name] for name in TRAINING if name in config})

    def rate(self, progress: float) -> float:
        """The learning rate after this share of all iterations."""
        return self.learning_rate * SCHEDULES[self.schedule](progress)


#: The share of the training texts that a configuration may set (see `EncodedCorpus.first_share`).
TRAIN_SHARE = Real(1e-6, 1.0)

TRAINING: dict[str, Domain] = {each.name: each.metadata["domain"] for each in fields(TrainingConfig)}


@dataclass(frozen=True)
class Learner:
    """How a kind of architecture learns (see `Architecture.learner`).

    training: its hyperparameters of training. in_one_go: a trial has one epoch and one report, whatever the spec says.
    reads_texts: whether it learns from words instead of word ids.
    """

    training: tuple[Field[Any], ...]
    in_one_go: bool = False
    reads_texts: bool = False


LEARNERS = {
    "network": Learner(fields(TrainingConfig)),
    "estimator": Learner((), in_one_go=True, reads_texts=True),
}


def learner(architecture: str) -> Learner:
    return LEARNERS[models.architecture(architecture).learner]


def reads_texts(architecture: str) -> bool:
    """Whether the architecture learns from the words of texts instead of word ids."""
    return learner(architecture).reads_texts and getattr(models.architecture(architecture), "reads_words", True)


def length_of(architecture: str, requested: Length) -> Length:
    """The length of this architecture's trials in a search of the given length."""
    return Length(1) if learner(architecture).in_one_go else requested


def domains(architecture: str) -> dict[str, Domain]:
    """The domains of all hyperparameters of an architecture: of the network, of its inputs and of its training."""
    training = {each.name: each.metadata["domain"] for each in learner(architecture).training}
    return {**models.domains(architecture), **training}


def defaults(architecture: str) -> dict[str, Any]:
    """The default of each hyperparameter in `domains`."""
    return models.defaults(architecture) | {each.name: each.default for each in learner(architecture).training}
