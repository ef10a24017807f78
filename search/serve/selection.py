"""Selects the members of an ensemble from the models of a search, one by one on validation.

Shapes: N texts, C classes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

import models
from data.base.errors import UserError
from search.base.schema import Outcome
from search.serve.calibration import calibration
from search.serve.ensemble import Ensemble, mean
from search.serve.loading import load
from search.spec import kept
from search.spec.read import read_spec
from search.study.ranking import candidates
from search.study.trial import Trial
from search.train.metrics import METRICS, split_metric
from search.train.running import predictions_csv
from search.train.tasks import task_of
from search.train.training import measure


@dataclass(frozen=True)
class Step:
    """One step of the selection: the members so far, the last one added in this step, and metrics on validation."""

    members: tuple[Trial, ...]
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Selection:
    """The selected ensemble, and the steps to it.

    metric: the metric of the search. steps: the ensembles of 1, 2, ... models. best: the selected step. metrics: of the
    ensemble, on validation and on test (which is not used for the selection), and its calibration. predictions: for the
    test texts, as CSV. left_out: a line for every model that could not be read.
    """

    metric: str
    steps: Sequence[Step]
    best: Step
    ensemble: Ensemble
    metrics: Mapping[str, float]
    predictions: str
    left_out: Sequence[str]

    def lines(self) -> Iterator[str]:
        """Lines for people: all steps with metrics on validation, and the selected ensemble on test."""
        search = self.ensemble.card["search"]
        if self.left_out:
            yield f"Left out: {self.left_out[0]}" + (f"; {len(self.left_out)} in all" if self.left_out[1:] else "")
        yield f"models  {self.metric}  {'val_loss':>8}  added model"
        for number, step in enumerate(self.steps, 1):
            score, loss = (f"{step.metrics[name]:.4f}" for name in (self.metric, "val_loss"))
            mark = "  (chosen)" if step is self.best else ""
            yield f"{number:>6}  {score:>{len(self.metric)}}  {loss:>8}  {called(step.members[-1], search)}{mark}"
        if len(self.best.members) == 1:
            yield "No average has a lower loss than the first model alone."
        ranks = split_metric(self.metric)[1]
        names = [f"test_{metric.name}" for metric in METRICS.values() if metric.column or metric is ranks]
        tested = [f"{name} {self.metrics[name]:.4f}" for name in names if name in self.metrics]
        yield f"The selected ensemble on test, which was not used for the selection: {', '.join(tested)}"


def pool(
    ranked: Iterable[Trial], size: int, outputs_of: Callable[[Trial], Tensor | None]
) -> list[tuple[Trial, Tensor]]:
    """The candidates for an ensemble, with their outputs: the first `size` trials with a readable model, and the first
    one of every architecture.

    outputs_of: the outputs (N, C) of a trial's model for the validation texts; None if the model cannot be read.
    """
    candidates: list[tuple[Trial, Tensor]] = []
    for trial in ranked:
        known = {candidate.architecture for candidate, _ in candidates}
        is_wanted = len(candidates) < size or trial.architecture not in known
        if is_wanted and (outputs_NC := outputs_of(trial)) is not None:
            candidates.append((trial, outputs_NC))
    return candidates


def select(trials: Iterable[Trial], folder: Path, size: int) -> Selection:
    """The ensemble of at most `size` models of the search in this folder that is best on validation.

    Greedy forward selection from the `pool` (Caruana et al. 2004, without repetition): first the best single model by
    the search's metric, then always the model that gives the average with the lowest loss. The ensemble of 1 to `size`
    models with the lowest loss is selected. The loss is used since it distinguishes averages that have the same
    accuracy, also when a model with constant outputs is added. All models are evaluated on texts, as when served.

    Raises UserError if there are fewer than two models to average.
    """
    spec = read_spec(folder)
    corpus = kept.corpus(folder)
    task = task_of(models.architecture(spec.architectures[0]).task, corpus)
    if not task.has_classes:
        raise UserError(f"an ensemble averages probabilities of classes, and {task.name} has none")
    texts = [text for text, _ in kept.examples(folder, "val")]
    left_out: list[str] = []

    def outputs_of(trial: Trial) -> Tensor | None:
        try:
            return load(trial, corpus).outputs(texts)
        except UserError as error:  # the checkpoint is gone, or cannot be used
            left_out.append(str(error))
            return None

    # In the order by which the best model of a search is chosen.
    ranked = [trial for trial in candidates(trials, spec.metric, folder.name) if trial.outcome is Outcome.COMPLETE]
    pooled = pool(ranked, size, outputs_of)
    if len(pooled) < 2:
        problem = f"; {left_out[0]}" if left_out else ""
        raise UserError(
            f"an ensemble needs two trained models; {folder.name} has {len(pooled)} to choose from{problem}"
        )

    def measured(outputs_NC: Tensor) -> dict[str, float]:
        return measure(task, task.logits(outputs_NC), task.tensors(corpus.val), "val")

    sign = 1 if split_metric(spec.metric)[1].maximize else -1

    def first(metrics: Mapping[str, float]) -> tuple[float, float]:
        return sign * metrics[spec.metric], -metrics["val_loss"]

    def later(metrics: Mapping[str, float]) -> float:
        return -metrics["val_loss"]

    chosen: list[int] = []
    steps: list[Step] = []
    for _ in range(min(size, len(pooled))):
        tried = {
            place: measured(mean([pooled[member][1] for member in (*chosen, place)]))
            for place in range(len(pooled))
            if place not in chosen
        }
        better = later if chosen else first
        chosen.append(max(tried, key=lambda place: better(tried[place])))
        steps.append(Step(tuple(pooled[place][0] for place in chosen), tried[chosen[-1]]))
    best = max(steps, key=lambda step: later(step.metrics))
    names = [called(trial, folder.name) for trial in steps[-1].members]
    tried_by_name = [{"members": names[: len(step.members)], **step.metrics} for step in steps]
    # Loaded again, since all candidates together may exceed the memory.
    members = {called(trial, folder.name): load(trial, corpus) for trial in best.members}
    ensemble = Ensemble(members, {"search": folder.name, "ranked by": spec.metric, "tried": tried_by_name})
    outputs_NC = ensemble.outputs([text for text, _ in kept.examples(folder, "test")])
    val_NC = mean([pooled[place][1] for place in chosen[: len(best.members)]])
    metrics = {**best.metrics, **calibration(task, spec.metric, corpus, val_NC, outputs_NC)}
    predictions = predictions_csv(task.predictions(outputs_NC, corpus))
    return Selection(spec.metric, steps, best, ensemble, metrics, predictions, left_out)


def called(trial: Trial, search: str) -> str:
    """The name of a member in a search: 'gru-3', or 'gru-3 of <search>' if the trial is from a confirmation."""
    return trial.name if trial.search == search else f"{trial.name} of {trial.search}"
