"""The decision threshold of a binary classifier, chosen on validation.

Trials are ranked by their metrics at the usual threshold of one half; the metric at the chosen threshold is reported
beside these.

Shapes: N examples, P distinct probabilities.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from search.base import schema
from search.train.metrics import Metric, split_metric
from search.train.tasks import Targets, Task
from search.train.tasks.base import Observation

HALF = 0.5
MOST_TRIED = 100  # thresholds; each takes 0.2 ms


def threshold(
    task: Task, metric: str, val_logits_N: Tensor, val_targets: Targets, test_logits_N: Tensor, test_targets: Targets
) -> dict[str, float]:
    """The threshold for uncalibrated probabilities, and the metric at it on validation and test. Empty unless there
    are two classes, one per example, and the metric depends on the threshold.

    It is one half unless the thresholds chosen on each half of the validation texts are better on the other half: on
    few texts the best threshold overfits.
    """
    ranking = split_metric(metric)[1]
    if not (task.has_classes and task.exclusive and ranking.of_answers) or val_logits_N.shape[1] != 2:
        return {}
    val, test = task.observe(val_logits_N, val_targets, 0.0), task.observe(test_logits_N, test_targets, 0.0)
    best = choose(ranking, val) if _holds(ranking, val) else HALF
    return {
        schema.THRESHOLD: best,
        **{
            schema.WITH_THRESHOLD.format(split): _at(ranking, seen, best)
            for split, seen in (("val", val), ("test", test))
        },
    }


def choose(metric: Metric, seen: Observation) -> float:
    """The threshold with the best metric: one half unless another is better; among equals the nearest to one half.

    The optimum lies between two neighbouring probabilities whose texts differ in their share of positives. If there are
    very many such places, evenly spaced ones are tried.
    """
    scores_P, places_N, texts_P = seen.outputs_N[:, 1].double().cpu().unique(return_inverse=True, return_counts=True)
    shares_P = places_N.bincount(seen.labels_N.cpu().double(), minlength=len(scores_P)) / texts_P
    turns = torch.nonzero(shares_P[1:] != shares_P[:-1])[:, 0]
    if len(turns) > MOST_TRIED:
        turns = turns[torch.linspace(0, len(turns) - 1, MOST_TRIED).round().long()]
    between = ((scores_P[turns] + scores_P[turns + 1]) / 2).tolist()
    sign = 1 if metric.maximize else -1
    return max([HALF, *between], key=lambda each: (sign * _at(metric, seen, each), -abs(each - HALF)))


def _holds(metric: Metric, seen: Observation) -> bool:
    """Whether, in two-fold cross-validation, the chosen threshold beats one half on both folds."""
    sign = 1 if metric.maximize else -1
    for first in (0, 1):
        one, other = (_every_other(seen, start) for start in (first, 1 - first))
        if sign * _at(metric, other, choose(metric, one)) <= sign * _at(metric, other, HALF):
            return False
    return True


def _every_other(seen: Observation, start: int) -> Observation:
    parts: dict[str, Any] = {name: each[start::2] for name, each in vars(seen).items() if isinstance(each, Tensor)}
    return replace(seen, **parts)


def _at(metric: Metric, seen: Observation, threshold: float) -> float:
    return metric.compute(replace(seen, predicted_N=(seen.outputs_N[:, 1] > threshold).long()))
