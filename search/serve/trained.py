"""A trial's trained model, read back from its search's folder.

Imports neither Ray nor Optuna nor MLflow: the analysis reads models with it.
"""

from typing import Any

from torch import Tensor

import models
from data.base.errors import UserError
from data.encoded import EncodedCorpus
from search.base import record
from search.serve.classifier import TextClassifier, TextModel, rebuild
from search.spec.read import load_corpus, read_spec
from search.spec.spec import Spec
from search.study.trial import Trial
from search.train import checkpoints
from search.train.tasks import TASKS


def task_of(trial: Trial) -> str:
    """What its architecture is trained for. Raises UserError when it comes with a search that is not at hand."""
    if trial.architecture not in models.ARCHITECTURES:
        read_spec(trial.folder)  # which takes it in
    return models.architecture(trial.architecture).task


def load(trial: Trial) -> TextClassifier:
    """The trial's model with the weights of its best epoch.

    Raises UserError when it has no classes, its checkpoint is gone, or its corpus has changed and with it what words
    mean to the model.
    """
    if task_of(trial) != models.CLASSIFICATION:
        raise UserError(
            f"{trial.name} of {trial.search} draws images and predicts no classes; MLflow shows what it drew, "
            f"python -m analysis explain {trial.search}:{trial.name} what it looked at"
        )
    spec, corpus, weights = _read(trial)
    return TextClassifier.build(
        trial.architecture,
        _own(trial),
        corpus.classes,
        corpus.vocabulary,
        spec.max_words,
        weights,
        corpus.vectors_VE,
        spec.code.architectures.get(trial.architecture),
    )


def load_drawer(trial: Trial) -> TextModel:
    """The same of a trial that draws images."""
    assert task_of(trial) == models.IMAGE, trial
    spec, corpus, weights = _read(trial)
    return TextModel(
        architecture=trial.architecture,
        hyperparameters=_own(trial),
        vocabulary=corpus.vocabulary,
        max_words=spec.max_words,
        model=rebuild(
            trial.architecture, _own(trial), TASKS[task_of(trial)].num_outputs(corpus), weights, corpus.vectors_VE
        ),
    )


def _own(trial: Trial) -> dict[str, Any]:
    """The hyperparameters of the architecture, without those of its training."""
    return {name: trial.hyperparameters[name] for name in models.architecture(trial.architecture).hyperparameters}


def _read(trial: Trial) -> tuple[Spec, EncodedCorpus, dict[str, Tensor]]:
    """Its search's spec, its corpus, and the weights of its best epoch."""
    spec = read_spec(trial.folder)
    kept = checkpoints.folder_of(trial.folder, trial.name)
    saved = checkpoints.load_last(kept)
    if saved is None:
        raise UserError(f"{trial.name} has no checkpoint in {kept}; the search keeps those of: {spec.keep_checkpoints}")
    corpus = load_corpus(spec)
    learned = trial.provenance.get(record.DATA_DIGEST, corpus.digest)
    if learned != corpus.digest:
        raise UserError(
            f"{spec.corpus} is not what {trial.name} learned from: its digest is {corpus.digest[:12]}, was "
            f"{learned[:12]}"
        )
    return spec, corpus, saved["state"]["best_weights"]
