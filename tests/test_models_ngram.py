"""The bag of n-grams: its rows, what it knows before training, and its kernels against torch.

Shapes: B batch, T words, S n-grams, R rows, U rows with a gradient, H hidden, C classes.
"""

import math
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

import models
from models import contract
from models.native import bag, kernels
from models.ngram import SCALE

TOKENS_BT = torch.tensor([[5, 6, 7, 5, 6], [6, 0, 7, 5, 0], [9, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
LENGTHS_B = torch.tensor([5, 4, 1, 3])  # words 1 of the second and all of the last text are dropped


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def build(num_classes: int = 3, **hyperparameters: Any) -> Any:
    return models.build(
        "ngram", contract.vectors(), num_classes, **{"buckets": 1000, "hidden_size": 4} | hyperparameters
    )


def test_rows_are_those_of_words_pairs_and_triples_of_words_that_are_there() -> None:
    rows_BS = build(n=3).rows(TOKENS_BT, LENGTHS_B)
    words_BT, pairs_BT, triples_BT = rows_BS.split([5, 4, 3], dim=1)
    assert torch.equal(words_BT, TOKENS_BT)
    assert (pairs_BT != 0).tolist() == [[True] * 4, [False, False, True, False], [False] * 4, [False] * 4]
    assert (triples_BT != 0).tolist() == [[True] * 3, *[[False] * 3] * 3]
    assert pairs_BT[0, 0] == pairs_BT[0, 3]  # of 5 and 6
    assert pairs_BT[0, 2] == pairs_BT[1, 2]  # of 7 and 5
    assert len(set(rows_BS[0].tolist())) == 3 + 3 + 3
    assert rows_BS[rows_BS > 9].min() >= contract.NUM_WORDS
    assert rows_BS.max() < contract.NUM_WORDS + 1000


def test_the_hash_fills_its_buckets_evenly() -> None:
    """As many pairs as buckets leave 1 / e of these empty, if each falls anywhere."""
    pairs_NT = torch.cartesian_prod(torch.arange(1, 301), torch.arange(1, 301))
    rows_N = build(buckets=len(pairs_NT)).rows(pairs_NT, torch.full((len(pairs_NT),), 2))[:, 2]
    assert len(rows_N.unique()) / len(rows_N) == pytest.approx(1 - 1 / math.e, abs=0.01)


def test_an_n_gram_adds_to_each_of_its_words_alike() -> None:
    model = build(n=2).eval()
    model.output.bias.data.normal_()
    words_BS = model.rows(TOKENS_BT[:1], LENGTHS_B[:1])
    score_SC = model.bag.rows_RH[words_BS[0]] @ model.output.weight.t() / 9  # 5 words and 4 pairs
    expected_C = 5 * (score_SC[1] + (score_SC[5] + score_SC[6]) / 2) + model.output.bias
    scores_BTC = model.word_scores(TOKENS_BT, LENGTHS_B)
    torch.testing.assert_close(scores_BTC[0, 1], expected_C)
    torch.testing.assert_close(scores_BTC.sum(1) / LENGTHS_B.unsqueeze(1), model(TOKENS_BT, LENGTHS_B))
    torch.testing.assert_close(model(TOKENS_BT, LENGTHS_B)[3], model.output.bias)  # of no words at all


@pytest.mark.parametrize("start", ["random", "naive_bayes"])
def test_n_grams_that_one_training_text_has_do_not_count(start: str) -> None:
    """However often it has them: of 5 6 5 6 and 5 6 7 only the pair 5 6 is in two texts, and no triple."""
    texts_BT, lengths_B = torch.tensor([[5, 6, 5, 6], [5, 6, 7, 0]]), torch.tensor([4, 3])
    for singletons, expected in (("drop", [[1, 0, 1, 0, 0], [1, 0, 0, 0, 0]]), ("keep", [[1] * 5, [1, 1, 0, 1, 0]])):
        model = build(2, n=3, start=start, singletons=singletons)
        model.start_from([(texts_BT, lengths_B, torch.tensor([0, 1]))])
        rows_BS = model.rows(texts_BT, lengths_B)
        assert torch.equal(rows_BS[:, :4], texts_BT)
        assert (rows_BS[:, 4:] != 0).int().tolist() == expected
    other = build(2, n=3, start=start)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.rows(texts_BT, lengths_B), rows_BS)


@pytest.mark.parametrize("embedding", [contract.vectors(), models.WordVectors.learned(20, 7)])
def test_word_vectors_are_neither_kept_nor_trained(embedding: models.WordVectors) -> None:
    model = models.build("ngram", embedding, 2, hidden_size=3, buckets=50)
    assert model.state_dict().keys() == {"known_K", "bag.rows_RH", "output.weight", "output.bias"}
    assert models.num_parameters(model) == (20 + 50) * 3 + 3 * 2 + 2
    assert not model.embedding.vectors_VE.numel()


def log_likelihoods(texts: list[list[int]], labels: list[int], num_classes: int, words: list[int]) -> Any:
    """log P(class | words) but for a constant, by the book: sums over words and pairs."""
    grams = [{*text, *pairwise(text)} for text in texts]
    num_grams = len(set().union(*grams))
    totals = []
    for label in range(num_classes):
        own = Counter(gram for text, of in zip(grams, labels, strict=True) if of == label for gram in text)
        denominator = sum(own.values()) + num_grams
        totals.append(sum(math.log((own[gram] + 1) / denominator) for gram in [*words, *pairwise(words)]))
    return torch.tensor(totals)


@pytest.mark.parametrize(("num_classes", "hidden_size"), [(2, 1), (2, 4), (4, 3), (4, 8)])
def test_training_starts_as_naive_bayes(num_classes: int, hidden_size: int) -> None:
    """Up to a factor, the number of n-grams by SCALE, which the mean asks for."""
    num_texts, num_words = 40, 9
    generator = torch.Generator().manual_seed(3)
    tokens_NT = torch.randint(1, contract.NUM_WORDS, (num_texts, num_words), generator=generator)
    labels_N = torch.arange(num_texts) % num_classes
    lengths_N = torch.full((num_texts,), num_words)
    model = build(num_classes, n=2, buckets=10**6, hidden_size=hidden_size, singletons="keep").eval()
    model.start_from([(tokens_NT[i::3], lengths_N[i::3], labels_N[i::3]) for i in range(3)])
    logits_NC = (model(tokens_NT, lengths_N) - model.output.bias) * (2 * num_words - 1) / SCALE
    for text in range(5):
        expected_C = log_likelihoods(tokens_NT.tolist(), labels_N.tolist(), num_classes, tokens_NT[text].tolist())
        torch.testing.assert_close(logits_NC[text], expected_C - expected_C.mean(), rtol=1e-3, atol=1e-3)


def test_words_that_say_nothing_favour_no_class_however_small_it_is() -> None:
    """The rows of a large table that no text has do not count, or each class would have the same share of a word."""
    texts_BT = torch.tensor([[1, 2, 3, 4]] * 20)
    texts_BT[:2, 3] = 5
    labels_B, lengths_B = (torch.arange(20) < 2).long(), torch.full((20,), 4)
    one, several = (build(num, n=1, buckets=10**6, hidden_size=2).eval() for num in (2, 1))
    one.start_from([(texts_BT, lengths_B, labels_B)])
    several.start_from([(texts_BT, lengths_B, labels_B.unsqueeze(1))])
    said = torch.tensor([[1, 2, 3]]), torch.tensor([3])
    for model, margins in ((one, one(texts_BT, lengths_B).diff(dim=1)), (several, several(texts_BT, lengths_B))):
        assert margins[0] > 0 > margins[-1]
        says_nothing_C = (model(*said) - model.output.bias) / SCALE
        assert says_nothing_C.abs().max() < 0.5


def test_where_a_text_can_have_several_classes_each_starts_as_naive_bayes_against_the_rest() -> None:
    """The same as of two classes, asked of each."""
    num_texts, num_words = 40, 9
    generator = torch.Generator().manual_seed(3)
    tokens_NT = torch.randint(1, contract.NUM_WORDS, (num_texts, num_words), generator=generator)
    lengths_N = torch.full((num_texts,), num_words)
    labels_NC = (torch.rand(num_texts, 3, generator=generator) < 0.4).to(torch.uint8)
    several, one = (build(num, n=2, buckets=10**6, hidden_size=3, singletons="keep").eval() for num in (3, 2))
    several.start_from([(tokens_NT, lengths_N, labels_NC)])
    for label in range(3):
        one.start_from([(tokens_NT, lengths_N, labels_NC[:, label].long())])
        expected_N = one(tokens_NT, lengths_N).diff(dim=1)[:, 0]
        torch.testing.assert_close(several(tokens_NT, lengths_N)[:, label], expected_N, rtol=1e-3, atol=1e-3)


def test_fewer_dimensions_come_as_near_to_naive_bayes_as_they_can() -> None:
    tokens_NT, lengths_N = torch.randint(1, 20, (60, 9)), torch.full((60,), 9)
    logits = {}
    for hidden_size in (1, 3, 5):
        model = build(6, hidden_size=hidden_size).eval()
        model.start_from([(tokens_NT, lengths_N, tokens_NT[:, 0] % 6)])
        logits[hidden_size] = model(tokens_NT, lengths_N)
    assert (logits[1] - logits[5]).norm() > (logits[3] - logits[5]).norm() > 0.01 * logits[5].norm()


def test_so_many_classes_that_their_counts_would_fill_the_memory_start_at_random() -> None:
    model = build(1000, buckets=2**20, singletons="keep")
    before = model.bag.rows_RH.clone()
    model.start_from([(*contract.texts(), torch.arange(8))])
    assert torch.equal(model.bag.rows_RH, before)


def test_start_random_takes_nothing_from_the_texts() -> None:
    model = build(start="random", singletons="keep")
    before = {name: each.clone() for name, each in model.state_dict().items()}
    model.start_from([(*contract.texts(), torch.arange(8) % 3)])
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())


def test_in_training_a_share_of_the_n_grams_is_left_out_and_the_mean_stays() -> None:
    tokens_BT = torch.randint(1, 20, (2, 300))
    model = build(n=2, dropout=0.3)
    seen: list[Tensor] = []
    model.bag.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    logits = torch.stack([model(tokens_BT, torch.tensor([300, 300])) for _ in range(40)])
    assert (seen[0] == 0).float().mean() == pytest.approx(0.3, abs=0.06)
    torch.testing.assert_close(logits.mean(0), model.eval()(tokens_BT, torch.tensor([300, 300])), rtol=0, atol=0.02)


@pytest.mark.parametrize("size", [1, 16, 33])
def test_kernels_against_torch(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a text of no rows; the gradient has each row once, and none of row 0."""
    rows_BS = torch.randint(0, 30, (6, 40))
    rows_BS[4] = 0
    grad_BH = torch.randn(6, size)
    found: list[tuple[Tensor, Tensor]] = []
    for usable in (True, False):
        if not usable:
            monkeypatch.setattr(kernels, "usable", lambda tensor: False)
        table_RH = torch.randn(50, size, generator=torch.Generator().manual_seed(1)).requires_grad_()
        means_BH = bag.mean_of_rows(table_RH, rows_BS)
        means_BH.backward(grad_BH)
        assert table_RH.grad is not None
        assert table_RH.grad.is_sparse
        rows_U = table_RH.grad._indices()[0]
        assert sorted(rows_U.tolist()) == sorted(set(rows_BS.flatten().tolist()) - {0})
        found.append((means_BH, table_RH.grad.to_dense()))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    assert not found[0][0][4].any()


def test_naive_bayes_starts_from_classes_as_frequent_as_they_count() -> None:
    """A prior that is weighted, and words that are not: 6 texts of one class with a weight of 1/3, 2 of the other."""
    tokens_NT, lengths_N = torch.randint(1, 20, (8, 9)), torch.full((8,), 9)
    texts = [(tokens_NT, lengths_N, torch.tensor([0] * 6 + [1] * 2))]
    plain, weighted = build(2), build(2)
    plain.start_from(texts)
    weighted.class_weights_C = torch.tensor([1 / 3, 1.0])
    weighted.start_from(texts)
    assert plain.output.bias[0] > plain.output.bias[1]
    torch.testing.assert_close(weighted.output.bias, torch.zeros(2))
    assert torch.equal(plain.bag.rows_RH[:, 0], weighted.bag.rows_RH[:, 0])
