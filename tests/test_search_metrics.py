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

from analysis.base import runs, table
from analysis.boards import comparison, leaderboard
from analysis.figures.style import label
from data.corpora.captions import EMPTY
from search.spec.spec import Spec
from search.train.metrics import METRICS, Metric, measured_in, measures, split_metric
from search.train.tasks import TASKS
from search.train.tasks.base import Observation


def classified(num_classes: int) -> Observation:
    generator = torch.Generator().manual_seed(num_classes)
    logits_NC = torch.randn(200, num_classes, generator=generator)
    labels_N = torch.randint(num_classes, (200,), generator=generator)
    task = TASKS["classification"]
    return task.observe(logits_NC, (labels_N,), float(task.loss(logits_NC, (labels_N,))))


def drawn() -> Observation:
    generator = torch.Generator().manual_seed(0)
    logits_NYX = 3 * torch.randn(20, 16, 16, generator=generator)
    targets = torch.rand(20, 16, 16, generator=generator), torch.randint(EMPTY + 1, (20, 4), generator=generator)
    task = TASKS["text_to_image"]
    return task.observe(logits_NYX, targets, float(task.loss(logits_NYX, targets)))


SEEN = {
    "two classes": ("classification", classified(2)),
    "five classes": ("classification", classified(5)),
    "images": ("text_to_image", drawn()),
}


def _f1(seen: Observation) -> float:
    average = "binary" if seen.num_classes == 2 else "macro"
    return float(sklearn.metrics.f1_score(seen.labels_N, seen.predicted_N, average=average))


def _auc(seen: Observation) -> float:
    shares_NC = seen.outputs_N.double().numpy()
    shares_NC /= shares_NC.sum(1, keepdims=True)
    scores = shares_NC[:, 1] if seen.num_classes == 2 else shares_NC
    return float(sklearn.metrics.roc_auc_score(seen.labels_N, scores, multi_class="ovr"))


def _loss(seen: Observation) -> float:
    outputs_N, targets_N = seen.outputs_N.double().numpy(), seen.targets_N.double().numpy()
    if outputs_N.ndim == 2:
        return float(-np.log(outputs_N[np.arange(len(outputs_N)), targets_N.astype(int)]).mean())
    return float(-(targets_N * np.log(outputs_N) + (1 - targets_N) * np.log(1 - outputs_N)).mean())


REFERENCES: dict[str, Callable[[Observation], float]] = {
    "loss": _loss,
    "accuracy": lambda seen: float(sklearn.metrics.accuracy_score(seen.labels_N, seen.predicted_N)),
    "f1": _f1,
    "roc_auc": _auc,
    "pixel_error": lambda seen: float(np.sqrt(((seen.outputs_N - seen.targets_N).numpy() ** 2).mean())),
}


@pytest.mark.parametrize("what", SEEN)
@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_that_of_a_reference(name: str, what: str) -> None:
    task, seen = SEEN[what]
    if METRICS[name] in measured_in(task):
        assert METRICS[name].compute(seen) == pytest.approx(REFERENCES[name](seen), abs=1e-5)


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
    assert leaderboard.tested(trials) == ["test_cost"]
    assert comparison.read_values("test_cost") == ["test_cost"]
    assert (table.heading("test_cost"), table.cell("test_cost", 0.25)) == ("test Cost", "0.2500")
    assert label("val_cost") == "validation Cost"


def test_the_registry_imports_nothing_heavy() -> None:
    code = "import sys, search.train.metrics; print({'torch', 'torchmetrics', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n", done.stderr
