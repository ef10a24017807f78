"""The registry of metrics: every entry is whole, its value is that of a reference, and a new one is known everywhere.

Shapes: N examples, C classes, Q quadrants, Y rows, X columns.
"""

import dataclasses
import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import sklearn.metrics
import torch
from torchmetrics.functional import classification as torchmetrics
from torchmetrics.functional.classification import multiclass_calibration_error

from analysis.base import runs, table
from analysis.boards import comparison, leaderboard
from analysis.figures.style import label
from data.base.errors import UserError
from data.corpora.captions import EMPTY
from search.spec import read as specs
from search.spec.spec import Spec
from search.train.metrics import METRICS, Metric, check_rank, measured_in, measures, split_metric
from search.train.tasks import TASKS, observed
from search.train.tasks.base import Observation


def classified(num_classes: int) -> Observation:
    generator = torch.Generator().manual_seed(num_classes)
    logits_NC = torch.randn(200, num_classes, generator=generator)
    labels_N = torch.randint(num_classes, (200,), generator=generator)
    task = TASKS["classification"]
    return task.observe(logits_NC, (labels_N,), float(task.loss(logits_NC, (labels_N,))))


def with_several() -> Observation:
    generator = torch.Generator().manual_seed(1)
    logits_NC = torch.randn(200, 4, generator=generator)
    labels_NC = (torch.rand(200, 4, generator=generator) < torch.tensor([0.6, 0.4, 0.2, 0.05])).to(torch.uint8)
    task = TASKS["multi_label"]
    return task.observe(logits_NC, (labels_NC,), float(task.loss(logits_NC, (labels_NC,))))


def drawn() -> Observation:
    generator = torch.Generator().manual_seed(0)
    logits_NYX = 3 * torch.randn(20, 16, 16, generator=generator)
    targets = torch.rand(20, 16, 16, generator=generator), torch.randint(EMPTY + 1, (20, 4), generator=generator)
    task = TASKS["text_to_image"]
    return task.observe(logits_NYX, targets, float(task.loss(logits_NYX, targets)))


SEEN = {
    "two classes": ("classification", classified(2)),
    "five classes": ("classification", classified(5)),
    "several classes a text": ("multi_label", with_several()),
    "images": ("text_to_image", drawn()),
}


def _f1(seen: Observation) -> float:
    average = "binary" if seen.num_classes == 2 and seen.labels_N.ndim == 1 else "macro"
    return float(sklearn.metrics.f1_score(seen.labels_N, seen.predicted_N, average=average))


def _auc(seen: Observation) -> float:
    shares_NC = seen.outputs_N.double().numpy()
    shares_NC /= shares_NC.sum(1, keepdims=True)
    scores = shares_NC[:, 1] if seen.num_classes == 2 else shares_NC
    return float(sklearn.metrics.roc_auc_score(seen.labels_N, scores, multi_class="ovr"))


def _loss(seen: Observation) -> float:
    outputs_N, targets_N = seen.outputs_N.double().numpy(), seen.targets_N.double().numpy()
    if targets_N.ndim == 1:
        return float(-np.log(outputs_N[np.arange(len(outputs_N)), targets_N.astype(int)]).mean())
    return float(-(targets_N * np.log(outputs_N) + (1 - targets_N) * np.log(1 - outputs_N)).mean())


def _one_hot(seen: Observation) -> np.ndarray:
    return np.eye(seen.num_classes)[seen.labels_N.numpy()]


def _average_precision(seen: Observation) -> float:
    if seen.num_classes == 2:
        return float(sklearn.metrics.average_precision_score(seen.labels_N, seen.outputs_N[:, 1]))
    return float(sklearn.metrics.average_precision_score(_one_hot(seen), seen.outputs_N.numpy(), average="macro"))


def _f1_of(average: str) -> Callable[[Observation], float]:
    return lambda seen: float(sklearn.metrics.f1_score(seen.labels_N, seen.predicted_N, average=average))


def _ece(seen: Observation) -> float:
    """Of texts with several classes, of each class whether a text has it."""
    outputs_NC, labels_N, num_classes = seen.outputs_N, seen.labels_N, seen.num_classes
    if labels_N.ndim == 2:
        said_N = outputs_NC.flatten()
        outputs_NC, labels_N, num_classes = torch.stack([1 - said_N, said_N], 1), labels_N.flatten(), 2
    return float(multiclass_calibration_error(outputs_NC, labels_N, num_classes, n_bins=15))


REFERENCES: dict[str, Callable[[Observation], float]] = {
    "loss": _loss,
    "accuracy": lambda seen: float(sklearn.metrics.accuracy_score(seen.labels_N, seen.predicted_N)),
    "f1": _f1,
    "micro_f1": lambda seen: float(sklearn.metrics.f1_score(seen.labels_N, seen.predicted_N, average="micro")),
    "roc_auc": _auc,
    "balanced_accuracy": lambda seen: float(sklearn.metrics.balanced_accuracy_score(seen.labels_N, seen.predicted_N)),
    "macro_f1": _f1_of("macro"),
    "weighted_f1": _f1_of("weighted"),
    "mcc": lambda seen: float(sklearn.metrics.matthews_corrcoef(seen.labels_N, seen.predicted_N)),
    "average_precision": _average_precision,
    "log_loss": _loss,
    "ece": _ece,
    "pixel_error": lambda seen: float(np.sqrt(((seen.outputs_N - seen.targets_N).numpy() ** 2).mean())),
}


@pytest.mark.parametrize("what", SEEN)
@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_that_of_a_reference(name: str, what: str) -> None:
    task, seen = SEEN[what]
    if METRICS[name] in measured_in(task):
        assert METRICS[name].compute(seen) == pytest.approx(REFERENCES[name](seen), abs=1e-5)


def seen(labels: list[int], probabilities: list[list[float]]) -> Observation:
    labels_N, logits_NC = torch.tensor(labels), torch.tensor(probabilities).log()
    task = TASKS["classification"]
    return task.observe(logits_NC, (labels_N,), float(task.loss(logits_NC, (labels_N,))))


def shares(*positive: float) -> list[list[float]]:
    return [[1 - each, each] for each in positive]


#: Two classes: 1 of 2 positive texts is found, and 1 of 3 negative ones is taken for one. The positive ones rank 1st
#: and 4th of 5.
TWO = seen([1, 1, 0, 0, 0], shares(0.9, 0.3, 0.62, 0.41, 0.2))
#: Three classes; the confusions are 0 -> 0, 0, 1; 1 -> 1; 2 -> 0, 2.
THREE = seen(
    [0, 0, 0, 1, 2, 2],
    [
        [0.6, 0.3, 0.1],
        [0.5, 0.2, 0.3],
        [0.3, 0.6, 0.1],
        [0.1, 0.7, 0.2],
        [0.5, 0.1, 0.4],
        [0.1, 0.1, 0.8],
    ],
)
#: Nothing is of the third class, but one text is said to be.
ABSENT = seen([0, 0, 1, 1], [[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.3, 0.2, 0.5]])
ALONE = seen([0, 0], shares(0.2, 0.7))  # all texts are of one class of two


@pytest.mark.parametrize(
    ("these", "expected"),
    [
        (
            TWO,
            {
                "accuracy": 3 / 5,
                "balanced_accuracy": (1 / 2 + 2 / 3) / 2,
                "f1": 1 / 2,
                "macro_f1": (1 / 2 + 2 / 3) / 2,
                "weighted_f1": (2 * 1 / 2 + 3 * 2 / 3) / 5,
                "mcc": (1 * 2 - 1 * 1) / (2 * 2 * 3 * 3) ** 0.5,
                "roc_auc": 4 / 6,
                "average_precision": (1 / 1 + 2 / 4) / 2,
                "log_loss": -np.log([0.9, 0.3, 0.38, 0.59, 0.8]).mean(),
                "ece": (0.1 + 0.7 + 0.62 + 0.41 + 0.2) / 5,  # no two texts are in one bin
            },
        ),
        (
            THREE,
            {
                "accuracy": 4 / 6,
                "balanced_accuracy": (2 / 3 + 1 + 1 / 2) / 3,
                "f1": (2 / 3 + 2 / 3 + 2 / 3) / 3,
                "macro_f1": 2 / 3,
                "weighted_f1": 2 / 3,
                "mcc": (4 * 6 - (3 * 3 + 1 * 2 + 2 * 1)) / ((36 - 14) * (36 - 14)) ** 0.5,
                "roc_auc": (7.5 / 9 + 5 / 5 + 8 / 8) / 3,
                "average_precision": ((1 + 2 / 3 + 3 / 4) / 3 + 1 + 1) / 3,
            },
        ),
        (
            ABSENT,
            {
                "accuracy": 3 / 4,
                "balanced_accuracy": (1 + 1 / 2) / 2,
                "macro_f1": (1 + 2 / 3 + 0) / 3,  # what is said to be of the third class is wrong
                "weighted_f1": (2 * 1 + 2 * 2 / 3) / 4,
                "roc_auc": (1 + 3 / 4 - 1 / 8) / 2,
                "average_precision": (1 + (1 / 1 + 2 / 4) / 2) / 2,
            },
        ),
        (
            ALONE,
            {
                "accuracy": 1 / 2,
                "balanced_accuracy": 1 / 2,
                "f1": 0,
                "macro_f1": (2 / 3 + 0) / 2,
                "weighted_f1": 2 / 3,
                "mcc": 0,
                "roc_auc": 0.5,
                "average_precision": 0,
            },
        ),
    ],
    ids=["two", "three", "a class without texts", "one class"],
)
def test_metrics_by_hand(these: Observation, expected: dict[str, float]) -> None:
    found = {metric.name: metric.compute(these) for metric in measured_in("classification")}
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert np.isfinite(list(found.values())).all()


def test_equal_probabilities_count_half() -> None:
    same = seen([0, 1, 2, 2], [[0.4, 0.3, 0.3]] * 4)
    assert METRICS["roc_auc"].compute(same) == pytest.approx(0.5)
    assert METRICS["average_precision"].compute(same) == pytest.approx((1 / 4 + 1 / 4 + 2 / 4) / 3)


def test_many_classes_are_ranked_in_the_last_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observed, "MOST_SORTED", 5 * 50)
    whole, last = classified(5), classified(5)
    last = dataclasses.replace(last, labels_N=last.labels_N[-50:], outputs_N=last.outputs_N[-50:])
    for name in ("roc_auc", "average_precision"):
        assert METRICS[name].compute(whole) == METRICS[name].compute(last)


def test_the_calibration_error_ranks_nothing() -> None:
    assert check_rank("val_macro_f1") == "val_macro_f1"
    with pytest.raises(
        UserError, match=r"not ranked by val_ece: ECE says whether .* choose from val_loss, val_accuracy"
    ):
        check_rank("val_ece")
    with pytest.raises(UserError, match="not ranked by val_ece"):
        leaderboard.check_metric("val_ece")
    with pytest.raises(UserError, match="val_ece cannot rank trials"):
        specs.validate({"metric": "val_ece", "architectures": ["mlp"]})


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_says_what_is_better(name: str) -> None:
    """Its worst value is worse than any that a poor model has, and a right model is better than a random one."""
    metric = METRICS[name]
    assert metric.name == name
    sign = 1 if metric.maximize else -1
    for task, seen in SEEN.values():
        if metric not in measured_in(task):
            continue
        outputs_N = torch.eye(seen.num_classes)[seen.labels_N] if seen.targets_N.ndim == 1 else seen.targets_N
        right = dataclasses.replace(seen, loss=0.0, predicted_N=seen.labels_N, outputs_N=outputs_N)
        assert sign * metric.worst < sign * metric.compute(seen) < sign * metric.compute(right)
        assert not metric.percent or 0 <= metric.compute(seen) <= 1
    assert table.heading(f"test_{name}").startswith("test ")
    assert label(f"val_{name}").startswith("validation ")
    assert table.cell(f"train_{name}_mean", 0.123456) == "0.1235"
    assert split_metric(f"val_{name}") == ("val", metric)
    assert set(metric.tasks or ()) <= set(TASKS)


def test_headings_and_labels() -> None:
    assert [table.heading(f"test_{name}") for name in ("roc_auc", "f1_mean")] == ["test ROC AUC", "test F1 mean"]
    assert label("val_f1") == "validation F1"
    assert label("test_pixel_error") == "test pixel error (RMS of ink)"
    assert measures("val")[:2] == ["val_loss", "val_accuracy"]
    assert [metric.name for metric in measured_in("text_to_image")] == ["loss", "accuracy", "f1", "pixel_error"]


@pytest.fixture
def cost() -> Iterator[Metric]:
    """A metric of a user's, from labels and probabilities as arrays."""

    def compute(seen: Observation) -> float:
        labels_N, probabilities_NC = seen.labels_N.cpu().numpy(), seen.outputs_N.cpu().numpy()
        return float((1 - probabilities_NC[np.arange(len(labels_N)), labels_N]).mean())

    made = Metric("cost", maximize=False, worst=1.0, compute=compute, title="Cost", tasks=("classification",))
    METRICS["cost"] = made
    yield made
    del METRICS["cost"]


def test_one_entry_is_all_that_a_metric_needs(cost: Metric) -> None:
    assert cost in measured_in("classification")
    assert cost not in measured_in("text_to_image")
    assert Spec(name="a", architectures=["mlp"], metric="val_cost").metric == "val_cost"
    trials = runs.tidy(
        {"trial": f"mlp-{number}", "architecture": "mlp", "number": number, "outcome": "complete"}
        | {f"{split}_cost": value for split in ("val", "test")}
        for number, value in enumerate([0.4, 0.2])
    )
    assert runs.hyperparameters(trials) == []
    assert leaderboard.leaderboard(trials, "val_cost")["trial"].tolist() == ["mlp-1", "mlp-0"]
    assert leaderboard.tested(trials, "val_cost") == ["test_cost"]
    assert comparison.read_values("test_cost") == ["test_cost"]
    assert (table.heading("test_cost"), table.cell("test_cost", 0.25)) == ("test Cost", "0.2500")
    assert label("val_cost") == "validation Cost"


@pytest.mark.parametrize("num_texts", [2, 7, 500, 20_000])
@pytest.mark.parametrize("num_levels", [3, 10_000_000])  # of probabilities: with many ties, and with few
def test_metrics_of_two_classes_are_those_of_torchmetrics_to_the_last_digit(num_texts: int, num_levels: int) -> None:
    generator = torch.Generator().manual_seed(num_texts)
    for _ in range(5):
        labels_N = torch.randint(2, (num_texts,), generator=generator)
        labels_N[:2] = torch.tensor([0, 1])
        outputs_N = torch.randint(num_levels + 1, (num_texts,), generator=generator) / num_levels
        predicted_N = (outputs_N > 0.5).long()
        counts = observed.Counts.of(labels_N, predicted_N, 2)
        assert float(counts.f1_scores[1]) == float(torchmetrics.binary_f1_score(predicted_N, labels_N))
        assert observed.roc_auc(outputs_N, labels_N) == float(torchmetrics.binary_auroc(outputs_N, labels_N))
        assert observed.average_precision(outputs_N, labels_N) == float(
            torchmetrics.binary_average_precision(outputs_N, labels_N)
        )


@pytest.mark.parametrize("num_classes", [3, 7, 200])  # the last with classes that do not occur
@pytest.mark.parametrize("num_texts", [1, 300])
def test_f1_of_more_classes_is_that_of_torchmetrics_to_the_last_digit(num_texts: int, num_classes: int) -> None:
    generator = torch.Generator().manual_seed(num_texts)
    for _ in range(5):
        both = torch.randint(num_classes, (2, num_texts), generator=generator)
        expected = torchmetrics.multiclass_f1_score(*both, num_classes, average="macro")
        assert observed.Counts.of(both[1], both[0], num_classes).occurring_f1 == float(expected)
        several = torch.rand(2, num_texts, num_classes, generator=generator) < torch.rand(num_classes)
        counts = observed.Counts.of(several[1].to(torch.uint8), several[0].to(torch.uint8), num_classes)
        macro, micro = (
            float(torchmetrics.multilabel_f1_score(*several.long(), num_classes, average=each))
            for each in ("macro", "micro")
        )
        assert (counts.mean_f1, counts.micro_f1) == (macro, micro)


def test_a_worker_imports_neither_torchmetrics_nor_the_tables_and_figures() -> None:
    heavy = {"torchmetrics", "matplotlib", "mlflow", "optuna", "sklearn"}
    code = f"import sys, search.tune.worker; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n", done.stderr


def test_the_registry_imports_nothing_heavy() -> None:
    code = "import sys, search.train.metrics; print({'torch', 'torchmetrics', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n", done.stderr
