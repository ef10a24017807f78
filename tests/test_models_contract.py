"""The contract of an architecture, tested on every one in the registry.

Shapes: B batch, T words, V vocabulary, E embedding, C classes, Y rows, X columns.
"""

import inspect
import itertools
import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import models
from models.parts.hyperparameters import Choice, Integer, Real

NAMES = list(models.ARCHITECTURES)
CLASSIFIERS = list(models.of_task(models.CLASSIFICATION))
NUM_CLASSES = 3
SHAPES = {models.CLASSIFICATION: (NUM_CLASSES,), models.IMAGE: (8, 8)}  # of what is made of a text: C; Y and X
BASE = {"hidden_size": 6, "num_layers": 2}  # small, and valid for every architecture


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def embedding() -> models.WordVectors:
    vectors_VE = torch.randn(20, 5, generator=torch.Generator().manual_seed(1))
    vectors_VE[0] = 0
    return models.WordVectors(vectors_VE)


def shape(name: str) -> tuple[int, ...]:
    return SHAPES[models.ARCHITECTURES[name].task]


def build(
    name: str, seed: int = 0, embedded: models.WordVectors | None = None, **hyperparameters: Any
) -> models.Architecture:
    torch.manual_seed(seed)
    return models.build(name, embedded or embedding(), shape(name)[0], **{**BASE, **hyperparameters})


def texts(num_words: int = 13) -> tuple[Tensor, Tensor]:
    """Texts of every kind of length: one word, the whole width, in between."""
    lengths_B = torch.tensor([1, num_words, 7, 2, 12]).clamp(max=num_words)
    tokens_BT = torch.randint(1, 20, (len(lengths_B), num_words), generator=torch.Generator().manual_seed(2))
    return tokens_BT * (torch.arange(num_words) < lengths_B.unsqueeze(1)), lengths_B


def some_values(domain: Any) -> list[Any]:
    match domain:
        case Choice(options):
            return list(options)
        case Integer(low, high):
            return sorted({low, min(low + 1, high), min(low + 2, high), min(12, high)})
        case Real(low, high):
            return [low, (low + high) / 2, high]
    raise AssertionError(domain)


def variants() -> Iterator[Any]:
    """Every architecture as it is, and with some values of each hyperparameter."""
    for name, architecture in models.ARCHITECTURES.items():
        yield pytest.param(name, {}, id=name)
        for key, domain in architecture.hyperparameters.items():
            for value in some_values(domain):
                yield pytest.param(name, {key: value}, id=f"{name}-{key}={value}")


def test_hyperparameters_are_the_keyword_arguments() -> None:
    for architecture in models.ARCHITECTURES.values():
        parameters = inspect.signature(architecture).parameters.values()
        keywords = {
            parameter.name: parameter.default for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY
        }
        assert list(keywords) == list(architecture.hyperparameters)
        for key, default in keywords.items():
            architecture.hyperparameters[key].check(key, default)


@pytest.mark.parametrize(("name", "hyperparameters"), list(variants()))
def test_logits_are_finite_and_train(name: str, hyperparameters: dict[str, Any]) -> None:
    model = build(name, **hyperparameters)
    tokens_BT, lengths_B = texts()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}
    for _ in range(3):
        optimizer.zero_grad()
        logits_BC = model(tokens_BT, lengths_B)
        assert logits_BC.shape == (len(tokens_BT), *shape(name))
        torch.nn.functional.cross_entropy(logits_BC.flatten(1), torch.tensor([0, 1, 2, 0, 1])).backward()
        optimizer.step()
    assert model(tokens_BT, lengths_B).isfinite().all()
    assert models.num_parameters(model) == sum(parameter.numel() for parameter in before.values())
    if not hyperparameters:
        assert all(not torch.equal(parameter, before[key]) for key, parameter in model.named_parameters())


@pytest.mark.parametrize(("name", "hyperparameters"), list(variants()))
def test_padding_and_company_change_nothing(name: str, hyperparameters: dict[str, Any]) -> None:
    model = build(name, **hyperparameters).eval()
    tokens_BT, lengths_B = texts()
    with torch.inference_mode():
        logits_BC = model(tokens_BT, lengths_B)
        wider_BC = model(torch.nn.functional.pad(tokens_BT, (0, 9)), lengths_B)
        alone_BC = torch.cat(
            [model(tokens_BT[b : b + 1, : lengths_B[b]], lengths_B[b : b + 1]) for b in range(len(lengths_B))]
        )
        order = torch.tensor([3, 0, 4, 2, 1])
        shuffled_BC = model(tokens_BT[order], lengths_B[order])
        junk_BT = torch.where(tokens_BT == 0, 7, tokens_BT)
        junk_BC = model(junk_BT, lengths_B)
    for other_BC in (wider_BC, alone_BC, junk_BC):
        torch.testing.assert_close(other_BC, logits_BC, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(shuffled_BC, logits_BC[order], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_a_text_of_one_word(name: str, dtype: torch.dtype) -> None:
    model = build(name).eval()
    logits_BC = model(torch.tensor([[4]], dtype=dtype), torch.tensor([1], dtype=dtype))
    assert logits_BC.shape == (1, *shape(name))
    assert logits_BC.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_training_and_inference_see_the_same_function(name: str) -> None:
    model = build(name, dropout=0.5).eval()
    with torch.inference_mode():
        inferred_BC = model(*texts())
    torch.testing.assert_close(model(*texts()), inferred_BC, rtol=0, atol=0)
    assert not inferred_BC.requires_grad


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_runs_from_word_vectors_with_gradients(name: str) -> None:
    model = build(name).eval()
    tokens_BT, lengths_B = texts()
    words_BTE = model.embedding(tokens_BT).requires_grad_()
    logits_BC = model.classify(words_BTE, lengths_B)
    torch.testing.assert_close(logits_BC, model(tokens_BT, lengths_B))
    (grad_BTE,) = torch.autograd.grad(logits_BC.sum(), words_BTE)
    moved_BT = grad_BTE.abs().sum(2) > 0
    assert not (moved_BT & (tokens_BT == 0)).any()
    assert moved_BT[tokens_BT != 0].float().mean() > 0.5  # all of them, but for relus that are off


@pytest.mark.parametrize("name", [name for name in CLASSIFIERS if hasattr(models.ARCHITECTURES[name], "word_scores")])
def test_word_scores_add_up_to_the_logits(name: str) -> None:
    model = build(name).eval()
    tokens_BT, lengths_B = texts()
    scores_BTC = model.word_scores(tokens_BT, lengths_B)
    assert scores_BTC.shape == (*tokens_BT.shape, NUM_CLASSES)
    assert not scores_BTC[tokens_BT == 0].any()
    logits_BC = scores_BTC.sum(1) / lengths_B.unsqueeze(1)
    torch.testing.assert_close(logits_BC, model(tokens_BT, lengths_B), rtol=1e-6, atol=1e-6)


def test_all_but_the_recurrent_score_words() -> None:
    assert {name for name in CLASSIFIERS if hasattr(models.ARCHITECTURES[name], "word_scores")} >= {
        "mlp",
        "attention",
        "cnn",
    }


@pytest.mark.parametrize("name", NAMES)
def test_state_dict_round_trip(name: str, tmp_path: Any) -> None:
    model = build(name, seed=0).eval()
    assert not any("vectors" in key for key in model.state_dict())
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    other = build(name, seed=1).eval()
    assert not torch.equal(other(*texts()), model(*texts()))
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert torch.equal(other(*texts()), model(*texts()))


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_the_weights_and_the_dropout(name: str) -> None:
    def numbers(seed: int) -> Tensor:
        return build(name, seed=seed, dropout=0.5)(*texts())

    assert torch.equal(numbers(0), numbers(0))
    assert not torch.equal(numbers(0), numbers(1))


def live_pairs() -> Iterator[Any]:
    for name, architecture in models.ARCHITECTURES.items():
        for key, domain in architecture.hyperparameters.items():
            for one, other in itertools.pairwise(some_values(domain)):
                yield pytest.param(name, key, one, other, id=f"{name}-{key}-{one}-{other}")


@pytest.mark.parametrize(("name", "key", "one", "other"), list(live_pairs()))
def test_every_hyperparameter_is_live(name: str, key: str, one: Any, other: Any) -> None:
    """A model with another value has other shapes or, from the same draws, gives other numbers in training.

    With as few layers as there can be: dropout has to act there too.
    """
    fewest = models.ARCHITECTURES[name].hyperparameters["num_layers"].low
    found = []
    for value in (one, other):
        model = build(name, **{"num_layers": fewest, key: value})
        shapes = [parameter.shape for parameter in model.parameters()]
        found.append((shapes, model(*texts())))
    assert found[0][0] != found[1][0] or not torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize("name", NAMES)
def test_dropout_acts_in_training_only(name: str) -> None:
    model = build(name, dropout=0.5, num_layers=models.ARCHITECTURES[name].hyperparameters["num_layers"].low)
    assert not torch.equal(model(*texts()), model(*texts()))
    model.eval()
    assert torch.equal(model(*texts()), model(*texts()))


@pytest.mark.parametrize("name", NAMES)
def test_finetuned_vectors_learn_but_for_the_padding(name: str) -> None:
    vectors_VE = embedding().vectors_VE
    finetuned = models.WordVectors(vectors_VE, trainable=True)
    model = build(name, embedded=finetuned)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    tokens_BT, lengths_B = texts()
    model(tokens_BT, lengths_B).square().sum().backward()
    optimizer.step()
    moved_V = (finetuned.vectors_VE != vectors_VE).any(1)
    assert set(moved_V.nonzero().flatten().tolist()) <= set(tokens_BT.unique().tolist()) - {0}
    assert moved_V.sum() > 5
    assert not finetuned.vectors_VE[0].any()
    assert "embedding.vectors_VE" in model.state_dict()


@pytest.mark.parametrize(
    ("name", "hyperparameters", "message"),
    [
        (
            "grru",
            {},
            "unknown architecture 'grru' (did you mean 'gru'?)",
        ),
        (
            "mlp",
            {"hiden_size": 3},
            "unknown hyperparameter 'hiden_size' of mlp (did you mean 'hidden_size'?)",
        ),
        ("mlp", {"num_layers": 6}, "mlp: num_layers must be a whole number from 2 to 5, got 6; did you mean 5?"),
        ("mlp", {"num_layers": 2.6}, "got 2.6; did you mean 3?"),
        ("mlp", {"num_layers": True}, "got True"),
        ("mlp", {"num_layers": "two"}, "got 'two'"),
        ("gru", {"dropout": 1}, "gru: dropout must be a number from 0 to 0.9, got 1; did you mean 0.9?"),
        ("gru", {"dropout": float("nan")}, "got nan"),
        ("gru", {"activation": "tahn"}, "one of none, relu, tanh, sigmoid, got 'tahn' (did you mean 'tanh'?)"),
        ("gru", {"activation": None}, "got None (did you mean 'none'?)"),
        ("rnn", {"gate_activation": "relu"}, "unknown hyperparameter 'gate_activation' of rnn"),
        ("cnn", {"kernel_size": 0}, "cnn: kernel_size must be a whole number from 1 to 31, got 0; did you mean 1?"),
        ("attention", {"window": 0}, "attention: window must be a whole number from 1 to 100, got 0; did you mean 1?"),
    ],
)
def test_mistakes_are_named(name: str, hyperparameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        models.build(name, embedding(), NUM_CLASSES, **hyperparameters)
    assert "\n" not in str(error.value)
