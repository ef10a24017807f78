"""The Tune trainable that wraps any architecture: what a trial runs in its Ray worker.

Workers are reused, and a process keeps its random state, thread counts and module globals between trials: a trial
sets all of its own.
"""

import contextlib
import dataclasses
from collections.abc import Generator, Mapping
from typing import Any

import ray
from ray import tune

import models
from data.base.errors import in_short
from data.encoded import EncodedCorpus
from search.base import record
from search.base.names import config_name
from search.track.provenance import of_worker
from search.train import checkpoints
from search.train.calibrating import reliability_rows
from search.train.config import length_of
from search.train.device import device_of
from search.train.length import Length
from search.train.running import Setting, predictions_csv, run_trial, take_in
from search.train.tasks import task_of
from search.train.training import Result

WORTH_SAVING = 10.0  # seconds of training, which another worker would have to repeat


Corpora = Mapping[str, "ray.ObjectRef[EncodedCorpus]"]  # by fold; WHOLE where the texts are divided once

WHOLE = ""


def trainable(config: dict[str, Any], corpora: Corpora, setting: Setting) -> None:
    """Train one trial on the corpus of its fold, from its last checkpoint if it has one, and report."""
    corpus = ray.get(corpora[config.get(record.FOLD, WHOLE)])
    tags = tuple(of_worker(device_of(setting.gpu)).items())  # Tune would spread a dict over the report
    for result, problem in run_on(config, corpus, setting, config[record.ATTEMPT]):
        # An early stop arrives as SystemExit out of this call: nothing here may catch it.
        tune.report({"step": result.step, "result": result, "problem": problem, "provenance": tags})


def run_on(
    config: dict[str, Any], corpus: EncodedCorpus, setting: Setting, attempt: int = 0
) -> Generator[tuple[Result, str | None], None, None]:
    """What a trial has to report from its last checkpoint on, that one's result first, and why its checkpoints cannot
    be written, if so. Writes one where that pays; the last one takes the place of all others.

    attempt: how many workers have begun with the trial, this one included. Raises SupersededError, and writes nothing,
    once there is a later one.
    """
    folder = setting.checkpoints / config_name(config)
    begun = False
    with contextlib.suppress(OSError):  # a full disk: the first checkpoint tries again
        checkpoints.begin(folder, attempt)
        begun = True
    checkpoints.remove_unfinished(folder)
    saved = checkpoints.load_last(folder)
    if saved is not None:
        # The driver may have died, or lost this worker, before it heard of the report; it counts each once.
        yield Result.from_dict(saved["result"]), None
    take_in(config, setting)  # what is asked next has to know the architecture
    length = length_of(config[record.ARCHITECTURE], setting.length)
    saved_seconds = saved["result"]["seconds"] if saved else 0.0
    for result in run_trial(config, corpus, setting, saved and saved["state"]):
        problem = None
        if not result.diverged:
            try:
                if begun:
                    checkpoints.require_current(folder, attempt)
                else:
                    checkpoints.begin(folder, attempt)
                    begun = True
                if result.picture is not None:
                    checkpoints.save_file(folder, record.picture(result.step), result.picture)
                if result.test_outputs_N is not None:
                    task = task_of(models.architecture(config[record.ARCHITECTURE]).task, corpus)
                    text = predictions_csv(task.predictions(result.test_outputs_N, corpus))
                    checkpoints.save_text(folder, record.PREDICTIONS, text)
                    if temperature := result.best.get(record.TEMPERATURE):
                        said_N, targets = result.test_outputs_N.cpu(), task.tensors(corpus.test)
                        text = predictions_csv(reliability_rows(task, said_N, targets, temperature))
                        checkpoints.save_text(folder, record.RELIABILITY, text)
                if pays(length, result, result.seconds - saved_seconds):
                    last = length.over(result.step, result.best_step)
                    num_kept = 1 if last else checkpoints.NUM_KEPT
                    checkpoints.save(folder, result.step, result.to_checkpoint(last=last), num_kept, attempt)
                    saved_seconds = result.seconds
            except OSError as error:  # a full disk costs the checkpoint, not the training
                reason = error.strerror or in_short(str(error))  # an object store's errors have no number
                problem = f"checkpoints cannot be written ({reason}): trials that stop now start again"
        yield dataclasses.replace(result, picture=None, test_outputs_N=None, state={}), problem


def pays(length: Length, result: Result, seconds: float) -> bool:
    """Whether a checkpoint of this result is worth writing, after so many seconds of training that none has.

    Each epoch has one, and so has the trial's end; the time that is lost without one in between is trained again.
    """
    whole = result.step % length.reports_per_epoch == 0
    return whole or length.over(result.step, result.best_step) or seconds >= WORTH_SAVING
