"""Fitting estimators: the counterpart of the training loop, with a single epoch.

Shapes: N examples of a split, C classes.
"""

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

import models
from data.base.errors import UserError
from data.encoded import EMBEDDED, TEXTS, WHOLE_TEXTS, EncodedCorpus, PackedTexts, Split
from models import TextEstimator
from models.parts.estimator import fit_weighted
from search.base import schema
from search.train import costs
from search.train.calibrating import calibrate
from search.train.config import reads_texts
from search.train.tasks import task_of
from search.train.thresholding import threshold
from search.train.training import DivergenceError, Result, measure
from search.train.weighting import ClassWeights, class_weights

AT_ONCE = 50_000  # validation or test texts that an estimator predicts in one call


def fit(
    config: Mapping[str, Any],
    corpus: EncodedCorpus,
    threads: int,
    weights: ClassWeights = "none",
    metric: str = "val_accuracy",
    measured: Sequence[str] = (),
) -> Result:
    """Fit the trial's estimator and measure it. metric: that of the search. measured: the costs to measure (see
    `search.train.costs`).

    The seconds include those of reused work, such as embeddings of the texts. The state holds the files of the
    estimator as its weights or, as `refused`, the reason why there are none.
    Raises UserError if there are class weights and `fit` does not support them.
    """
    # These take seconds to import, which must not count as time of the first trial.
    import sklearn.linear_model  # noqa: F401
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    started = time.perf_counter()
    random.seed(config[schema.SEED])
    np.random.seed(config[schema.SEED])  # scikit-learn's default source of randomness
    hyperparameters = models.built_with(config[schema.ARCHITECTURE], config)
    estimator = models.build_estimator(config[schema.ARCHITECTURE], config[schema.SEED], **hyperparameters)
    task = task_of(estimator.task, corpus)
    read = {split: _read_of(config[schema.ARCHITECTURE], getattr(corpus, split)) for split in schema.SPLITS}
    metrics: dict[str, float] = {}
    diverged = outputs_N = refused = None
    with threadpool_limits(threads):
        # Labels are copied because arrays in the object store are read-only. Of many texts only the first are read.
        learned = corpus.train.first_texts(len(read["train"]))
        (labels_N,) = (target_N.copy() for target_N in task.targets(learned))
        weights_C = class_weights(weights, corpus.classes, labels_N)
        weights_N = None if weights_C is None else weights_C[labels_N]
        fit_weighted(estimator, read["train"].unpacked(), labels_N, weights_N)
        try:
            predicted = {}
            for split in schema.SPLITS:
                examples: Split = learned if split == "train" else getattr(corpus, split)
                targets = task.tensors(examples)
                at_once = len(examples) if split == "train" else AT_ONCE  # training texts fit into memory
                logits_N = task.logits(probabilities(estimator, read[split], len(corpus.classes), at_once))
                metrics |= measure(task, logits_N, targets, split)
                outputs_N, predicted[split] = task.outputs(logits_N), (logits_N, targets)
            held_out = *predicted["val"], *predicted["test"]
            metrics |= calibrate(task, *held_out) | threshold(task, metric, *held_out)
        except DivergenceError as reason:
            diverged = f"{reason} in epoch 1"
    seconds = (
        time.perf_counter()
        - started
        + estimator.spared_seconds
        + sum(texts_read.seconds for texts_read in read.values())
    )
    files: dict[str, bytes] = {}
    try:
        files = estimator.files()
    except UserError as error:  # must not fail the search
        refused = str(error)
    size = estimator.num_parameters()
    known = {schema.NUM_PARAMETERS: float(size)} if size else {}
    if schema.MODEL_MB in measured and files:
        known[schema.MODEL_MB] = sum(map(len, files.values())) / 1e6
    if measured:
        with threadpool_limits(1):
            texts = read["val"].unpacked()
            known |= costs.of_answers(measured, lambda i: estimator.predict_proba(texts[i % len(texts) :][:1]))
    return Result(
        step=1,
        metrics={name: value for name, value in metrics.items() if name.startswith(("train_", "val_"))}
        | {schema.EPOCH_SECONDS: seconds}
        | known,
        curve=[] if diverged else [(1, metrics["train_loss"], metrics["train_accuracy"])],
        best_step=0 if diverged else 1,
        best={} if diverged else metrics,
        diverged=diverged,
        seconds=seconds,
        test_outputs_N=outputs_N,
        state={
            "epoch": 1,
            "best_weights": {
                name: torch.frombuffer(bytearray(file), dtype=torch.uint8) for name, file in files.items()
            },
            "refused": refused,
        },
    )


def _read_of(architecture: str, split: Split) -> Any:
    """The input of an estimator for a split: packed texts or embeddings."""
    if models.reads_embeddings(architecture):
        return split.arrays[EMBEDDED]
    if not reads_texts(architecture):
        return PackedTexts.empty(len(split))
    return split.arrays[WHOLE_TEXTS if models.words_named(architecture) == models.WHOLE else TEXTS]


def probabilities(estimator: TextEstimator, texts: Any, num_classes: int, at_once: int) -> Tensor:
    """Predicted probabilities (N, C), float32, for packed texts or embeddings. at_once: how many to unpack at a time.
    Raises ValueError if the estimator returns another shape."""
    parts = (texts[start : start + at_once].unpacked() for start in range(0, len(texts), at_once))
    whole = len(texts) <= at_once
    predicted = [estimator.predict_proba(texts.unpacked())] if whole else estimator.predict_parts(parts)
    probabilities_NC = np.concatenate([np.asarray(part, dtype=np.float32) for part in predicted])
    if probabilities_NC.shape != (len(texts), num_classes):
        raise ValueError(
            f"predict_proba of {type(estimator).__name__} should give {(len(texts), num_classes)} probabilities; "
            f"got {probabilities_NC.shape}"
        )
    return torch.from_numpy(probabilities_NC)
