"""Architectures from outside: networks and estimators (see `models.parts.estimator`) that declare hyperparameters.

A torch module is `Net(setting, *, <hyperparameters with defaults>)` with `forward(tokens_BT, lengths_B) -> logits_BC`,
where `setting` is a `TextSetting`, and a class attribute `hyperparameters` with a domain for each of them: one of
`models.parts.hyperparameters`, a pair (low, high) of whole or other numbers, or a list of choices.

Shapes: B batch, T words, E embedding, C classes.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from torch import Tensor, nn

from data.base.errors import UserError, did_you_mean
from models.native.padding import real_words
from models.parts.estimator import RANDOM_STATE, TextEstimator, adopt, is_estimator
from models.parts.hyperparameters import Choice, Domain, Integer, OrNone, Real
from models.parts.layers import Architecture, WordVectors

#: Optional methods of an architecture that `analysis explain` uses.
OPTIONAL = ("word_scores", "attention_weights")


@dataclass(frozen=True)
class TextSetting:
    """The inputs and outputs for which a network is built.

    embedding: a module from word ids (B, T) to word vectors (B, T, E), with E = `embedding.size`; the spec determines
        whether they are trained. Networks that use it can be explained by integrated gradients.
    num_classes: C.
    padding: the word id of the padding on the right of shorter texts.
    """

    embedding: WordVectors
    num_classes: int
    padding: int = 0


class External(Architecture):
    """A torch module from outside as an architecture; every module gets a subclass (see `as_architecture`)."""

    module: ClassVar[type[nn.Module]]

    def __init__(self, embedding: WordVectors, num_outputs: int, **hyperparameters: Any) -> None:
        super().__init__(embedding)
        self.network = self.module(TextSetting(embedding, num_outputs), **hyperparameters)
        self.num_outputs = num_outputs

    def forward(self, tokens_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """As `Architecture.forward`. Raises UserError if the network returns anything but logits (B, C)."""
        logits_BC = self.network(tokens_BT, lengths_B)
        wanted = (len(tokens_BT), self.num_outputs)
        got = tuple(logits_BC.shape) if isinstance(logits_BC, Tensor) else type(logits_BC).__name__
        if got != wanted:
            raise UserError(f"{self.module.__name__}: forward should return a tensor (B, C), here {wanted}; got {got}")
        return cast(Tensor, logits_BC)

    def start_from(self, texts: Iterable[tuple[Tensor, ...]]) -> None:
        """Calls the network's `start_from`, if it has one (see `Architecture.start_from`)."""
        start: Callable[..., None] | None = getattr(self.network, "start_from", None)
        if start is not None:
            start(texts)

    def classify(self, words_BTE: Tensor, lengths_B: Tensor) -> Tensor:
        """As `Architecture.classify`: the network's embedding returns these vectors, whatever the ids.

        Raises UserError if the network does not call its embedding.
        """
        is_called = False

        def given_vectors(*_: Any) -> Tensor:
            nonlocal is_called
            is_called = True
            return words_BTE

        # The ids only mark where there are words; 1 is the id of unknown words.
        tokens_BT = real_words(lengths_B, words_BTE.shape[1]).long()
        hook = self.embedding.register_forward_hook(given_vectors)
        try:
            logits_BC: Tensor = self.network(tokens_BT, lengths_B)
        finally:
            hook.remove()
        if not is_called:
            raise UserError(
                f"{self.module.__name__} does not read words through setting.embedding(tokens_BT), so its word vectors "
                "cannot explain it; use that, or define word_scores(tokens_BT, lengths_B)"
            )
        return logits_BC


def as_architecture(made: Any, where: str) -> type[Architecture] | type[TextEstimator]:
    """Converts an external class or function to an architecture. Raises UserError, which names `where`, for other
    objects."""
    estimates = is_estimator(made)
    if not estimates and not (isinstance(made, type) and issubclass(made, nn.Module)):
        what = made.__name__ if isinstance(made, type) else type(made).__name__
        raise UserError(
            f"{where}: should be a class, of torch.nn.Module or models.Architecture, or with fit and predict_proba; "
            f"got {what}"
        )
    declared = getattr(made, "hyperparameters", None)
    if not isinstance(declared, Mapping):
        raise UserError(f"{where}: should have a class attribute hyperparameters = {{'size': (8, 512), ...}}")
    domains = {name: _domain(f"{where}: hyperparameters[{name!r}]", item) for name, item in declared.items()}
    parameters = list(inspect.signature(made).parameters.values())
    if estimates:
        _check_constructor(where, [item for item in parameters if item.name != RANDOM_STATE], domains)
        return adopt(made, domains)
    num_given = 2 if issubclass(made, Architecture) else 1  # arguments that are no hyperparameters
    _check_constructor(where, parameters[num_given:], domains)
    if issubclass(made, Architecture):
        architecture: type[Architecture] = made
        architecture.hyperparameters = domains
        # What holds for a network of ours may not for it.
        architecture.stacks, architecture.pads = vars(made).get("stacks", False), vars(made).get("pads")
        return architecture
    content = {
        "module": made,
        "hyperparameters": domains,
        "__doc__": made.__doc__,
        "__signature__": inspect.signature(made),
    }
    return type(
        made.__name__, (External,), content | {item: _forwarded(item) for item in OPTIONAL if hasattr(made, item)}
    )


def _forwarded(method: str) -> Any:
    def forward(self: External, tokens_BT: Tensor, lengths_B: Tensor) -> Tensor:
        result: Tensor = getattr(self.network, method)(tokens_BT, lengths_B)
        return result

    return forward


def _domain(where: str, declared: Any) -> Domain:
    match declared:
        case Integer() | Real() | Choice():
            return declared
        case OrNone(domain=inner):
            return OrNone(_domain(where, inner))
        case (int(low), int(high)) if isinstance(declared, tuple) and low <= high:
            return Integer(low, high)
        case (int(low) | float(low), int(high) | float(high)) if isinstance(declared, tuple) and low <= high:
            return Real(low, high)
        case [_, *_] if isinstance(declared, list):
            return Choice(tuple(declared))
    raise UserError(f"{where}: should be (low, high) or a list of choices; got {declared!r}")


def _check_constructor(where: str, parameters: list[inspect.Parameter], domains: Mapping[str, Domain]) -> None:
    """Raises UserError unless the parameters are the hyperparameters, each with a default in its domain."""
    taken = {parameter.name: parameter.default for parameter in parameters}
    for name in domains:
        if name not in taken:
            near = did_you_mean(name, taken)
            raise UserError(f"{where}: its constructor does not take the hyperparameter {name!r}{near}")
    for name, default in taken.items():
        if name not in domains:
            raise UserError(f"{where}: its constructor takes {name!r}, which is not in hyperparameters; add it there")
        if default is inspect.Parameter.empty:
            raise UserError(f"{where}: its constructor should have a default for {name!r}")
        domains[name].check(f"{where}: the default of {name}", default)
