"""The contract of an architecture, tested on every one in the registry.

Shapes: B batch, T words, V vocabulary, E embedding, C classes, Y rows, X columns.
"""

import inspect
import re
from typing import Any

import pytest
import torch

import models
from models import contract
from models.contract import texts

NAMES = list(models.OURS)
CLASSIFIERS = list(models.of_task(models.CLASSIFICATION))
#: Those that read word vectors, and not the ids of words only.
READERS = [
    name
    for name in CLASSIFIERS
    if models.of_task(models.CLASSIFICATION)[name].classify is not models.Architecture.classify
]
BASE = {"hidden_size": 6, "num_layers": 2, "buckets": 40}  # small, and valid for every architecture that takes them


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def subject(name: str, **hyperparameters: Any) -> contract.Subject:
    architecture: Any = models.architecture(name)
    base = {key: value for key, value in BASE.items() if key in architecture.hyperparameters}
    return contract.Subject(architecture, **base | hyperparameters)


def build(name: str, seed: int = 0, embedding: models.WordVectors | None = None, **hyperparameters: Any) -> Any:
    return subject(name).build(seed, embedding, **hyperparameters)


def variants() -> list[Any]:
    """Every architecture as it is, and with some values of each hyperparameter."""
    return [pytest.param(name, each, id=f"{name}-{each}") for name in NAMES for each in subject(name).variants()]


def test_hyperparameters_are_the_keyword_arguments() -> None:
    for name in NAMES:
        architecture = models.architecture(name)
        parameters = inspect.signature(architecture).parameters.values()
        keywords = {
            parameter.name: parameter.default for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY
        }
        assert list(keywords) == list(architecture.hyperparameters)
        for key, default in keywords.items():
            architecture.hyperparameters[key].check(key, default)


@pytest.mark.parametrize(("name", "hyperparameters"), variants())
def test_logits_are_finite_and_train(name: str, hyperparameters: dict[str, Any]) -> None:
    contract.trains(subject(name), **hyperparameters)
    parameters = build(name, **hyperparameters).parameters()
    assert models.num_parameters(build(name, **hyperparameters)) == sum(each.numel() for each in parameters)


@pytest.mark.parametrize(("name", "hyperparameters"), variants())
def test_padding_and_company_change_nothing(name: str, hyperparameters: dict[str, Any]) -> None:
    contract.padding_and_company_change_nothing(subject(name), **hyperparameters)
    model = build(name, **hyperparameters).eval()
    tokens_BT, lengths_B = texts()
    with torch.inference_mode():
        junk_BC = model(torch.where(tokens_BT == 0, 7, tokens_BT), lengths_B)
        torch.testing.assert_close(junk_BC, model(tokens_BT, lengths_B), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_a_text_of_one_word(name: str, dtype: torch.dtype) -> None:
    model = build(name).eval()
    logits_BC = model(torch.tensor([[4]], dtype=dtype), torch.tensor([1], dtype=dtype))
    assert logits_BC.shape[:2] == (1, contract.NUM_OUTPUTS)
    assert logits_BC.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_training_and_inference_see_the_same_function(name: str) -> None:
    model = build(name, dropout=0.5).eval()
    with torch.inference_mode():
        inferred_BC = model(*texts())
    torch.testing.assert_close(model(*texts()), inferred_BC, rtol=0, atol=0)
    assert not inferred_BC.requires_grad


@pytest.mark.parametrize("name", READERS)
def test_runs_from_word_vectors_with_gradients(name: str) -> None:
    model = build(name).eval()
    tokens_BT, lengths_B = texts()
    contract.words_can_be_explained(subject(name))
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
    assert scores_BTC.shape == (*tokens_BT.shape, contract.NUM_OUTPUTS)
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
def test_state_dict_round_trip(name: str) -> None:
    contract.the_state_dict_is_whole(subject(name))
    assert not any("vectors" in key for key in build(name).state_dict())


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_the_weights_and_the_dropout(name: str) -> None:
    contract.equal_seeds_give_equal_numbers(subject(name), dropout=0.5)


def with_fewest_layers(name: str) -> contract.Subject:
    """Dropout has to act there too."""
    domains = {"num_layers": models.architecture(name).hyperparameters.get("num_layers")}
    return subject(name, **{key: domain.low for key, domain in domains.items() if domain})


def live_pairs() -> list[Any]:
    pairs = [(name, *pair) for name in NAMES for pair in with_fewest_layers(name).pairs()]
    return [pytest.param(*pair, id="-".join(map(str, pair))) for pair in pairs]


@pytest.mark.parametrize(("name", "key", "one", "other"), live_pairs())
def test_every_hyperparameter_is_live(name: str, key: str, one: Any, other: Any) -> None:
    contract.every_hyperparameter_is_live(with_fewest_layers(name), key, one, other)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name: str) -> None:
    contract.gradients_reach_every_parameter(subject(name))


@pytest.mark.parametrize("name", NAMES)
def test_dropout_acts_in_training_only(name: str) -> None:
    model = with_fewest_layers(name).build(dropout=0.5)
    assert not torch.equal(model(*texts()), model(*texts()))
    model.eval()
    assert torch.equal(model(*texts()), model(*texts()))


@pytest.mark.parametrize("name", [*READERS, "text_to_image"])
def test_finetuned_vectors_learn_but_for_the_padding(name: str) -> None:
    vectors_VE = contract.vectors().vectors_VE
    finetuned = models.WordVectors(vectors_VE, trainable=True)
    model = build(name, embedding=finetuned)
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
        models.build(name, contract.vectors(), 3, **hyperparameters)
    assert "\n" not in str(error.value)
