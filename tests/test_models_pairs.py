"""Pairs of words as an input: their vectors, what is learned from them, and what is read back, explained and inspected.

Shapes: B batch, T words, E embedding, R rows of the table, D their dimensions, C classes.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import models
from analysis.explain import explanation, inspection
from data.base.errors import UserError
from models import Architecture, WordVectors, contract
from models.native import kernels
from models.native.hashing import hashes
from models.parts.pairs import PairVectors
from search.serve.classifier import MODEL, TextModel
from search.spec import read
from search.train import checkpoints
from search.train.config import TrainingConfig
from search.train.examples import Examples, Splits
from search.train.length import Length
from search.train.optimizing import Optimizer
from search.train.stepping import alone
from search.train.tasks import TASKS
from search.train.training import Result, train
from tests.test_search_training import of_matrix

TOKENS_BT = torch.tensor([[5, 6, 7, 5, 6], [6, 0, 7, 5, 0]])
READERS = [name for name in models.OURS if models.inputs(models.architecture(name))]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def pairs(size: int = contract.SIZE, num_rows: int = 1000) -> PairVectors:
    """As if they had been trained."""
    made = PairVectors(size, num_rows=num_rows)
    nn.init.normal_(made.rows_RD.data[1:])
    return made


def test_a_pair_has_a_vector_at_its_second_word_and_is_added_to_the_words() -> None:
    embedding = WordVectors(contract.vectors().vectors_VE, pairs=pairs())
    assert embedding.pairs is not None
    pairs_BTE = embedding.pairs(TOKENS_BT)
    assert pairs_BTE.any(2).tolist() == [[False, True, True, True, True], [False, False, False, True, False]]
    ((hashed, *_),) = next(hashes(TOKENS_BT[:1, :2], 2, 1000)).tolist()
    expected_E = embedding.pairs.widen.weight @ embedding.pairs.rows_RD[hashed + 1]
    torch.testing.assert_close(pairs_BTE[0, 1], expected_E)
    assert torch.equal(pairs_BTE[0, 1], pairs_BTE[0, 4])
    assert torch.equal(pairs_BTE[0, 3], pairs_BTE[1, 3])
    assert not torch.equal(*embedding.pairs(torch.tensor([[5, 6], [6, 5]]))[:, 1])
    torch.testing.assert_close(embedding(TOKENS_BT), contract.vectors()(TOKENS_BT) + pairs_BTE)
    assert torch.equal(embedding.words(TOKENS_BT), contract.vectors()(TOKENS_BT))
    assert not embedding.pairs(TOKENS_BT[:, :1]).any()


@pytest.mark.parametrize("name", READERS)
def test_at_first_pairs_change_nothing(name: str) -> None:
    alone, paired = (models.build(name, contract.vectors(), 8, hidden_size=6, ngrams=ngrams) for ngrams in (1, 2))
    paired.load_state_dict(
        alone.state_dict() | {key: each for key, each in paired.state_dict().items() if "pairs" in key}
    )
    assert torch.equal(paired.eval()(*contract.texts()), alone.eval()(*contract.texts()))
    assert models.num_parameters(paired) > models.num_parameters(alone) + 4 * 2**20  # the table counts


def test_who_reads_no_word_vectors_is_told_nothing_of_them() -> None:
    assert set(models.OURS) - set(READERS) == {"ngram"}
    with pytest.raises(UserError, match="unknown hyperparameter 'ngrams' of ngram"):
        models.build("ngram", contract.vectors(), 2, ngrams=2)


def test_vectors_are_shared_with_the_embedding_that_was_given() -> None:
    learned = WordVectors.learned(9, 5)
    assert learned.reading() is learned
    assert learned.reading(ngrams=2).vectors_VE is learned.vectors_VE
    frozen = contract.vectors()
    assert not frozen.reading(ngrams=2).vectors_VE.requires_grad
    assert not any("vectors" in key for key in frozen.reading(ngrams=2).state_dict())


@pytest.mark.parametrize("adam", ["dense", "lazy"])
def test_only_rows_of_the_batch_move_by_either_adam(adam: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the kernels do it as torch does."""
    found = []
    for usable in (True, False):
        if not usable:
            monkeypatch.setattr(kernels, "usable", lambda tensor: False)
        torch.manual_seed(0)
        model = models.build("mlp", WordVectors(contract.vectors().vectors_VE, pairs=pairs()), 2)
        table: Any = model.embedding.pairs
        before_RD = table.rows_RD.detach().clone()
        optimizer = Optimizer(model, TrainingConfig(adam=adam))
        model(*contract.texts()).square().sum().backward()
        assert table.rows_RD.grad.is_sparse
        assert "embedding.pairs.rows_RD" in optimizer.gradients()
        optimizer.step(0.1)
        moved_R = (table.rows_RD != before_RD).any(1).nonzero().flatten()
        (places_BP,) = hashes(contract.texts()[0], 2, 1000)
        assert set(moved_R.tolist()) == set((places_BP[places_BP >= 0] + 1).tolist())
        found.append(table.rows_RD.detach())
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


# --- Trained


def order(num: int, seed: int) -> Examples:
    """Texts of eight words; the label is whether word 5 comes before or after 6, which they all have side by side."""
    generator = torch.Generator().manual_seed(seed)
    tokens_NT = torch.randint(7, 12, (num, 8), generator=generator, dtype=torch.int32)
    labels_N = torch.arange(num) % 2
    places_N = torch.randint(0, 7, (num,), generator=generator)
    for place, (first, second) in enumerate(((5, 6), (6, 5))):
        rows_M = (labels_N == place).nonzero().flatten()
        tokens_NT[rows_M, places_N[rows_M]], tokens_NT[rows_M, places_N[rows_M] + 1] = first, second
    return of_matrix(tokens_NT, labels_N)


SPLITS = Splits(order(200, 1), order(60, 2), order(60, 3), TASKS[models.CLASSIFICATION])


def run(ngrams: int, state: dict[str, Any] | None = None, **changes: Any) -> list[Result]:
    torch.manual_seed(7)
    model = models.build("mlp", WordVectors.learned(12, 6), 2, hidden_size=8, ngrams=ngrams)
    config = TrainingConfig(learning_rate=0.02, batch_size=20, **changes)
    setting: Any = {"length": Length(4), "metric": "val_accuracy", "curve_interval": 5, "seed": 5}
    return list(alone(train(model, SPLITS, config, **setting, state=state)))


def test_order_is_learned_from_pairs_by_what_reads_words_one_by_one() -> None:
    assert run(ngrams=1)[-1].best["test_accuracy"] < 0.7
    assert run(ngrams=2)[-1].best["test_accuracy"] == 1


@pytest.mark.parametrize("changes", [{}, {"averaging": 0.9, "adam": "lazy", "word_dropout": 0.1}])
def test_training_goes_on_from_a_checkpoint_with_the_same_numbers(changes: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(7)
    model = models.build("mlp", WordVectors.learned(12, 6), 2, hidden_size=8, ngrams=2)
    config = TrainingConfig(learning_rate=0.02, batch_size=20, **changes)
    setting: Any = {"length": Length(4), "metric": "val_accuracy", "curve_interval": 5, "seed": 5}
    for result in alone(train(model, SPLITS, config, **setting)):
        if result.step == 2:
            checkpoints.save(tmp_path, result.step, result.to_checkpoint(last=False))
    saved = checkpoints.load_last(tmp_path)
    assert saved is not None
    (again,) = run(2, saved["state"], **changes)[-1:]
    assert again.best == result.best
    assert {key: each for key, each in again.metrics.items() if "seconds" not in key} == {
        key: each for key, each in result.metrics.items() if "seconds" not in key
    }


# --- Read back, explained, inspected

WORDS = ("<pad>", "<unk>", "not", "good", "bad", "film")
TEXT = "not good film not bad"


def trained(name: str, **hyperparameters: Any) -> TextModel:
    """A model of two classes, as if it had been."""
    vectors_VE = torch.randn(len(WORDS), 5)
    vectors_VE[:2] = 0
    told = {"hidden_size": 6, "ngrams": 2} | hyperparameters
    weights = models.build(name, WordVectors(vectors_VE), 2, **told).state_dict()
    for key, weight in weights.items():
        weight[int("rows" in key) :] += 0.3 * torch.randn_like(weight[int("rows" in key) :])
    return TextModel.build(name, told, ("negative", "positive"), WORDS, 10, weights, vectors_VE.numpy())


@pytest.mark.parametrize("name", [name for name in READERS if name in models.of_task(models.CLASSIFICATION)])
def test_a_model_is_read_back_equal_and_its_explanation_adds_up(name: str, tmp_path: Path) -> None:
    model = trained(name)
    model.save(tmp_path / "kept")
    again = TextModel.load(tmp_path / "kept")
    assert torch.equal(again.outputs([TEXT, "film"]), model.outputs([TEXT, "film"]))
    told = explanation.explain(again, TEXT)
    assert told.missed < explanation.TOLERANCE
    assert told.method.endswith("a pair's contribution is divided between its two words")
    assert (
        again.model.embedding(torch.tensor([[2, 3]]))[0, 1].tolist()
        != again.model.embedding.words(torch.tensor([[2, 3]]))[0, 1].tolist()
    )


def test_what_was_exported_before_there_were_pairs_reads_words_alone(tmp_path: Path) -> None:
    model = trained("mlp", ngrams=1)
    model.save(tmp_path / "kept")
    short = json.loads((tmp_path / "kept" / MODEL).read_text(encoding="utf-8"))
    del short["hyperparameters"]["ngrams"]
    (tmp_path / "kept" / MODEL).write_text(json.dumps(short), encoding="utf-8")
    assert torch.equal(TextModel.load(tmp_path / "kept").outputs([TEXT]), model.outputs([TEXT]))


def test_what_an_old_trial_lacks_takes_its_default() -> None:
    old = {
        "architecture": "mlp",
        "hidden_size": 3,
        "num_layers": 2,
        "activation": "none",
        "dropout": 0.0,
        "adam": "lazy",
    }
    kept = {key: old[key] for key in ("hidden_size", "num_layers", "activation", "dropout")}
    assert models.built_with("mlp", old) == kept | {"ngrams": 1}
    assert models.built_with("mlp", old | {"ngrams": 2}) == kept | {"ngrams": 2}
    with pytest.raises(KeyError):
        models.built_with("mlp", {"ngrams": 2})


class Linear(Architecture):
    """The mean over words of W x + b."""

    def __init__(self, embedding: WordVectors) -> None:
        super().__init__(embedding)
        self.output = nn.Linear(embedding.size, 2)

    def classify(self, words_BTE: Tensor, lengths_B: Tensor) -> Tensor:
        return self.output(words_BTE).sum(1) / lengths_B.unsqueeze(1)


def test_a_pair_speaks_for_both_of_its_words_in_equal_parts() -> None:
    """Of a linear model both ways of explaining are exact."""
    tokens_1T, lengths_1 = torch.tensor([[2, 3, 5]]), torch.tensor([3])
    embedding = WordVectors(contract.vectors().vectors_VE, pairs=pairs())
    model = Linear(embedding)
    assert embedding.pairs is not None
    by_words_TC, by_pairs_TC = (
        each(tokens_1T)[0].detach() @ model.output.weight.detach().T for each in (embedding.words, embedding.pairs)
    )
    halves_TC = by_pairs_TC / 2
    expected_TC = by_words_TC + torch.stack([halves_TC[1], halves_TC[1] + halves_TC[2], halves_TC[2]])
    vectors = (each(tokens_1T).detach() for each in (embedding.words, embedding.pairs))
    scores_TC, _ = explanation.integrated_gradients(model, next(vectors), lengths_1, range(2), next(vectors))
    torch.testing.assert_close(scores_TC, expected_TC, rtol=1e-4, atol=1e-5)

    scorer = trained("mlp", activation="none")
    scores_TC, layer = explanation.explain(scorer, "not good").scores_TC, scorer.model
    with torch.no_grad():
        words_TC, both_TC = (
            layer.tapered(layer.first(each(torch.tensor([[2, 3]]))))[0].numpy()
            for each in (layer.embedding.words, layer.embedding)
        )
    np.testing.assert_allclose(scores_TC, words_TC + (both_TC - words_TC)[1] / 2, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "hyperparameters", "expected"),
    [("mlp", {}, 2), ("attention", {"window": 1}, 4), ("cnn", {"kernel_size": 3}, 5), ("gru", {}, 24)],
)
def test_pairs_reach_a_word_further(name: str, hyperparameters: dict[str, Any], expected: int) -> None:
    subject = inspection.Subject(name, name, hyperparameters | {"ngrams": 2}, 3, embedding_size=5, num_words=24)
    assert inspection.reach(subject) == expected
    paired = models.build(name, WordVectors(torch.zeros(25, 5)), 3, **subject.hyperparameters)
    frame = inspection.layers(subject).set_index("layer")
    assert frame["num_parameters"].sum() == models.num_parameters(paired)
    assert frame.loc["embedding.pairs.widen", "multiply_adds"] == 24 * 5 * 4


# --- In a spec


def test_a_space_gives_pairs_to_those_that_read_word_vectors() -> None:
    spec = read.validate({"architectures": ["gru", "mlp", "ngram"], "space": {"ngrams": {"gru": [1, 2], "mlp": 2}}})
    assert spec.spaces["gru"]["ngrams"].grid() == [1, 2]
    assert spec.spaces["mlp"]["ngrams"].grid() == [2]
    assert "ngrams" not in spec.spaces["ngram"]
    assert read.validate({"architectures": ["cnn"]}).spaces["cnn"]["ngrams"].grid() == [1]
    with pytest.raises(UserError, match=r"space.ngrams must be a whole number from 1 to 2, got 3; did you mean 2\?"):
        read.validate({"architectures": ["cnn"], "space": {"ngrams": 3}})


def test_a_network_of_the_users_may_have_a_hyperparameter_of_that_name(tmp_path: Path) -> None:
    """It is then its own."""
    source = """
    from torch import nn
    class Net(nn.Module):
        hyperparameters = {"ngrams": (1, 9)}
        def __init__(self, setting, *, ngrams=7):
            super().__init__()
            self.embedding, self.ngrams = setting.embedding, ngrams
            self.output = nn.Linear(setting.embedding.size, setting.num_classes)
        def forward(self, tokens_BT, lengths_B):
            return self.output(self.embedding(tokens_BT).sum(1))
    class Plain(Net):
        hyperparameters = {}
        def __init__(self, setting):
            super().__init__(setting)
    """
    (tmp_path / "net.py").write_text(source.replace("\n    ", "\n"), encoding="utf-8")
    spec = read.validate({"architectures": [f"{tmp_path / 'net.py'}:Net", f"{tmp_path / 'net.py'}:Plain"]})
    try:
        assert spec.spaces["Net"]["ngrams"].grid() == [7]
        own: Any = models.build("Net", contract.vectors(), 2, ngrams=9)
        assert (own.network.ngrams, own.embedding.pairs) == (9, None)
        assert spec.spaces["Plain"]["ngrams"].grid() == [1]
        plain: Any = models.build("Plain", contract.vectors(), 2, ngrams=2)
        assert plain.network.embedding is plain.embedding
        assert plain.embedding.pairs is not None
    finally:
        for name in ("Net", "Plain"):
            models.ARCHITECTURES.pop(name, None)
