"""Loads the trained model of a trial from its search's folder.

Imports neither Ray nor Optuna nor MLflow, as the analysis loads models with it.
"""

import data
import models
from data.base.errors import UserError
from data.encoded import EncodedCorpus
from data.text import Tokenizer
from search.base import schema
from search.serve.classifier import TextModel
from search.spec import kept
from search.spec.read import read_spec
from search.study.trial import Trial
from search.train import checkpoints, tasks
from search.train.config import length_of
from search.train.tasks import task_with


def task_of(trial: Trial) -> str:
    """The name of the trial's task. Raises UserError if its search's folder cannot be read."""
    spec = read_spec(trial.folder)  # registers custom architectures
    return task_with(models.architecture(trial.architecture).task, data.arrays_of(spec.corpus, spec.reading)).name


def load(trial: Trial, corpus: EncodedCorpus | None = None) -> TextModel:
    """The trial's model with the weights of its best report. corpus: of its search, if it is loaded already.

    Raises UserError if the checkpoint is gone, if the trial was stopped before the weights of its best report were
    saved, or if the corpus has changed and the vocabulary with it.
    """
    spec = read_spec(trial.folder)
    if trial.fold:
        raise UserError(
            f"{trial.name} of {trial.search} is the model of fold {trial.fold}, trained only for its score; use the "
            f"model of all training texts, {spec.confirms}:{trial.configuration}"
        )
    place = checkpoints.folder_of(trial.folder, trial.name)
    saved = checkpoints.load_last(place)
    within_an_epoch = f"{trial.name} was stopped within an epoch, before its best weights were saved; choose another"
    if saved is None and 0 < trial.epochs < 1:
        raise UserError(within_an_epoch)
    if saved is None:
        raise UserError(
            f"{trial.name} has no checkpoint in {place} (keep_checkpoints: {spec.keep_checkpoints}); choose another "
            "trial, or train it again"
        )
    per_epoch = length_of(trial.architecture, spec.length).reports_per_epoch
    kept_last, kept_best = saved["result"]["epoch"] / per_epoch, saved["result"]["best_epoch"] / per_epoch
    if kept_last < trial.epochs and kept_best < trial.best_epoch:
        raise UserError(within_an_epoch)
    if refused := saved["state"].get("refused"):
        raise UserError(f"{trial.name} of {trial.search}: {refused}")
    corpus = corpus or kept.corpus(trial.folder)
    learned = trial.provenance.get(schema.DATA_DIGEST, corpus.digest)
    if learned != corpus.digest:
        raise UserError(
            f"{spec.corpus} has changed since {trial.name} learned from it (digest {corpus.digest[:12]}, was "
            f"{learned[:12]}); restore it"
        )
    task = tasks.task_of(models.architecture(trial.architecture).task, corpus)
    return TextModel.build(
        trial.architecture,
        models.built_with(trial.architecture, trial.hyperparameters),
        corpus.classes,
        corpus.vocabulary,
        spec.words_of(trial.architecture),
        saved["state"]["best_weights"],
        corpus.vectors_VE,
        spec.code.architectures.get(trial.architecture),
        task.num_outputs(corpus),
        task.name,
        task.separator,
        Tokenizer.of(spec.reading),
        encoder=spec.code.vectors.get(spec.vectors) if models.reads_embeddings(trial.architecture) else None,
        labels=spec.labels,
    )
