"""Trials trained in lockstep, as on a card: equal to each alone within float32's rounding, whoever is beside it.

Their masks are drawn by place here as they are on a card, in a pack and alone.
"""

import copy
import dataclasses
import time
from typing import Any

import pytest
import torch
from test_search_training import SETTINGS
from torch import Tensor
from torch.nn.functional import pad

import models
from models.native import masks
from models.parts.stacked import Stack
from search.train.config import TrainingConfig
from search.train.examples import Examples, Splits
from search.train.length import Length
from search.train.lockstep import Lockstep
from search.train.pack import Failure, Pack
from search.train.stepping import Steps, alone
from search.train.tasks import TASKS
from search.train.training import Result, train


@pytest.fixture(autouse=True)
def _as_on_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(masks, "BY_PLACE", {"cpu", "cuda"})


def texts(num: int, seed: int) -> Examples:
    """Of 1 to 9 words out of thirty; the label is whether most are among the first half."""
    generator = torch.Generator().manual_seed(seed)
    lengths_N = torch.randint(1, 10, (num,), generator=generator, dtype=torch.int32)
    tokens_W = torch.randint(1, 30, (int(lengths_N.sum()),), generator=generator, dtype=torch.int32)
    starts_N = lengths_N.cumsum(0) - lengths_N
    labels_N = torch.stack([(each < 15).float().mean() > 0.5 for each in tokens_W.split(lengths_N.tolist())]).long()
    return Examples(pad(tokens_W, (0, 10)), starts_N, lengths_N, (labels_N,))


VECTORS_VE = pad(torch.randn(29, 6, generator=torch.Generator().manual_seed(0)), (0, 0, 1, 0))
VECTORS = {each: VECTORS_VE.to(each) for each in (torch.float32, torch.float64)}  # each the same for all trials
SPLITS = Splits(texts(44, 1), texts(20, 2), texts(20, 3), TASKS[models.CLASSIFICATION])
SHARES = (0.3, 0.0, 0.5)


def member(
    architecture: str,
    number: int,
    state: dict[str, Any] | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    batch_size: int = 16,
    diverges: bool = False,
    weights_C: Tensor | None = None,
    trainable: bool = False,
    **hyperparameters: Any,
) -> Steps[Result, None]:
    """A trial that differs from the others in all that trials of one form may differ in."""
    torch.manual_seed(number)
    own = {"hidden_size": 8, "dropout": SHARES[number % len(SHARES)]} | hyperparameters
    config = TrainingConfig(
        learning_rate=0.01 / (1 + number % 3),
        batch_size=batch_size,
        max_grad_norm=0.1 if number % 2 else None,
        word_dropout=0.1 if number % 4 > 1 else 0.0,
        averaging=0.9 if number % 3 == 1 else None,
        label_smoothing=0.1 if number == 2 else 0.0,
        schedule="linear" if number % 2 else "constant",
    )
    vectors = models.WordVectors(VECTORS[dtype], trainable=trainable)
    model = models.build(architecture, vectors, 2, **own).to(dtype)
    if diverges:
        next(model.parameters()).data.fill_(float("nan"))
    settings = SETTINGS | {"length": Length(2), "seed": number, "state": state, "weights_C": weights_C}
    return train(model, SPLITS, config, **settings)


def in_lockstep(*members: Steps[Result, None]) -> list[list[Result]]:
    """The reports of each."""
    pack: Pack[Result] = Pack(Lockstep())
    for number, each in enumerate(members):
        pack.join(str(number), each)
    reports: list[list[Result]] = [[] for _ in members]
    while pack:
        for name, report in pack.next_reports():
            if isinstance(report, Failure):
                raise report.error
            reports[int(name)].append(frozen(report))
    return reports


def frozen(result: Result) -> Result:
    """With a copy of the state, of which the training goes on to change the tensors."""
    return dataclasses.replace(result, state=copy.deepcopy(result.state))


def assert_equal(found: list[Result], expected: list[Result]) -> None:
    """In float64, but for rounding, and in float32 to 1e-5: Adam can make much of the rounding of a gradient near 0, so
    weights are compared as a whole."""
    assert [each.step for each in found] == [each.step for each in expected]
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.state["rng"], other.state["rng"])
        tolerance = 1e-9 if next(iter(other.state["model"].values())).dtype == torch.float64 else 1e-5
        for name, value in other.metrics.items():
            if "loss" in name or "norm" in name:
                assert one.metrics[name] == pytest.approx(value, rel=tolerance, abs=tolerance), name
        assert [loss for _, loss, _ in one.curve] == pytest.approx([loss for _, loss, _ in other.curve], rel=1e-5)
        assert one.best["val_loss"] == pytest.approx(other.best["val_loss"], rel=tolerance)
        assert one.best.get("test_loss", 0.0) == pytest.approx(other.best.get("test_loss", 0.0), rel=tolerance)
        for name, weight in other.state["model"].items():
            apart = (one.state["model"][name] - weight).double().norm()
            assert apart <= tolerance * (1 + weight.double().norm()), name


@pytest.fixture
def stacked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many trials were computed together, for each step."""
    sizes: list[int] = []
    together = Lockstep._together

    def noted(self: Lockstep, steps: Any) -> Any:
        sizes.append(len(steps))
        return together(self, steps)

    monkeypatch.setattr(Lockstep, "_together", noted)
    return sizes


FORMS: list[tuple[str, dict[str, Any]]] = [
    *(
        (architecture, {"activation": activation})
        for architecture in ("rnn", "gru", "mlp", "attention", "cnn")
        for activation in ("none", "relu", "tanh", "sigmoid")
    ),
    ("rnn", {"num_layers": 2, "pooling": "mean"}),
    ("gru", {"num_layers": 3, "pooling": "mean", "gate_activation": "relu"}),
    ("mlp", {"num_layers": 4}),
    ("attention", {"window": 2}),
    ("cnn", {"num_layers": 2, "kernel_size": 4}),
]


def by_itself(*arguments: Any, **settings: Any) -> list[Result]:
    return [frozen(each) for each in alone(member(*arguments, **settings))]


@pytest.mark.parametrize(("architecture", "hyperparameters"), FORMS, ids=str)
def test_packed_trials_in_lockstep_are_those_alone(
    architecture: str, hyperparameters: dict[str, Any], stacked: list[int]
) -> None:
    settings = hyperparameters | {"dtype": torch.float64}
    found = in_lockstep(*(member(architecture, number, **settings) for number in range(3)))
    assert stacked
    assert set(stacked) == {3}
    for number, reports in enumerate(found):
        assert_equal(reports, by_itself(architecture, number, **settings))


@pytest.mark.parametrize("architecture", ["rnn", "gru", "mlp", "attention", "cnn"])
def test_packed_trials_are_equal_at_every_size_of_the_pack(architecture: str, stacked: list[int]) -> None:
    for size in (1, 3, 8):
        found = in_lockstep(*(member(architecture, number) for number in range(size)))
        assert_equal(found[0], by_itself(architecture, 0))
    assert set(stacked) == {3, 8}  # one by itself is as it is alone
    assert_equal(found[7], by_itself(architecture, 7))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("architecture", ["rnn", "gru", "mlp", "attention", "cnn"])
def test_packed_trials_that_read_pairs_of_words_are_stacked_and_equal_alone(
    architecture: str, dtype: torch.dtype, stacked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models.parts.pairs.PairVectors.__init__, "__kwdefaults__", {"num_rows": 50})
    settings = [{"ngrams": 2, "dtype": dtype, "hidden_size": width} for width in (8, 8, 9)]
    found = in_lockstep(*(member(architecture, number, **each) for number, each in enumerate(settings)))
    assert set(stacked) == {3}
    for number, each in enumerate(settings):
        assert found[number][-1].state["model"]["embedding.pairs.rows_RD"].any()
        assert_equal(found[number], by_itself(architecture, number, **each))


def test_packed_trials_of_several_forms_batch_sizes_and_weights_of_classes(stacked: list[int]) -> None:
    """With what cannot be stacked: n-grams, and word vectors that are trained."""
    settings: list[dict[str, Any]] = [
        {"architecture": "mlp", "number": 0},
        {"architecture": "gru", "number": 1},
        {"architecture": "mlp", "number": 2, "weights_C": torch.tensor([0.5, 2.0])},
        {"architecture": "mlp", "number": 3, "batch_size": 7},
        {"architecture": "mlp", "number": 4, "hidden_size": 33},
        {"architecture": "ngram", "number": 5, "hidden_size": 2, "buckets": 50},
        {"architecture": "gru", "number": 6},
        {"architecture": "mlp", "number": 7, "trainable": True},
    ]
    found = in_lockstep(*(member(**each) for each in settings))
    assert set(stacked) == {2}  # the first and the third, the second and the seventh
    for reports, each in zip(found, settings, strict=True):
        assert_equal(reports, by_itself(**each))


PADDED: list[tuple[str, dict[str, Any]]] = [
    ("rnn", {"num_layers": 2, "activation": "sigmoid"}),
    ("gru", {"num_layers": 2, "activation": "sigmoid", "pooling": "mean"}),
    ("gru", {"gate_activation": "relu"}),
    ("mlp", {"activation": "sigmoid"}),
    ("attention", {"activation": "sigmoid"}),
    ("cnn", {"num_layers": 2, "activation": "sigmoid"}),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("architecture", "hyperparameters"), PADDED, ids=str)
def test_packed_trials_of_several_widths_are_padded_and_equal_alone(
    architecture: str, hyperparameters: dict[str, Any], dtype: torch.dtype, stacked: list[int]
) -> None:
    settings = [hyperparameters | {"dtype": dtype, "hidden_size": size} for size in (20, 27, 32)]
    found = in_lockstep(*(member(architecture, number, **each) for number, each in enumerate(settings)))
    assert set(stacked) == {3}
    for number, each in enumerate(settings):
        assert_equal(found[number], by_itself(architecture, number, **each))


def test_packed_trials_are_padded_within_a_bucket_and_where_nothing_but_the_width_differs(stacked: list[int]) -> None:
    settings: list[dict[str, Any]] = [
        {"kernel_size": 2, "hidden_size": 20},
        {"kernel_size": 3, "hidden_size": 30},  # in proportion to the first
        {"kernel_size": 3, "hidden_size": 33},
        {"kernel_size": 3, "hidden_size": 24},
        {"kernel_size": 3, "hidden_size": 24, "num_layers": 2},
    ]
    found = in_lockstep(*(member("cnn", number, **each) for number, each in enumerate(settings)))
    assert set(stacked) == {2}  # the second and the fourth
    for number, each in enumerate(settings):
        assert_equal(found[number], by_itself("cnn", number, **each))


def test_a_packed_network_from_outside_is_stacked_and_padded_only_if_it_says_so(stacked: list[int]) -> None:
    class Mine(models.architecture("mlp")):  # type: ignore[misc]
        stacks = True

    models.register("mine", Mine)
    try:
        in_lockstep(*(member("mine", number, hidden_size=width) for number, width in enumerate([8, 9, 8])))
    finally:
        models.reset()
        del models.ARCHITECTURES["mine"]
    assert set(stacked) == {2}


def test_padded_packed_trials_join_and_leave(stacked: list[int]) -> None:
    widths = [20, 27, 32, 32, 5]
    pack: Pack[Result] = Pack(Lockstep())
    for number in range(3):
        pack.join(str(number), member("gru", number, hidden_size=widths[number], batch_size=16 - 8 * (number == 2)))
    found: dict[str, list[Result]] = {str(number): [] for number in range(5)}
    while pack:
        for name, report in pack.next_reports():
            assert isinstance(report, Result)
            found[name].append(frozen(report))
            if name == "0" and len(found["0"]) == 1:  # the second and the fourth and fifth go on, of other widths
                pack.leave("0")
                for number in (3, 4):
                    pack.join(str(number), member("gru", number, hidden_size=widths[number]))
    assert 3 in stacked
    for number, width in enumerate(widths):
        expected = by_itself("gru", number, hidden_size=width, batch_size=16 - 8 * (number == 2))
        assert_equal(found[str(number)], expected[:1] if number == 0 else expected)


def test_a_packed_trial_that_diverges_leaves_or_joins_changes_nothing_for_the_others() -> None:
    expected = [by_itself("gru", number) for number in range(4)]
    pack: Pack[Result] = Pack(Lockstep())
    for number in range(3):
        pack.join(str(number), member("gru", number, diverges=number == 1))
    found: dict[str, list[Result]] = {str(number): [] for number in range(4)}
    joined = False
    while pack:
        for name, report in pack.next_reports():
            assert isinstance(report, Result)
            found[name].append(frozen(report))
        if found["2"] and not joined:
            joined = True
            pack.leave("2")
            pack.join("3", member("gru", 3))
    assert found["1"][-1].diverged
    assert_equal(found["0"], expected[0])
    assert_equal(found["2"], expected[2][:1])
    assert_equal(found["3"], expected[3])


def test_packed_trials_are_stacked_anew_only_when_one_joins_and_kept_no_longer_than_they_train(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[int] = []
    stack = Stack.__init__

    def noted(self: Stack, models: Any) -> None:
        made.append(len(models))
        stack(self, models)

    monkeypatch.setattr(Stack, "__init__", noted)
    settings: list[dict[str, Any]] = [{}, {}, {"batch_size": 8}, {"batch_size": 8}]  # two groups of one form
    pack: Pack[Result] = Pack(lockstep := Lockstep())
    for number, each in enumerate(settings):
        pack.join(str(number), member("mlp", number, **each))
    pack.join("n-grams", member("ngram", 5, hidden_size=2, buckets=50, batch_size=2))  # trains longest, by itself
    reported = []
    while pack:
        reported += [name for name, _ in pack.next_reports()]
    assert sorted(reported) == sorted([*"00112233", "n-grams", "n-grams"])
    assert made == [4]
    assert lockstep._stacks == {}


def test_the_time_of_a_pack_in_lockstep_is_divided_among_its_trials() -> None:
    started = time.perf_counter()
    found = in_lockstep(*(member("mlp", number) for number in range(4)))
    seconds = [reports[-1].seconds for reports in found]
    assert sum(seconds) <= time.perf_counter() - started
    assert max(seconds) < 2 * min(seconds)


def test_a_packed_trial_whose_step_fails_fails_alone() -> None:
    class Broken(models.architecture("mlp")):  # type: ignore[misc]
        def classify(self, words_BTE: Tensor, lengths_B: Tensor) -> Tensor:
            raise ValueError("broken")

    pack: Pack[Result] = Pack(Lockstep())
    pack.join("0", member("mlp", 0))
    pack.join("1", train(Broken(models.WordVectors(VECTORS_VE), 2), SPLITS, TrainingConfig(), **SETTINGS))
    reports = dict(pack.next_reports())
    assert str(reports.pop("1").error) == "broken"  # type: ignore[union-attr]
    while len(reports) < 1:
        reports |= dict(pack.next_reports())
    assert isinstance(reports["0"], Result)


def test_packed_trials_that_cannot_be_stacked_are_tried_once_and_then_trained_one_by_one() -> None:
    class Branching(models.architecture("mlp")):  # type: ignore[misc]
        stacks = True

        def classify(self, words_BTE: Tensor, lengths_B: Tensor) -> Tensor:
            if float(words_BTE.sum()) > 1e9:  # torch.vmap cannot branch on a value
                raise ValueError
            return super().classify(words_BTE, lengths_B)

    vectors = models.WordVectors(VECTORS_VE)
    trials = [train(Branching(vectors, 2), SPLITS, TrainingConfig(), **SETTINGS) for _ in range(2)]
    with pytest.warns(UserWarning, match="2 trials are trained one by one") as warned:
        found = in_lockstep(*trials)
    assert len(warned) == 1
    assert all(reports[-1].step == SETTINGS["length"].num_reports for reports in found)


@pytest.mark.parametrize("widths", [(8, 8, 8), (8, 7, 9)], ids=str)
@pytest.mark.parametrize("architecture", ["attention", "cnn"])
def test_a_packed_trial_resumed_alone_or_in_a_pack_goes_on_with_the_same_numbers(
    architecture: str, widths: tuple[int, ...]
) -> None:
    settings = [{"architecture": architecture, "number": i, "hidden_size": width} for i, width in enumerate(widths)]
    whole = [by_itself(**each) for each in settings]
    (first, *_), (second, *_), _ = in_lockstep(*(member(**each) for each in settings))
    assert_equal(by_itself(**settings[0], state=first.state)[-1:], whole[0][-1:])
    resumed = in_lockstep(member(**settings[1], state=second.state), member(**settings[2]))
    assert_equal(resumed[0], whole[1][1:])
    assert_equal(resumed[1], whole[2])


def test_the_masks_of_packed_trials_depend_on_seed_and_place_alone() -> None:
    settings_2 = torch.tensor(masks.settings(2**61, 3, 0.3))
    mask = masks.kept(settings_2, (40, 50, 30))
    assert torch.equal(masks.kept(settings_2, (40, 60, 35))[:, :50, :30], mask)
    assert float(mask.float().mean()) == pytest.approx(0.7, abs=0.01)
    others = [masks.settings(2**61, 4, 0.3), masks.settings(2**61 + 1, 3, 0.3)]
    for other in [masks.kept(settings_2, mask.shape, 1), *(masks.kept(torch.tensor(o), mask.shape) for o in others)]:
        both = float((mask & other).float().mean())
        assert both == pytest.approx(0.49, abs=0.01)
    for neighbour in (mask.roll(1, dim) for dim in range(3)):
        assert float((mask & neighbour).float().mean()) == pytest.approx(0.49, abs=0.01)
