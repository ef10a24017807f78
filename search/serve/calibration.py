"""The calibration of a trained model: as measured by its trial, or, for older trials, computed from the held-out texts.

Shapes: N texts, C classes.
"""

import dataclasses
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor

from data.base.errors import UserError
from data.encoded import EncodedCorpus
from search.base import schema
from search.serve.classifier import TextModel
from search.serve.ensemble import Ensemble
from search.spec import kept
from search.study.trial import Trial
from search.train.calibrating import calibrate
from search.train.tasks import Task
from search.train.thresholding import HALF, threshold
from search.train.training import measure

Model = TypeVar("Model", TextModel, Ensemble)


def of_trial(trial: Trial, model: TextModel) -> Mapping[str, float]:
    """The trial's best metrics, with `schema.TEMPERATURE` and the ECE on test before and after calibration.

    Without the latter if the task has no classes. Raises UserError if the texts of an older search cannot be read.
    """
    if schema.TEMPERATURE in trial.best or not model.task.has_classes:
        return trial.best
    val_NC, test_NC = (
        model.outputs([text for text, _ in kept.examples(trial.folder, split)]) for split in kept.HELD_OUT
    )
    return calibration(model.task, trial.metric, kept.corpus(trial.folder), val_NC, test_NC)


def as_exported(trial: Trial, model: TextModel) -> TextModel:
    """The trial's model as it would be exported, with temperature and threshold. If these are not recorded and the
    texts are gone, the model is returned as trained."""
    try:
        metrics = of_trial(trial, model)
    except UserError:
        return model
    tempered = dataclasses.replace(model, temperature=metrics.get(schema.TEMPERATURE, 1.0))
    return with_threshold(tempered, metrics)


def with_threshold(model: Model, metrics: Mapping[str, float]) -> Model:
    """The model with the threshold in its metrics, if there is one other than one half. The model's temperature is
    applied to the threshold as to probabilities."""
    chosen = metrics.get(schema.THRESHOLD, HALF)
    if chosen == HALF:
        return model
    moved = float(model.task.tempered(torch.tensor([[1 - chosen, chosen]]), model.temperature)[0, 1])
    return dataclasses.replace(model, threshold=moved)


def calibration(task: Task, metric: str, corpus: EncodedCorpus, val_NC: Tensor, test_NC: Tensor) -> dict[str, float]:
    """Metrics on test and the results of `calibrate` and `threshold`, from a model's outputs for the held-out texts."""
    val, test = (
        (task.logits(outputs_NC), task.tensors(split))
        for outputs_NC, split in ((val_NC, corpus.val), (test_NC, corpus.test))
    )
    metrics = measure(task, *test, "test") | calibrate(task, *val, *test)
    return metrics | threshold(task, metric, *val, *test)
