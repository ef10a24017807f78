"""Adam: dense as torch has it, lazy by row; what surrounds a step; and how all of it is kept and resumed.

Shapes: V words, E embedding, B batch, T words of a text.
"""

import copy
import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

import models
from models.native import kernels
from search.train.config import TrainingConfig
from search.train.length import Length
from search.train.optimizing import Optimizer, clip
from search.train.stepping import alone
from search.train.tasks import TASKS
from search.train.training import Result, train
from tests.test_search_training import SETTINGS, SPLITS, numbers

RATE, STEPS = 0.01, 6


@pytest.fixture(autouse=True, params=["compiled", "torch"])
def _one_thread(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    if request.param == "torch":
        monkeypatch.setattr(kernels, "usable", lambda tensor: False)


def make_model(architecture: str = "mlp", **hyperparameters: Any) -> models.Architecture:
    """With trained vectors of thirty words."""
    vectors_VE = torch.randn(30, 6, generator=torch.Generator().manual_seed(0))
    vectors_VE[:2] = 0
    torch.manual_seed(7)
    return models.build(
        architecture, models.WordVectors(vectors_VE, trainable=True), 2, hidden_size=8, **hyperparameters
    )


def batches(fewest: int, most: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Texts of the words from `fewest` to below `most`, and their classes."""
    generator = torch.Generator().manual_seed(3)
    while True:
        tokens_BT = torch.randint(fewest, most, (16, 40), generator=generator)
        yield tokens_BT, torch.full((16,), 40), torch.randint(2, (16,), generator=generator)


def descend(model: nn.Module, config: TrainingConfig, words: tuple[int, int], steps: int = STEPS) -> Optimizer:
    optimizer = Optimizer(model, config)
    for tokens_BT, lengths_B, labels_B in itertools.islice(batches(*words), steps):
        optimizer.clear()
        cross_entropy(model(tokens_BT, lengths_B), labels_B).backward()
        gradients = optimizer.gradients()
        if config.max_grad_norm is not None:
            clip(gradients, config.max_grad_norm)
        optimizer.step(RATE)
    return optimizer


def descend_as_torch_does(
    model: nn.Module, optimizer: torch.optim.Optimizer, words: tuple[int, int], max_norm: float | None = None
) -> None:
    for tokens_BT, lengths_B, labels_B in itertools.islice(batches(*words), STEPS):
        optimizer.zero_grad()
        cross_entropy(model(tokens_BT, lengths_B), labels_B).backward()
        if max_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()


@pytest.mark.parametrize("max_norm", [None, 0.1])
def test_dense_adam_is_torchs_to_the_last_digit(max_norm: float | None) -> None:
    ours, theirs = make_model(), make_model()
    descend(ours, TrainingConfig(max_grad_norm=max_norm), (2, 30))
    descend_as_torch_does(theirs, torch.optim.Adam(theirs.parameters(), lr=RATE, fused=True), (2, 30), max_norm)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("max_norm", [None, 0.1])
def test_words_of_every_batch_get_the_numbers_of_dense_adam(max_norm: float | None) -> None:
    dense, lazy = make_model(), make_model()
    every_word = (2, 8)  # of six words, all are in each batch
    descend(dense, TrainingConfig(max_grad_norm=max_norm), every_word)
    descend(lazy, TrainingConfig(adam="lazy", max_grad_norm=max_norm), every_word)
    for one, other in zip(lazy.parameters(), dense.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=2e-5, atol=1e-6)


def test_a_lazy_step_is_that_of_sparse_adam() -> None:
    ours, theirs = make_model(), make_model()
    theirs.embedding.sparse = True
    vectors = theirs.embedding.vectors_VE
    assert isinstance(vectors, nn.Parameter)
    vectors_adam = torch.optim.SparseAdam([vectors], lr=RATE)
    rest = torch.optim.Adam([each for each in theirs.parameters() if each is not vectors], lr=RATE)
    generator = torch.Generator().manual_seed(1)
    optimizer = Optimizer(ours, TrainingConfig(adam="lazy"))
    for _ in range(STEPS):
        tokens_BT = torch.randint(1, 30, (2, 5), generator=generator, dtype=torch.int32)
        tokens_BT[1, 3:] = 0  # padding
        for model in (ours, theirs):
            model.zero_grad()
            # Of large gradients: the two add epsilon in different places.
            (1000 * cross_entropy(model(tokens_BT, torch.tensor([5, 3])), torch.tensor([0, 1]))).backward()
        before_VE = ours.embedding.vectors_VE.detach().clone()
        optimizer.gradients()
        optimizer.step(RATE)
        vectors_adam.step()
        rest.step()
        moved_V = (ours.embedding.vectors_VE != before_VE).any(1)
        assert set(moved_V.nonzero().flatten().tolist()) == set(tokens_BT.flatten().tolist()) - {0}
        torch.testing.assert_close(ours.embedding.vectors_VE, vectors, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("max_norm", [None, 0.05])
def test_lazy_training_measures_the_gradient_that_dense_training_does(max_norm: float | None) -> None:
    results = {}
    for adam in ("dense", "lazy"):
        config = TrainingConfig(learning_rate=1e-8, batch_size=100, adam=adam, max_grad_norm=max_norm)
        (results[adam],) = alone(train(make_model("gru"), SPLITS, config, **SETTINGS | {"length": Length(1)}))
    norms = [{k: v for k, v in each.metrics.items() if "grad_norm" in k} for each in results.values()]
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)
    assert norms[0]["grad_norms/embedding"] > 0


def test_gradients_of_several_passes_and_lookups_add_up() -> None:
    sums = {}
    for adam in ("dense", "lazy"):
        model = make_model()
        optimizer = Optimizer(model, TrainingConfig(adam=adam))
        optimizer.clear()
        for tokens_BT, lengths_B, labels_B in itertools.islice(batches(2, 30), 2):
            loss = cross_entropy(model(tokens_BT, lengths_B) + model(tokens_BT.flip(0), lengths_B), labels_B)
            loss.backward()
        gradients = optimizer.gradients()
        sums[adam] = {name: (each.sum(), each.norm()) for name, each in gradients.items()}
        assert len(gradients) == len(list(model.parameters()))
    for name, wanted in sums["dense"].items():
        torch.testing.assert_close(sums["lazy"][name], wanted, rtol=1e-4, atol=1e-5)


def test_a_state_of_torchs_adam_is_gone_on_from() -> None:
    """That is what older checkpoints hold."""
    theirs = make_model()
    adam = torch.optim.Adam(theirs.parameters(), lr=RATE, fused=True)
    descend_as_torch_does(theirs, adam, (2, 30))
    ours = copy.deepcopy(theirs)
    optimizer = Optimizer(ours, TrainingConfig())
    optimizer.load_state_dict(copy.deepcopy(adam.state_dict()))
    tokens_BT, lengths_B, labels_B = next(batches(2, 30))
    for model in (ours, theirs):
        model.zero_grad()
        cross_entropy(model(tokens_BT, lengths_B), labels_B).backward()
    optimizer.gradients()
    optimizer.step(RATE)
    adam.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)


def results(config: TrainingConfig, state: dict[str, Any] | None = None, **changes: Any) -> Iterator[Result]:
    return alone(train(make_model("mlp", dropout=0.2), SPLITS, config, **SETTINGS | changes, state=state))


EVERYTHING: dict[str, Any] = {
    "max_grad_norm": 0.1,
    "word_dropout": 0.2,
    "schedule": "linear",
    "label_smoothing": 0.1,
    "averaging": 0.9,
}


@pytest.mark.parametrize(
    "changes", [{"adam": "lazy"}, EVERYTHING, EVERYTHING | {"adam": "lazy"}], ids=["lazy", "dense", "everything"]
)
def test_training_resumed_in_the_middle_ends_with_the_same_numbers(changes: dict[str, Any]) -> None:
    config = TrainingConfig(learning_rate=RATE, batch_size=16, **changes)
    whole = list(results(config))
    state = copy.deepcopy(next(results(config)).state)
    assert numbers(list(results(config, state))) == numbers(whole[1:])
    assert numbers(list(results(config, seed=6))) != numbers(whole)


def test_a_lazy_checkpoint_is_no_larger_than_a_dense_one() -> None:
    sizes = {}
    for adam in ("dense", "lazy"):
        state = next(results(TrainingConfig(batch_size=16, adam=adam))).state
        tensors = [state["model"], state["best_weights"], *state["optimizer"]["state"].values()]
        sizes[adam] = sum(each.numel() for tensor in tensors for each in tensor.values())
    assert sizes["lazy"] == sizes["dense"]


def test_texts_of_nothing_but_padding_leave_the_vectors_alone() -> None:
    model = make_model()
    optimizer = Optimizer(model, TrainingConfig(adam="lazy"))
    before_VE = model.embedding.vectors_VE.detach().clone()
    model(torch.zeros(2, 3, dtype=torch.int64), torch.tensor([3, 1])).sum().backward()
    optimizer.gradients()
    optimizer.step(RATE)
    assert torch.equal(model.embedding.vectors_VE, before_VE)


def test_the_average_is_the_mean_at_first_and_then_moves_exponentially() -> None:
    model = make_model()
    optimizer = Optimizer(model, TrainingConfig(averaging=0.75))
    wanted: dict[str, Tensor] = {}
    for number, (tokens_BT, lengths_B, labels_B) in enumerate(itertools.islice(batches(2, 30), 7), start=1):
        optimizer.clear()
        cross_entropy(model(tokens_BT, lengths_B), labels_B).backward()
        optimizer.gradients()
        optimizer.step(RATE)
        come_in = max(1 / number, 0.25)
        for name, weight in model.state_dict().items():
            wanted[name] = wanted.get(name, torch.zeros(())) * (1 - come_in) + weight * come_in
        own = copy.deepcopy(model.state_dict())
        with optimizer.averaged():
            averaged = copy.deepcopy(model.state_dict())
        for name, weight in model.state_dict().items():
            assert torch.equal(weight, own[name])
            torch.testing.assert_close(averaged[name], wanted[name])


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_the_average_of_rows_that_few_steps_move_is_as_if_they_took_part_in_all(share: float) -> None:
    model = make_model()
    optimizer = Optimizer(model, TrainingConfig(averaging=share, adam="lazy"))
    start_VE = model.embedding.vectors_VE.detach().clone()
    wanted_VE = start_VE
    for number in range(1, 12):
        words_BT = torch.tensor([[2, 3 + number % 5, 3 + number // 4]])
        optimizer.clear()
        cross_entropy(model(words_BT, torch.tensor([3])), torch.tensor([number % 2])).backward()
        optimizer.gradients()
        optimizer.step(RATE)
        wanted_VE = wanted_VE.lerp(model.embedding.vectors_VE.detach(), max(1 / number, 1 - share))
        if number in (6, 11):
            with optimizer.averaged():
                torch.testing.assert_close(model.embedding.vectors_VE, wanted_VE, rtol=1e-5, atol=1e-6)
    assert torch.equal(wanted_VE[10:], start_VE[10:])


def test_what_is_measured_and_kept_is_the_average() -> None:
    config = TrainingConfig(learning_rate=RATE, batch_size=16, averaging=0.9)
    (last,) = results(config, length=Length(epochs=1))
    means = last.state["optimizer"]["average"]["means"]
    assert last.state["best_weights"].keys() == means.keys()
    assert all(torch.equal(last.state["best_weights"][name], mean) for name, mean in means.items())
    assert not any(torch.equal(last.state["model"][name], mean) for name, mean in means.items())
    model = make_model()
    model.load_state_dict(last.state["best_weights"])
    model.eval()
    predicted_N = model(*SPLITS.val.batch(slice(None))).argmax(1)
    accuracy = (predicted_N == SPLITS.val.targets[0]).float().mean()
    assert last.best["val_accuracy"] == pytest.approx(float(accuracy))


@pytest.mark.parametrize("adam", ["dense", "lazy"])
def test_how_often_it_is_evaluated_does_not_change_the_average(adam: str) -> None:
    config = TrainingConfig(learning_rate=RATE, batch_size=16, averaging=0.9, adam=adam)
    whole, often = (list(results(config, length=Length(epochs=2, reports_per_epoch=number))) for number in (1, 3))
    assert often[5].metrics["val_loss"] == whole[1].metrics["val_loss"]
    length = Length(epochs=2, reports_per_epoch=3)
    state = copy.deepcopy(next(results(config, length=length)).state)
    rest = list(results(config, state, length=length))
    assert numbers(rest) == numbers(often[1:])


def test_smoothed_labels_are_only_those_of_training() -> None:
    logits_N, labels_N = torch.randn(9, 3), torch.randint(3, (9,))
    spread_N = torch.full((9, 3), 0.1)
    spread_N[torch.arange(9), labels_N] += 0.7
    loss = TASKS["classification"].loss(logits_N, (labels_N,), 0.3)
    torch.testing.assert_close(loss, -(spread_N * logits_N.log_softmax(1)).sum(1).mean())
    config = TrainingConfig(learning_rate=1e-8, batch_size=100)
    plain, smoothed = (next(results(dataclasses.replace(config, label_smoothing=share))) for share in (0.0, 0.5))
    assert smoothed.metrics["train_loss"] == pytest.approx(plain.metrics["train_loss"], rel=1e-4)
    assert smoothed.metrics["val_loss"] == pytest.approx(plain.metrics["val_loss"], rel=1e-4)
    assert smoothed.metrics["grad_norm"] != pytest.approx(plain.metrics["grad_norm"], rel=1e-2)


def test_smoothed_images_have_a_little_ink_everywhere() -> None:
    logits_NYX, images_NYX = torch.randn(2, 4, 4), torch.rand(2, 4, 4)
    targets = images_NYX, torch.zeros(2, 4, dtype=torch.int64)
    loss = TASKS["text_to_image"].loss(logits_NYX, targets, 0.2)
    wanted_NYX = 0.8 * images_NYX + 0.2 * 0.5
    torch.testing.assert_close(loss, binary_cross_entropy_with_logits(logits_NYX, wanted_NYX))
