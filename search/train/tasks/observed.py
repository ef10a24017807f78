"""Intermediate results from which metrics of classes are computed, each once per evaluation.

All metrics of predictions follow from three counts per class, and all ranking metrics from one sort of the
probabilities per class; scikit-learn and torchmetrics process all texts again for each metric or class, and importing
torchmetrics takes a second in every worker. The tests compare with both.

Shapes: N texts, C classes, P texts of classes that can be ranked, T thresholds.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

#: Maximum number of probabilities sorted for more than two classes: those of the last texts. So 77 classes are ranked
#: on 27,000 texts, 1,000 on 2,000: more would take a noticeable share of the training time.
MOST_SORTED = 2**21
NUM_BINS = 15  # of confidence, as in Guo et al. 2017


@dataclass(frozen=True)
class Counts:
    """Numbers of texts by class: texts of the class, texts predicted to be, and those that are both."""

    wanted_C: np.ndarray
    predicted_C: np.ndarray
    right_C: np.ndarray

    @classmethod
    def of(cls, labels_N: Tensor, predicted_N: Tensor, num_classes: int) -> "Counts":
        if labels_N.ndim == 2:
            return cls(*(part.sum(0).cpu().numpy() for part in (labels_N, predicted_N, labels_N * predicted_N)))
        each = (labels_N, predicted_N, labels_N[labels_N == predicted_N])
        return cls(*(part.bincount(minlength=num_classes).cpu().numpy() for part in each))

    @property
    def recalls(self) -> np.ndarray:
        """Recall of each class, (C,); NaN for a class without texts."""
        return _share(self.right_C, self.wanted_C)

    @property
    def precisions(self) -> np.ndarray:
        """Precision of each class, (C,); NaN for a class that is never predicted."""
        return _share(self.right_C, self.predicted_C)

    @property
    def f1s(self) -> np.ndarray:
        """F1 of each class, (C,); NaN for a class that neither occurs nor is predicted."""
        return _share(2 * self.right_C, self.wanted_C + self.predicted_C)

    @property
    def balanced_accuracy(self) -> float:
        return float(np.nanmean(self.recalls))

    @property
    def macro_f1(self) -> float:
        return float(np.nanmean(self.f1s))

    @property
    def weighted_f1(self) -> float:
        return float(np.nansum(self.f1s * self.wanted_C) / self.wanted_C.sum())

    @property
    def mcc(self) -> float:
        """Matthews correlation coefficient (Gorodkin 2004), from -1 to 1; 0 if labels or predictions are constant."""
        wanted_C, predicted_C = self.wanted_C.astype(np.float64), self.predicted_C.astype(np.float64)
        num_texts, num_right = wanted_C.sum(), float(self.right_C.sum())
        spreads = [num_texts**2 - (each_C**2).sum() for each_C in (wanted_C, predicted_C)]
        if not all(spreads):
            return 0.0
        return float((num_right * num_texts - wanted_C @ predicted_C) / np.sqrt(spreads[0] * spreads[1]))

    @property
    def f1_scores(self) -> Tensor:
        """(C,): F1 in single precision, as torchmetrics computes it; 0 for a class that does not occur at all."""
        return _f1(self.right_C, self.wanted_C, self.predicted_C)

    @property
    def mean_f1(self) -> float:
        """The mean of `f1_scores` over all classes."""
        return float((self.f1_scores / float(len(self.wanted_C))).sum())

    @property
    def occurring_f1(self) -> float:
        """The mean of `f1_scores` over the classes that occur or are predicted."""
        occurs_C = torch.from_numpy(self.wanted_C + self.predicted_C > 0).float()
        return float((occurs_C * self.f1_scores / occurs_C.sum()).sum()) if occurs_C.any() else 0.0

    @property
    def micro_f1(self) -> float:
        return float(_f1(self.right_C.sum(), self.wanted_C.sum(), self.predicted_C.sum()))


def _f1(right: Any, wanted: Any, predicted: Any) -> Tensor:
    right, missed, wrong = (torch.as_tensor(count) for count in (right, wanted - right, predicted - right))
    whole = 2.0 * right + 1.0 * missed + wrong
    return torch.where(whole != 0, 2.0 * right / whole, 0.0)


def _share(part_C: np.ndarray, whole_C: np.ndarray) -> np.ndarray:
    return np.divide(part_C, whole_C, out=np.full(len(part_C), np.nan), where=whole_C > 0)


def roc_auc(outputs_N: Tensor, labels_N: Tensor) -> float:
    """Area under the ROC curve of two classes, in single precision. outputs_N: the probability of class 1."""
    hits_T, alarms_T = _curve(outputs_N, labels_N)
    start = hits_T.new_zeros(1)
    hits_T, alarms_T = torch.cat([start, hits_T]), torch.cat([start, alarms_T])
    return float(torch.trapz(hits_T / hits_T[-1], alarms_T / alarms_T[-1]))


def average_precision(outputs_N: Tensor, labels_N: Tensor) -> float:
    """Average precision of two classes, in single precision. outputs_N: the probability of class 1."""
    hits_T, alarms_T = _curve(outputs_N, labels_N)
    one = torch.ones(1, device=outputs_N.device)
    precision_T = torch.cat([(hits_T / (hits_T + alarms_T)).flip(0), one])
    recall_T = torch.cat([(hits_T / hits_T[-1]).flip(0), 0 * one])
    return float(-torch.sum((recall_T[1:] - recall_T[:-1]) * precision_T[:-1]))


def _curve(outputs_N: Tensor, labels_N: Tensor) -> tuple[Tensor, Tensor]:
    """True and false positives at each threshold T, the highest first."""
    order_N = torch.argsort(outputs_N, descending=True)
    sorted_N = outputs_N[order_N]
    last_T = torch.cat([torch.where(sorted_N[1:] != sorted_N[:-1])[0], order_N.new_tensor([len(order_N) - 1])])
    hits_T = labels_N[order_N].long().cumsum(0)[last_T]
    return hits_T, 1 + last_T - hits_T


class Ranked(NamedTuple):
    """One-vs-rest ranking metrics, averaged over the classes that have both positive and negative texts."""

    roc_auc: float
    average_precision: float


def rank(labels_N: np.ndarray, outputs_NC: np.ndarray) -> Ranked:
    """Area under the ROC curve, ties counted half, and average precision, the mean precision at each text of the class.

    Classes with no or only positive texts are left out. If no class is left, the values are 0.5 and 0.
    """
    most = max(1, MOST_SORTED // outputs_NC.shape[1])
    labels_N, outputs_NC = labels_N[-most:], outputs_NC[-most:]
    num_texts, num_classes = outputs_NC.shape
    wanted_C = np.bincount(labels_N, minlength=num_classes)
    ranked = np.flatnonzero((wanted_C > 0) & (wanted_C < num_texts))
    if not len(ranked):
        return Ranked(0.5, 0.0)
    sorted_CN = np.sort(np.ascontiguousarray(outputs_NC.T), axis=1)
    aucs, precisions = [], []
    order_N = np.argsort(labels_N, kind="stable")
    ends_C = np.cumsum(wanted_C)
    for label in ranked:
        scores_P = np.sort(outputs_NC[order_N[ends_C[label] - wanted_C[label] : ends_C[label]], label])
        num = len(scores_P)
        less_P, upto_P = (np.searchsorted(sorted_CN[label], scores_P, side=side) for side in ("left", "right"))
        class_less_P = np.searchsorted(scores_P, scores_P, side="left")
        better = (less_P + upto_P).sum() / 2 - num**2 / 2  # the texts of the class among themselves, ties half
        aucs.append(better / (num * (num_texts - num)))
        precisions.append(((num - class_less_P) / (num_texts - less_P)).mean())
    return Ranked(float(np.mean(aucs)), float(np.mean(precisions)))


def calibration_error(outputs_NC: Tensor, labels_N: Tensor, predicted_N: Tensor) -> float:
    """Expected calibration error: the difference of confidence, the probability of the prediction, and accuracy, as the
    mean over bins of equal width, weighted by their texts (Naeini et al. 2015), from 0 to 1.

    If a text can have several classes, each pair of a text and a class counts as one.
    """
    confidence_N, right_N, bins_N = _binned(outputs_NC, labels_N, predicted_N)
    apart_N = confidence_N - right_N
    return float(bins_N.bincount(apart_N, minlength=NUM_BINS).abs().sum() / len(bins_N))


def reliability(outputs_NC: Tensor, labels_N: Tensor, predicted_N: Tensor) -> list[tuple[float, float, int]]:
    """For each bin that has texts: mean confidence, accuracy and number of texts."""
    confidence_N, right_N, bins_N = _binned(outputs_NC, labels_N, predicted_N)
    sums = (bins_N.bincount(each_N, minlength=NUM_BINS).tolist() for each_N in (confidence_N, right_N))
    numbers = bins_N.bincount(minlength=NUM_BINS).tolist()
    return [(said / num, right / num, num) for said, right, num in zip(*sums, numbers, strict=True) if num]


def _binned(outputs_NC: Tensor, labels_N: Tensor, predicted_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Confidence, correctness and bin of each prediction."""
    if labels_N.ndim == 2:
        confidence_N = outputs_NC.where(predicted_N == 1, 1 - outputs_NC).flatten()
        labels_N, predicted_N = labels_N.flatten(), predicted_N.flatten()
    else:
        confidence_N = outputs_NC.gather(1, predicted_N[:, None])[:, 0]
    confidence_N = confidence_N.double().clamp(0, 1)
    bins_N = (confidence_N * NUM_BINS).long().clamp(max=NUM_BINS - 1)
    return confidence_N, (labels_N == predicted_N).double(), bins_N
