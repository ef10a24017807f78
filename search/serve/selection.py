"""Which models of a search are averaged: chosen one by one on validation.

Shapes: N texts, C classes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

import models
from data.base.errors import UserError
from search.base.record import Outcome
from search.serve.calibration import calibration
from search.serve.ensemble import Ensemble, mean
from search.serve.trained import load
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
    """One of the ensembles that were tried: its members, the last of them added in this step, and its metrics on
    validation."""

    members: tuple[Trial, ...]
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Selection:
    """Which ensemble was chosen, and of which.

    metric: that of the search. steps: the ensembles of 1, 2, ... models. best: that of them which was chosen.
    metrics: its, on validation and on test, which chose nothing, and its calibration. predictions: what it says of the
    test texts, as CSV. left_out: a line for each model that could not be read.
    """

    metric: str
    steps: Sequence[Step]
    best: Step
    ensemble: Ensemble
    metrics: Mapping[str, float]
    predictions: str
    left_out: Sequence[str]

    def lines(self) -> Iterator[str]:
        """For people: every ensemble that was tried, on validation, and the chosen one on test."""
        search = self.ensemble.card["search"]
        if self.left_out:
            yield f"Left out: {self.left_out[0]}" + (f"; {len(self.left_out)} in all" if self.left_out[1:] else "")
        yield f"models  {self.metric}  {'val_loss':>8}  the one that was added"
        for number, step in enumerate(self.steps, 1):
            score, loss = (f"{step.metrics[name]:.4f}" for name in (self.metric, "val_loss"))
            mark = "  (chosen)" if step is self.best else ""
            yield f"{number:>6}  {score:>{len(self.metric)}}  {loss:>8}  {called(step.members[-1], search)}{mark}"
        if len(self.best.members) == 1:
            yield "No average of these has a lower loss than the first model alone."
        ranks = split_metric(self.metric)[1]
        names = [f"test_{metric.name}" for metric in METRICS.values() if metric.column or metric is ranks]
        tested = [f"{name} {self.metrics[name]:.4f}" for name in names if name in self.metrics]
        yield f"The chosen one on test, which chose nothing: {', '.join(tested)}"


def pool(ranked: Iterable[Trial], size: int, says: Callable[[Trial], Tensor | None]) -> list[tuple[Trial, Tensor]]:
    """Those to choose from, with what they say: the first `size` trials that say anything, and the first such of each
    architecture. says: what a trial's model says of the validation texts, None where it cannot be read."""
    found: list[tuple[Trial, Tensor]] = []
    for trial in ranked:
        known = {each.architecture for each, _ in found}
        if (len(found) < size or trial.architecture not in known) and (outputs_NC := says(trial)) is not None:
            found.append((trial, outputs_NC))
    return found


def select(trials: Iterable[Trial], folder: Path, size: int) -> Selection:
    """The ensemble of at most so many models of the search in this folder that is best on validation.

    Of the `pool` the best single model by the search's metric comes first; then, one by one, that with which the loss
    of the average is lowest (Caruana et al. 2004, without repetition). Of the ensembles of 1 to `size` models so made
    the one with the lowest loss is taken: where accuracy cannot tell averages apart, and a model that says the same of
    all texts changes none, the loss can. All is measured with the models as they answer, from texts.

    Raises UserError when there are not two models to average.
    """
    spec = read_spec(folder)
    corpus = kept.corpus(folder)
    task = task_of(models.architecture(spec.architectures[0]).task, corpus)
    if not task.has_classes:
        raise UserError(f"an ensemble averages probabilities of classes, and {task.name} has none")
    texts = [text for text, _ in kept.examples(folder, "val")]
    left_out: list[str] = []

    def says(trial: Trial) -> Tensor | None:
        try:
            return load(trial, corpus).outputs(texts)
        except UserError as error:  # its checkpoint is gone, or it cannot be kept
            left_out.append(str(error))
            return None

    # In the order in which one is chosen to stand for the search.
    ranked = [each for each in candidates(trials, spec.metric, folder.name) if each.outcome is Outcome.COMPLETE]
    found = pool(ranked, size, says)
    if len(found) < 2:
        problem = f"; {left_out[0]}" if left_out else ""
        raise UserError(f"an ensemble needs two trained models; {folder.name} has {len(found)} to choose from{problem}")

    def measured(outputs_NC: Tensor) -> dict[str, float]:
        return measure(task, task.logits(outputs_NC), task.tensors(corpus.val), "val")

    sign = 1 if split_metric(spec.metric)[1].maximize else -1

    def first(metrics: Mapping[str, float]) -> tuple[float, float]:
        return sign * metrics[spec.metric], -metrics["val_loss"]

    def later(metrics: Mapping[str, float]) -> float:
        return -metrics["val_loss"]

    chosen: list[int] = []
    steps: list[Step] = []
    for _ in range(min(size, len(found))):
        tried = {
            place: measured(mean([found[each][1] for each in (*chosen, place)]))
            for place in range(len(found))
            if place not in chosen
        }
        better = later if chosen else first
        chosen.append(max(tried, key=lambda place: better(tried[place])))
        steps.append(Step(tuple(found[place][0] for place in chosen), tried[chosen[-1]]))
    best = max(steps, key=lambda step: later(step.metrics))
    names = [called(trial, folder.name) for trial in steps[-1].members]
    tried_by_name = [{"members": names[: len(step.members)], **step.metrics} for step in steps]
    # Read again: all that were tried may be too much for the memory.
    members = {called(trial, folder.name): load(trial, corpus) for trial in best.members}
    ensemble = Ensemble(members, {"search": folder.name, "ranked by": spec.metric, "tried": tried_by_name})
    outputs_NC = ensemble.outputs([text for text, _ in kept.examples(folder, "test")])
    val_NC = mean([found[place][1] for place in chosen[: len(best.members)]])
    metrics = {**best.metrics, **calibration(task, spec.metric, corpus, val_NC, outputs_NC)}
    predictions = predictions_csv(task.predictions(outputs_NC, corpus))
    return Selection(spec.metric, steps, best, ensemble, metrics, predictions, left_out)


def called(trial: Trial, search: str) -> str:
    """What a member is called in a search: 'gru-3', or 'gru-3 of' another search, which confirmed it."""
    return trial.name if trial.search == search else f"{trial.name} of {trial.search}"
