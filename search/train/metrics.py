"""The registry of metrics. To add one, enter it here.

Imports nothing heavy, so that a command can answer `--help` at once; look entries up when they are needed, because a
search may register further metrics.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data.base.errors import UserError, choose
from data.base.plugins import Plugin
from search.base.schema import SPLITS

if TYPE_CHECKING:
    from search.train.tasks.base import Observation


@dataclass(frozen=True)
class Metric:
    """A measure of one epoch on one split.

    maximize: the direction in which it is better.
    worst: the finite value recorded for a diverged trial, so that samplers avoid its region.
    compute: its value.
    label: of axes, with the unit.
    title, short: column headers in tables and in the terminal; by default the name.
    percent: it is a share, from 0 to 1.
    tasks: those that measure it, by name; None for all.
    column: whether it has a column in every table; if not, only where trials are ranked by it. Runs and CSV files have
    all metrics.
    no_rank: the reason why it cannot rank trials; empty if it can.
    of_answers: whether it is computed from predicted classes, and so depends on the decision threshold.
    """

    name: str
    maximize: bool
    worst: float
    compute: Callable[["Observation"], float]
    label: str = ""
    title: str = ""
    short: str = ""
    percent: bool = False
    tasks: tuple[str, ...] | None = None
    column: bool = True
    no_rank: str = ""
    of_answers: bool = False


def _accuracy(seen: "Observation") -> float:
    """For texts with several classes: the share of texts with exactly the right set."""
    right_N = seen.predicted_N == seen.labels_N
    return float((right_N.all(1) if right_N.ndim == 2 else right_N).float().mean())


def _f1(seen: "Observation") -> float:
    """For two classes, F1 of the second, positive one; for more, or several per text, the macro average."""
    if seen.labels_N.ndim == 2:
        return seen.counts.mean_f1
    return float(seen.counts.f1_scores[1]) if seen.num_classes == 2 else seen.counts.occurring_f1


def _roc_auc(seen: "Observation") -> float:
    """For two classes, that of the second, positive one; for more, the macro average, one against the rest."""
    from search.train.tasks.observed import roc_auc

    if seen.num_classes == 2 and len(seen.labels_N.unique()) == 2:
        return roc_auc(seen.outputs_N[:, 1], seen.labels_N)
    return seen.ranked.roc_auc


def _average_precision(seen: "Observation") -> float:
    """For two classes, that of the second, positive one; for more, the macro average, one against the rest."""
    from search.train.tasks.observed import average_precision

    if seen.num_classes == 2 and len(seen.labels_N.unique()) == 2:
        return average_precision(seen.outputs_N[:, 1], seen.labels_N)
    return seen.ranked.average_precision


def _ece(seen: "Observation") -> float:
    from search.train.tasks.observed import calibration_error

    return calibration_error(seen.outputs_N, seen.labels_N, seen.predicted_N)


def _pixel_error(seen: "Observation") -> float:
    return float((seen.outputs_N - seen.targets_N).square().mean().sqrt())


def _more(name: str, compute: Callable[["Observation"], float], **settings: Any) -> Metric:
    """A metric of classes that is recorded in runs and CSV files, but has no column in the leaderboard."""
    common = {"maximize": True, "worst": 0.0, "percent": True, "tasks": ("classification",), "column": False}
    return Metric(name, compute=compute, **{**common, **settings})


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("loss", maximize=False, worst=1e6, compute=lambda seen: seen.loss, label="loss (nats)"),
        Metric(
            "accuracy",
            maximize=True,
            worst=0.0,
            compute=_accuracy,
            label="accuracy (share that is right)",
            short="acc",
            percent=True,
            of_answers=True,
        ),
        Metric("f1", maximize=True, worst=0.0, compute=_f1, title="F1", percent=True, of_answers=True),
        Metric(
            "micro_f1",
            maximize=True,
            worst=0.0,
            compute=lambda seen: seen.counts.micro_f1,
            title="micro F1",
            percent=True,
            tasks=("multi_label",),
        ),
        Metric(
            "roc_auc",
            maximize=True,
            worst=0.0,
            compute=_roc_auc,
            title="ROC AUC",
            short="AUC",
            percent=True,
            tasks=("classification",),
        ),
        Metric(
            "pixel_error",
            maximize=False,
            worst=1.0,
            compute=_pixel_error,
            label="pixel error (RMS of ink)",
            tasks=("text_to_image",),
        ),
        # Averages leave out classes without texts in the split; those of F1 only if the class is not predicted either.
        _more(
            "balanced_accuracy",
            lambda seen: seen.counts.balanced_accuracy,
            label="balanced accuracy (mean recall)",
            of_answers=True,
        ),
        _more(
            "macro_f1",
            lambda seen: seen.counts.macro_f1,
            title="macro F1",
            tasks=("classification", "multi_label"),
            of_answers=True,
        ),
        _more("weighted_f1", lambda seen: seen.counts.weighted_f1, title="weighted F1", of_answers=True),
        _more("mcc", lambda seen: seen.counts.mcc, title="MCC", worst=-1.0, percent=False, of_answers=True),
        _more("average_precision", _average_precision),
        # Equal to the measured loss, which is neither weighted nor smoothed, unlike the minimised one.
        _more("log_loss", lambda seen: seen.loss, label="log loss (nats)", maximize=False, worst=1e6, percent=False),
        _more(
            "ece",
            _ece,
            label="expected calibration error",
            title="ECE",
            tasks=("classification", "multi_label"),
            maximize=False,
            worst=1.0,
            no_rank="ECE says whether probabilities are honest, not whether texts are told apart: a model that says "
            "the same of all texts has the best",
        ),
    )
}


OURS = tuple(METRICS)


def register(plugin: Plugin) -> None:
    """Register a metric from outside: a function of two arrays, labels (N, integers) and probabilities (N, C), with the
    attributes `maximize`, `worst` and, optionally, `label` (see `Metric`). Raises UserError for anything else."""
    name, function, where = plugin.name, plugin.load(), plugin.reference
    if name in OURS:
        raise UserError(f"{where}: {name!r} is a built-in one: give yours another name")
    if not callable(function):
        raise UserError(f"{where} should be a function of labels and probabilities")
    maximize, worst = getattr(function, "maximize", None), getattr(function, "worst", None)
    if not isinstance(maximize, bool):
        raise UserError(f"{where} should say whether more of it is better: {name}.maximize = True or False")
    if isinstance(worst, bool) or not isinstance(worst, int | float) or not math.isfinite(worst):
        raise UserError(f"{where} should say what a trial that diverges is given: {name}.worst = a number")

    def compute(seen: "Observation") -> float:
        return float(function(seen.labels_N.cpu().numpy(), seen.outputs_N.cpu().numpy()))

    label = str(getattr(function, "label", ""))
    METRICS[name] = Metric(name, maximize, float(worst), compute, label, tasks=("classification",))


def declaration(names: list[str]) -> str:
    """The declarations of these metrics that the analysis needs, as a search keeps them with its runs."""
    declared = ((METRICS[name].maximize, METRICS[name].worst, METRICS[name].label) for name in names)
    return json.dumps(dict(zip(names, declared, strict=True)))


def declare(declaration: str, *, again: bool = True) -> None:
    """Register the metrics of a search that is only read, without executing their code.

    again: replace declarations of the same name by another search.
    """
    for name, (maximize, worst, label) in json.loads(declaration).items():
        if name not in METRICS or (again and METRICS[name].compute is _not_computed):
            METRICS[name] = Metric(name, maximize, worst, _not_computed, label, tasks=("classification",))


def _not_computed(seen: Any) -> float:
    raise AssertionError("a metric that was only read is computed nowhere")


def measured_in(task: str) -> list[Metric]:
    """The metrics computed in the task of that name; not those that were only declared."""
    computed = [metric for metric in METRICS.values() if metric.compute is not _not_computed]
    return [metric for metric in computed if metric.tasks is None or task in metric.tasks]


def split_metric(name: str) -> tuple[str, Metric]:
    """'val_accuracy' -> ('val', the metric accuracy). Raises KeyError for any other form."""
    split, _, metric = name.partition("_")
    if split not in SPLITS:
        raise KeyError(name)
    return split, METRICS[metric]


def measures(*splits: str) -> list[str]:
    """The recorded names for these splits, by default all: 'train_loss', 'train_accuracy', ..."""
    return [f"{split}_{name}" for split in splits or SPLITS for name in METRICS]


def check_rank(name: str) -> str:
    """Check that `name` is a validation metric that can rank trials. Raises UserError otherwise."""
    split, metric = split_metric(choose("metric", name, measures("val")))
    if metric.no_rank:
        tasks = {*(metric.tasks or ())}
        beside = [each for each in METRICS.values() if not (each.tasks and tasks and tasks.isdisjoint(each.tasks))]
        known = [f"{split}_{each.name}" for each in beside if not each.no_rank]
        raise UserError(f"trials are not ranked by {name}: {metric.no_rank}; choose from {', '.join(known)}")
    return name
