"""Calibrated probabilities: the logits are divided by a temperature (Guo et al. 2017). Predictions stay the same.

Shapes: N examples.
"""

import math
from collections.abc import Iterator

from torch import Tensor

from search.base import schema
from search.train.metrics import METRICS
from search.train.tasks import Targets, Task
from search.train.tasks.observed import reliability

MOST = 20.0  # the highest temperature; the lowest is 1 / MOST


def temperature(task: Task, logits_N: Tensor, targets: Targets) -> float:
    """The temperature with the lowest loss, or 1 if it does not lower the loss.

    Two texts of unknown class are added (Platt 1999): otherwise a few texts, all predicted correctly, would call for
    certainty.
    """
    from scipy.optimize import minimize_scalar

    logits_N, smoothing = logits_N.double(), 2 / (len(logits_N) + 2)

    def loss(log: float) -> float:
        return float(task.loss(logits_N / math.exp(log), targets, smoothing))

    limit = math.log(MOST)
    best = math.exp(minimize_scalar(loss, bounds=(-limit, limit), method="bounded", options={"xatol": 1e-4}).x)
    better = float(task.loss(logits_N / best, targets)) < float(task.loss(logits_N, targets))
    return best if better else 1.0


def calibrate(
    task: Task, val_logits_N: Tensor, val_targets: Targets, test_logits_N: Tensor, test_targets: Targets
) -> dict[str, float]:
    """The temperature chosen on validation and the resulting calibration error on test; empty without classes."""
    if not task.has_classes:
        return {}
    divisor = temperature(task, val_logits_N, val_targets)
    seen = task.observe(test_logits_N / divisor, test_targets, 0.0)
    return {schema.TEMPERATURE: divisor, schema.CALIBRATED_ECE: METRICS["ece"].compute(seen)}


def reliability_rows(task: Task, outputs_N: Tensor, targets: Targets, divisor: float) -> Iterator[list[str]]:
    """Accuracy by confidence, before and after calibration (see `schema.RELIABILITY`)."""
    yield ["calibrated", "temperature", "confidence", "right", "answers"]
    for calibrated, applied in enumerate((1.0, divisor)):
        seen = task.observe(task.logits(task.tempered(outputs_N, applied)), targets, 0.0)
        for confidence, right, number in reliability(seen.outputs_N, seen.labels_N, seen.predicted_N):
            yield [str(calibrated), f"{applied:.6g}", f"{confidence:.6f}", f"{right:.6f}", str(number)]
