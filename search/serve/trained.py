"""A trial's trained model, read back from its search's folder; and which of a search's trials is the best one.

Imports neither Ray nor Optuna nor MLflow: the analysis reads models with it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from torch import Tensor

import models
from data.base.errors import UserError
from data.encoded import EncodedCorpus
from search.base import record
from search.base.record import Outcome
from search.serve.classifier import TextClassifier, TextModel, rebuild
from search.spec.read import SPEC_FILE, load_corpus, parse_yaml
from search.spec.spec import Spec
from search.train import checkpoints
from search.train.tasks import TASKS


@dataclass(frozen=True)
class TrainedTrial:
    """What has to be known of a trial to choose it and to read its model."""

    folder: Path  # of its search
    name: str  # 'gru-3'
    architecture: str
    configuration: str | None  # the name of its configuration, if it is one of several equal trials
    hyperparameters: Mapping[str, Any]
    outcome: str
    score: float | None  # its search's metric at its best epoch
    num_parameters: float | None
    data_digest: str | None
    run_id: str | None  # of its MLflow run

    @property
    def search(self) -> str:
        """The search's id."""
        return self.folder.name

    @property
    def task(self) -> str:
        if self.architecture not in models.ARCHITECTURES:
            read_spec(self.folder)  # which takes it in
        return models.architecture(self.architecture).task

    @property
    def number(self) -> int:
        return int(self.name.rpartition("-")[2])

    @property
    def is_ranked(self) -> bool:
        return self.outcome in (Outcome.COMPLETE, Outcome.PRUNED) and self.score is not None


def best(trials: Iterable[TrainedTrial], metric: str) -> TrainedTrial:
    """The best of a search's trials and of those that repeat its configurations. Raises UserError if none is ranked.

    Of configurations that were repeated, the best is that with the best mean; a repetition that diverged counts with
    the metric's worst value. Of its repetitions the best is chosen. Without any, the trial that ranks first: complete
    ones before pruned ones, then by the metric, ties by fewer parameters, architecture and number.
    """
    measure = record.split_metric(metric)[1]
    sign = -1 if measure.maximize else 1
    trials = list(trials)
    ranked = [trial for trial in trials if trial.is_ranked]
    scores: dict[tuple[str, str | None], list[float]] = defaultdict(list)
    for trial in trials:
        if trial.configuration is not None and trial.outcome in (Outcome.COMPLETE, Outcome.DIVERGED):
            score = measure.worst if trial.outcome == Outcome.DIVERGED or trial.score is None else trial.score
            scores[trial.architecture, trial.configuration].append(sign * score)
    if not ranked:
        raise UserError(f"none of {len(trials)} trials has a model that could be ranked by {metric}")

    def order(trial: TrainedTrial) -> tuple[Any, ...]:
        repeated = scores.get((trial.architecture, trial.configuration))
        return (
            repeated is None,
            fmean(repeated or [0.0]),
            trial.outcome != Outcome.COMPLETE,
            sign * (trial.score or 0.0),
            trial.num_parameters or 0.0,
            trial.architecture,
            trial.number,
        )

    return min(ranked, key=order)


def read_spec(folder: Path) -> Spec:
    """The spec of the search in this folder, which need not be valid now: its files may have gone."""
    path = folder / SPEC_FILE
    if not path.is_file():
        raise UserError(f"the search's folder {folder} is not on this machine: it has no {SPEC_FILE}")
    return Spec.model_validate(parse_yaml(path.read_text(encoding="utf-8")))


def load(trial: TrainedTrial) -> TextClassifier:
    """The trial's model with the weights of its best epoch.

    Raises UserError when it has no classes, its checkpoint is gone, or its corpus has changed and with it what words
    mean to the model.
    """
    if trial.task != models.CLASSIFICATION:
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


def load_drawer(trial: TrainedTrial) -> TextModel:
    """The same of a trial that draws images."""
    assert trial.task == models.IMAGE, trial
    spec, corpus, weights = _read(trial)
    return TextModel(
        architecture=trial.architecture,
        hyperparameters=_own(trial),
        vocabulary=corpus.vocabulary,
        max_words=spec.max_words,
        model=rebuild(
            trial.architecture, _own(trial), TASKS[trial.task].num_outputs(corpus), weights, corpus.vectors_VE
        ),
    )


def _own(trial: TrainedTrial) -> dict[str, Any]:
    """The hyperparameters of the architecture, without those of its training."""
    return {name: trial.hyperparameters[name] for name in models.architecture(trial.architecture).hyperparameters}


def _read(trial: TrainedTrial) -> tuple[Spec, EncodedCorpus, dict[str, Tensor]]:
    """Its search's spec, its corpus, and the weights of its best epoch."""
    spec = read_spec(trial.folder)
    kept = checkpoints.folder_of(trial.folder, trial.name)
    saved = checkpoints.load_last(kept)
    if saved is None:
        raise UserError(f"{trial.name} has no checkpoint in {kept}; the search keeps those of: {spec.keep_checkpoints}")
    corpus = load_corpus(spec)
    if trial.data_digest not in (None, corpus.digest):
        raise UserError(
            f"{spec.corpus} is not what {trial.name} learned from: its digest is {corpus.digest[:12]}, was "
            f"{str(trial.data_digest)[:12]}"
        )
    return spec, corpus, saved["state"]["best_weights"]
