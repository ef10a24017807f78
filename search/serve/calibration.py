"""How a trained model is calibrated: by its trial, or, where that is from before trials were, from the held-out texts.

Shapes: N texts, C classes.
"""

import dataclasses
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor

from data.base.errors import UserError
from data.encoded import EncodedCorpus
from search.base import record
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
    """`record.TEMPERATURE`, and the ECE on test before and after, among other metrics; nothing without classes.

    Raises UserError when the texts of an older search cannot be read.
    """
    if record.TEMPERATURE in trial.best or not model.task.has_classes:
        return trial.best
    val_NC, test_NC = (
        model.outputs([text for text, _ in kept.examples(trial.folder, split)]) for split in kept.HELD_OUT
    )
    return calibration(model.task, trial.metric, kept.corpus(trial.folder), val_NC, test_NC)


def as_exported(trial: Trial, model: TextModel) -> TextModel:
    """The trial's model as its export answers: with its temperature and its threshold; as it was trained, where the
    trial has none and its texts are gone."""
    try:
        metrics = of_trial(trial, model)
    except UserError:
        return model
    tempered = dataclasses.replace(model, temperature=metrics.get(record.TEMPERATURE, 1.0))
    return with_threshold(tempered, metrics)


def with_threshold(model: Model, metrics: Mapping[str, float]) -> Model:
    """The model with the threshold that is among its metrics, if one is that is not one half. A temperature moves it as
    it does probabilities."""
    chosen = metrics.get(record.THRESHOLD, HALF)
    if chosen == HALF:
        return model
    moved = float(model.task.tempered(torch.tensor([[1 - chosen, chosen]]), model.temperature)[0, 1])
    return dataclasses.replace(model, threshold=moved)


def calibration(task: Task, metric: str, corpus: EncodedCorpus, val_NC: Tensor, test_NC: Tensor) -> dict[str, float]:
    """Of what a model says of the held-out texts of a corpus: its metrics on test, `calibrate`'s and `threshold`'s."""
    val, test = (
        (task.logits(outputs_NC), task.tensors(split))
        for outputs_NC, split in ((val_NC, corpus.val), (test_NC, corpus.test))
    )
    found = measure(task, *test, "test") | calibrate(task, *val, *test)
    return found | threshold(task, metric, *val, *test)
