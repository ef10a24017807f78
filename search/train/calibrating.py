"""Probabilities that mean what they say: a temperature divides the logits (Guo et al. 2017). What is predicted stays.

Shapes: N examples.
"""

import math
from collections.abc import Iterator

from torch import Tensor

from search.base import record
from search.train.metrics import METRICS
from search.train.tasks import Targets, Task
from search.train.tasks.observed import reliability

MOST = 20.0  # a temperature; the least is its inverse


def temperature(task: Task, logits_N: Tensor, targets: Targets) -> float:
    """At which the loss is least, as if two more texts were of any class (Platt 1999), for a few that are all right
    would ask for certainty; 1 where that makes the loss no less than it is."""
    from scipy.optimize import minimize_scalar

    logits_N, smoothing = logits_N.double(), 2 / (len(logits_N) + 2)

    def loss(log: float) -> float:
        return float(task.loss(logits_N / math.exp(log), targets, smoothing))

    limit = math.log(MOST)
    found = math.exp(minimize_scalar(loss, bounds=(-limit, limit), method="bounded", options={"xatol": 1e-4}).x)
    better = float(task.loss(logits_N / found, targets)) < float(task.loss(logits_N, targets))
    return found if better else 1.0


def calibrate(
    task: Task, val_logits_N: Tensor, val_targets: Targets, test_logits_N: Tensor, test_targets: Targets
) -> dict[str, float]:
    """The temperature by validation, and the calibration error that it leaves on test; nothing without classes."""
    if not task.has_classes:
        return {}
    divisor = temperature(task, val_logits_N, val_targets)
    seen = task.observe(test_logits_N / divisor, test_targets, 0.0)
    return {record.TEMPERATURE: divisor, record.CALIBRATED_ECE: METRICS["ece"].compute(seen)}


def reliability_rows(task: Task, outputs_N: Tensor, targets: Targets, divisor: float) -> Iterator[list[str]]:
    """How often what is said with a confidence is right, before and after calibration (see `record.RELIABILITY`)."""
    yield ["calibrated", "temperature", "confidence", "right", "answers"]
    for calibrated, each in enumerate((1.0, divisor)):
        seen = task.observe(task.logits(task.tempered(outputs_N, each)), targets, 0.0)
        for confidence, right, number in reliability(seen.outputs_N, seen.labels_N, seen.predicted_N):
            yield [str(calibrated), f"{each:.6g}", f"{confidence:.6f}", f"{right:.6f}", str(number)]
