"""The training loop: its metrics, its seeds, its live knobs, its checkpoints and its way out when it diverges."""

import copy
import dataclasses
import io
import itertools
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import sklearn.metrics
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

import models
from data.base.errors import UserError
from models.native import kernels
from models.parts import weights
from models.parts.hyperparameters import Choice as OneOf
from models.parts.hyperparameters import OrNone
from models.parts.layers import INPUTS
from search.base import schema
from search.train import checkpoints, device
from search.train.config import TRAINING, TrainingConfig
from search.train.device import on_device, round_products
from search.train.examples import Examples, Splits
from search.train.length import Length
from search.train.metrics import measured_in
from search.train.optimizing import Optimizer
from search.train.stepping import alone, finish
from search.train.tasks import TASKS
from search.train.training import Result, _EpochLog, _train_epoch, measure, train
from tests.conftest import ROOT

CONFIG = TrainingConfig(learning_rate=0.01, batch_size=16)
SETTINGS: dict[str, Any] = {"length": Length(3), "metric": "val_accuracy", "curve_interval": 2, "seed": 5}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def of_matrix(tokens_NT: torch.Tensor, labels_N: torch.Tensor) -> Examples:
    """Texts of equal length."""
    num, length = tokens_NT.shape
    tokens_W = torch.nn.functional.pad(tokens_NT.flatten(), (0, length))
    lengths_N = torch.full((num,), length, dtype=torch.int32)
    return Examples(tokens_W, length * torch.arange(num), lengths_N, (labels_N,))


def make_examples(num: int, seed: int) -> Examples:
    """Texts of ten words out of thirty; the label is whether word 2 comes before word 3 comes."""
    generator = torch.Generator().manual_seed(seed)
    tokens_NT = torch.randint(2, 30, (num, 10), generator=generator, dtype=torch.int32)
    labels_N = (tokens_NT[:, :5] < 16).float().mean(1).gt(0.5).long()
    return of_matrix(tokens_NT, labels_N)


TRAIN, VAL, TEST = make_examples(100, 1), make_examples(40, 2), make_examples(40, 3)
SPLITS = Splits(TRAIN, VAL, TEST, TASKS[models.CLASSIFICATION])


def test_a_batch_is_padded_to_its_longest_text() -> None:
    """Of the texts 2 3 4, 5 and 6 7; a corpus may be read less far than it is encoded."""
    tokens_W = torch.tensor([2, 3, 4, 5, 6, 7, 0, 0, 0])
    examples = Examples(tokens_W, torch.tensor([0, 3, 4]), torch.tensor([3, 1, 2]), (torch.tensor([0, 1, 0]),))
    assert [each.tolist() for each in examples.batch(torch.tensor([2, 1]))] == [[[6, 7], [5, 0]], [2, 1]]
    assert [[each.tolist() for each in batch] for batch in examples.batches(2)] == [
        [[[2, 3, 4], [5, 0, 0]], [3, 1], [0, 1]],
        [[[6, 7]], [2], [0]],
    ]
    few = dataclasses.replace(examples, lengths_N=torch.tensor([2, 1, 2]))
    assert few.batch(slice(None))[0].tolist() == [[2, 3], [5, 0], [6, 7]]


def make_model(
    architecture: str = "gru", dropout: float = 0.2, seed: int = 7, *, trainable: bool = False
) -> models.Architecture:
    vectors_VE = torch.randn(30, 6, generator=torch.Generator().manual_seed(0))
    vectors_VE[:2] = 0
    torch.manual_seed(seed)
    embedding = models.WordVectors(vectors_VE, trainable=trainable)
    return models.build(architecture, embedding, 2, hidden_size=8, dropout=dropout)


def start(model: models.Architecture | None = None, **changes: Any) -> Iterator[Result]:
    """changes: of the fields of CONFIG and of the length in SETTINGS, and of SETTINGS."""
    config, length = (
        dataclasses.replace(whole, **{name: changes.pop(name) for name in vars(whole) if name in changes})
        for whole in (CONFIG, SETTINGS["length"])
    )
    return alone(train(model or make_model(), SPLITS, config, **SETTINGS | {"length": length} | changes))


def run(model: models.Architecture | None = None, **changes: Any) -> list[Result]:
    return list(start(model, **changes))


def numbers(results: list[Result]) -> list[Any]:
    """All that was measured, but for the time it took."""
    return [
        ({k: v for k, v in result.metrics.items() if k != "epoch_seconds"}, result.curve, result.best)
        for result in results
    ]


@pytest.mark.parametrize("architecture", models.of_task(models.CLASSIFICATION))
def test_every_architecture_trains(architecture: str) -> None:
    model = make_model(architecture, dropout=0.0)
    results = run(model, epochs=8)
    assert [result.step for result in results] == list(range(1, 9))
    assert results[-1].metrics["train_loss"] < results[0].metrics["train_loss"]
    names = [metric.name for metric in measured_in("classification")]
    measured = {f"{split}_{name}" for split in ("train", "val", "test") for name in names}
    decided = {schema.THRESHOLD, *(schema.WITH_THRESHOLD.format(split) for split in ("val", "test"))}
    assert measured | decided | {schema.TEMPERATURE, schema.CALIBRATED_ECE} == set(results[-1].best)


def test_the_same_seed_gives_the_same_numbers_and_another_does_not() -> None:
    first = numbers(run())
    assert numbers(run()) == first
    assert numbers(run(seed=6)) != first


def weights_after_an_epoch(**changes: Any) -> list[Any]:
    """And the weights kept. With trained word vectors, for some hyperparameters are about these."""
    state = next(start(make_model(trainable=True), **changes)).state
    return [tensor.tolist() for kept in ("model", "best_weights") for tensor in state[kept].values()]


def another(domain: Any, value: Any) -> Any:
    """A value of a domain that is not this one."""
    match domain:
        case OrNone():
            return another(domain.domain, value)
        case OneOf():
            return next(each for each in domain.options if each != value)
    return next(each for each in (domain.low, domain.high) if each != value)


@pytest.mark.parametrize("name", [each.name for each in dataclasses.fields(TrainingConfig)])
def test_every_hyperparameter_of_training_changes_the_weights(name: str) -> None:
    value = another(TRAINING[name], getattr(CONFIG, name))
    as_they_are = weights_after_an_epoch()
    assert weights_after_an_epoch(**{name: getattr(CONFIG, name)}) == as_they_are
    assert weights_after_an_epoch(**{name: value}) != as_they_are


@pytest.mark.parametrize("each", dataclasses.fields(TrainingConfig), ids=lambda each: each.name)
def test_every_hyperparameter_of_training_has_a_domain_a_default_in_it_and_a_doc(each: Any) -> None:
    assert each.metadata["domain"] is TRAINING[each.name]
    assert each.metadata["doc"]
    TRAINING[each.name].check(each.name, each.default)
    with pytest.raises(UserError, match=each.name):
        TrainingConfig(**{each.name: "nothing of the kind"})


def test_the_page_on_training_lists_every_hyperparameter() -> None:
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8").splitlines()
    listed = [line for line in page if line.startswith("| `")]
    declared = [(each, "none" if each.default is None else each.default) for each in dataclasses.fields(TrainingConfig)]
    assert listed == [
        *(
            f"| `{each.name}` | {each.metadata['domain']} | {default} | {each.metadata['doc']} |"
            for each, default in declared
        ),
        *(f"| `{name}` | {each.domain} | {each.default} | {each.doc} |" for name, each in INPUTS.items()),
    ]


def test_the_number_of_epochs_decides_when_training_ends_and_what_a_schedule_falls_over() -> None:
    fewer, more = run(epochs=2), run(epochs=3)
    assert [len(fewer), len(more)] == [2, 3]
    assert [result.metrics["train_loss"] for result in fewer] == [result.metrics["train_loss"] for result in more[:2]]
    assert "test_loss" in fewer[-1].best
    assert weights_after_an_epoch(epochs=2) == weights_after_an_epoch()
    assert weights_after_an_epoch(epochs=2, schedule="linear") != weights_after_an_epoch(schedule="linear")


def test_an_old_trial_without_a_hyperparameter_takes_its_default() -> None:
    assert TrainingConfig.of({"architecture": "gru", "hidden_size": 8, "learning_rate": 0.01}) == TrainingConfig(0.01)


def test_a_linear_schedule_falls_to_zero_over_all_epochs() -> None:
    rates = [result.metrics["learning_rate"] for result in run(batch_size=50, schedule="linear")]  # six iterations
    assert rates == pytest.approx([0.01 * left / 6 for left in (5, 3, 1)])
    assert {result.metrics["learning_rate"] for result in run()} == {0.01}


def test_dropped_words_are_read_as_zero_vectors_and_only_in_training() -> None:
    seen: list[torch.Tensor] = []
    model = make_model("mlp")
    model.embedding.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    run(model, epochs=1, batch_size=100, word_dropout=0.3, seed=1)
    trained, *evaluated = seen
    assert len(trained) == 100
    assert (trained == 0).float().mean() == pytest.approx(0.3, abs=0.05)  # 1,000 words: three standard deviations
    assert all((tokens > 0).all() for tokens in evaluated)


def test_the_curve_has_a_point_each_interval_across_epochs() -> None:
    results = run(batch_size=10, curve_interval=4)  # ten iterations an epoch
    points = [iteration for result in results for iteration, _, _ in result.curve]
    assert points == [4, 8, 12, 16, 20, 24, 28]
    whole = run(batch_size=10, curve_interval=10)
    for result in whole:
        ((_, loss, accuracy),) = result.curve
        assert loss == pytest.approx(result.metrics["train_loss"], rel=1e-5)
        assert accuracy == pytest.approx(result.metrics["train_accuracy"])


def test_best_is_the_first_best_validation_epoch_and_test_is_measured_with_its_weights() -> None:
    model = make_model()
    results = run(model, epochs=6, learning_rate=0.05)
    scores = [result.metrics["val_accuracy"] for result in results]
    last = results[-1]
    assert last.best_step == scores.index(max(scores)) + 1
    assert last.best["val_accuracy"] == max(scores)
    assert last.best["train_loss"] == results[last.best_step - 1].metrics["train_loss"]
    assert all("test_accuracy" not in result.best for result in results[:-1])
    model.load_state_dict(last.state["best_weights"])
    model.eval()
    with torch.no_grad():
        predicted = model(*TEST.batch(slice(None))).argmax(1)
    assert last.best["test_accuracy"] == pytest.approx((predicted == TEST.targets[0]).float().mean().item())


def test_the_kept_predictions_are_those_of_the_best_epoch() -> None:
    results = run(epochs=6, learning_rate=0.05)
    assert [result.test_outputs_N is None for result in results] == [True] * 5 + [False]
    probabilities_NC = results[-1].test_outputs_N
    assert probabilities_NC is not None
    assert torch.allclose(probabilities_NC.sum(1), torch.ones(40))
    accuracy = (probabilities_NC.argmax(1) == TEST.targets[0]).float().mean().item()
    assert accuracy == pytest.approx(results[-1].best["test_accuracy"])


@pytest.mark.parametrize("architecture", models.of_task(models.CLASSIFICATION))
@pytest.mark.parametrize("max_grad_norm", [None, 1e-3])
def test_gradient_norms_of_layers_add_up_to_the_whole_before_clipping(
    architecture: str, max_grad_norm: float | None
) -> None:
    model = make_model(architecture, dropout=0.0)
    # One batch an epoch, and a learning rate that changes next to nothing: the norms are those of this one gradient.
    (result,) = run(model, epochs=1, batch_size=100, learning_rate=1e-8, max_grad_norm=max_grad_norm)
    loss = torch.nn.functional.cross_entropy(model(*TRAIN.batch(slice(None))), *TRAIN.targets)
    model.zero_grad()
    loss.backward()
    wanted: dict[str, float] = {}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        layer = "grad_norms/" + ".".join(name.split(".")[:-1])
        wanted[layer] = wanted.get(layer, 0.0) + float(parameter.grad.square().sum())
    found = {name: value**2 for name, value in result.metrics.items() if name.startswith("grad_norms/")}
    assert found == pytest.approx(wanted, rel=1e-4)
    assert len(found) > 1
    assert result.metrics["grad_norm"] ** 2 == pytest.approx(sum(wanted.values()), rel=1e-4)


def test_a_metric_that_is_better_when_smaller_chooses_the_smallest() -> None:
    results = run(metric="val_loss", epochs=6, learning_rate=0.05)
    losses = [result.metrics["val_loss"] for result in results]
    assert results[-1].best["val_loss"] == min(losses)


@pytest.mark.parametrize("stop_after", [1, 2])
def test_training_goes_on_from_a_checkpoint_as_if_nothing_had_happened(stop_after: int, tmp_path: Path) -> None:
    whole = run(epochs=4)
    for result in itertools.islice(start(epochs=4), stop_after):
        checkpoints.save(tmp_path, result.step, {"state": result.state})
    torch.randn(3)  # another trial used the process in between
    saved = checkpoints.load_last(tmp_path)
    assert saved
    rest = run(make_model(seed=99), epochs=4, state=saved["state"])
    assert [result.step for result in rest] == list(range(stop_after + 1, 5))
    assert numbers(rest) == numbers(whole[stop_after:])


def flip(at: int, content: bytes) -> bytes:
    damaged = bytearray(content)
    damaged[at] ^= 255
    return bytes(damaged)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        *(
            lambda content, at=at: content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :]
            for at in range(-90, 900, 9)
        ),
    ],
)
def test_a_damaged_checkpoint_is_noticed_and_the_one_before_it_used(
    damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    for epoch in (1, 2, 3):
        last = checkpoints.save(tmp_path, epoch, {"epoch": epoch, "weights": torch.arange(300.0)})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-0002.pt", "epoch-0003.pt"]
    whole = checkpoints.load_last(tmp_path)
    last.write_bytes(damage(last.read_bytes()))
    saved = checkpoints.load_last(tmp_path)
    assert whole
    assert saved
    if saved["epoch"] == 3:  # a byte that nobody reads
        assert saved["weights"].equal(whole["weights"])
    else:
        assert saved["epoch"] == 2


def test_the_weights_in_a_checkpoint_are_safetensors_and_older_checkpoints_are_read(tmp_path: Path) -> None:
    weight = torch.arange(6.0).view(2, 3)
    model: dict[str, Any] = {"one.weight": weight, "tied.weight": weight, "turned": weight.t()}
    model |= {"steps": torch.tensor(3), "extra": {"a": 1}}
    content = {
        "result": {"epoch": 1},
        "state": {"model": model, "best_weights": {"half": weight.bfloat16()}, "optimizer": {0: (weight, 0.1)}},
    }
    torch.save(content, tmp_path / "epoch-0001.pt")  # as they were before
    before = checkpoints.load_last(tmp_path)
    place = checkpoints.save(tmp_path, 2, content)
    after = checkpoints.load_last(tmp_path)
    assert checkpoints.last_step(tmp_path) == 2
    assert isinstance(place, Path)
    with zipfile.ZipFile(place) as archive:
        assert set(safetensors.torch.load(archive.read("model.safetensors"))) == {
            "one.weight",
            "tied.weight",
            "turned",
            "steps",
        }
        rest = torch.load(io.BytesIO(archive.read("rest.pt")), weights_only=True)
        assert rest["state"]["model"] == {"extra": {"a": 1}}
        assert rest["state"]["best_weights"] == {}
    for saved in (before, after):
        assert saved is not None
        assert saved["result"] == {"epoch": 1}
        assert saved["state"]["model"].keys() == model.keys()
        assert torch.equal(saved["state"]["model"]["turned"], weight.t())
        assert torch.equal(saved["state"]["model"]["tied.weight"], weight)
        assert torch.equal(saved["state"]["best_weights"]["half"], weight.bfloat16())
        assert torch.equal(saved["state"]["optimizer"][0][0], weight)


def test_a_state_dict_of_more_than_tensors_is_refused_as_safetensors() -> None:
    with pytest.raises(UserError, match=r"^state dict: extra is of type dict; keep only tensors in it$"):
        weights.to_bytes({"one": torch.zeros(1), "extra": {"a": 1}})


@pytest.mark.parametrize("place", ["folder", "store"])
def test_a_checkpoint_that_cannot_be_written_to_its_end_is_not_there(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path if place == "folder" else checkpoints.ObjectPath(f"file://{tmp_path}")
    checkpoints.save(folder, 1, {"epoch": 1})

    def half(content: dict[str, Any], file: Any) -> None:
        file.write(b"a half")
        raise MemoryError

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(MemoryError):
        checkpoints.save(folder, 2, {"epoch": 2})
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-0001.pt"]
    assert checkpoints.last_step(folder) == 1


def test_only_the_last_checkpoint_of_a_trial_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    checkpoints.save(tmp_path, 1, {"epoch": 1})
    assert synced == []
    checkpoints.save(tmp_path, 2, {"epoch": 2}, num_kept=1)
    assert len(synced) == 1


def test_what_a_killed_writer_left_is_ignored_and_removed(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, 1, {"epoch": 1})
    (tmp_path / ".epoch-0002.pt.123").write_bytes(b"PK half")
    saved = checkpoints.load_last(tmp_path)
    assert saved
    assert saved["epoch"] == 1
    checkpoints.remove_unfinished(tmp_path)
    checkpoints.save(tmp_path, 2, {"epoch": 2})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-0001.pt", "epoch-0002.pt"]


def test_a_process_killed_while_it_writes_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    code = (
        "import sys, torch; from pathlib import Path; from search.train import checkpoints\n"
        "for epoch in range(1, 1000):\n"
        "    checkpoints.save(Path(sys.argv[1]), epoch, {'epoch': epoch, 'weights': torch.full((5_000_000,), epoch)})"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        process.send_signal(signal.SIGSTOP)  # so that what is seen is what is killed
        if (tmp_path / "epoch-0002.pt").exists() and list(tmp_path.glob(".epoch-*")):
            break
        process.send_signal(signal.SIGCONT)
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert list(tmp_path.glob(".epoch-*")), "it was not writing"
    saved = checkpoints.load_last(tmp_path)
    assert saved
    assert saved["epoch"] >= 2
    assert saved["weights"].eq(saved["epoch"]).all()


def test_after_damaged_checkpoints_new_ones_of_earlier_epochs_are_kept(tmp_path: Path) -> None:
    for epoch in (2, 3):
        checkpoints.save(tmp_path, epoch, {"epoch": epoch}).write_bytes(b"torn")
    assert checkpoints.load_last(tmp_path) is None
    checkpoints.save(tmp_path, 1, {"epoch": 1})
    assert checkpoints.load_last(tmp_path) == {"epoch": 1}


@given(at=st.integers(0, 10_000), byte=st.integers(0, 255), length=st.integers(0, 10_000))
def test_no_bytes_are_loaded_as_another_checkpoint(at: int, byte: int, length: int, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("fuzzed")
    content = {"epoch": 1, "weights": torch.arange(40.0)}
    path = checkpoints.save(folder, 1, content)
    damaged = bytearray(path.read_bytes())
    damaged[at % len(damaged)] = byte
    path.write_bytes(damaged[: max(1, length)])
    loaded = checkpoints.load_last(folder)
    assert loaded is None or (loaded["epoch"] == 1 and loaded["weights"].equal(content["weights"]))


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert checkpoints.load_last(tmp_path / "nowhere") is None


def test_nan_stops_at_once_and_says_where() -> None:
    model = make_model("mlp")
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    (result,) = run(model)
    assert result.diverged == "training loss became nan at iteration 2 in epoch 1"
    assert result.best == {}


def test_nan_after_good_epochs_keeps_the_best_finite_one() -> None:
    model = make_model("mlp")
    results = []
    for result in start(model):
        results.append(dataclasses.replace(result, state={}))
        with torch.no_grad():
            next(model.parameters()).fill_(float("inf"))
    assert [result.diverged is None for result in results] == [True, False]
    assert results[1].best == results[0].best
    assert results[1].best_step == 1


@pytest.mark.parametrize("num_classes", [2, 3, 5])
def test_metrics_are_those_of_scikit_learn(num_classes: int) -> None:
    generator = torch.Generator().manual_seed(num_classes)
    logits_NC = torch.randn(200, num_classes, generator=generator)
    labels_N = torch.randint(num_classes, (200,), generator=generator)
    measured = measure(TASKS[models.CLASSIFICATION], logits_NC, (labels_N,), "val")
    predicted_N, shares_NC = logits_NC.argmax(1).numpy(), logits_NC.softmax(1).double().numpy()
    shares_NC /= shares_NC.sum(1, keepdims=True)
    average = "binary" if num_classes == 2 else "macro"
    assert measured["val_accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(labels_N, predicted_N))
    assert measured["val_f1"] == pytest.approx(sklearn.metrics.f1_score(labels_N, predicted_N, average=average))
    scores = shares_NC[:, 1] if num_classes == 2 else shares_NC
    auc = sklearn.metrics.roc_auc_score(labels_N, scores, multi_class="ovr")
    assert measured["val_roc_auc"] == pytest.approx(auc, abs=1e-5)
    loss = sklearn.metrics.log_loss(labels_N, shares_NC)
    assert measured["val_loss"] == pytest.approx(loss, rel=1e-5)


def test_what_a_model_takes_from_the_texts_counts_in_the_time_of_the_first_report(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = make_model("mlp")
    monkeypatch.setattr(type(model), "start_from", lambda *given: time.sleep(0.5))
    first, *rest = run(model)
    assert first.seconds == first.metrics["epoch_seconds"] >= 0.5
    assert max(result.metrics["epoch_seconds"] for result in rest) < 0.5


def test_training_does_not_import_torchs_compiler() -> None:
    """Which takes each worker a second before its first step."""
    code = (
        "import sys, torch\n"
        "from search.train.config import TrainingConfig\n"
        "from search.train.optimizing import Optimizer\n"
        "layer = torch.nn.Linear(2, 1)\n"
        "optimizer = Optimizer(layer, TrainingConfig())\n"
        "layer(torch.ones(3, 2)).sum().backward()\n"
        "optimizer.step(0.1)\n"
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


class Waits(TorchDispatchMode):
    """Notes the operations that would wait for a card: their result is a number, or has as many rows as data say."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        if name in ("_local_scalar_dense", "nonzero", "_unique2", "masked_select", "equal"):
            self.found.append(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("architecture", ["rnn", "gru", "mlp", "attention", "cnn"])
def test_no_iteration_would_wait_for_a_card(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "usable", lambda tensor: False)
    config = TrainingConfig(batch_size=16, max_grad_norm=1.0, word_dropout=0.1, averaging=0.9)
    model = make_model(architecture)
    targets = tuple(each_N[:48] for each_N in TRAIN.targets)
    log = _EpochLog(SPLITS.task, targets, curve_interval=100, last=3)
    rates = dict.fromkeys(range(1, 4), 0.1)
    with Waits() as waits:
        finish(_train_epoch(model, Optimizer(model, config), TRAIN, torch.arange(48), config, rates, log, None))
    # Whether a batch has padding is asked on processors alone.
    assert waits.found == (["_local_scalar_dense"] * 3 if model.recurrent else [])


def test_products_rounded_to_bfloat16_leave_weights_and_logits_in_float32() -> None:
    exact = make_model("gru", dropout=0.0)
    rounded = copy.deepcopy(exact)
    round_products(rounded)
    tokens_BT, lengths_B = TRAIN.batch(slice(16))
    logits_BC, expected_BC = rounded(tokens_BT, lengths_B), exact(tokens_BT, lengths_B)
    logits_BC.sum().backward()
    assert logits_BC.dtype == torch.float32
    assert {each.grad.dtype for each in rounded.parameters() if each.grad is not None} == {torch.float32}
    assert not torch.equal(logits_BC, expected_BC)
    torch.testing.assert_close(logits_BC, expected_BC, rtol=0.02, atol=0.02)


def test_trials_share_what_is_copied_to_a_card_for_as_long_as_one_uses_it() -> None:
    array, other = np.arange(6.0), np.arange(6.0)
    card = torch.device("meta")
    copies = [on_device(array, card), on_device(array[:], card), on_device(other, card)]
    assert copies[1] is copies[0]
    assert copies[2] is not copies[0]
    assert on_device(array, torch.device("cpu")).data_ptr() == array.ctypes.data
    del copies
    assert not device._resident
