"""The contract of a network: what training, ranking, explanations and exports rely on.

Each rule is a function that raises `BrokenRuleError` with advice. The tests check all built-in networks, and `bakeoff
check-architecture` checks any other.

Shapes: B batch, T words, V vocabulary, E embedding, C outputs (classes; rows of an image).
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

import models
from data.base.errors import UserError
from models.parts.hyperparameters import Choice, Domain, Integer, OrNone
from models.parts.layers import Architecture, WordVectors
from models.parts.weights import from_bytes, to_bytes

NUM_OUTPUTS, NUM_WORDS, SIZE = 8, 20, 5  # C, V and E


class BrokenRuleError(Exception):
    """A rule is broken; the message says how, and what to do."""


class Subject:
    """A network to check, with default hyperparameters."""

    def __init__(self, architecture: type[Architecture], **hyperparameters: Any) -> None:
        self.architecture, self.hyperparameters = architecture, hyperparameters

    def build(self, seed: int = 0, embedding: WordVectors | None = None, **hyperparameters: Any) -> Architecture:
        """A new network with weights drawn from this seed, including vectors of pairs, which normally start at zero."""
        torch.manual_seed(seed)
        build: Callable[..., Architecture] = self.architecture
        options = self.hyperparameters | hyperparameters
        input_options = {key: options.pop(key) for key in models.inputs(self.architecture) if key in options}
        embedding = (embedding or vectors()).reading(**input_options)
        if embedding.pairs is not None:
            nn.init.normal_(embedding.pairs.rows_RD.data[1:])
        return build(embedding, NUM_OUTPUTS, **options)

    @property
    def domains(self) -> dict[str, Domain]:
        """The domains of all hyperparameters, those of inputs included."""
        read = {key: option.domain for key, option in models.inputs(self.architecture).items()}
        return {**self.architecture.hyperparameters, **read}

    def variants(self) -> Iterator[dict[str, Any]]:
        """The defaults, then some values of each hyperparameter."""
        yield {}
        for key, domain in self.domains.items():
            yield from ({key: value} for value in some_values(domain))

    def pairs(self) -> Iterator[tuple[str, Any, Any]]:
        """Each hyperparameter with pairs of neighbouring values."""
        for key, domain in self.domains.items():
            yield from ((key, *pair) for pair in itertools.pairwise(some_values(domain)))


def vectors() -> WordVectors:
    vectors_VE = torch.randn(NUM_WORDS, SIZE, generator=torch.Generator().manual_seed(1))
    vectors_VE[0] = 0
    return WordVectors(vectors_VE)


def texts(num_words: int = 13) -> tuple[Tensor, Tensor]:
    """Texts of one word, of the full width, and of lengths in between."""
    lengths_B = torch.tensor([1, num_words, 7, 2, 12, 1, 3, 1]).clamp(max=num_words)
    generator = torch.Generator().manual_seed(2)
    tokens_BT = torch.randint(1, NUM_WORDS, (len(lengths_B), num_words), generator=generator)
    return tokens_BT * (torch.arange(num_words) < lengths_B.unsqueeze(1)), lengths_B


def some_values(domain: Domain) -> list[Any]:
    """The bounds of a domain and values near the lower one; all choices; None if it is allowed."""
    if isinstance(domain, OrNone):
        return [None, *some_values(domain.domain)]
    if isinstance(domain, Choice):
        return list(domain.options)
    low, high = domain.low, domain.high  # type: ignore[attr-defined]  # an Integer or a Real
    if isinstance(domain, Integer):
        return sorted({low, min(low + 1, high), min(low + 2, high), max(low, min(12, high))})
    return [low, (low + high) / 2, high]


# --- The rules


def trains(subject: Subject, **hyperparameters: Any) -> None:
    """Three steps of Adam give finite numbers of the right shape."""
    model = subject.build(**hyperparameters)
    tokens_BT, lengths_B = texts()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        logits_BC = model(tokens_BT, lengths_B)
        if logits_BC.shape[:2] != (len(tokens_BT), NUM_OUTPUTS):
            raise BrokenRuleError(
                f"forward gives {tuple(logits_BC.shape)} for {len(tokens_BT)} texts and {NUM_OUTPUTS} classes; return "
                "one score for each class of each text"
            )
        _backward(model, logits_BC)
        for name, parameter in model.named_parameters():
            if parameter.grad is not None and not parameter.grad.isfinite().all():
                raise BrokenRuleError(
                    f"the gradient of {name} is not finite; look for divisions by zero and logarithms of zero"
                )
        optimizer.step()
    for tokens in (tokens_BT, tokens_BT * 0):
        if not model(tokens, lengths_B).isfinite().all():
            what = "" if tokens is tokens_BT else ", where all words of a text are dropped (word_dropout)"
            raise BrokenRuleError(
                f"logits are not finite{what}; mask by lengths_B, and make sure that no divisor is zero"
            )


def gradients_reach_every_parameter(subject: Subject) -> None:
    model = subject.build()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        _backward(model, model(*texts()))
        optimizer.step()
    still = [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])]
    if still:
        raise BrokenRuleError(f"training does not change {', '.join(still)}; use it in forward, or leave it out")


def _backward(model: Architecture, logits_BC: Tensor) -> None:
    """Compute the gradient of a loss, dense because torch's Adam requires that."""
    nn.functional.cross_entropy(logits_BC.flatten(1), torch.arange(len(logits_BC)) % 3).backward()
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad = parameter.grad.to_dense()


def padding_and_company_change_nothing(subject: Subject, **hyperparameters: Any) -> None:
    """The scores of a text do not change with more padding, without the other texts, or in another order."""
    model = subject.build(**hyperparameters).eval()
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        if parameter.ndim == 1:  # biases of zero would hide what padding does
            parameter.data += torch.randn(parameter.shape, generator=generator)
    tokens_BT, lengths_B = texts()
    order = torch.arange(len(lengths_B)).flip(0)
    with torch.inference_mode():
        logits_BC = model(tokens_BT, lengths_B)
        others = {
            "wider padding changes": (model(nn.functional.pad(tokens_BT, (0, 9)), lengths_B), logits_BC),
            "other texts in the batch change": (
                torch.cat([model(tokens_BT[b : b + 1, :n], lengths_B[b : b + 1]) for b, n in enumerate(lengths_B)]),
                logits_BC,
            ),
            "the order of the batch changes": (model(tokens_BT[order], lengths_B[order]), logits_BC[order]),
        }
    for what, (other_BC, expected_BC) in others.items():
        if not torch.allclose(other_BC, expected_BC, rtol=1e-5, atol=1e-6 * max(1.0, float(expected_BC.abs().max()))):
            apart = float((other_BC - expected_BC).abs().max())
            raise BrokenRuleError(
                f"{what} a text's scores, by up to {apart:.2g}; mask what lies beyond lengths_B (in attention, pooling "
                "and convolutions), and use no statistics of the batch"
            )


def every_hyperparameter_is_live(subject: Subject, key: str, one: Any, other: Any) -> None:
    """Another value changes the shapes or, with the same random numbers, the results in training."""
    outcomes = []
    for value in (one, other):
        model = subject.build(**{key: value})
        model.start_from([(*texts(), torch.arange(len(texts()[1])) % NUM_OUTPUTS)])
        outcomes.append(([parameter.shape for parameter in model.parameters()], model(*texts())))
    if outcomes[0][0] == outcomes[1][0] and torch.equal(outcomes[0][1], outcomes[1][1]):
        raise BrokenRuleError(
            f"{key} has no effect: {one} and {other} give the same network; use it, or remove it from hyperparameters"
        )


def equal_seeds_give_equal_numbers(subject: Subject, **hyperparameters: Any) -> None:
    """The seed determines weights and dropout; evaluation is deterministic."""
    if not torch.equal(*(subject.build(**hyperparameters)(*texts()) for _ in range(2))):
        raise BrokenRuleError(
            "equal seeds give different numbers; draw random numbers with torch's global generator only"
        )
    one, other = (subject.build(seed, **hyperparameters).eval() for seed in (0, 1))
    if all(map(torch.equal, one.parameters(), other.parameters())):
        raise BrokenRuleError(
            "the seed does not change the weights; draw them with torch's generator, with no seed of your own"
        )
    if not torch.equal(one(*texts()), one(*texts())):
        raise BrokenRuleError("two passes in eval mode differ; draw random numbers only if self.training")


def the_state_dict_is_whole(subject: Subject) -> None:
    """Saved without pickle and loaded into another network, it gives the same results."""
    model, other = subject.build(seed=0).eval(), subject.build(seed=1).eval()
    try:
        other.load_state_dict(from_bytes(to_bytes(model.state_dict())))
    except UserError as error:
        raise BrokenRuleError(str(error)) from None
    except Exception as error:  # raised by a module's custom loading
        raise BrokenRuleError(f"its state dict cannot be read back: {error}; keep only tensors in it") from None
    if not torch.equal(other(*texts()), model(*texts())):
        raise BrokenRuleError(
            "weights are missing from its state dict; make them parameters or persistent buffers of modules"
        )


def words_can_be_explained(subject: Subject) -> None:
    """The network defines word scores, or its scores have gradients with respect to word vectors."""
    model = subject.build().eval()
    tokens_BT, lengths_B = texts()
    word_scores: Callable[[Tensor, Tensor], Tensor] | None = getattr(model, "word_scores", None)
    if word_scores is not None:
        scores_BTC = word_scores(tokens_BT, lengths_B)
        if scores_BTC.shape != (*tokens_BT.shape, NUM_OUTPUTS):
            raise BrokenRuleError(
                f"word_scores gives {tuple(scores_BTC.shape)}; return (B, T, C), a score of each word"
            )
        means_BC = scores_BTC.sum(1) / lengths_B.unsqueeze(1)
        if not torch.allclose(means_BC, model(tokens_BT, lengths_B), rtol=1e-5, atol=1e-6):
            raise BrokenRuleError(
                "the mean of word_scores over a text's words is not its logits; return the scores that forward averages"
            )
        return
    if subject.architecture.classify is Architecture.classify:  # not defined, so there are no class scores
        return
    words_BTE = model.embedding(tokens_BT).requires_grad_()
    logits_BC = model.classify(words_BTE, lengths_B)
    if not torch.allclose(logits_BC, model(tokens_BT, lengths_B), rtol=1e-4, atol=1e-5):
        raise BrokenRuleError(
            "the same word vectors give other scores; read words only through setting.embedding, not by their ids"
        )
    if not torch.autograd.grad(logits_BC.sum(), words_BTE)[0].any():
        raise BrokenRuleError(
            "the scores do not depend on the word vectors; compute them from setting.embedding(tokens_BT)"
        )


#: The checks in order: the rule in words, its function, and the method of Subject that lists its cases.
RULES: tuple[tuple[str, Callable[..., None], str], ...] = (
    ("numbers are finite in training", trains, "variants"),
    ("gradients reach every parameter", gradients_reach_every_parameter, ""),
    ("every hyperparameter is live", every_hyperparameter_is_live, "pairs"),
    ("padding and the batch change nothing", padding_and_company_change_nothing, "variants"),
    ("equal seeds give equal numbers", equal_seeds_give_equal_numbers, "variants"),
    ("the state dict is whole, without pickle", the_state_dict_is_whole, ""),
    ("words can be explained", words_can_be_explained, ""),
)


def check(architecture: type[Architecture]) -> Iterator[tuple[str, str | None]]:
    """Yields each rule with None if it holds, or else with the problem and advice."""
    for rule, holds, over in RULES:
        yield rule, problem(holds, Subject(architecture), over)


def problem(holds: Callable[..., None], subject: Subject, over: str) -> str | None:
    cases: Iterator[Any] = getattr(subject, over)() if over else iter([{}])
    for case in cases:
        arguments, named = ((), case) if isinstance(case, dict) else (case, {})
        try:
            holds(subject, *arguments, **named)
        except Exception as error:  # of any kind: this is external code
            setting = " ".join(f"{name} {value}" for name, value in named.items())
            reason = (
                str(error) if isinstance(error, BrokenRuleError | UserError) else f"{type(error).__name__}: {error}"
            )
            return " ".join(f"{setting}: {reason}".split()) if setting else " ".join(reason.split())
    return None
