"""The Tune trainable that wraps any architecture: what a trial runs in its Ray worker.

Workers are reused, and a process keeps its random state, thread counts and module globals between trials: a trial
sets all of its own.
"""

import dataclasses
from typing import Any

from ray import tune

import models
from data.encoded import EncodedCorpus
from search.base import record
from search.base.names import config_name
from search.train import checkpoints
from search.train.config import length_of
from search.train.length import Length
from search.train.running import Setting, predictions_csv, run_trial, take_in
from search.train.tasks import TASKS
from search.train.training import Result

WORTH_SAVING = 10.0  # seconds of training, which another worker would have to repeat


def trainable(config: dict[str, Any], corpus: EncodedCorpus, setting: Setting) -> None:
    """Train one trial, from its last checkpoint if it has one; report, and write a checkpoint where that pays."""
    folder = setting.checkpoints / config_name(config)
    checkpoints.remove_unfinished(folder)
    saved = checkpoints.load_last(folder)
    if saved is not None:
        # The driver may have died, or lost this worker, before it heard of the report; it counts each once.
        _report(Result.from_dict(saved["result"]))
    take_in(config, setting)  # what is asked next has to know the architecture
    length = length_of(config[record.ARCHITECTURE], setting.length)
    saved_seconds = saved["result"]["seconds"] if saved else 0.0
    for result in run_trial(config, corpus, setting, saved and saved["state"]):
        problem = None
        if not result.diverged:
            try:
                if result.picture is not None:
                    checkpoints.save_file(folder, record.picture(result.step), result.picture)
                if result.test_outputs_N is not None:
                    task = TASKS[models.architecture(config[record.ARCHITECTURE]).task]
                    text = predictions_csv(task.predictions(result.test_outputs_N, corpus))
                    checkpoints.save_text(folder, record.PREDICTIONS, text)
                if pays(length, result, result.seconds - saved_seconds):
                    checkpoints.save(folder, result.step, {"result": result.to_dict(), "state": result.state})
                    saved_seconds = result.seconds
            except OSError as error:  # a full disk costs the checkpoint, not the training
                reason = error.strerror or str(error)[:200]  # an object store's errors have no number
                problem = f"checkpoints cannot be written ({reason}): trials that stop now start again"
        _report(dataclasses.replace(result, picture=None, test_outputs_N=None, state={}), problem)


def pays(length: Length, result: Result, seconds: float) -> bool:
    """Whether a checkpoint of this result is worth writing, after so many seconds of training that none has.

    Each epoch has one, and so has the trial's end; the time that is lost without one in between is trained again.
    """
    whole = result.step % length.reports_per_epoch == 0
    return whole or length.over(result.step, result.best_step) or seconds >= WORTH_SAVING


def _report(result: Result, problem: str | None = None) -> None:
    # An early stop arrives as SystemExit out of this call: nothing here may catch it.
    tune.report({"step": result.step, "result": result, "problem": problem})
