"""The Tune trainable that wraps any architecture: the only code that runs in a Ray worker.

Workers are reused, and a process keeps its random state, thread counts and module globals between trials: a trial
sets all of its own.
"""

import csv
import dataclasses
import io
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ray import tune

import models
from data.encode import EncodedCorpus, Split
from models import Architecture, WordVectors, num_parameters
from search import checkpoints, record, space
from search.checkpoints import Folder
from search.tasks import TASKS, Task
from search.training import EpochResult, Examples, train


@dataclass(frozen=True)
class Setting:
    """What all trials of a search share."""

    epochs: int
    metric: str
    curve_interval: int
    embeddings: str
    threads: int
    gpu: bool  # whether trials were given a share of one
    checkpoints: Folder  # every worker reaches it


def trial_name(config: dict[str, Any]) -> str:
    return f"{config[record.ARCHITECTURE]}-{config[record.NUMBER]}"


def build_model(config: dict[str, Any], corpus: EncodedCorpus, embeddings: str) -> Architecture:
    """The untrained model of a trial; its initial weights are fixed by the trial's seed."""
    torch.manual_seed(config[record.SEED])
    if corpus.vectors_VE is None:
        embedding = WordVectors.learned(len(corpus.vocabulary), corpus.embedding_size)
    else:
        embedding = WordVectors(_tensor(corpus.vectors_VE), trainable=embeddings == "finetuned")
    architecture = models.architecture(config[record.ARCHITECTURE])
    own = {name: config[name] for name in architecture.hyperparameters}
    num_outputs = TASKS[architecture.task].num_outputs(corpus)
    return models.build(config[record.ARCHITECTURE], embedding, num_outputs, **own)


def run_trial(
    config: dict[str, Any], corpus: EncodedCorpus, setting: Setting, state: dict[str, Any] | None = None
) -> Iterator[EpochResult]:
    """Train one trial in this process, from the start or from the state of an earlier result."""
    torch.set_num_threads(setting.threads)
    device = torch.device("cuda" if setting.gpu and torch.cuda.is_available() else "cpu")
    model = build_model(config, corpus, setting.embeddings).to(device)
    size = {record.NUM_PARAMETERS: float(num_parameters(model))}
    for result in train(
        model,
        *(examples(split, device, TASKS[model.task]) for split in (corpus.train, corpus.val, corpus.test)),
        epochs=setting.epochs,
        metric=setting.metric,
        curve_interval=setting.curve_interval,
        seed=config[record.SEED],
        state=state,
        **{name: config[name] for name in space.TRAINING if name in config},
    ):
        yield dataclasses.replace(result, metrics=result.metrics | size)


def trainable(config: dict[str, Any], corpus: EncodedCorpus, setting: Setting) -> None:
    """Train one trial, from its last checkpoint if it has one; report and checkpoint each epoch."""
    folder = setting.checkpoints / trial_name(config)
    checkpoints.remove_unfinished(folder)
    saved = checkpoints.load_last(folder)
    if saved is not None:
        # The driver may have died, or lost this worker, before it heard of the epoch; it counts each epoch once.
        _report(EpochResult.from_dict(saved["result"]))
    for result in run_trial(config, corpus, setting, saved and saved["state"]):
        problem = None
        if not result.diverged:
            content = {"result": result.to_dict(), "state": result.state}
            try:
                if result.picture is not None:
                    checkpoints.save_file(folder, record.picture(result.epoch), result.picture)
                if result.test_outputs_N is not None:
                    task = TASKS[models.architecture(config[record.ARCHITECTURE]).task]
                    text = predictions_csv(task.predictions(result.test_outputs_N, corpus))
                    checkpoints.save_text(folder, record.PREDICTIONS, text)
                checkpoints.save(folder, result.epoch, content)
            except OSError as error:  # a full disk costs the checkpoint, not the training
                reason = error.strerror or str(error)[:200]  # an object store's errors have no number
                problem = f"checkpoints cannot be written ({reason}): trials that stop now start again"
        _report(dataclasses.replace(result, picture=None, test_outputs_N=None, state={}), problem)


def predictions_csv(rows: Iterable[list[str]]) -> str:
    """What a model says of the test texts (see `record.PREDICTIONS`)."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _report(result: EpochResult, problem: str | None = None) -> None:
    # An early stop arrives as SystemExit out of this call: nothing here may catch it.
    tune.report({"epoch": result.epoch, "result": result, "problem": problem})


def examples(split: Split, device: torch.device, task: Task) -> Examples:
    tokens_NT, lengths_N, *targets = (
        _tensor(array).to(device) for array in (split.tokens_NT, split.lengths_N, *task.targets(split))
    )
    return Examples(tokens_NT, lengths_N, tuple(targets))


def _tensor(array: np.ndarray) -> torch.Tensor:
    """The array as a tensor, not copied. The object store's memory is read-only, and nothing here writes to it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)
